//! Private keys: made or given, signing like a TPM key and opening seeds like an EK.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384,
    OAEP_SHA512_MGF1SHA512, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, RsaEncoding};
use evidence::{
    Algorithm, Curve, Hash, Malformed, PublicKey, Reader, Signature, SignatureValue, SubjectKey,
    kdfe,
};

use crate::{TpmError, witness};

/// The types and sizes of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the field's")]
pub enum KeyKind {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    P256,
    P384,
    P521,
}

/// A key pair.
#[derive(Clone)]
pub struct Key(Arc<Material>);

impl KeyKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::P256,
        Self::P384,
        Self::P521,
    ];
}

impl Key {
    /// Makes a key. RSA takes from a tenth of a second to several seconds; see [`Key::sample`].
    pub fn generate(kind: KeyKind) -> Result<Self, TpmError> {
        let rsa = |size| {
            let key = KeyPair::generate(size).map_err(|_failed| TpmError::Key)?;
            Self::from_pkcs8(pkcs8(&key)?.as_ref())
        };
        let ec = |curve| {
            let key = PrivateKey::generate(ecdh(curve)).map_err(|_failed| TpmError::Key)?;
            Self::from_pkcs8(pkcs8(&key)?.as_ref())
        };
        match kind {
            KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyKind::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyKind::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyKind::P256 => ec(Curve::P256),
            KeyKind::P384 => ec(Curve::P384),
            KeyKind::P521 => ec(Curve::P521),
        }
    }

    /// Takes a PKCS#8 private key in DER.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, TpmError> {
        let (subject, private) = rsa_from(der)
            .or_else(|| Curve::ALL.into_iter().find_map(|curve| ec_from(der, curve)))
            .ok_or(TpmError::Key)?;
        witness::tell_private_key(der);
        Ok(Self(Arc::new(Material {
            subject,
            pkcs8: der.to_vec(),
            private,
        })))
    }

    /// The private key as PKCS#8 in DER.
    pub fn pkcs8(&self) -> &[u8] {
        &self.0.pkcs8
    }

    /// The public key as numbers.
    pub fn subject_key(&self) -> &SubjectKey {
        &self.0.subject
    }

    /// The public key as it stands in a public area: no KDF, exponent 0 for 65537.
    pub fn public_key(&self) -> PublicKey {
        match self.subject_key().clone() {
            SubjectKey::Rsa { modulus, exponent } => PublicKey::Rsa {
                bits: u16::try_from(modulus.len() * 8).unwrap_or_default(),
                exponent: match exponent {
                    65_537 => 0,
                    other => u32::try_from(other).unwrap_or_default(),
                },
                modulus,
            },
            SubjectKey::Ec { curve, x, y } => PublicKey::Ecc {
                curve: curve.id(),
                kdf: None,
                x,
                y,
            },
        }
    }

    /// Signs any bytes. RSA keys sign by RSASSA and RSAPSS (salt as long as the digest) with
    /// SHA-256, SHA-384 or SHA-512; ECC keys by ECDSA with the hash of their size, P-521 with any
    /// of the three.
    pub fn sign(
        &self,
        algorithm: Algorithm,
        hash: Hash,
        message: &[u8],
    ) -> Result<Signature, TpmError> {
        let value = match (&self.0.private, &self.0.subject) {
            (Private::Rsa { signing, .. }, _) => {
                SignatureValue::Rsa(sign_rsa(signing, rsa_encoding(algorithm, hash)?, message)?)
            }
            (Private::Ec { .. }, SubjectKey::Ec { curve, .. }) if algorithm == Algorithm::ECDSA => {
                self.sign_ec(*curve, hash, message)?
            }
            _ => return Err(TpmError::Scheme),
        };
        Ok(Signature {
            algorithm,
            hash: hash.algorithm(),
            value,
        })
    }

    /// Opens a TPM2B_ENCRYPTED_SECRET, given without its size, to the seed inside. ECC coordinates
    /// must stand at the field's width: what a TPM makes of others depends on its age.
    pub fn open_seed(
        &self,
        hash: Hash,
        label: &str,
        encrypted: &[u8],
    ) -> Result<Vec<u8>, TpmError> {
        match (&self.0.private, &self.0.subject) {
            (Private::Rsa { opening, .. }, _) => open_rsa(opening, hash, label, encrypted),
            (Private::Ec { agreeing, .. }, SubjectKey::Ec { curve, x, .. }) => {
                open_ec(agreeing, *curve, x, hash, label, encrypted)
            }
            (Private::Ec { .. }, SubjectKey::Rsa { .. }) => Err(TpmError::Key),
        }
    }

    fn sign_ec(
        &self,
        curve: Curve,
        hash: Hash,
        message: &[u8],
    ) -> Result<SignatureValue, TpmError> {
        let other;
        let pair = match &self.0.private {
            Private::Ec { signing, .. } if hash == usual_hash(curve) => signing.as_ref(),
            _ => {
                other = ecdsa_pair(curve, hash, self.pkcs8())?;
                &other
            }
        };
        let signature = pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_failed| TpmError::Scheme)?;
        let (r, s) = signature
            .as_ref()
            .split_at_checked(curve.field_size())
            .ok_or(TpmError::Scheme)?;
        Ok(SignatureValue::Ecdsa {
            r: r.to_vec(),
            s: s.to_vec(),
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({:?})", self.0.subject)
    }
}

