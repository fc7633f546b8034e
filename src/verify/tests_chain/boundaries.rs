//! Rules at their boundaries: the last value that is accepted beside the first that is refused.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding,
};
use evidence::{Algorithm, Hash, Signature, SignatureValue, SubjectKey, limits};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::AlgorithmIdentifier;

use super::forge::*;
use super::pki::{Pki, accept};
use crate::certificate::Certificate;
use crate::certificate_signature::CertificateSignature;
use crate::der::{self, Element, is_der};
use crate::distinguished_name::DistinguishedName;
use crate::key::sound_key;
use crate::signature::{SigningScheme, verify_signature};
use crate::{Anchors, EkCertificate, Reason, parse_public_key};

/// A certificate of `size` bytes; RSA signatures all have one length.
fn sized(size: usize) -> Vec<u8> {
    let with = |filler| {
        let value = tlv(0x04, &[&vec![7; filler]]);
        Forge::ek("CA")
            .with("1.3.6.1.4.1.99999.2", false, value)
            .sign(&KEYS.rsa)
    };
    let der = with(7000 + size - with(7000).len());
    assert_eq!(der.len(), size);
    der
}

#[test]
fn a_certificate_may_be_as_long_as_its_limit() {
    assert!(Certificate::read(&sized(limits::CERTIFICATE)).is_ok());
    let larger = Certificate::read(&sized(limits::CERTIFICATE + 1)).unwrap_err();
    assert_eq!(larger.reason, Reason::CertTooLarge);
    let padded = |size| {
        let mut bytes = sized(limits::CERTIFICATE - 1);
        bytes.resize(size, 0xFF);
        EkCertificate::parse(&bytes).map(drop)
    };
    assert!(padded(limits::CERTIFICATE).is_ok());
    let larger = padded(limits::CERTIFICATE + 1).unwrap_err();
    assert_eq!(larger.reason, Reason::CertTooLarge);
}

#[test]
fn only_the_field_of_extensions_is_read_as_extensions() {
    let mut forge = Forge::ek("CA");
    forge.extensions.clear();
    // subjectUniqueID, a BIT STRING.
    forge.more_fields = tlv(0x82, &[&[0, 1]]);
    assert!(Certificate::read(&forge.sign(&KEYS.ca)).is_ok());
}

#[test]
fn lengths_are_the_shortest_at_every_step() {
    for (head, size, expect) in [
        (&[0x04, 0x7F][..], 127, true),
        (&[0x04, 0x80], 128, false),
        (&[0x04, 0x81, 0x7F], 127, false),
        (&[0x04, 0x81, 0x80], 128, true),
        (&[0x04, 0x83, 1, 0, 0], 0x1_0000, true),
        (&[0x04, 0x84, 1, 0, 0, 0], 0x0100_0000, false),
    ] {
        let bytes = [head, &vec![0; size]].concat();
        assert_eq!(Element::only(&bytes).is_some(), expect, "{head:02x?}");
    }
}

#[test]
fn constructed_strings_and_empty_bit_strings_are_told_apart() {
    for (bytes, expect) in [
        (&[0x03, 0x01, 0x00][..], true),
        (&[0x03, 0x01, 0x01], false),
        (&[0x23, 0x00], false),
        (&[0x24, 0x00], false),
        (&[0x2C, 0x00], false),
    ] {
        assert_eq!(is_der(bytes), expect, "{bytes:02x?}");
    }
    let octets = Element::only(&[0x04, 0x02, 0x05, 0x00]).unwrap();
    assert_eq!(octets.members(der::SEQUENCE), None);
}

fn read_name(der: &[u8]) -> DistinguishedName {
    DistinguishedName::parse(der).unwrap()
}

#[test]
fn names_are_equal_whatever_the_order_within_a_part() {
    let (unit, common) = (
        attribute("2.5.4.11", 12, "Unit"),
        attribute("2.5.4.3", 12, "CA"),
    );
    let named = |parts: &[&[u8]]| read_name(&tlv(0x30, &[&tlv(0x31, parts)]));
    assert_eq!(named(&[&unit, &common]), named(&[&common, &unit]));
    assert_ne!(named(&[&unit, &common]), named(&[&common]));
    let hash = |name: &DistinguishedName| {
        let mut state = DefaultHasher::new();
        name.hash(&mut state);
        state.finish()
    };
    assert_eq!(
        hash(&named(&[&unit, &common])),
        hash(&named(&[&common, &unit]))
    );
    assert_ne!(hash(&named(&[&unit])), hash(&named(&[&common])));
}

