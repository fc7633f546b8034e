//! `inspect evidence`: who attested, when, what was said, and what of it is proved.

use std::path::Path;

use evidence::{Attest, Capability, Challenge, Offer, Response};
use serde::Serialize;
use verify::{Attested, Boot, EkCertificate, Method, Rejection, parse_public_key};

use crate::eventlog_claims::Claims;
use crate::eventlog_refused::Refused;
use crate::evidence_keys::OfferedKeys;
use crate::evidence_read::{Messages, Stored};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::inspect_quote::Quote;
use crate::inspect_report::CertificateReport;
use crate::output::{Report, columns, fields};
use crate::text::printable;

/// Everything about a record.
#[derive(Debug, Serialize)]
pub(crate) struct EvidenceReport {
    file: String,
    time: String,
    trust_domain: String,
    /// What the server said then.
    verdict: String,
    enrolment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ek: Option<Fingerprint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<Agent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
    answer: Answer,
    /// The SVID keys that were offered, and what is proved of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    svid: Option<OfferedKeys>,
    /// Why the record proves nothing, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Refused>,
    /// What the TPM signed; only of an exchange that holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    quote: Option<Quote>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pcrs: Vec<QuotedValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Log>,
}

/// What the agent said of itself.
#[derive(Debug, Serialize)]
struct Agent {
    /// The lowest and the highest protocol version; `None` for agents of the first generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<[u32; 2]>,
    offers: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
}

/// What the server asked for.
#[derive(Debug, Serialize)]
struct Asked {
    pcrs: Vec<AskedBank>,
    log: bool,
    /// Whether the SVID keys were to be certified.
    certify: bool,
}

#[derive(Debug, Serialize)]
struct AskedBank {
    bank: &'static str,
    pcrs: Vec<u8>,
}

/// In which form the answer came.
#[derive(Debug, Serialize)]
struct Answer {
    form: &'static str,
    /// Bytes of the boot event log.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_bytes: Option<usize>,
}

#[derive(Debug, Serialize)]
struct QuotedValue {
    bank: &'static str,
    pcr: u8,
    value: String,
}

/// What became of the log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Log {
    Claims(Box<Claims>),
    Refusal(Refused),
}

/// Looks at a record.
pub(crate) fn report(path: &Path) -> Result<EvidenceReport, Failure> {
    Ok(EvidenceReport::of(&Stored::read(path)?))
}

impl EvidenceReport {
    fn of(stored: &Stored) -> Self {
        let record = &stored.record;
        let messages = stored.messages();
        let offer = messages.offer.as_ref();
        let proved = stored.prove();
        Self {
            file: stored.source(),
            time: stored.time(),
            trust_domain: printable(&record.trust_domain),
            verdict: printable(&record.verdict),
            enrolment: printable(&record.enrolment),
            ek: offer.and_then(endorsement_key),
            certificate: offer.and_then(certificate),
            agent: offer.map(Agent::of),
            asked: messages.challenge.as_ref().and_then(Asked::of),
            answer: Answer::of(&messages),
            svid: offer
                .and_then(|offer| offer.extension.as_ref())
                .and_then(|extension| OfferedKeys::of(extension, proved.as_ref().ok())),
            refusal: proved.as_ref().err().map(Refused::from),
            quote: quote(&proved, &messages),
            pcrs: proved.as_ref().map(pcrs).unwrap_or_default(),
            log: proved.as_ref().ok().and_then(Log::of),
        }
    }

    fn who(&self) -> String {
        let ek = self.ek.as_ref();
        let agent = self.agent.as_ref();
        let asked = self.asked.as_ref();
        fields(vec![
            ("file", Some(self.file.clone())),
            ("time", Some(self.time.clone())),
            ("trust domain", Some(self.trust_domain.clone())),
            ("verdict", Some(self.verdict.clone())),
            ("enrolment", Some(self.enrolment.clone())),
            ("ek hash", ek.map(|ek| ek.ek_hash.clone())),
            ("device", ek.map(|ek| ek.device.clone())),
            ("key", ek.map(|ek| ek.key.to_owned())),
            ("agent", agent.map(Agent::text)),
            ("boot id", agent.and_then(|agent| agent.boot_id.clone())),
            ("asked for", asked.map(Asked::text)),
            ("answer", Some(self.answer.text())),
            (
                "proof",
                Some(match &self.refusal {
                    None => "holds".to_owned(),
                    Some(refused) => format!("does not hold: {}", refused.text()),
                }),
            ),
        ])
    }
}

fn endorsement_key(offer: &Offer) -> Option<Fingerprint> {
    let certificate = offer.ek.certificate.as_deref();
    let certified = certificate.and_then(|der| EkCertificate::parse(der).ok());
    let key = match certified {
        Some(certificate) => certificate.key().clone(),
        None => parse_public_key(offer.ek.public_key.as_deref()?).ok()?,
    };
    Some(Fingerprint::of(&key))
}