struct Material {
    subject: SubjectKey,
    pkcs8: Vec<u8>,
    private: Private,
}

enum Private {
    Rsa {
        signing: Box<KeyPair>,
        opening: OaepPrivateDecryptingKey,
    },
    Ec {
        agreeing: PrivateKey,
        /// With the hash of the curve's size: reading the key again costs more than a signature.
        signing: Box<EcdsaKeyPair>,
    },
}

fn pkcs8(key: &impl AsDer<Pkcs8V1Der<'static>>) -> Result<Pkcs8V1Der<'static>, TpmError> {
    key.as_der().map_err(|_failed| TpmError::Key)
}

fn rsa_from(der: &[u8]) -> Option<(SubjectKey, Private)> {
    let signing = KeyPair::from_pkcs8(der).ok()?;
    let opening = PrivateDecryptingKey::from_pkcs8(der).ok()?;
    let public = signature::KeyPair::public_key(&signing);
    let exponent = public.exponent().big_endian_without_leading_zero();
    let exponent = exponent.iter().try_fold(0u64, |all, byte| {
        Some(all.checked_mul(256)? + u64::from(*byte))
    })?;
    let subject = SubjectKey::rsa(public.modulus().big_endian_without_leading_zero(), exponent)?;
    Some((
        subject,
        Private::Rsa {
            signing: Box::new(signing),
            opening: OaepPrivateDecryptingKey::new(opening).ok()?,
        },
    ))
}

fn ec_from(der: &[u8], curve: Curve) -> Option<(SubjectKey, Private)> {
    let agreeing = PrivateKey::from_private_key_der(ecdh(curve), der).ok()?;
    let point = agreeing.compute_public_key().ok()?;
    let (x, y) = point
        .as_ref()
        .get(1..)?
        .split_at_checked(curve.field_size())?;
    let signing = Box::new(ecdsa_pair(curve, usual_hash(curve), der).ok()?);
    let private = Private::Ec { agreeing, signing };
    Some((SubjectKey::ec(curve, x, y)?, private))
}

fn ecdsa_pair(curve: Curve, hash: Hash, der: &[u8]) -> Result<EcdsaKeyPair, TpmError> {
    EcdsaKeyPair::from_pkcs8(ecdsa(curve, hash)?, der).map_err(|_rejected| TpmError::Key)
}

/// The hash of a curve's size.
fn usual_hash(curve: Curve) -> Hash {
    match curve {
        Curve::P256 => Hash::Sha256,
        Curve::P384 => Hash::Sha384,
        Curve::P521 => Hash::Sha512,
    }
}

fn ecdh(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
        Curve::P521 => &agreement::ECDH_P521,
    }
}

fn ecdsa(curve: Curve, hash: Hash) -> Result<&'static EcdsaSigningAlgorithm, TpmError> {
    Ok(match (curve, hash) {
        (Curve::P256, Hash::Sha256) => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        (Curve::P384, Hash::Sha384) => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        (Curve::P521, Hash::Sha256) => &signature::ECDSA_P521_SHA256_FIXED_SIGNING,
        (Curve::P521, Hash::Sha384) => &signature::ECDSA_P521_SHA384_FIXED_SIGNING,
        (Curve::P521, Hash::Sha512) => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        _ => return Err(TpmError::Scheme),
    })
}

