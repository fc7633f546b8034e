//! EK certificates as they lie in NV indices and files, and the key inside them.

use std::fmt;

use evidence::{Curve, Malformed, SubjectKey, limits, parse_pem};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::RSAPublicKey;

use crate::Error;

/// Where an EK certificate came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateOrigin {
    /// An NV index.
    Index(u32),
    /// The operator.
    File,
}

impl fmt::Display for CertificateOrigin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(out, "in NV index {index:#010x}"),
            Self::File => write!(out, "from the file"),
        }
    }
}

/// A certificate, with the key that it is for.
#[derive(Debug, Clone)]
pub(crate) struct EkCertificate {
    pub(crate) origin: CertificateOrigin,
    pub(crate) der: Vec<u8>,
    pub(crate) key: SubjectKey,
}

impl EkCertificate {
    /// From the contents of an NV index.
    pub(crate) fn from_nv(index: u32, contents: &[u8]) -> Result<Self, Error> {
        let origin = CertificateOrigin::Index(index);
        let bad = |problem| Error::BadCertificate {
            from: origin,
            problem,
        };
        let contents = unwrapped(contents).map_err(bad)?;
        let (der, tail) = split_der(contents).map_err(bad)?;
        // Vendors fill what they have allocated in excess, with one byte throughout.
        let filled_with = |fill| tail.iter().all(|byte| *byte == fill);
        if !filled_with(0x00) && !filled_with(0xFF) {
            return Err(bad("other bytes follow it"));
        }
        Self::new(origin, der)
    }

    /// From a file: DER, or PEM with intermediates after the certificate.
    pub(crate) fn from_file(bytes: &[u8]) -> Result<(Self, Vec<Vec<u8>>), Error> {
        let origin = CertificateOrigin::File;
        let bad = |problem| Error::BadCertificate {
            from: origin,
            problem,
        };
        if bytes.len() > FILE {
            return Err(bad("too long"));
        }
        let Some(text) = std::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.contains("-----BEGIN "))
        else {
            let (der, tail) = split_der(bytes).map_err(bad)?;
            if !tail.is_empty() {
                return Err(bad("other bytes follow it"));
            }
            return Ok((Self::new(origin, der)?, Vec::new()));
        };
        let blocks = parse_pem(text, 1 + limits::INTERMEDIATES).map_err(|problem| {
            bad(match problem {
                Malformed::TooLong => "too many PEM blocks",
                _ => "neither DER nor PEM",
            })
        })?;
        let mut certificates = Vec::new();
        for block in blocks {
            if block.label != "CERTIFICATE" {
                return Err(bad("a PEM block that is no certificate"));
            }
            certificates.push(block.contents);
        }
        let mut certificates = certificates.into_iter();
        let first = certificates.next().ok_or_else(|| bad("empty"))?;
        Ok((Self::new(origin, &first)?, certificates.collect()))
    }

    fn new(from: CertificateOrigin, der: &[u8]) -> Result<Self, Error> {
        let bad = |problem| Error::BadCertificate { from, problem };
        if der.len() > limits::CERTIFICATE {
            return Err(bad("too long"));
        }
        let key =
            subject_key(der).ok_or_else(|| bad("not a certificate for a known kind of key"))?;
        Ok(Self {
            origin: from,
            der: der.to_vec(),
            key,
        })
    }
}

/// Splits concatenated certificates, at most [`limits::INTERMEDIATES`]; stops at what is none.
pub(crate) fn split_chain(mut contents: &[u8]) -> Vec<Vec<u8>> {
    let mut chain = Vec::new();
    while chain.len() < limits::INTERMEDIATES
        && let Ok((der, rest)) = split_der(contents)
        && der.len() <= limits::CERTIFICATE
    {
        chain.push(der.to_vec());
        contents = rest;
    }
    chain
}

/// Removes the prefix 10 01 00 and a length, with which some PC Client TPMs wrap a certificate.
fn unwrapped(contents: &[u8]) -> Result<&[u8], &'static str> {
    let Some(wrapped) = contents.strip_prefix(&[0x10, 0x01, 0x00]) else {
        return Ok(contents);
    };
    let (length, rest) = wrapped.split_first_chunk().ok_or("ends in its prefix")?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
        .ok_or("shorter than its prefix says")
}

/// A DER SEQUENCE with a length of one or two bytes, and what follows it.
fn split_der(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let (header, length) = match bytes {
        [0x30, short @ 0..=0x7F, ..] => (2, usize::from(*short)),
        [0x30, 0x81, length, ..] => (3, usize::from(*length)),
        [0x30, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        _ => return Err("not a DER sequence"),
    };
    bytes
        .split_at_checked(header + length)
        .ok_or("shorter than its DER length")
}

/// The key of a certificate. Old certificates name RSA keys by rsaesOaep; the curve follows from
/// the length of the point, whichever way the parameters name it.
fn subject_key(der: &[u8]) -> Option<SubjectKey> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let info = certificate.public_key();
    let bits = &info.subject_public_key.data;
    match info.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.7" => {
            let (_, key) = RSAPublicKey::from_der(bits).ok()?;
            SubjectKey::rsa(key.modulus, key.try_exponent().ok()?)
        }
        "1.2.840.10045.2.1" => {
            let point = bits.strip_prefix(&[0x04])?;
            let curve = Curve::ALL
                .into_iter()
                .find(|curve| point.len() == 2 * curve.field_size())?;
            let (x, y) = point.split_at_checked(curve.field_size())?;
            SubjectKey::ec(curve, x, y)
        }
        _ => None,
    }
}

/// Bytes of a file: PEM with all intermediates.
const FILE: usize = 2 * (1 + limits::INTERMEDIATES) * limits::CERTIFICATE;

