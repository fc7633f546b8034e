//! Verifying a TPM's signature with the scheme that the key, not the signature, names.

use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, RsaParameters, UnparsedPublicKey};
use evidence::{
    Algorithm, Curve, Hash, Public, PublicKey, Scheme, Signature, SignatureValue, SubjectKey,
    Symmetric,
};

use crate::Reason;
use crate::rsa::{pkcs1, pss, rsa_verifies};

/// The scheme a signing key is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SigningScheme {
    pub(crate) algorithm: Algorithm,
    pub(crate) hash: Hash,
}

impl SigningScheme {
    /// The scheme that a public area binds its key to, whether or not it [fits](Self::fits); `None` where that is left open,
    /// or of a kind that is not by a hash alone.
    pub(crate) fn of(public: &Public) -> Option<Self> {
        let Scheme::Of {
            algorithm,
            hash: Some(hash),
            count: None,
        } = public.scheme
        else {
            return None;
        };
        let hash = Hash::from_algorithm(hash)?;
        Some(Self { algorithm, hash })
    }

    /// Whether this verifier verifies the scheme with keys like `key`.
    pub(crate) fn fits(self, key: &SubjectKey) -> bool {
        match key {
            SubjectKey::Rsa { .. } => rsa_parameters(self).is_some(),
            SubjectKey::Ec { curve, .. } => {
                self.algorithm == Algorithm::ECDSA && ecdsa_parameters(*curve, self.hash).is_some()
            }
        }
    }
}

/// Whether a public area has no parameters of encryption or of key derivation, which a signing key has no use for.
pub(crate) fn signs_only(public: &Public) -> bool {
    let derives = matches!(public.key, PublicKey::Ecc { kdf: Some(_), .. });
    !derives && public.symmetric == Symmetric::Null
}

/// TPM library part 1, section 11.4.5: the signature of a restricted key is by the key's own
/// scheme; a signature that names another algorithm or hash is none of this key.
pub(crate) fn verify_signature(
    key: &SubjectKey,
    scheme: SigningScheme,
    message: &[u8],
    signature: &Signature,
) -> Result<(), Reason> {
    if signature.algorithm != scheme.algorithm || signature.hash != scheme.hash.algorithm() {
        return Err(Reason::SignatureScheme);
    }
    let valid = match (key, &signature.value) {
        (SubjectKey::Rsa { modulus, exponent }, SignatureValue::Rsa(value)) => {
            rsa_verifies(rsa_parameters(scheme), modulus, *exponent, message, value)
        }
        (SubjectKey::Ec { curve, .. }, SignatureValue::Ecdsa { r, s }) => {
            let point = key.point().unwrap_or_default();
            verify_ecdsa(*curve, &point, scheme.hash, message, r, s)
        }
        _ => return Err(Reason::SignatureScheme),
    };
    if valid {
        Ok(())
    } else {
        Err(Reason::BadSignature)
    }
}

/// FIPS 186-5, section 6.4.2: r and s in 1..n−1, which the library checks. Scalars may come with
/// leading zeros or without.
fn verify_ecdsa(
    curve: Curve,
    point: &[u8],
    hash: Hash,
    message: &[u8],
    r: &[u8],
    s: &[u8],
) -> bool {
    let Some(algorithm) = ecdsa_parameters(curve, hash) else {
        return false;
    };
    let width = curve.field_size();
    let Some(fixed) = widen(r, width)
        .zip(widen(s, width))
        .map(|(r, s)| [r, s].concat())
    else {
        return false;
    };
    UnparsedPublicKey::new(algorithm, point)
        .verify(message, &fixed)
        .is_ok()
}

fn rsa_parameters(scheme: SigningScheme) -> Option<&'static RsaParameters> {
    match scheme.algorithm {
        Algorithm::RSASSA => pkcs1(scheme.hash),
        Algorithm::RSAPSS => pss(scheme.hash),
        _ => None,
    }
}

fn ecdsa_parameters(curve: Curve, hash: Hash) -> Option<&'static EcdsaVerificationAlgorithm> {
    Some(match (curve, hash) {
        (Curve::P256, Hash::Sha256) => &signature::ECDSA_P256_SHA256_FIXED,
        (Curve::P384, Hash::Sha384) => &signature::ECDSA_P384_SHA384_FIXED,
        (Curve::P521, Hash::Sha256) => &signature::ECDSA_P521_SHA256_FIXED,
        (Curve::P521, Hash::Sha384) => &signature::ECDSA_P521_SHA384_FIXED,
        (Curve::P521, Hash::Sha512) => &signature::ECDSA_P521_SHA512_FIXED,
        _ => return None,
    })
}

fn widen(scalar: &[u8], width: usize) -> Option<Vec<u8>> {
    let start = scalar
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(scalar.len());
    let digits = scalar.get(start..)?;
    Some([vec![0; width.checked_sub(digits.len())?].as_slice(), digits].concat())
}
