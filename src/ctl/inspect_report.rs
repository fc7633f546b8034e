//! The report of `inspect ek`, as a table and as JSON.

use evidence::{EkTemplate, Hash};
use serde::Serialize;
use verify::EkCertificate;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::anchors::SkippedFile;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::judgement::Judgement;
use crate::output::{Report, columns, fields};
use crate::text::{printable, rfc3339};

/// Everything about the EKs of a TPM, or about the one certificate of a file.
#[derive(Debug, Serialize)]
pub(crate) struct EkReport {
    #[serde(skip)]
    pub(crate) is_refused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) presented: Option<Presented>,
    /// Why the agent could present none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
    pub(crate) certificates: Vec<CertificateReport>,
    pub(crate) intermediates: Vec<Intermediate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped: Vec<SkippedFile>,
}

/// The EK that the agent would present.
#[derive(Debug, Serialize)]
pub(crate) struct Presented {
    #[serde(flatten)]
    pub(crate) fingerprint: Fingerprint,
    pub(crate) template: &'static str,
    /// The handle where it lies; it is made anew where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) persistent: Option<String>,
    /// Where its certificate is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
}

/// One EK certificate.
#[derive(Debug, Serialize)]
pub(crate) struct CertificateReport {
    pub(crate) source: String,
    pub(crate) presented: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) template: Option<&'static str>,
    /// Why it could not be read from the TPM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    #[serde(flatten)]
    pub(crate) details: Option<Details>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) judgement: Option<Judgement>,
}

/// What a certificate says.
#[derive(Debug, Serialize)]
pub(crate) struct Details {
    #[serde(flatten)]
    pub(crate) fingerprint: Fingerprint,
    #[serde(skip_serializing_if = "Option::is_none")]
    tpm: Option<Maker>,
    issuer: String,
    #[serde(flatten)]
    validity: Option<Validity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority_info: Option<String>,
    /// Of the DER, in hex.
    pub(crate) sha256: String,
}

#[derive(Debug, Serialize)]
struct Maker {
    manufacturer: String,
    model: String,
    version: String,
}

#[derive(Debug, Serialize)]
struct Validity {
    serial: String,
    /// The entry of a deny list that names the certificate by issuer and serial number.
    deny_entry: String,
    not_before: String,
    not_after: String,
}

/// A certificate that the agent sends along, or that follows in the file.
#[derive(Debug, Serialize)]
pub(crate) struct Intermediate {
    subject: String,
    issuer: String,
    not_after: String,
}

/// SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Hash::Sha256.digest(&[bytes]))
}

impl CertificateReport {
    pub(crate) fn new(source: String, template: Option<EkTemplate>) -> Self {
        Self {
            source,
            presented: false,
            template: template.map(EkTemplate::name),
            problem: None,
            details: None,
            judgement: None,
        }
    }

    pub(crate) fn describe(self, certificate: &EkCertificate) -> Self {
        let details = Details {
            fingerprint: Fingerprint::of(certificate.key()),
            tpm: certificate.description().map(|tpm| Maker {
                manufacturer: tpm.vendor().to_string(),
                model: tpm.model().to_owned(),
                version: tpm.version().to_owned(),
            }),
            issuer: certificate.issuer_text().to_owned(),
            validity: Validity::of(certificate.der()),
            authority_info: certificate.authority_info().map(str::to_owned),
            sha256: sha256(certificate.der()),
        };
        Self {
            details: Some(details),
            ..self
        }
    }

