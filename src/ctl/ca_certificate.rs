//! One CA certificate, and what a server would make of it.

use evidence::encode_pem;
use serde::Serialize;
use store::Found;
use verify::{Anchor, Anchors, EkKind, Reason, Vendor, parse_public_key};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::inspect_report::sha256;
use crate::text::{printable, rfc3339};

/// What a certificate of a collection is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CaCertificate {
    /// Of the DER, in hex.
    pub(crate) sha256: String,
    /// The vendor that it is bound to; any where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vendor: Option<String>,
    pub(crate) key: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_after: Option<String>,
    /// Why a server cannot use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    pub(crate) subject: String,
    #[serde(skip)]
    pub(crate) der: Vec<u8>,
    #[serde(skip)]
    pub(crate) owner: Option<Vendor>,
    #[serde(skip)]
    pub(crate) expires: Option<i64>,
}

impl CaCertificate {
    /// Looks at a certificate; `now` is in Unix seconds.
    pub(crate) fn of(found: Found, now: i64) -> Self {
        let parsed = X509Certificate::from_der(&found.der).ok();
        let parsed = parsed.as_ref().map(|(_, certificate)| certificate);
        let key = parsed.and_then(|of| parse_public_key(of.public_key().raw).ok());
        let end = parsed.map(|of| of.validity().not_after);
        let expires = end.map(|end| end.timestamp());
        let unusable = unusable(&found.der);
        let expired = expires
            .is_some_and(|end| end < now)
            .then_some(Reason::CaExpired);
        Self {
            sha256: sha256(&found.der),
            vendor: found.owner.map(|owner| owner.to_string()),
            key: key
                .as_ref()
                .and_then(EkKind::of)
                .map_or("other", EkKind::name),
            not_after: end.map(rfc3339),
            reason: unusable.or(expired).map(Reason::code),
            subject: parsed.map_or_else(
                || "not readable".to_owned(),
                |of| printable(&of.subject().to_string()),
            ),
            expires,
            owner: found.owner,
            der: found.der,
        }
    }

    /// Its name for people.
    pub(crate) fn vendor(&self) -> &str {
        self.vendor.as_deref().unwrap_or(ANY)
    }

    /// Its block in a bundle, with the line that binds it to its vendor.
    pub(crate) fn block(&self) -> String {
        let owner = self.vendor.as_ref();
        let owner = owner.map(|vendor| format!("# Owner: {vendor}\n"));
        format!(
            "# Subject: {}\n{}# SHA-256: {}\n{}",
            self.subject,
            owner.unwrap_or_default(),
            self.sha256,
            encode_pem("CERTIFICATE", &self.der)
        )
    }
}

/// Why a certificate can be no issuer, now or ever.
fn unusable(der: &[u8]) -> Option<Reason> {
    let (_, unusable) = Anchors::new([Anchor::from(der.to_vec())], []);
    unusable.first().map(|bad| bad.reason)
}

/// Stands for a vendor where none is named.
const ANY: &str = "any";
