//! EK and AK templates (TCG EK Credential Profile 2.6, annex B; AK as a primary of the endorsement hierarchy).

use crate::{Algorithm, Attributes, Curve, Hash, Public, PublicKey, Scheme, SubjectKey, Symmetric};

/// What follows from the type and size of an EK: the peer chooses no algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EkProfile {
    /// nameAlg of the EK: the hash of OAEP, the key derivations and the outer HMAC.
    pub hash: Hash,
    /// Bits of the AES key that wraps a credential.
    pub aes_bits: u16,
}

/// The default templates that this project knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the profile's")]
pub enum EkTemplate {
    L1,
    L2,
    H1,
    H2,
    H3,
    H4,
    H6,
    H7,
}

/// The attestation keys that an agent may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AkTemplate {
    /// ECDSA with SHA-256 over P-256.
    EccP256,
    /// RSASSA with SHA-256 and 2,048 bits, the only kind that servers of the first generation take.
    Rsa2048,
}

impl EkProfile {
    /// The profile of an EK; `None` for a key that is no EK by any known template.
    pub fn of(key: &SubjectKey) -> Option<Self> {
        let (hash, aes_bits) = match key {
            SubjectKey::Rsa { modulus, .. } => match modulus.len() {
                256 => (Hash::Sha256, 128),
                384 | 512 => (Hash::Sha384, 256),
                _ => return None,
            },
            SubjectKey::Ec {
                curve: Curve::P256, ..
            } => (Hash::Sha256, 128),
            SubjectKey::Ec {
                curve: Curve::P384, ..
            } => (Hash::Sha384, 256),
            SubjectKey::Ec {
                curve: Curve::P521, ..
            } => (Hash::Sha512, 256),
        };
        Some(Self { hash, aes_bits })
    }
}

impl EkTemplate {
    /// All of them, in the order of their NV indices.
    pub const ALL: [Self; 8] = [
        Self::L1,
        Self::L2,
        Self::H1,
        Self::H2,
        Self::H3,
        Self::H4,
        Self::H6,
        Self::H7,
    ];

    /// The name in configuration and reports: `L-1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::L1 => "L-1",
            Self::L2 => "L-2",
            Self::H1 => "H-1",
            Self::H2 => "H-2",
            Self::H3 => "H-3",
            Self::H4 => "H-4",
            Self::H6 => "H-6",
            Self::H7 => "H-7",
        }
    }

    /// NV index of the certificate.
    pub fn certificate_index(self) -> u32 {
        match self {
            Self::L1 => 0x01C0_0002,
            Self::L2 => 0x01C0_000A,
            Self::H1 => 0x01C0_0012,
            Self::H2 => 0x01C0_0014,
            Self::H3 => 0x01C0_0016,
            Self::H4 => 0x01C0_0018,
            Self::H6 => 0x01C0_001C,
            Self::H7 => 0x01C0_001E,
        }
    }

    /// NV index of the nonce that goes into the unique field; the low range only.
    pub fn nonce_index(self) -> Option<u32> {
        match self {
            Self::L1 => Some(0x01C0_0003),
            Self::L2 => Some(0x01C0_000B),
            _ => None,
        }
    }

    /// NV index of a template that replaces this one.
    pub fn template_index(self) -> u32 {
        match self {
            Self::L1 => 0x01C0_0004,
            Self::L2 => 0x01C0_000C,
            _ => self.certificate_index() + 1,
        }
    }

    /// The public area to create the EK from. `nonce` fills the unique field of a low-range
    /// template from the left (annex B.3.2) and must not be longer than it.
    pub fn public(self, nonce: &[u8]) -> Public {
        let (hash, aes_bits) = self.name_alg_and_aes();
        let symmetric = Symmetric::Cipher {
            algorithm: Algorithm::AES,
            bits: aes_bits,
            mode: Algorithm::CFB,
        };
        let attributes = if self.is_low() {
            EK_LOW
        } else {
            EK_LOW | Attributes::USER_WITH_AUTH
        };
        let policy = if self.is_low() {
            policy_a(hash)
        } else {
            policy_b(hash)
        };
        Public::new(
            hash,
            attributes,
            &policy,
            symmetric,
            Scheme::Null,
            self.key(nonce),
        )
    }

    fn is_low(self) -> bool {
        matches!(self, Self::L1 | Self::L2)
    }

    fn name_alg_and_aes(self) -> (Hash, u16) {
        match self {
            Self::L1 | Self::L2 | Self::H1 | Self::H2 => (Hash::Sha256, 128),
            Self::H3 | Self::H6 | Self::H7 => (Hash::Sha384, 256),
            Self::H4 => (Hash::Sha512, 256),
        }
    }

    fn key(self, nonce: &[u8]) -> PublicKey {
        let unique = |width: usize| {
            let mut unique = if self.is_low() {
                vec![0; width]
            } else {
                Vec::new()
            };
            unique
                .iter_mut()
                .zip(nonce)
                .for_each(|(to, from)| *to = *from);
            unique
        };
        let rsa = |bits| PublicKey::Rsa {
            bits,
            exponent: 0,
            modulus: unique(usize::from(bits) / 8),
        };
        let ecc = |curve: Curve| {
            let x = unique(curve.field_size());
            let y = if self.is_low() {
                vec![0; curve.field_size()]
            } else {
                Vec::new()
            };
            PublicKey::Ecc {
                curve: curve.id(),
                kdf: None,
                x,
                y,
            }
        };
        match self {
            Self::L1 | Self::H1 => rsa(2048),
            Self::H6 => rsa(3072),
            Self::H7 => rsa(4096),
            Self::L2 | Self::H2 => ecc(Curve::P256),
            Self::H3 => ecc(Curve::P384),
            Self::H4 => ecc(Curve::P521),
        }
    }
}

