//! A public key as numbers, its one canonical SubjectPublicKeyInfo and the hash that identifies an EK.

use std::fmt;

use crate::{Curve, Hash};

/// A public key, compared and encoded by its numbers, never by bytes that a peer sent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SubjectKey {
    /// RSA; the modulus is big-endian without leading zeros.
    Rsa {
        /// Modulus.
        modulus: Vec<u8>,
        /// Public exponent.
        exponent: u64,
    },
    /// A point of a NIST curve; coordinates at the field's width.
    Ec {
        /// Curve.
        curve: Curve,
        /// Affine x coordinate.
        x: Vec<u8>,
        /// Affine y coordinate.
        y: Vec<u8>,
    },
}

/// SHA-256 of an EK's canonical SubjectPublicKeyInfo: the identity of a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EkHash([u8; 32]);

impl SubjectKey {
    /// An RSA key; `None` for an empty or zero modulus.
    pub fn rsa(modulus: &[u8], exponent: u64) -> Option<Self> {
        let start = modulus.iter().position(|byte| *byte != 0)?;
        Some(Self::Rsa {
            modulus: modulus.get(start..)?.to_vec(),
            exponent,
        })
    }

    /// A point; `None` when a coordinate is wider than the field, or both are zero or empty.
    pub fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Option<Self> {
        if x.iter().chain(y).all(|byte| *byte == 0) {
            return None;
        }
        let x = widen(x, curve.field_size())?;
        let y = widen(y, curve.field_size())?;
        Some(Self::Ec { curve, x, y })
    }

    /// The uncompressed point 04 ‖ x ‖ y (SEC 1, section 2.3.3); `None` for RSA.
    pub fn point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Rsa { .. } => None,
            Self::Ec { x, y, .. } => Some([&[4], x.as_slice(), y.as_slice()].concat()),
        }
    }

    /// The canonical SubjectPublicKeyInfo in DER (RFC 5280, 4.1.2.7): rsaEncryption with NULL, or
    /// id-ecPublicKey with a named curve and the uncompressed point (RFC 5480).
    pub fn spki(&self) -> Vec<u8> {
        match self {
            Self::Rsa { modulus, exponent } => rsa_spki(modulus, &exponent.to_be_bytes()),
            Self::Ec { curve, x, y } => ec_spki(*curve, x, y),
        }
    }

    /// The hash of [`Self::spki`].
    pub fn ek_hash(&self) -> EkHash {
        let digest = Hash::Sha256.digest(&[&self.spki()]);
        EkHash(digest.try_into().unwrap_or_default())
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SubjectKey({})", hex::encode(self.spki()))
    }
}

impl EkHash {
    /// 64 lower-case hex digits: `pub_hash` and the last segment of the agent ID.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// From 64 hex digits of either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// 52 characters of lower-case base32 (RFC 4648, section 6) without padding, which fit a
    /// Kubernetes label.
    pub fn device(&self) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut out = String::with_capacity(52);
        let (mut buffer, mut bits) = (0u32, 0u32);
        // A last zero byte pushes the bit that is left over the edge.
        for byte in self.0.into_iter().chain([0]) {
            (buffer, bits) = ((buffer << 8) | u32::from(byte), bits + 8);
            while bits >= 5 {
                bits -= 5;
                let index = usize::try_from((buffer >> bits) & 31).unwrap_or_default();
                out.extend(ALPHABET.get(index).copied().map(char::from));
            }
        }
        out
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EkHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.hex())
    }
}

impl fmt::Display for EkHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.hex())
    }
}

fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let (modulus, exponent) = (Integer::of(modulus), Integer::of(exponent));
    let key = element(modulus.len()) + element(exponent.len());
    let bits = 1 + element(key);
    let mut out = spki_until_bits(RSA_ENCRYPTION, NULL, bits);
    header(&mut out, SEQUENCE, key);
    modulus.push(&mut out);
    exponent.push(&mut out);
    out
}

fn ec_spki(curve: Curve, x: &[u8], y: &[u8]) -> Vec<u8> {
    let bits = 2 + x.len() + y.len();
    let mut out = spki_until_bits(EC_PUBLIC_KEY, curve_oid(curve), bits);
    out.push(4);
    out.extend_from_slice(x);
    out.extend_from_slice(y);
    out
}

