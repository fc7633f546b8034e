//! Public keys: read from a SubjectPublicKeyInfo, and refused when they are weak.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, UnparsedPublicKey,
};
use evidence::{Curve, EkProfile, SubjectKey};

use crate::der::{self, Element};
use crate::roca::has_roca_fingerprint;
use crate::{Reason, Rejection};

/// Reads a SubjectPublicKeyInfo in DER (RFC 5280, 4.1.2.7) that is all of `spki`: RSA, or a point of
/// a named curve. Whether the key is strong enough is for [`sound_key`].
pub fn parse_public_key(spki: &[u8]) -> Result<SubjectKey, Rejection> {
    if !der::is_der(spki) {
        return Err(malformed("the SubjectPublicKeyInfo is not DER"));
    }
    let members = Element::only(spki).and_then(|element| element.members(der::SEQUENCE));
    let (algorithm, key) = match members.as_deref() {
        Some([algorithm, key]) => (algorithm.members(der::SEQUENCE), key_bits(key)),
        _ => (None, None),
    };
    let (Some(algorithm), Some(key)) = (algorithm, key) else {
        return Err(malformed(
            "the SubjectPublicKeyInfo is not an algorithm and a key",
        ));
    };
    let (oid, parameters) = match algorithm.as_slice() {
        [oid] if oid.tag == der::OBJECT_IDENTIFIER => (oid.contents, None),
        [oid, parameters] if oid.tag == der::OBJECT_IDENTIFIER => (oid.contents, Some(parameters)),
        _ => {
            return Err(malformed(
                "the key's algorithm is not an identifier with parameters",
            ));
        }
    };
    match oid {
        RSA_ENCRYPTION => match parameters {
            // RFC 3279, 2.3.1: the parameters are NULL; some issuers leave them out.
            None | Some(Element { tag: der::NULL, .. }) => rsa_key(key),
            Some(_) => Err(malformed("an rsaEncryption key has parameters")),
        },
        // RFC 4055, 4.1, as in old EK certificates. The parameters are for callers that encrypt by
        // the certificate; a credential is always made with the EK's name algorithm.
        RSAES_OAEP => rsa_key(key),
        EC_PUBLIC_KEY => ec_key(parameters, key),
        _ => Err(unsupported(
            "the key's algorithm is neither RSA nor elliptic curve",
        )),
    }
}

/// What every EK and AK must be: of a template's type and size, and a key that protects something.
pub(crate) fn sound_key(key: &SubjectKey) -> Result<(), Rejection> {
    sound_issuer_key(key)?;
    // TCG EK Credential Profile 2.6, annex B: RSA of 2,048, 3,072 or 4,096 bits.
    if EkProfile::of(key).is_none() {
        return Err(unsupported("the RSA modulus has a size of no template"));
    }
    Ok(())
}

/// What the key of a certificate authority must be.
pub(crate) fn sound_issuer_key(key: &SubjectKey) -> Result<(), Rejection> {
    match key {
        SubjectKey::Rsa { modulus, exponent } => sound_rsa(modulus, *exponent),
        SubjectKey::Ec { curve, .. } => on_curve(*curve, &key.point().unwrap_or_default()),
    }
}

fn sound_rsa(modulus: &[u8], exponent: u64) -> Result<(), Rejection> {
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros());
    let bits = (modulus.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or(0));
    // The cost of a verification grows with the modulus, and the peer chooses the key: refused
    // before anything is computed.
    if bits > MAX_RSA_BITS {
        return Err(Rejection::because(
            Reason::KeyTooLarge,
            format!("the RSA modulus has {bits} bits"),
        ));
    }
    // NIST SP 800-131A rev. 2, section 3: less than 112 bits of security is not acceptable.
    if bits < MIN_RSA_BITS {
        return Err(Rejection::because(
            Reason::WeakKey,
            format!("the RSA modulus has {bits} bits"),
        ));
    }
    // FIPS 186-5, A.1.1: the modulus is a product of two odd primes.
    if modulus.last().is_none_or(|byte| byte & 1 == 0) {
        return Err(Rejection::because(
            Reason::WeakKey,
            "the RSA modulus is even",
        ));
    }
    // TPM library part 2, 12.2.3.5: the default exponent is 65537, and the EK templates have it.
    if exponent != 65_537 {
        return Err(Rejection::because(
            Reason::WeakKey,
            "the RSA exponent is not 65537",
        ));
    }
    // CVE-2017-15361: keys of the flawed generator are factored in practice.
    if has_roca_fingerprint(modulus) {
        return Err(Reason::RocaKey.into());
    }
    Ok(())
}

