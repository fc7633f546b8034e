//! What an operator ties to a single anchor: the vendors it may vouch for, and the rules it is excused from.

use std::collections::BTreeSet;

use crate::Vendor;

/// A certificate that ends chains, and on what terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The certificate.
    pub der: Vec<u8>,
    /// On what terms it ends a chain.
    pub terms: Terms,
}

/// On what terms an anchor ends a chain. By default for every vendor, and nothing is waived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// The vendors whose TPMs it may vouch for; `None` stands for all.
    pub vendors: Option<Vec<Vendor>>,
    /// The rules that EK certificates below it may break.
    pub waivers: BTreeSet<Waiver>,
}

/// A rule that certificates of some vendor are known to break.
///
/// The key usage is not among them: it is what tells an EK from an AK where one CA certifies both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waiver {
    /// The EK certificate has no extended key usage at all.
    ExtendedKeyUsage,
    /// The EK certificate has no subject alternative name; its vendor is then unknown.
    AlternativeName,
    /// The EK certificate has no basic constraints.
    BasicConstraints,
    /// Certificates below the anchor are signed by RSA with SHA-1.
    Sha1,
    /// The EK certificate has expired.
    Expired,
    /// The EK certificate gives its RSA key under the identifier of RSAES-OAEP.
    RsaesOaep,
}

impl From<Vec<u8>> for Anchor {
    fn from(der: Vec<u8>) -> Self {
        Self {
            der,
            terms: Terms::default(),
        }
    }
}

impl Terms {
    /// Whether the anchor may vouch for TPMs of a vendor.
    pub(crate) fn admit(&self, vendor: Vendor) -> bool {
        self.vendors
            .as_ref()
            .is_none_or(|vendors| vendors.contains(&vendor))
    }
}

impl Waiver {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ExtendedKeyUsage,
        Self::AlternativeName,
        Self::BasicConstraints,
        Self::Sha1,
        Self::Expired,
        Self::RsaesOaep,
    ];

    /// The name in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExtendedKeyUsage => "extended_key_usage",
            Self::AlternativeName => "alternative_name",
            Self::BasicConstraints => "basic_constraints",
            Self::Sha1 => "sha1",
            Self::Expired => "expired",
            Self::RsaesOaep => "rsaes_oaep",
        }
    }

    /// The waiver of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|waiver| waiver.name() == name)
    }
}