    pub(crate) fn table(&self) -> String {
        let details = self.details.as_ref();
        let validity = details.and_then(|details| details.validity.as_ref());
        let fingerprint = details.map(|details| &details.fingerprint);
        let mark = if self.presented {
            " (the agent presents this one)"
        } else {
            ""
        };
        fields(vec![
            ("certificate", Some(format!("{}{mark}", self.source))),
            ("problem", self.problem.clone()),
            ("template", self.template.map(str::to_owned)),
            ("key", fingerprint.map(|of| of.key.to_owned())),
            ("ek hash", fingerprint.map(|of| of.ek_hash.clone())),
            ("device", fingerprint.map(|of| of.device.clone())),
            (
                "tpm",
                details.map(|details| {
                    details
                        .tpm
                        .as_ref()
                        .map_or("not described".to_owned(), Maker::text)
                }),
            ),
            ("issuer", details.map(|details| details.issuer.clone())),
            ("serial", validity.map(|validity| validity.serial.clone())),
            (
                "valid",
                validity.map(|of| format!("{} to {}", of.not_before, of.not_after)),
            ),
            (
                "issuer at",
                details.and_then(|details| details.authority_info.clone()),
            ),
            ("sha256", details.map(|details| details.sha256.clone())),
            ("deny entry", validity.map(|of| of.deny_entry.clone())),
            ("verdict", self.judgement.as_ref().map(Judgement::text)),
        ])
    }
}

impl Maker {
    fn text(&self) -> String {
        format!(
            "{} {}, version {}",
            self.manufacturer, self.model, self.version
        )
    }
}

impl Validity {
    fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            serial: hex::encode(certificate.raw_serial()),
            deny_entry: format!(
                "serial:{}:{}",
                sha256(certificate.issuer().as_raw()),
                hex::encode(certificate.raw_serial())
            ),
            not_before: rfc3339(certificate.validity().not_before),
            not_after: rfc3339(certificate.validity().not_after),
        })
    }
}

impl Intermediate {
    pub(crate) fn of(der: &[u8]) -> Self {
        match X509Certificate::from_der(der) {
            Ok((_, certificate)) => Self {
                subject: printable(&certificate.subject().to_string()),
                issuer: printable(&certificate.issuer().to_string()),
                not_after: rfc3339(certificate.validity().not_after),
            },
            Err(_malformed) => Self {
                subject: "malformed".to_owned(),
                issuer: String::new(),
                not_after: String::new(),
            },
        }
    }
}

impl Presented {
    fn table(&self) -> String {
        let place = self.persistent.as_deref();
        fields(vec![
            ("agent presents", Some(self.fingerprint.ek_hash.clone())),
            ("device", Some(self.fingerprint.device.clone())),
            (
                "key",
                Some(format!(
                    "{} by template {}",
                    self.fingerprint.key, self.template
                )),
            ),
            (
                "persistent at",
                Some(
                    place
                        .unwrap_or("nowhere: it is made when needed")
                        .to_owned(),
                ),
            ),
            (
                "certificate",
                Some(self.certificate.as_deref().unwrap_or("none").to_owned()),
            ),
        ])
    }
}

impl Report for EkReport {
    fn table(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.presented.as_ref().map(Presented::table));
        parts.extend(self.failure.as_ref().map(|failure| {
            let hint = failure.hint.as_ref().map(|hint| format!("→ {hint}\n"));
            format!(
                "the agent can present none: {}\n{}",
                failure.message,
                hint.unwrap_or_default()
            )
        }));
        parts.extend(self.certificates.iter().map(CertificateReport::table));
        if self.certificates.is_empty() {
            parts.push("the TPM holds no EK certificate\n".to_owned());
        }
        if !self.intermediates.is_empty() {
            let row = |one: &Intermediate| {
                [
                    one.subject.clone(),
                    one.issuer.clone(),
                    one.not_after.clone(),
                ]
            };
            let rows = self.intermediates.iter().map(row).collect();
            parts.push(columns(["INTERMEDIATE", "ISSUER", "EXPIRES"], rows));
        }
        parts.extend(SkippedFile::table(&self.skipped));
        parts.join("\n")
    }

    fn exit(&self) -> Exit {
        if self.is_refused {
            Exit::Negative
        } else {
            Exit::Good
        }
    }
}