/// SEC 1, 3.2.2.1: the coordinates are below the field's prime and satisfy the curve's equation. A
/// point outside would make the TPM answer on a curve of the peer's choice.
fn on_curve(curve: Curve, point: &[u8]) -> Result<(), Rejection> {
    let algorithm = match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1,
        Curve::P384 => &ECDSA_P384_SHA384_ASN1,
        Curve::P521 => &ECDSA_P521_SHA512_ASN1,
    };
    match UnparsedPublicKey::new(algorithm, point).parse() {
        Ok(_) => Ok(()),
        Err(_) => Err(Reason::InvalidPoint.into()),
    }
}

/// The contents of a BIT STRING of whole octets.
fn key_bits<'a>(element: &Element<'a>) -> Option<&'a [u8]> {
    match element.contents.split_first()? {
        (0, key) if element.tag == der::BIT_STRING => Some(key),
        _ => None,
    }
}

/// RFC 8017, A.1.1: modulus and exponent, two positive integers in their shortest form (X.690, 8.3.2).
fn rsa_key(key: &[u8]) -> Result<SubjectKey, Rejection> {
    let members = Element::only(key).and_then(|sequence| sequence.members(der::SEQUENCE));
    let (modulus, exponent) = match members.as_deref() {
        Some([modulus, exponent]) => (positive(modulus), positive(exponent)),
        _ => (None, None),
    };
    let (Some(modulus), Some(exponent)) = (modulus, exponent) else {
        return Err(malformed("the RSA key is not two positive integers"));
    };
    // An even number is no product of two odd primes: this is not a modulus at all.
    if modulus.last().is_none_or(|byte| byte & 1 == 0) {
        return Err(malformed("the RSA modulus is even"));
    }
    if exponent.len() > size_of::<u64>() {
        return Err(Rejection::because(
            Reason::WeakKey,
            "the RSA exponent is not 65537",
        ));
    }
    let exponent = exponent
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    SubjectKey::rsa(modulus, exponent).ok_or_else(|| malformed("the RSA modulus is zero"))
}

/// The octets of a positive INTEGER without the one that only holds the sign.
fn positive<'a>(element: &Element<'a>) -> Option<&'a [u8]> {
    match element.contents {
        _ if element.tag != der::INTEGER => None,
        [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Some(rest),
        [1..=0x7F, ..] => Some(element.contents),
        _ => None,
    }
}

/// RFC 5480, 2.1.1: the parameters name a curve. Parameters that spell a curve out let a peer bring
/// its own base point (CVE-2020-0601).
fn ec_key(parameters: Option<&Element<'_>>, key: &[u8]) -> Result<SubjectKey, Rejection> {
    let curve = match parameters {
        Some(Element {
            tag: der::OBJECT_IDENTIFIER,
            contents,
            ..
        }) => named_curve(contents).ok_or_else(|| unsupported("the curve is of no template"))?,
        Some(_) => return Err(unsupported("the curve is not named")),
        None => return Err(malformed("an elliptic curve key names no curve")),
    };
    match key.split_first() {
        // RFC 5480, 2.2: 04 stands before an uncompressed point. Compressed ones are optional to
        // support, and no TPM vendor is known to use them.
        Some((4, point)) if point.len() == 2 * curve.field_size() => {
            let (x, y) = point.split_at(curve.field_size());
            SubjectKey::ec(curve, x, y).ok_or_else(|| Reason::InvalidPoint.into())
        }
        Some((2 | 3, x)) if x.len() == curve.field_size() => {
            Err(unsupported("the point is compressed"))
        }
        // SEC 1, 2.3.4 and 3.2.2.1: one zero octet is the point at infinity, which is no key.
        Some((0, [])) => Err(Reason::InvalidPoint.into()),
        _ => Err(malformed("the point does not fit its curve")),
    }
}

fn named_curve(oid: &[u8]) -> Option<Curve> {
    match oid {
        SECP256R1 => Some(Curve::P256),
        SECP384R1 => Some(Curve::P384),
        SECP521R1 => Some(Curve::P521),
        _ => None,
    }
}

fn malformed(detail: &str) -> Rejection {
    Rejection::because(Reason::MalformedKey, detail)
}

fn unsupported(detail: &str) -> Rejection {
    Rejection::because(Reason::UnsupportedKey, detail)
}

const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = evidence::limits::RSA_MODULUS * 8;

/// 1.2.840.113549.1.1.1.
const RSA_ENCRYPTION: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
/// 1.2.840.113549.1.1.7.
pub(crate) const RSAES_OAEP: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x07];
/// 1.2.840.10045.2.1.
const EC_PUBLIC_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
/// 1.2.840.10045.3.1.7.
const SECP256R1: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
/// 1.3.132.0.34.
const SECP384R1: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x22];
/// 1.3.132.0.35.
const SECP521R1: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x23];
