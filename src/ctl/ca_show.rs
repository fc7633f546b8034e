//! `ca show`: the certificates of a `ca_path`.

use std::path::Path;

use serde::Serialize;
use store::Collection;

use crate::anchors::SkippedFile;
use crate::ca_certificate::CaCertificate;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::now;
use crate::output::{Report, columns};
use crate::text::printable;

/// Reads a `ca_path` as a server does.
pub(crate) fn show(path: &Path) -> Result<Shown, Failure> {
    let collection = Collection::read(path)?;
    let now = now();
    let certificates = collection
        .certificates
        .into_iter()
        .map(|(file, found)| Place {
            file: printable(&file.to_string_lossy()),
            certificate: CaCertificate::of(found, now),
        });
    Ok(Shown {
        sha256: collection.digest.map(hex::encode),
        certificates: certificates.collect(),
        skipped: collection
            .skipped
            .into_iter()
            .map(SkippedFile::from)
            .collect(),
    })
}

/// What a `ca_path` holds.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    /// Of the file, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    certificates: Vec<Place>,
    skipped: Vec<SkippedFile>,
}

#[derive(Debug, Serialize)]
struct Place {
    file: String,
    #[serde(flatten)]
    certificate: CaCertificate,
}

impl Report for Shown {
    fn table(&self) -> String {
        let row = |place: &Place| {
            let certificate = &place.certificate;
            [
                certificate.sha256.clone(),
                certificate.vendor().to_owned(),
                certificate.key.to_owned(),
                certificate.not_after.clone().unwrap_or_default(),
                certificate.reason.unwrap_or("usable").to_owned(),
                certificate.subject.clone(),
            ]
        };
        let header = ["SHA-256", "VENDOR", "KEY", "EXPIRES", "STATUS", "SUBJECT"];
        let mut parts = vec![columns(header, self.certificates.iter().map(row).collect())];
        parts.extend(SkippedFile::table(&self.skipped));
        parts.extend(
            self.sha256
                .as_ref()
                .map(|digest| format!("sha256 of the file: {digest}\n")),
        );
        parts.join("\n")
    }

    /// Good if a server could use any of it.
    fn exit(&self) -> Exit {
        let mut reasons = self
            .certificates
            .iter()
            .map(|place| place.certificate.reason);
        if reasons.any(|reason| reason.is_none()) {
            Exit::Good
        } else {
            Exit::Negative
        }
    }
}
