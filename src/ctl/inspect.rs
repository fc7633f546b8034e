//! `inspect ek`: the EK certificates of a TPM or of a file, and what a server would say.

use std::path::Path;

use evidence::EkTemplate;
use tpm::{CertificateOrigin, Endorsement};
use verify::EkCertificate;

use crate::anchors::Trust;
use crate::cli::{TpmArguments, TrustArguments};
use crate::failure::Failure;
use crate::files;
use crate::fingerprint::Fingerprint;
use crate::inspect_report::{CertificateReport, EkReport, Intermediate, Presented};
use crate::judgement::{Judgement, Verdict};
use crate::machine::{Machine, Stored, now};
use crate::text::printable;

/// Looks at a file. The first certificate in it is the EK's.
pub(crate) fn file(path: &Path, trust: &TrustArguments) -> Result<EkReport, Failure> {
    let trust = Trust::load(trust)?;
    let mut certificates = files::certificates(path)?.into_iter();
    let leaf = certificates.next().unwrap_or_default();
    let intermediates: Vec<_> = certificates.collect();
    let source = printable(&path.display().to_string());
    let report = certificate(source, None, &leaf, &intermediates, &trust);
    Ok(EkReport {
        is_refused: is_refused(&report),
        presented: None,
        failure: None,
        certificates: vec![report],
        intermediates: intermediates
            .iter()
            .map(|der| Intermediate::of(der))
            .collect(),
        skipped: trust.skipped,
    })
}

/// Looks at the TPM: at every certificate in it, and at the EK that the agent would present.
pub(crate) fn machine(tpm: &TpmArguments, trust: &TrustArguments) -> Result<EkReport, Failure> {
    let trust = Trust::load(trust)?;
    let mut machine = Machine::open(tpm)?;
    let stored = machine.certificates()?;
    let outcome = machine.attestor();
    let endorsement = outcome
        .as_ref()
        .ok()
        .map(|attestor| attestor.endorsement().clone());
    let failure = outcome.err().map(Failure::from);
    let intermediates = endorsement.as_ref().map(|ek| ek.intermediates.clone());
    let intermediates = intermediates.unwrap_or_default();
    let mut certificates: Vec<_> = stored
        .iter()
        .map(|stored| of_index(stored, &intermediates, &trust))
        .collect();
    if let Some(der) = endorsement.as_ref().and_then(of_operator) {
        certificates.push(certificate(
            "--ek-cert".to_owned(),
            None,
            der,
            &intermediates,
            &trust,
        ));
    }
    let presented = endorsement
        .as_ref()
        .and_then(|ek| presented(ek, &mut certificates));
    let shown = certificates.iter().find(|report| report.presented);
    let without = Judgement::of_none(&trust).verdict == Verdict::Refused;
    Ok(EkReport {
        is_refused: failure.is_some() || shown.map_or(without, is_refused),
        presented,
        failure,
        certificates,
        intermediates: intermediates
            .iter()
            .map(|der| Intermediate::of(der))
            .collect(),
        skipped: trust.skipped,
    })
}

/// The report on a certificate that an NV index holds.
pub(crate) fn of_index(
    stored: &Stored,
    intermediates: &[Vec<u8>],
    trust: &Trust,
) -> CertificateReport {
    let template = Some(stored.template);
    let source = format!("NV index {:#010x}", stored.template.certificate_index());
    match &stored.contents {
        Ok(contents) => certificate(source, template, unwrapped(contents), intermediates, trust),
        Err(error) => CertificateReport {
            problem: Some(printable(&error.to_string())),
            ..CertificateReport::new(source, template)
        },
    }
}

/// A certificate that the operator has given for a TPM which holds none.
fn of_operator(endorsement: &Endorsement) -> Option<&[u8]> {
    let is_file = endorsement.certificate_origin == Some(CertificateOrigin::File);
    endorsement.certificate.as_deref().filter(|_| is_file)
}

fn certificate(
    source: String,
    template: Option<EkTemplate>,
    bytes: &[u8],
    intermediates: &[Vec<u8>],
    trust: &Trust,
) -> CertificateReport {
    let report = CertificateReport::new(source, template);
    match EkCertificate::parse(bytes) {
        Ok(parsed) => CertificateReport {
            judgement: Some(Judgement::of(&parsed, intermediates, trust, now())),
            ..report.describe(&parsed)
        },
        Err(rejection) => CertificateReport {
            judgement: Some(Judgement::refusal(&rejection)),
            ..report
        },
    }
}

