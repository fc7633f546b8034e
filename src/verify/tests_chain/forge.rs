//! A forge of certificates: DER by hand, so that every byte can be wrong, signed with real keys.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};
use evidence::{Curve, SubjectKey};

pub(super) const BASIC_CONSTRAINTS: &str = "2.5.29.19";
pub(super) const KEY_USAGE: &str = "2.5.29.15";
pub(super) const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
pub(super) const ALTERNATIVE_NAME: &str = "2.5.29.17";
pub(super) const NAME_CONSTRAINTS: &str = "2.5.29.30";
pub(super) const POLICIES: &str = "2.5.29.32";
pub(super) const DIRECTORY_ATTRIBUTES: &str = "2.5.29.9";
pub(super) const SUBJECT_KEY_ID: &str = "2.5.29.14";
pub(super) const AUTHORITY_KEY_ID: &str = "2.5.29.35";
pub(super) const AUTHORITY_INFO: &str = "1.3.6.1.5.5.7.1.1";

/// One element of the parts, one after the other.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let len = contents.len();
    let length = match len {
        0..0x80 => vec![u8::try_from(len).unwrap()],
        0x80..0x100 => vec![0x81, u8::try_from(len).unwrap()],
        0x100..0x1_0000 => [&[0x82][..], &u16::try_from(len).unwrap().to_be_bytes()].concat(),
        _ => [&[0x83][..], &u32::try_from(len).unwrap().to_be_bytes()[1..]].concat(),
    };
    [&[tag][..], &length, &contents].concat()
}

pub(super) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u32> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut contents = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let shifts = [28, 21, 14, 7, 0]
            .into_iter()
            .filter(|shift| *shift == 0 || arc >> shift != 0);
        contents.extend(shifts.map(|shift| {
            u8::try_from(arc >> shift & 0x7F).unwrap() | if shift == 0 { 0 } else { 0x80 }
        }));
    }
    tlv(0x06, &[&contents])
}

/// A name of one common name; an empty one for an empty text.
pub(super) fn name(common: &str) -> Vec<u8> {
    if common.is_empty() {
        tlv(0x30, &[])
    } else {
        tlv(0x30, &[&rdn("2.5.4.3", 12, common)])
    }
}

pub(super) fn rdn(kind: &str, string: u8, value: &str) -> Vec<u8> {
    tlv(0x31, &[&attribute(kind, string, value)])
}

pub(super) fn attribute(kind: &str, string: u8, value: &str) -> Vec<u8> {
    tlv(0x30, &[&oid(kind), &tlv(string, &[value.as_bytes()])])
}

/// A subject alternative name of one directory name with these RDNs.
pub(super) fn alternative(rdns: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &[&tlv(0xA4, &[&tlv(0x30, &[&rdns.concat()])])])
}

pub(super) fn tpm_rdns() -> Vec<Vec<u8>> {
    vec![
        rdn("2.23.133.2.1", 12, "id:53544D20"),
        rdn("2.23.133.2.2", 12, "ST33HTPH"),
        rdn("2.23.133.2.3", 12, "id:00010102"),
    ]
}

pub(super) fn usages(oids: &[&str]) -> Vec<u8> {
    tlv(
        0x30,
        &[&oids.iter().flat_map(|usage| oid(usage)).collect::<Vec<_>>()],
    )
}

/// A BIT STRING of one octet.
pub(super) fn bits(octet: u8) -> Vec<u8> {
    let unused = u8::try_from(octet.trailing_zeros().min(7)).unwrap();
    tlv(0x03, &[&[unused, octet]])
}

pub(super) fn ca_constraints(path_len: Option<u8>) -> Vec<u8> {
    let limit = path_len
        .map(|limit| tlv(0x02, &[&[limit]]))
        .unwrap_or_default();
    tlv(0x30, &[&tlv(0x01, &[&[0xFF]]), &limit])
}

/// A time of 13 or 15 characters: UTCTime or GeneralizedTime.
pub(super) fn time(text: &str) -> Vec<u8> {
    tlv(
        if text.len() == 13 { 0x17 } else { 0x18 },
        &[text.as_bytes()],
    )
}

/// An RSA SubjectPublicKeyInfo of any numbers.
pub(super) fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let algorithm = tlv(0x30, &[&oid("1.2.840.113549.1.1.1"), &tlv(0x05, &[])]);
    rsa_spki_with(&algorithm, modulus, exponent)
}