impl AkTemplate {
    /// The public area to create the AK from: fixedTPM, fixedParent, sensitiveDataOrigin,
    /// userWithAuth, noDA, restricted, sign.
    pub fn public(self) -> Public {
        let (algorithm, key) = match self {
            Self::EccP256 => (
                Algorithm::ECDSA,
                PublicKey::Ecc {
                    curve: Curve::P256.id(),
                    kdf: None,
                    x: Vec::new(),
                    y: Vec::new(),
                },
            ),
            Self::Rsa2048 => (
                Algorithm::RSASSA,
                PublicKey::Rsa {
                    bits: 2048,
                    exponent: 0,
                    modulus: Vec::new(),
                },
            ),
        };
        let scheme = Scheme::Of {
            algorithm,
            hash: Some(Algorithm::SHA256),
            count: None,
        };
        Public::new(Hash::Sha256, 0x0005_0472, &[], Symmetric::Null, scheme, key)
    }
}

/// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
const EK_LOW: u32 = 0x0003_00B2;

/// PolicySecret of the endorsement hierarchy (annex B.6.2).
fn policy_a(hash: Hash) -> Vec<u8> {
    let zero = vec![0; hash.size()];
    let secret = hash.digest(&[
        &zero,
        &0x0151u32.to_be_bytes(),
        &0x4000_000Bu32.to_be_bytes(),
    ]);
    hash.digest(&[&secret])
}

/// PolicyAuthorizeNV over the index of this hash (annex B.6.4).
fn policy_c(hash: Hash) -> Vec<u8> {
    let index: u32 = match hash {
        Hash::Sha1 | Hash::Sha256 => 0x01C0_7F01,
        Hash::Sha384 => 0x01C0_7F02,
        Hash::Sha512 => 0x01C0_7F03,
    };
    let size = u16::try_from(hash.size() + 2).unwrap_or_default();
    let area = crate::Writer::new()
        .u32(index)
        .u16(hash.algorithm().0)
        .u32(0x220F_1008)
        .sized(&policy_a(hash))
        .u16(size)
        .finish();
    let name = [
        hash.algorithm().0.to_be_bytes().as_slice(),
        &hash.digest(&[&area]),
    ]
    .concat();
    hash.digest(&[&vec![0; hash.size()], &0x0192u32.to_be_bytes(), &name])
}

/// PolicyOR of the two (annex B.6.5).
fn policy_b(hash: Hash) -> Vec<u8> {
    let (a, c) = (policy_a(hash), policy_c(hash));
    hash.digest(&[&vec![0; hash.size()], &0x0171u32.to_be_bytes(), &a, &c])
}

/// PolicyA and PolicyC, the branches that TPM2_PolicyOR needs for a high-range EK.
impl EkProfile {
    /// PolicyA of the profile's hash.
    pub fn policy_a(self) -> Vec<u8> {
        policy_a(self.hash)
    }

    /// The branches of PolicyB in order.
    pub fn policy_b_branches(self) -> [Vec<u8>; 2] {
        [policy_a(self.hash), policy_c(self.hash)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the EK Credential Profile, annex B.6.
    #[test]
    fn policies_have_the_published_values() {
        for (digest, expect) in [
            (
                policy_a(Hash::Sha256),
                "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa",
            ),
            (
                policy_c(Hash::Sha256),
                "3767e2edd43ff45a3a7e1eaefcef78643dca964632e7aad82c673a30d8633fde",
            ),
            (
                policy_b(Hash::Sha256),
                "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0",
            ),
            (
                policy_b(Hash::Sha384),
                "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12",
            ),
        ] {
            assert_eq!(hex::encode(digest), expect);
        }
    }

    #[test]
    fn low_templates_have_the_known_size_and_take_a_nonce() {
        assert_eq!(EkTemplate::L1.public(&[]).as_bytes().len(), 314);
        assert_eq!(EkTemplate::L2.public(&[]).as_bytes().len(), 122);
        let PublicKey::Rsa { modulus, .. } = EkTemplate::L1.public(&[7; 32]).key else {
            panic!("L-1 is RSA")
        };
        assert_eq!((&modulus[..32], modulus[32]), (&[7; 32][..], 0));
    }
}