#[test]
fn texts_are_cut_at_their_limits() {
    assert_eq!(read_name(&name(&"n".repeat(300))).text().len(), 256);
    let mut leaf = Forge::ek("CA");
    let location = tlv(0x86, &[&[b'u'; 300]]);
    let access = tlv(0x30, &[&oid("1.3.6.1.5.5.7.48.2"), &location]);
    leaf.put(AUTHORITY_INFO, false, tlv(0x30, &[&access]));
    let mut rdns = tpm_rdns();
    rdns[1] = rdn("2.23.133.2.2", 12, &"m".repeat(200));
    leaf.put(ALTERNATIVE_NAME, true, alternative(&rdns));
    // One arc of an identifier is a digit or two, and a full stop.
    let long = ["1.3.6.1.4.1"; 1].concat() + &".9".repeat(100);
    leaf.put(Box::leak(long.into_boxed_str()), true, vec![5, 0]);
    let read = EkCertificate::parse(&leaf.sign(&KEYS.ca)).unwrap();
    assert_eq!(read.authority_info().unwrap().len(), 256);
    assert_eq!(read.description().unwrap().model().len(), 128);
    let unknown = &read.certificate().extensions.unknown_critical;
    assert_eq!(unknown.as_ref().unwrap().len(), 128);
}

#[test]
fn distribution_points_are_looked_at_up_to_a_number() {
    let point = |number: u8| {
        let location = tlv(0x86, &[&[b'u', number]]);
        tlv(0x30, &[&tlv(0xA0, &[&tlv(0xA0, &[&location])])])
    };
    let points = |count: u8| {
        let points: Vec<_> = (0..count).flat_map(point).collect();
        let leaf = Forge::ek("CA").with("2.5.29.31", false, tlv(0x30, &[&points]));
        let read = EkCertificate::parse(&leaf.sign(&KEYS.ca)).unwrap();
        read.certificate().extensions.crl_points.len()
    };
    assert_eq!([7, 8, 9, 20].map(points), [7, 8, 8, 8]);
}

#[test]
fn what_is_not_critical_may_be_malformed_or_narrow() {
    accept(&[
        ("a malformed location of the issuer", |pki| {
            pki.leaf.put(AUTHORITY_INFO, false, vec![0x02, 0x01, 0x00]);
        }),
        ("a CA's purposes, not critical", |pki| {
            let server = usages(&["1.3.6.1.5.5.7.3.1"]);
            pki.ca.put(EXTENDED_KEY_USAGE, false, server);
        }),
    ]);
}

#[test]
fn a_ca_is_valid_from_its_first_to_its_last_second() {
    let at = |now| {
        let pki = Pki::bent(|pki| {
            // 2026-11-24, 00:00:00 and 00:00:09.
            pki.ca.not_before = time("261124000000Z");
            pki.ca.not_after = time("261124000009Z");
            pki.now = now;
        });
        pki.judge().0.err().map(|rejection| rejection.reason)
    };
    let first = 1_795_478_400;
    assert_eq!(at(first - 1), Some(Reason::CaExpired));
    assert_eq!(at(first), None);
    assert_eq!(at(first + 9), None);
    assert_eq!(at(first + 10), Some(Reason::CaExpired));
}

#[test]
fn an_anchor_found_when_no_check_is_left_vouches_for_nothing() {
    let identifier = tlv(0x04, &[&[7; 20]]);
    let pki = |others: usize| {
        Pki::bent(|pki| {
            pki.is_ca_offered = false;
            let named = tlv(0x30, &[&tlv(0x80, &[&[7; 20]])]);
            pki.leaf.put(AUTHORITY_KEY_ID, false, named);
            // Those that the key identifier names are tried before the anchor of that name.
            pki.intermediates = (0..others)
                .map(|_| {
                    Forge::ca("CA", &fresh_signer(), "Root")
                        .with(SUBJECT_KEY_ID, false, identifier.clone())
                        .sign(&KEYS.root)
                })
                .collect();
            pki.anchors = vec![Forge::ca("CA", &KEYS.other, "CA").sign(&KEYS.other)];
        })
    };
    let (outcome, checks) = pki(31).judge();
    assert_eq!(
        (outcome.unwrap_err().reason, checks),
        (Reason::BadCertSignature, 32)
    );
    let (outcome, checks) = pki(32).judge();
    assert_eq!(
        (outcome.unwrap_err().reason, checks),
        (Reason::ChainLimit, 32)
    );
}