/// The EK that the agent would choose; its certificate is marked.
fn presented(
    endorsement: &Endorsement,
    certificates: &mut [CertificateReport],
) -> Option<Presented> {
    let key = endorsement.key.public.subject_key()?;
    let sha256 = endorsement
        .certificate
        .as_deref()
        .map(crate::inspect_report::sha256);
    // With an operator's certificate the same one may be in the TPM, too: the last is the one.
    let found = certificates.iter_mut().rev().find(|report| {
        sha256.is_some()
            && report.details.as_ref().map(|details| &details.sha256) == sha256.as_ref()
    });
    let certificate = found.map(|report| {
        report.presented = true;
        report.source.clone()
    });
    Some(Presented {
        fingerprint: Fingerprint::of(&key),
        template: endorsement.template.name(),
        persistent: endorsement
            .persistent
            .map(|handle| format!("{handle:#010x}")),
        certificate,
    })
}

fn is_refused(report: &CertificateReport) -> bool {
    report
        .judgement
        .as_ref()
        .is_none_or(|judgement| judgement.verdict == Verdict::Refused)
}

/// Without the prefix 10 01 00 and a length, which some PC Client TPMs put before a certificate.
fn unwrapped(contents: &[u8]) -> &[u8] {
    match contents
        .strip_prefix(&[0x10, 0x01, 0x00])
        .and_then(<[u8]>::split_first_chunk)
    {
        Some((length, rest)) => rest
            .get(..usize::from(u16::from_be_bytes(*length)))
            .unwrap_or(contents),
        None => contents,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Report as _;

    #[test]
    fn a_prefix_with_a_length_is_taken_off() {
        for (contents, expected) in [
            (&[0x30, 0][..], &[0x30, 0][..]),
            (&[0x10, 1, 0, 0, 2, 0x30, 0, 0xFF], &[0x30, 0]),
            (&[0x10, 1, 0, 0, 9, 0x30], &[0x10, 1, 0, 0, 9, 0x30]),
            (&[0x10, 1, 0], &[0x10, 1, 0]),
        ] {
            assert_eq!(unwrapped(contents), expected);
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ek.der");
        std::fs::write(&path, [0x30, 0x03, 1]).unwrap();
        let report = file(&path, &TrustArguments::default()).unwrap();
        assert!(report.is_refused);
        let judgement = report.certificates[0].judgement.as_ref().unwrap();
        assert_eq!(judgement.reason, Some("malformed_cert"));
    }

    #[test]
    fn the_table_has_everything_that_an_operator_enrols_by() {
        let pem = evidence::parse_pem(include_str!("vectors/ek-p384.pem"), 1).unwrap();
        let trust = Trust::default();
        let report = certificate("ek.pem".to_owned(), None, &pem[0].contents, &[], &trust);
        let hash = report.details.as_ref().unwrap().fingerprint.ek_hash.clone();
        let report = EkReport {
            is_refused: is_refused(&report),
            presented: None,
            failure: None,
            certificates: vec![report],
            intermediates: vec![Intermediate::of(&pem[0].contents), Intermediate::of(&[])],
            skipped: vec![crate::anchors::SkippedFile {
                file: "README".into(),
                why: "neither PEM nor DER".into(),
            }],
        };
        let text = report.table();
        for line in [
            "certificate  ek.pem\n",
            "key          p-384\n",
            &format!("ek hash      {hash}\n"),
            "tpm          id:00001014 swtpm, version id:20191023\n",
            "issuer       CN=swtpm-localca\n",
            "deny entry   serial:1621766abf400564dcaf70cca16e85fec8c35f8f4336beb29b0921ce10f69789:03\n",
            "to 9999-12-31T23:59:59Z\n",
            "verdict      nothing is wrong with it; name the anchors with --ca\n",
            "INTERMEDIATE  ISSUER            EXPIRES\n",
            "malformed\n",
            "SKIPPED  WHY\nREADME   neither PEM nor DER\n",
        ] {
            assert!(text.contains(line), "no {line:?} in\n{text}");
        }
    }
}
