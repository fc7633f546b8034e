//! The certificate authorities that the command line names, loaded as the server loads them.

use std::sync::Arc;

use serde::Serialize;
use store::{AnchorStore, Skipped, Sources};
use verify::{Anchors, ChainOptions};

use crate::cli::TrustArguments;
use crate::failure::Failure;
use crate::output::columns;
use crate::text::printable;

/// Whom to trust.
#[derive(Default)]
pub(crate) struct Trust {
    anchors: Option<Arc<Anchors>>,
    pub(crate) options: ChainOptions,
    /// What was found beside certificates.
    pub(crate) skipped: Vec<SkippedFile>,
}

/// A file that is no certificate, or one that can be no CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SkippedFile {
    pub(crate) file: String,
    pub(crate) why: String,
}

impl Trust {
    pub(crate) fn load(arguments: &TrustArguments) -> Result<Self, Failure> {
        let options = ChainOptions {
            accept_expired_leaf: arguments.accept_expired_ek,
            ..ChainOptions::default()
        };
        let Some(path) = &arguments.ca else {
            return Ok(Self {
                options,
                ..Self::default()
            });
        };
        let sources = Sources {
            anchors: path.clone(),
            intermediates: arguments.intermediates.clone(),
            crls: arguments.crls.clone(),
            ..Sources::default()
        };
        let (store, report) = AnchorStore::open(sources)?;
        let skipped = report.skipped.into_iter().map(SkippedFile::from);
        Ok(Self {
            anchors: Some(store.current()),
            options,
            skipped: skipped.collect(),
        })
    }

    /// Whether the command line names any.
    pub(crate) fn is_given(&self) -> bool {
        self.anchors.is_some()
    }

    /// The same, trusting nobody: only what a certificate breaks by itself is judged.
    pub(crate) fn without_anchors(&self) -> Self {
        Self {
            options: self.options,
            ..Self::default()
        }
    }

    /// The anchors, none where none are given.
    pub(crate) fn anchors(&self) -> Arc<Anchors> {
        self.anchors.clone().unwrap_or_default()
    }
}

impl SkippedFile {
    /// A table of those that there are.
    pub(crate) fn table(skipped: &[Self]) -> Option<String> {
        let row = |one: &Self| [one.file.clone(), one.why.clone()];
        let rows: Vec<_> = skipped.iter().map(row).collect();
        (!rows.is_empty()).then(|| columns(["SKIPPED", "WHY"], rows))
    }
}

impl From<Skipped> for SkippedFile {
    fn from(skipped: Skipped) -> Self {
        Self {
            file: printable(&skipped.file.to_string_lossy()),
            why: skipped.why.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, date_time_ymd,
    };

    use super::*;
    use crate::exit::Exit;

    #[test]
    fn revocation_lists_count_as_in_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::from_params(&params, &key)).unwrap();
        let (ca, crl) = (directory.path().join("ca"), directory.path().join("crl"));
        fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&crl, list.pem().unwrap()).unwrap();
        let arguments = TrustArguments {
            ca: Some(ca),
            crls: Some(crl.clone()),
            ..TrustArguments::default()
        };
        assert_eq!(Trust::load(&arguments).unwrap().anchors().crls(), 1);
        fs::write(&crl, "half").unwrap();
        let failure = Trust::load(&arguments).err().unwrap();
        assert_eq!(failure.exit, Exit::Environment);
        assert!(
            failure.message.contains("crl_invalid"),
            "{}",
            failure.message
        );
    }
}