#[test]
fn a_search_is_long_among_many_or_large_keys() {
    let leaf = EkCertificate::parse(&Forge::ek("CA").sign(&KEYS.ca)).unwrap();
    let is_long = |signers: &[&Signer]| {
        let anchors = signers
            .iter()
            .map(|signer| Forge::ca("CA", signer, "CA").sign(signer));
        Anchors::new(anchors, []).0.may_search_long(&leaf)
    };
    let third = fresh_signer();
    assert!(!is_long(&[]));
    assert!(!is_long(&[&KEYS.ca, &KEYS.other]));
    assert!(is_long(&[&KEYS.ca, &KEYS.other, &third]));
    assert!(!is_long(&[&KEYS.rsa]));
    assert!(is_long(&[&KEYS.root]), "P-384");
}

#[test]
fn anchors_come_first_where_no_key_is_named() {
    let (outcome, checks) = Pki::bent(|pki| {
        pki.is_ca_offered = false;
        pki.anchors = vec![
            Forge::ca("CA", &KEYS.ca, "CA")
                .with(SUBJECT_KEY_ID, false, tlv(0x04, &[&[7; 20]]))
                .sign(&KEYS.ca),
        ];
        pki.intermediates = vec![Forge::ca("CA", &KEYS.other, "Root").sign(&KEYS.root)];
    })
    .judge();
    assert!(outcome.is_ok());
    assert_eq!(checks, 1);
}

#[test]
fn of_two_equal_dead_ends_the_first_is_told() {
    let (outcome, _) = Pki::bent(|pki| {
        pki.is_ca_offered = false;
        let expired = Forge {
            not_after: time("210101000000Z"),
            ..Forge::ca("CA", &KEYS.ca, "Root")
        };
        let no_ca = Forge::ca("CA", &KEYS.other, "Root").with(KEY_USAGE, true, bits(0x08));
        pki.offered = vec![expired.sign(&KEYS.root), no_ca.sign(&KEYS.root)];
    })
    .judge();
    assert_eq!(outcome.unwrap_err().reason, Reason::CaExpired);
}

#[test]
fn parts_of_a_key_have_their_types() {
    let good = modulus(2048);
    let integer = |tag: u8, contents: &[u8]| tlv(tag, &[contents]);
    let algorithm = tlv(0x30, &[&oid("1.2.840.113549.1.1.1"), &[5, 0]]);
    let spki = |algorithm: &[u8], tag: u8, modulus: &[u8], exponent: &[u8]| {
        let key = tlv(0x30, &[modulus, exponent]);
        tlv(0x30, &[algorithm, &tlv(tag, &[&[0], &key])])
    };
    let (n, e) = (integer(0x02, &good), integer(0x02, F4));
    assert!(parse_public_key(&spki(&algorithm, 0x03, &n, &e)).is_ok());
    let mut as_octets = oid("1.2.840.113549.1.1.1");
    as_octets[0] = 0x04;
    let narrow = [&[0, 0x7F][..], &good[2..]].concat();
    for (case, bytes) in [
        ("an OCTET STRING for an identifier", {
            spki(&tlv(0x30, &[&as_octets, &[5, 0]]), 0x03, &n, &e)
        }),
        ("the same without parameters", {
            spki(&tlv(0x30, &[&as_octets]), 0x03, &n, &e)
        }),
        ("an OCTET STRING for a key", spki(&algorithm, 0x04, &n, &e)),
        ("an OCTET STRING for a modulus", {
            spki(&algorithm, 0x03, &integer(0x04, &good), &e)
        }),
        ("an OCTET STRING for an exponent", {
            spki(&algorithm, 0x03, &n, &integer(0x04, F4))
        }),
        ("a zero too many", {
            spki(&algorithm, 0x03, &integer(0x02, &narrow), &e)
        }),
    ] {
        let rejection = parse_public_key(&bytes).unwrap_err();
        assert_eq!(rejection.reason, Reason::MalformedKey, "{case}");
    }
}