/// The same with any AlgorithmIdentifier; the numbers are the contents of INTEGERs.
pub(super) fn rsa_spki_with(algorithm: &[u8], modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = tlv(0x30, &[&tlv(0x02, &[modulus]), &tlv(0x02, &[exponent])]);
    tlv(0x30, &[algorithm, &tlv(0x03, &[&[0], &key])])
}

/// The contents of an INTEGER that looks like a modulus of `bits` (a multiple of 8), and is odd.
pub(super) fn modulus(bits: usize) -> Vec<u8> {
    [vec![0, 0xC5], vec![0x5A; bits / 8 - 2], vec![0x17]].concat()
}

pub(super) const F4: &[u8] = &[1, 0, 1];

/// An elliptic curve SubjectPublicKeyInfo of any parameters and point.
pub(super) fn ec_spki(parameters: &[u8], point: &[u8]) -> Vec<u8> {
    let algorithm = tlv(0x30, &[&oid("1.2.840.10045.2.1"), parameters]);
    tlv(0x30, &[&algorithm, &tlv(0x03, &[&[0], point])])
}

/// A key that signs certificates.
pub(super) enum Signer {
    Ec(EcdsaKeyPair, Curve),
    Rsa(RsaKeyPair),
    RsaPss(RsaKeyPair),
}

/// The keys of the tests: made once, RSA being slow to make.
pub(super) struct Keys {
    pub(super) root: Signer,
    pub(super) ca: Signer,
    pub(super) other: Signer,
    pub(super) ek: Signer,
    pub(super) p521: Signer,
    pub(super) rsa: Signer,
    pub(super) rsa_pss: Signer,
}

pub(super) static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    root: ec(&ECDSA_P384_SHA384_ASN1_SIGNING, Curve::P384),
    ca: ec(&ECDSA_P256_SHA256_ASN1_SIGNING, Curve::P256),
    other: ec(&ECDSA_P256_SHA256_ASN1_SIGNING, Curve::P256),
    ek: ec(&ECDSA_P256_SHA256_ASN1_SIGNING, Curve::P256),
    p521: ec(&ECDSA_P521_SHA512_ASN1_SIGNING, Curve::P521),
    rsa: Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
    rsa_pss: Signer::RsaPss(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
});

fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: Curve) -> Signer {
    Signer::Ec(EcdsaKeyPair::generate(algorithm).unwrap(), curve)
}

pub(super) fn fresh_signer() -> Signer {
    ec(&ECDSA_P256_SHA256_ASN1_SIGNING, Curve::P256)
}

impl Signer {
    pub(super) fn key(&self) -> SubjectKey {
        match self {
            Self::Ec(pair, curve) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(curve.field_size());
                SubjectKey::ec(*curve, x, y).unwrap()
            }
            Self::Rsa(pair) | Self::RsaPss(pair) => {
                let modulus = pair.public_key().modulus();
                SubjectKey::rsa(modulus.big_endian_without_leading_zero(), 65_537).unwrap()
            }
        }
    }

    /// The AlgorithmIdentifier of its signatures.
    pub(super) fn algorithm(&self) -> Vec<u8> {
        match self {
            Self::Ec(_, Curve::P256) => tlv(0x30, &[&oid("1.2.840.10045.4.3.2")]),
            Self::Ec(_, Curve::P384) => tlv(0x30, &[&oid("1.2.840.10045.4.3.3")]),
            Self::Ec(_, Curve::P521) => tlv(0x30, &[&oid("1.2.840.10045.4.3.4")]),
            Self::Rsa(_) => tlv(0x30, &[&oid("1.2.840.113549.1.1.11"), &tlv(0x05, &[])]),
            Self::RsaPss(_) => {
                pss_algorithm("2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.1", 32, 1)
            }
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |pair: &RsaKeyPair, padding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &random, message, &mut signature)
                .unwrap();
            signature
        };
        match self {
            Self::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => rsa(pair, &RSA_PKCS1_SHA256),
            Self::RsaPss(pair) => rsa(pair, &RSA_PSS_SHA256),
        }
    }
}

/// An AlgorithmIdentifier of RSASSA-PSS.
pub(super) fn pss_algorithm(hash: &str, mask_hash: &str, salt: u8, trailer: u8) -> Vec<u8> {
    let hash_of = |kind| tlv(0x30, &[&oid(kind), &tlv(0x05, &[])]);
    let mask = tlv(0x30, &[&oid("1.2.840.113549.1.1.8"), &hash_of(mask_hash)]);
    let parameters = tlv(
        0x30,
        &[
            &tlv(0xA0, &[&hash_of(hash)]),
            &tlv(0xA1, &[&mask]),
            &tlv(0xA2, &[&tlv(0x02, &[&[salt]])]),
            &tlv(0xA3, &[&tlv(0x02, &[&[trailer]])]),
        ],
    );
    tlv(0x30, &[&oid("1.2.840.113549.1.1.10"), &parameters])
}

