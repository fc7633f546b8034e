//! The signature algorithms of certificates, and verification over the bytes that were signed.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, EcdsaVerificationAlgorithm,
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
};
use evidence::{Curve, Hash, SubjectKey};
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::AlgorithmIdentifier;

use crate::Reason;
use crate::rsa::{pkcs1, pss, rsa_verifies};

/// An algorithm by which a certificate may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateSignature {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// RSASSA-PKCS1-v1_5 with SHA-1, which counts only below an anchor that waives the rule.
    RsaPkcs1Sha1,
    /// RSASSA-PSS with MGF1 over the same hash and a salt of the digest's size.
    RsaPss(Hash),
    /// ECDSA.
    Ecdsa(Hash),
}

impl CertificateSignature {
    /// The algorithm of an AlgorithmIdentifier (RFC 4055, RFC 5758).
    ///
    /// NIST SP 800-131A rev. 2, section 9: SHA-1, and all that is older, may not be used to sign. What
    /// is read of it here is for [`Self::is_weak`] to refuse.
    pub(crate) fn read(identifier: &AlgorithmIdentifier<'_>) -> Result<Self, Reason> {
        match identifier.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.11" => Ok(Self::RsaPkcs1(Hash::Sha256)),
            "1.2.840.113549.1.1.12" => Ok(Self::RsaPkcs1(Hash::Sha384)),
            "1.2.840.113549.1.1.13" => Ok(Self::RsaPkcs1(Hash::Sha512)),
            "1.2.840.113549.1.1.10" => read_pss(identifier),
            "1.2.840.10045.4.3.2" => Ok(Self::Ecdsa(Hash::Sha256)),
            "1.2.840.10045.4.3.3" => Ok(Self::Ecdsa(Hash::Sha384)),
            "1.2.840.10045.4.3.4" => Ok(Self::Ecdsa(Hash::Sha512)),
            "1.2.840.113549.1.1.5" => Ok(Self::RsaPkcs1Sha1),
            // ECDSA with SHA-1, which no TPM vendor's CA used.
            "1.2.840.10045.4.1" => Err(Reason::WeakSignatureAlg),
            // RSA with MD2 or MD5 among them.
            _ => Err(Reason::UnsupportedSignatureAlg),
        }
    }

    /// Whether the rule on hashes has to be waived.
    pub(crate) fn is_weak(self) -> bool {
        self == Self::RsaPkcs1Sha1
    }

    /// Whether `key` made `signature` over `message`. A key of another kind did not.
    pub(crate) fn is_by(self, key: &SubjectKey, message: &[u8], signature: &[u8]) -> bool {
        match (self, key) {
            (Self::RsaPkcs1(hash), SubjectKey::Rsa { modulus, exponent }) => {
                rsa_verifies(pkcs1(hash), modulus, *exponent, message, signature)
            }
            (Self::RsaPkcs1Sha1, SubjectKey::Rsa { modulus, exponent }) => rsa_verifies(
                Some(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
                modulus,
                *exponent,
                message,
                signature,
            ),
            (Self::RsaPss(hash), SubjectKey::Rsa { modulus, exponent }) => {
                rsa_verifies(pss(hash), modulus, *exponent, message, signature)
            }
            (Self::Ecdsa(hash), SubjectKey::Ec { curve, .. }) => {
                let point = key.point().unwrap_or_default();
                ecdsa(*curve, hash).is_some_and(|algorithm| {
                    UnparsedPublicKey::new(algorithm, point)
                        .verify(message, signature)
                        .is_ok()
                })
            }
            _ => false,
        }
    }
}

/// RFC 4055, 3.1: hash and mask generation use one hash, the salt has the digest's size, and the
/// trailer is 1. What is left out stands for SHA-1.
fn read_pss(identifier: &AlgorithmIdentifier<'_>) -> Result<CertificateSignature, Reason> {
    let unsupported = Reason::UnsupportedSignatureAlg;
    let parameters = identifier.parameters.as_ref().ok_or(unsupported)?;
    let Ok(parameters) = RsaSsaPssParams::try_from(parameters) else {
        return Err(unsupported);
    };
    let hash = match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => Hash::Sha256,
        "2.16.840.1.101.3.4.2.2" => Hash::Sha384,
        "2.16.840.1.101.3.4.2.3" => Hash::Sha512,
        "1.3.14.3.2.26" => return Err(Reason::WeakSignatureAlg),
        _ => return Err(unsupported),
    };
    let Ok(mask) = parameters.mask_gen_algorithm() else {
        return Err(unsupported);
    };
    let is_usual = mask.mgf.to_id_string() == "1.2.840.113549.1.1.8"
        && &mask.hash == parameters.hash_algorithm_oid()
        && usize::try_from(parameters.salt_length()) == Ok(hash.size())
        && parameters.trailer_field() == 1;
    if is_usual {
        Ok(CertificateSignature::RsaPss(hash))
    } else {
        Err(unsupported)
    }
}

fn ecdsa(curve: Curve, hash: Hash) -> Option<&'static EcdsaVerificationAlgorithm> {
    match (curve, hash) {
        (_, Hash::Sha1) => None,
        (Curve::P256, Hash::Sha256) => Some(&ECDSA_P256_SHA256_ASN1),
        (Curve::P256, Hash::Sha384) => Some(&ECDSA_P256_SHA384_ASN1),
        (Curve::P256, Hash::Sha512) => Some(&ECDSA_P256_SHA512_ASN1),
        (Curve::P384, Hash::Sha256) => Some(&ECDSA_P384_SHA256_ASN1),
        (Curve::P384, Hash::Sha384) => Some(&ECDSA_P384_SHA384_ASN1),
        (Curve::P384, Hash::Sha512) => Some(&ECDSA_P384_SHA512_ASN1),
        (Curve::P521, Hash::Sha256) => Some(&ECDSA_P521_SHA256_ASN1),
        (Curve::P521, Hash::Sha384) => Some(&ECDSA_P521_SHA384_ASN1),
        (Curve::P521, Hash::Sha512) => Some(&ECDSA_P521_SHA512_ASN1),
    }
}