#[test]
fn numbers_of_a_key_are_judged_at_their_boundaries() {
    let sound = |modulus: &[u8], exponent: &[u8]| {
        let key = parse_public_key(&rsa_spki(modulus, exponent)).unwrap();
        sound_key(&key).map_err(|rejection| rejection.reason)
    };
    let body = modulus(4096)[2..].to_vec();
    let of = |head: &[u8]| [head, &body].concat();
    assert_eq!(sound(&of(&[0, 0x80]), F4), Ok(()));
    assert_eq!(sound(&of(&[0, 0xC5]), F4), Ok(()));
    // 4,097 bits.
    assert_eq!(sound(&of(&[1, 0x80]), F4), Err(Reason::KeyTooLarge));
    let eight = [&[1][..], &[0; 6], &[1]].concat();
    assert_eq!(sound(&of(&[0, 0xC5]), &eight), Err(Reason::WeakKey));
    let nine = [&[1][..], &[0; 7], &[1]].concat();
    let rejection = parse_public_key(&rsa_spki(&of(&[0, 0xC5]), &nine)).unwrap_err();
    assert_eq!(rejection.reason, Reason::WeakKey);

    let curve = oid("1.2.840.10045.3.1.7");
    for (size, reason) in [
        (31, Reason::MalformedKey),
        (32, Reason::UnsupportedKey),
        (33, Reason::MalformedKey),
    ] {
        let point = [&[2][..], &vec![1; size]].concat();
        let rejection = parse_public_key(&ec_spki(&curve, &point)).unwrap_err();
        assert_eq!(rejection.reason, reason, "compressed, {size}");
    }
}

#[test]
fn rsa_signatures_are_by_the_hash_that_is_named() {
    let (Signer::Rsa(pair) | Signer::RsaPss(pair)) = &KEYS.rsa else {
        panic!("an RSA key")
    };
    let sign = |pair: &RsaKeyPair, padding: &'static dyn RsaEncoding| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), b"signed", &mut signature)
            .unwrap();
        signature
    };
    let pkcs1 = |arc: u8| tlv(0x30, &[&oid(&format!("1.2.840.113549.1.1.{arc}")), &[5, 0]]);
    let pss = |arc: u8, salt| {
        let hash = format!("2.16.840.1.101.3.4.2.{arc}");
        pss_algorithm(&hash, &hash, salt, 1)
    };
    let key = KEYS.rsa.key();
    let cases: [(&'static dyn RsaEncoding, Vec<u8>); 6] = [
        (&RSA_PKCS1_SHA256, pkcs1(11)),
        (&RSA_PKCS1_SHA384, pkcs1(12)),
        (&RSA_PKCS1_SHA512, pkcs1(13)),
        (&RSA_PSS_SHA256, pss(1, 32)),
        (&RSA_PSS_SHA384, pss(2, 48)),
        (&RSA_PSS_SHA512, pss(3, 64)),
    ];
    for (made, (padding, _)) in cases.iter().enumerate() {
        let signature = sign(pair, *padding);
        for (named, (_, algorithm)) in cases.iter().enumerate() {
            let (_, identifier) = AlgorithmIdentifier::from_der(algorithm).unwrap();
            let read = CertificateSignature::read(&identifier).unwrap();
            let is_by = read.is_by(&key, b"signed", &signature);
            assert_eq!(is_by, made == named, "made by {made}, named {named}");
        }
        let sha1 = pkcs1(5);
        let (_, identifier) = AlgorithmIdentifier::from_der(&sha1).unwrap();
        let read = CertificateSignature::read(&identifier).unwrap();
        assert!(!read.is_by(&key, b"signed", &signature), "SHA-1 named");
    }
}

#[test]
fn a_scheme_that_does_not_fit_its_key_verifies_nothing() {
    let key = KEYS.ek.key();
    assert!(matches!(key, SubjectKey::Ec { .. }));
    let scheme = SigningScheme {
        algorithm: Algorithm::ECDSA,
        hash: Hash::Sha1,
    };
    let signature = Signature {
        algorithm: Algorithm::ECDSA,
        hash: Algorithm::SHA1,
        value: SignatureValue::Ecdsa {
            r: vec![1; 32],
            s: vec![1; 32],
        },
    };
    assert_eq!(
        verify_signature(&key, scheme, b"signed", &signature),
        Err(Reason::BadSignature)
    );
}
