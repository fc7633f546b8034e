//! Committed keys, parsed once a process: generating RSA keys would dominate every test.

use std::sync::OnceLock;

use crate::{Key, KeyKind, TpmError};

/// Whose key a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The EK of the sample TPM.
    Ek,
    /// Its AK.
    Ak,
    /// A key that is neither: another TPM's, or an SRK.
    Other,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ek, Self::Ak, Self::Other];
}

impl Key {
    /// A committed key: the same in every process, and no secret to anybody.
    pub fn sample(role: Role, kind: KeyKind) -> Result<Self, TpmError> {
        let sample = SAMPLES
            .iter()
            .find(|sample| sample.role == role && sample.kind == kind)
            .ok_or(TpmError::Key)?;
        sample
            .key
            .get_or_init(|| Self::from_pkcs8(sample.pkcs8))
            .clone()
    }
}

struct Sample {
    role: Role,
    kind: KeyKind,
    pkcs8: &'static [u8],
    key: OnceLock<Result<Key, TpmError>>,
}

macro_rules! samples {
    ($($role:ident $kind:ident $file:literal,)*) => {
        [$(Sample {
            role: Role::$role,
            kind: KeyKind::$kind,
            pkcs8: include_bytes!(concat!("keys/", $file, ".der")),
            key: OnceLock::new(),
        }),*]
    };
}

static SAMPLES: [Sample; 18] = samples! {
    Ek Rsa2048 "ek-rsa2048",
    Ek Rsa3072 "ek-rsa3072",
    Ek Rsa4096 "ek-rsa4096",
    Ek P256 "ek-p256",
    Ek P384 "ek-p384",
    Ek P521 "ek-p521",
    Ak Rsa2048 "ak-rsa2048",
    Ak Rsa3072 "ak-rsa3072",
    Ak Rsa4096 "ak-rsa4096",
    Ak P256 "ak-p256",
    Ak P384 "ak-p384",
    Ak P521 "ak-p521",
    Other Rsa2048 "other-rsa2048",
    Other Rsa3072 "other-rsa3072",
    Other Rsa4096 "other-rsa4096",
    Other P256 "other-p256",
    Other P384 "other-p384",
    Other P521 "other-p521",
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use evidence::{Curve, SubjectKey};

    use super::*;

    #[test]
    fn every_sample_has_its_kind_and_no_two_are_equal() {
        let mut seen = HashSet::new();
        for (role, kind) in Role::ALL
            .into_iter()
            .flat_map(|role| KeyKind::ALL.map(|kind| (role, kind)))
        {
            let key = Key::sample(role, kind).unwrap();
            let found = match key.subject_key() {
                SubjectKey::Rsa { modulus, exponent } => {
                    assert_eq!(*exponent, 65_537);
                    match modulus.len() {
                        256 => KeyKind::Rsa2048,
                        384 => KeyKind::Rsa3072,
                        _ => KeyKind::Rsa4096,
                    }
                }
                SubjectKey::Ec { curve, .. } => match curve {
                    Curve::P256 => KeyKind::P256,
                    Curve::P384 => KeyKind::P384,
                    Curve::P521 => KeyKind::P521,
                },
            };
            assert_eq!(found, kind);
            assert!(seen.insert(key.subject_key().clone()), "{role:?} {kind:?}");
        }
    }
}
