//! The PCR banks that a log is replayed in: those of hashes that still hold.

use aws_lc_rs::digest;

/// A PCR bank, weakest first. SHA-1 is none of them: PFP 1.06 allows it, and it proves nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the registry's")]
pub enum Bank {
    Sha256,
    Sha384,
    Sha512,
}

impl Bank {
    /// All of them, weakest first.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The TPM_ALG_ID.
    pub fn algorithm(self) -> u16 {
        match self {
            Self::Sha256 => 0x000B,
            Self::Sha384 => 0x000C,
            Self::Sha512 => 0x000D,
        }
    }

    /// The bank of a TPM_ALG_ID, if it is one of these.
    pub fn from_algorithm(algorithm: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|bank| bank.algorithm() == algorithm)
    }

    /// The name in configuration and messages: `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Digest size in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of the parts, one after the other.
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        if let [whole] = parts {
            return digest::digest(self.hash(), whole).as_ref().to_vec();
        }
        let mut context = digest::Context::new(self.hash());
        for part in parts {
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }

    /// Whether this is the digest of these bytes.
    pub(crate) fn is_digest(self, digest: &[u8], bytes: &[u8]) -> bool {
        digest::digest(self.hash(), bytes).as_ref() == digest
    }

    /// Extends a PCR: its new value is the digest of the old one and of what is extended, each of the bank's size.
    pub(crate) fn extend(self, value: &mut Vec<u8>, digest: &[u8]) {
        value.extend_from_slice(digest);
        let extended = digest::digest(self.hash(), value);
        value.clear();
        value.extend_from_slice(extended.as_ref());
    }

    fn hash(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

#[cfg(test)]
mod tests {
    use evidence::Hash;

    use super::*;

    #[test]
    fn banks_are_those_of_the_registry() {
        for (bank, hash) in Bank::ALL
            .into_iter()
            .zip([Hash::Sha256, Hash::Sha384, Hash::Sha512])
        {
            let algorithm = bank.algorithm();
            assert_eq!(algorithm, hash.algorithm().0);
            assert_eq!(Bank::from_algorithm(algorithm), Some(bank));
            assert_eq!(bank.name(), hash.name());
            assert_eq!(bank.size(), hash.size());
            assert_eq!(bank.digest(&[b"a", b"b"]), hash.digest(&[b"ab"]));
        }
        for other in [0x0004, 0x000A, 0x000E, 0x0012] {
            assert_eq!(Bank::from_algorithm(other), None);
        }
    }
}