fn rsa_encoding(algorithm: Algorithm, hash: Hash) -> Result<&'static dyn RsaEncoding, TpmError> {
    Ok(match (algorithm, hash) {
        (Algorithm::RSASSA, Hash::Sha256) => &signature::RSA_PKCS1_SHA256,
        (Algorithm::RSASSA, Hash::Sha384) => &signature::RSA_PKCS1_SHA384,
        (Algorithm::RSASSA, Hash::Sha512) => &signature::RSA_PKCS1_SHA512,
        (Algorithm::RSAPSS, Hash::Sha256) => &signature::RSA_PSS_SHA256,
        (Algorithm::RSAPSS, Hash::Sha384) => &signature::RSA_PSS_SHA384,
        (Algorithm::RSAPSS, Hash::Sha512) => &signature::RSA_PSS_SHA512,
        _ => return Err(TpmError::Scheme),
    })
}

fn sign_rsa(
    key: &KeyPair,
    encoding: &'static dyn RsaEncoding,
    message: &[u8],
) -> Result<Vec<u8>, TpmError> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature)
        .map_err(|_failed| TpmError::Scheme)?;
    Ok(signature)
}

fn open_rsa(
    key: &OaepPrivateDecryptingKey,
    hash: Hash,
    label: &str,
    encrypted: &[u8],
) -> Result<Vec<u8>, TpmError> {
    let algorithm = match hash {
        Hash::Sha1 => &OAEP_SHA1_MGF1SHA1,
        Hash::Sha256 => &OAEP_SHA256_MGF1SHA256,
        Hash::Sha384 => &OAEP_SHA384_MGF1SHA384,
        Hash::Sha512 => &OAEP_SHA512_MGF1SHA512,
    };
    let label = [label.as_bytes(), &[0]].concat();
    let mut seed = vec![0; key.min_output_size()];
    let seed = key
        .decrypt(algorithm, encrypted, &mut seed, Some(&label))
        .map_err(|_failed| TpmError::Value)?;
    if seed.len() > hash.size() {
        return Err(TpmError::Value);
    }
    Ok(seed.to_vec())
}

fn open_ec(
    key: &PrivateKey,
    curve: Curve,
    static_x: &[u8],
    hash: Hash,
    label: &str,
    encrypted: &[u8],
) -> Result<Vec<u8>, TpmError> {
    let mut reader = Reader::new(encrypted);
    let x = reader.sized(curve.field_size())?;
    let y = reader.sized(curve.field_size())?;
    reader.end()?;
    if x.len() != curve.field_size() || y.len() != curve.field_size() {
        return Err(Malformed::Value.into());
    }
    let peer = UnparsedPublicKey::new(ecdh(curve), [&[4], x, y].concat());
    let bits = u32::try_from(hash.size() * 8).unwrap_or_default();
    agreement::agree(key, peer, TpmError::Value, |z| {
        Ok(kdfe(hash, z, label, x, static_x, bits).to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    #[test]
    fn generated_keys_survive_pkcs8_and_differ() {
        for kind in [
            KeyKind::Rsa2048,
            KeyKind::P256,
            KeyKind::P384,
            KeyKind::P521,
        ] {
            let key = Key::generate(kind).unwrap();
            let again = Key::from_pkcs8(key.pkcs8()).unwrap();
            assert_eq!(key.subject_key(), again.subject_key());
            assert_ne!(
                key.subject_key(),
                Key::generate(kind).unwrap().subject_key()
            );
        }
        assert_eq!(Key::from_pkcs8(b"garbage").unwrap_err(), TpmError::Key);
    }

    #[test]
    fn keys_sign_by_their_own_schemes_only() {
        let rsa = Key::sample(Role::Ak, KeyKind::Rsa2048).unwrap();
        let p256 = Key::sample(Role::Ak, KeyKind::P256).unwrap();
        for (key, algorithm, hash) in [
            (&rsa, Algorithm::ECDSA, Hash::Sha256),
            (&rsa, Algorithm::RSASSA, Hash::Sha1),
            (&p256, Algorithm::RSASSA, Hash::Sha256),
            (&p256, Algorithm::ECDSA, Hash::Sha384),
            (&p256, Algorithm::ECDAA, Hash::Sha256),
        ] {
            assert_eq!(
                key.sign(algorithm, hash, b"m"),
                Err(TpmError::Scheme),
                "{algorithm:?} {hash:?}"
            );
        }
    }
}