fn certificate(offer: &Offer) -> Option<CertificateReport> {
    let report = CertificateReport::new("in the payload".to_owned(), None);
    match EkCertificate::parse(offer.ek.certificate.as_deref()?) {
        Ok(certificate) => Some(report.describe(&certificate)),
        Err(rejection) => Some(CertificateReport {
            problem: Some(Refused::from(&rejection).text()),
            ..report
        }),
    }
}

fn quote(proved: &Result<Attested, Rejection>, messages: &Messages) -> Option<Quote> {
    match proved.as_ref().ok()?.method() {
        Method::Quote(_) => {
            let evidence = messages.evidence()?;
            Attest::parse(&evidence.quote).as_ref().map(Quote::of).ok()
        }
        Method::Credential => None,
    }
}

fn pcrs(attested: &Attested) -> Vec<QuotedValue> {
    let Method::Quote(quoted) = attested.method() else {
        return Vec::new();
    };
    let banks = quoted.banks().iter();
    banks
        .flat_map(|bank| {
            bank.values.iter().map(|(pcr, value)| QuotedValue {
                bank: bank.hash.name(),
                pcr: *pcr,
                value: hex::encode(value),
            })
        })
        .collect()
}

impl Agent {
    fn of(offer: &Offer) -> Self {
        let extension = offer.extension.as_ref();
        let offered = extension
            .map(|of| of.evidence.as_slice())
            .unwrap_or_default();
        let name = |capability: &Capability| match capability {
            Capability::Quote => "quote",
            Capability::Log => "log",
            Capability::Certify => "certify",
            Capability::Unknown => "unknown",
        };
        Self {
            versions: extension.map(|of| [of.min_version, of.max_version]),
            offers: offered.iter().map(name).collect(),
            boot_id: extension
                .and_then(|of| of.boot_id.as_deref())
                .map(printable),
        }
    }

    fn text(&self) -> String {
        match self.versions {
            Some([min, max]) => {
                let offers = self.offers.join(", ");
                format!("speaks versions {min} to {max}, offers {offers}")
            }
            None => "of the first generation".to_owned(),
        }
    }
}

impl Asked {
    fn of(challenge: &Challenge) -> Option<Self> {
        let extension = challenge.extension.as_ref()?;
        let bank = |(hash, pcrs): &(evidence::Hash, Vec<u8>)| AskedBank {
            bank: hash.name(),
            pcrs: pcrs.clone(),
        };
        Some(Self {
            pcrs: extension.pcrs.iter().map(bank).collect(),
            log: extension.log,
            certify: extension.certify,
        })
    }

    fn text(&self) -> String {
        let bank = |asked: &AskedBank| {
            let pcrs: Vec<_> = asked.pcrs.iter().map(ToString::to_string).collect();
            format!("{} PCRs {}", asked.bank, pcrs.join(", "))
        };
        let log = self.log.then(|| "the boot event log".to_owned());
        let certify = self.certify.then(|| "certified SVID keys".to_owned());
        let texts = self.pcrs.iter().map(bank).chain(log).chain(certify);
        let texts: Vec<_> = texts.collect();
        texts.join("; ")
    }
}

impl Answer {
    fn of(messages: &Messages) -> Self {
        Self {
            form: match &messages.response {
                Some(Response::Proof(_)) => "evidence",
                Some(Response::Secret(_)) => "secret",
                None => "malformed",
            },
            log_bytes: messages.log().map(<[u8]>::len),
        }
    }

    fn text(&self) -> String {
        match self.log_bytes {
            Some(bytes) => format!("{}, with a log of {bytes} bytes", self.form),
            None => self.form.to_owned(),
        }
    }
}

impl Log {
    fn of(attested: &Attested) -> Option<Self> {
        match attested.boot() {
            Boot::Verified(claims) => Some(Self::Claims(Box::new(Claims::of(claims)))),
            Boot::Refused(rejection) => Some(Self::Refusal(rejection.into())),
            Boot::Absent => None,
        }
    }
}

impl Report for EvidenceReport {
    fn table(&self) -> String {
        let mut parts = vec![self.who()];
        parts.extend(self.certificate.as_ref().map(CertificateReport::table));
        parts.extend(self.svid.as_ref().map(OfferedKeys::table));
        parts.extend(self.quote.as_ref().map(|quote| fields(quote.rows())));
        if !self.pcrs.is_empty() {
            let row =
                |pcr: &QuotedValue| [pcr.bank.to_owned(), pcr.pcr.to_string(), pcr.value.clone()];
            let rows = self.pcrs.iter().map(row).collect();
            parts.push(columns(["BANK", "PCR", "QUOTED VALUE"], rows));
        }
        parts.push(match &self.log {
            Some(Log::Claims(claims)) => claims.table(),
            Some(Log::Refusal(refused)) => {
                format!("the boot event log is not believed: {}\n", refused.text())
            }
            None => "no boot event log came\n".to_owned(),
        });
        parts.join("\n")
    }

    /// Good if the exchange proves anything at all.
    fn exit(&self) -> Exit {
        match self.refusal {
            None => Exit::Good,
            Some(_) => Exit::Negative,
        }
    }
}