/// Everything before the key in a BIT STRING of `bits` octets, the first of which says that no bit is left over.
fn spki_until_bits(algorithm: &[u8], parameters: &[u8], bits: usize) -> Vec<u8> {
    let algorithms = algorithm.len() + parameters.len();
    let contents = element(algorithms) + element(bits);
    let mut out = Vec::with_capacity(element(contents));
    header(&mut out, SEQUENCE, contents);
    header(&mut out, SEQUENCE, algorithms);
    out.extend_from_slice(algorithm);
    out.extend_from_slice(parameters);
    header(&mut out, BIT_STRING, bits);
    out.push(0);
    out
}

/// A non-negative INTEGER in its shortest form (X.690, 8.3).
struct Integer<'a> {
    sign: &'static [u8],
    digits: &'a [u8],
}

impl<'a> Integer<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let start = bytes.iter().position(|byte| *byte != 0);
        let digits = bytes
            .get(start.unwrap_or(bytes.len())..)
            .unwrap_or_default();
        let is_negative = digits.first().is_none_or(|byte| *byte >= 0x80);
        let sign: &[u8] = if is_negative { &[0] } else { &[] };
        Self { sign, digits }
    }

    fn len(&self) -> usize {
        self.sign.len() + self.digits.len()
    }

    fn push(&self, out: &mut Vec<u8>) {
        header(out, INTEGER, self.len());
        out.extend_from_slice(self.sign);
        out.extend_from_slice(self.digits);
    }
}

/// Octets of an element with `len` octets of contents (X.690, 8.1); contents here are far below 64 KiB.
fn element(len: usize) -> usize {
    let header = match len {
        0..0x80 => 2,
        0x80..0x100 => 3,
        _ => 4,
    };
    header + len
}

fn header(out: &mut Vec<u8>, tag: u8, len: usize) {
    out.push(tag);
    let [.., high, low] = len.to_be_bytes();
    match element(len) - len {
        2 => out.push(low),
        3 => out.extend_from_slice(&[0x81, low]),
        _ => out.extend_from_slice(&[0x82, high, low]),
    }
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

const NULL: &[u8] = &[0x05, 0x00];
/// 1.2.840.113549.1.1.1, as an element.
const RSA_ENCRYPTION: &[u8] = &[
    0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01,
];
/// 1.2.840.10045.2.1, as an element.
const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];

/// As an element.
fn curve_oid(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => &[0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07],
        Curve::P384 => &[0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x22],
        Curve::P521 => &[0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x23],
    }
}

fn widen(bytes: &[u8], width: usize) -> Option<Vec<u8>> {
    let start = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len());
    let significant = bytes.get(start..)?;
    let padding = width.checked_sub(significant.len())?;
    Some([vec![0; padding].as_slice(), significant].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spki_sizes_are_those_of_the_field() {
        let rsa = SubjectKey::rsa(&[&[0xC0; 256][..]].concat(), 65_537).unwrap();
        assert_eq!(rsa.spki().len(), 294);
        let p256 = SubjectKey::ec(Curve::P256, &[1; 32], &[2; 31]).unwrap();
        assert_eq!(p256.spki().len(), 91);
        assert_eq!(p256.point().unwrap()[33..35], [0, 2]);
    }

    #[test]
    fn one_key_has_one_encoding() {
        let plain = SubjectKey::rsa(&[0xC0; 256], 65_537);
        let padded = SubjectKey::rsa(&[&[0, 0][..], &[0xC0; 256]].concat(), 65_537);
        assert_eq!(plain, padded);
        assert_eq!(SubjectKey::ec(Curve::P256, &[0; 32], &[]), None);
        assert_eq!(SubjectKey::ec(Curve::P256, &[1; 33], &[1]), None);
        assert_eq!(SubjectKey::ec(Curve::P256, &[1], &[1; 33]), None);
        assert_eq!(SubjectKey::rsa(&[0, 0], 65_537), None);
    }

    #[test]
    fn device_is_lower_case_base32() {
        let hash = EkHash::from_hex(&"00".repeat(32)).unwrap();
        assert_eq!(hash.device(), "a".repeat(52));
        let hash = EkHash::from_hex(&hex::encode(b"foobarfoobarfoobarfoobarfoobarfo")).unwrap();
        assert_eq!(
            hash.device(),
            "mzxw6ytbojtg633cmfzgm33pmjqxeztpn5rgc4tgn5xweylsmzxq"
        );
        assert_eq!(EkHash::from_hex("00"), None);
    }
}