/// A certificate to be: every field is the DER that will stand there.
#[derive(Clone)]
pub(super) struct Forge {
    pub(super) version: Vec<u8>,
    pub(super) serial: Vec<u8>,
    /// The algorithm inside, when it is not the signer's.
    pub(super) inner_algorithm: Option<Vec<u8>>,
    /// The algorithm outside, when it is not the one inside.
    pub(super) outer_algorithm: Option<Vec<u8>>,
    pub(super) issuer: Vec<u8>,
    pub(super) not_before: Vec<u8>,
    pub(super) not_after: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) spki: Vec<u8>,
    pub(super) extensions: Vec<Extension>,
    /// Fields behind the extensions.
    pub(super) more_fields: Vec<u8>,
    /// Members behind the signature.
    pub(super) more_members: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Extension {
    pub(super) oid: &'static str,
    /// The DER of the criticality, if it is there.
    pub(super) flag: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// Members behind the value.
    pub(super) behind: Vec<u8>,
}

impl Forge {
    pub(super) fn ca(subject: &str, key: &Signer, issuer: &str) -> Self {
        Self {
            subject: name(subject),
            spki: key.key().spki(),
            extensions: Vec::new(),
            ..Self::ek(issuer)
        }
        .with(BASIC_CONSTRAINTS, true, ca_constraints(None))
        .with(KEY_USAGE, true, bits(0x06))
    }

    /// An ECC EK certificate by the book.
    pub(super) fn ek(issuer: &str) -> Self {
        Self {
            version: tlv(0xA0, &[&tlv(0x02, &[&[2]])]),
            serial: tlv(0x02, &[&[0x11, 0x22]]),
            inner_algorithm: None,
            outer_algorithm: None,
            issuer: name(issuer),
            not_before: time("200101000000Z"),
            not_after: time("400101000000Z"),
            subject: name(""),
            spki: KEYS.ek.key().spki(),
            extensions: Vec::new(),
            more_fields: Vec::new(),
            more_members: Vec::new(),
        }
        .with(BASIC_CONSTRAINTS, true, tlv(0x30, &[]))
        .with(KEY_USAGE, true, bits(0x08))
        .with(EXTENDED_KEY_USAGE, false, usages(&["2.23.133.8.1"]))
        .with(ALTERNATIVE_NAME, true, alternative(&tpm_rdns()))
    }

    /// With this extension in place of one of its type, or added.
    pub(super) fn with(mut self, oid: &'static str, critical: bool, value: Vec<u8>) -> Self {
        self.put(oid, critical, value);
        self
    }

    pub(super) fn put(&mut self, oid: &'static str, critical: bool, value: Vec<u8>) {
        let flag = if critical {
            tlv(0x01, &[&[0xFF]])
        } else {
            Vec::new()
        };
        let extension = Extension {
            oid,
            flag,
            value,
            behind: Vec::new(),
        };
        match self.extensions.iter_mut().find(|old| old.oid == oid) {
            Some(old) => *old = extension,
            None => self.extensions.push(extension),
        }
    }

    pub(super) fn drop(&mut self, oid: &str) {
        self.extensions.retain(|extension| extension.oid != oid);
    }

    pub(super) fn sign(&self, signer: &Signer) -> Vec<u8> {
        let algorithm = self
            .inner_algorithm
            .clone()
            .unwrap_or_else(|| signer.algorithm());
        let extensions: Vec<u8> = (self.extensions.iter())
            .flat_map(|all| {
                tlv(
                    0x30,
                    &[
                        &oid(all.oid),
                        &all.flag,
                        &tlv(0x04, &[&all.value]),
                        &all.behind,
                    ],
                )
            })
            .collect();
        let extensions = match extensions.as_slice() {
            [] => Vec::new(),
            extensions => tlv(0xA3, &[&tlv(0x30, &[extensions])]),
        };
        let signed = tlv(
            0x30,
            &[
                &self.version,
                &self.serial,
                &algorithm,
                &self.issuer,
                &tlv(0x30, &[&self.not_before, &self.not_after]),
                &self.subject,
                &self.spki,
                &extensions,
                &self.more_fields,
            ],
        );
        let signature = tlv(0x03, &[&[0], &signer.sign(&signed)]);
        let outer = self.outer_algorithm.as_ref().unwrap_or(&algorithm);
        tlv(0x30, &[&signed, outer, &signature, &self.more_members])
    }
}