#[cfg(test)]
mod tests {
    use evidence::encode_pem;
    use rcgen::{CertificateParams, Issuer, KeyPair, SubjectPublicKeyInfo};

    use super::*;

    fn rsa() -> SubjectKey {
        SubjectKey::rsa(&[0xC1; 256], 65_537).unwrap()
    }

    fn certificate(spki: &[u8]) -> Vec<u8> {
        let params = || CertificateParams::new(Vec::new()).unwrap();
        let issuer = Issuer::new(params(), KeyPair::generate().unwrap());
        let spki = SubjectPublicKeyInfo::from_der(spki).unwrap();
        params().signed_by(&spki, &issuer).unwrap().der().to_vec()
    }

    fn problem<T>(outcome: Result<T, Error>) -> &'static str {
        match outcome.err() {
            Some(Error::BadCertificate { problem, .. }) => problem,
            _ => "none",
        }
    }

    #[test]
    fn keys_of_every_kind_are_read() {
        let curves = [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ECDSA_P521_SHA512,
        ];
        for (curve, algorithm) in Curve::ALL.into_iter().zip(curves) {
            let pair = KeyPair::generate_for(algorithm).unwrap();
            let point = pair.public_key_raw().split_at(1).1;
            let (x, y) = point.split_at(curve.field_size());
            let key = SubjectKey::ec(curve, x, y).unwrap();
            assert_eq!(subject_key(&certificate(&key.spki())), Some(key));
        }
        let plain = certificate(&rsa().spki());
        assert_eq!(subject_key(&plain), Some(rsa()));
        let oaep = replaced(&plain, b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 0x07);
        assert_eq!(subject_key(&oaep), Some(rsa()));
        let pss = replaced(&plain, b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 0x0A);
        assert_eq!(subject_key(&pss), None);
        assert_eq!(subject_key(&[plain, vec![0]].concat()), None);
    }

    fn replaced(der: &[u8], oid: &[u8], last: u8) -> Vec<u8> {
        let place = der.windows(oid.len()).position(|part| part == oid).unwrap();
        let mut changed = der.to_vec();
        changed[place + oid.len() - 1] = last;
        changed
    }

    #[test]
    fn padding_and_prefix_are_removed() {
        let der = certificate(&rsa().spki());
        let length = u16::try_from(der.len()).unwrap().to_be_bytes();
        let wrapped = [&[0x10, 0x01, 0x00], &length[..], &der].concat();
        for contents in [
            der.clone(),
            [&der[..], &[0xFF; 431]].concat(),
            [&der[..], &[0; 3]].concat(),
            wrapped.clone(),
            [&wrapped[..], &[7; 9]].concat(),
        ] {
            let found = EkCertificate::from_nv(1, &contents).unwrap();
            assert_eq!((found.der, found.key), (der.clone(), rsa()));
        }
        let mut short = wrapped.clone();
        short.truncate(50);
        for (contents, expect) in [
            ([&der[..], &[0, 1]].concat(), "other bytes follow it"),
            ([&der[..], &[0xFF, 0]].concat(), "other bytes follow it"),
            (der[..der.len() - 1].to_vec(), "shorter than its DER length"),
            (short, "shorter than its prefix says"),
            (vec![0x10, 0x01, 0x00, 0x00], "ends in its prefix"),
            (vec![0xFF; 1000], "not a DER sequence"),
            (vec![], "not a DER sequence"),
            (
                vec![0x30, 0x03, 0x02, 0x01, 0x00],
                "not a certificate for a known kind of key",
            ),
            (
                [&[0x30, 0x82, 0x20, 0x01][..], &[0; 0x2001]].concat(),
                "too long",
            ),
        ] {
            assert_eq!(problem(EkCertificate::from_nv(1, &contents)), expect);
        }
    }

    #[test]
    fn files_are_der_or_pem_with_intermediates() {
        let der = certificate(&rsa().spki());
        let pem = encode_pem("CERTIFICATE", &der);
        let (found, intermediates) = EkCertificate::from_file(&der).unwrap();
        assert_eq!((found.der, intermediates.len()), (der.clone(), 0));
        let five = pem.repeat(5);
        let (found, intermediates) = EkCertificate::from_file(five.as_bytes()).unwrap();
        assert_eq!((found.der, intermediates.len()), (der.clone(), 4));
        let key = encode_pem("PRIVATE KEY", &[0; 9]);
        for (text, expect) in [
            (pem.repeat(6), "too many PEM blocks"),
            (pem.clone() + &key, "a PEM block that is no certificate"),
            (pem.clone() + "more", "neither DER nor PEM"),
            (String::new(), "not a DER sequence"),
            ("x".repeat(FILE + 1), "too long"),
        ] {
            assert_eq!(problem(EkCertificate::from_file(text.as_bytes())), expect);
        }
        let longer = [&der[..], &[0]].concat();
        assert_eq!(
            problem(EkCertificate::from_file(&longer)),
            "other bytes follow it"
        );
    }

    #[test]
    fn chains_end_at_what_is_no_certificate() {
        let short = [0x30, 0x01, 0x05].to_vec();
        let long = [&[0x30, 0x81, 0x02][..], &[5, 5]].concat();
        let two = [short.clone(), long.clone(), vec![0xFF; 9]].concat();
        assert_eq!(split_chain(&two), [short.clone(), long]);
        assert_eq!(split_chain(&short.repeat(9)).len(), limits::INTERMEDIATES);
        let large = [&[0x30, 0x82, 0x20, 0x01][..], &[0; 0x2001]].concat();
        assert_eq!(split_chain(&large), Vec::<Vec<u8>>::new());
        assert_eq!(split_chain(&short[..2]), Vec::<Vec<u8>>::new());
    }
}
