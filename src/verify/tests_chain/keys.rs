//! Public keys as SubjectPublicKeyInfo: what is read, and what is refused why.

use evidence::{Curve, SubjectKey};

use super::forge::*;
use crate::key::sound_key;
use crate::{EkCertificate, Reason, parse_public_key};

type RefusedKey = (&'static str, Vec<u8>, Reason);

/// Each is refused for its reason, and never read inside a certificate.
fn refuse_keys(cases: Vec<RefusedKey>) {
    for (case, spki, reason) in cases {
        assert_eq!(
            parse_public_key(&spki).unwrap_err().reason,
            reason,
            "{case}"
        );
        let certificate = Forge {
            spki,
            ..Forge::ek("CA")
        }
        .sign(&KEYS.ca);
        assert!(EkCertificate::parse(&certificate).is_err(), "{case}");
    }
}

#[test]
fn what_is_no_public_key_is_refused() {
    let ek = KEYS.ek.key().spki();
    let of_algorithm = |dotted: &str, key: &[u8]| {
        tlv(
            0x30,
            &[&tlv(0x30, &[&oid(dotted)]), &tlv(0x03, &[&[0], key])],
        )
    };
    refuse_keys(vec![
        ("nothing", Vec::new(), Reason::MalformedKey),
        (
            "trailing bytes",
            [&ek[..], &[0]].concat(),
            Reason::MalformedKey,
        ),
        (
            "a member more",
            tlv(0x30, &[&ek[2..], &[5, 0]]),
            Reason::MalformedKey,
        ),
        (
            "no algorithm",
            tlv(0x30, &[&tlv(0x30, &[]), &tlv(0x03, &[&[0]])]),
            Reason::MalformedKey,
        ),
        (
            "DSA",
            of_algorithm("1.2.840.10040.4.1", &[2, 1, 1]),
            Reason::UnsupportedKey,
        ),
        (
            "Ed25519",
            of_algorithm("1.3.101.112", &[0; 32]),
            Reason::UnsupportedKey,
        ),
        (
            "no curve",
            of_algorithm("1.2.840.10045.2.1", &point()),
            Reason::MalformedKey,
        ),
    ]);
}

#[test]
fn rsa_keys_are_refused_for_what_is_wrong_with_them() {
    let algorithm = tlv(0x30, &[&oid("1.2.840.113549.1.1.1"), &[5, 0]]);
    let parameters = tlv(0x30, &[&oid("1.2.840.113549.1.1.1"), &tlv(0x30, &[])]);
    let in_ber = tlv(
        0x30,
        &[&oid("1.2.840.113549.1.1.7"), &tlv(0x24, &[&[4, 0]])],
    );
    let of_bits = |bits: &[u8]| tlv(0x30, &[&algorithm, &tlv(0x03, &[bits])]);
    let good = modulus(2048);
    let even = [&good[..good.len() - 1], &[0x16]].concat();
    let key = tlv(0x30, &[&tlv(0x02, &[&good]), &tlv(0x02, &[F4])]);
    refuse_keys(vec![
        (
            "parameters",
            rsa_spki_with(&parameters, &good, F4),
            Reason::MalformedKey,
        ),
        (
            "OAEP parameters in BER",
            rsa_spki_with(&in_ber, &good, F4),
            Reason::MalformedKey,
        ),
        (
            "unused bits",
            of_bits(&[&[1], &key[..key.len() - 1], &[0]].concat()),
            Reason::MalformedKey,
        ),
        ("no RSA key", of_bits(&[0, 5, 0]), Reason::MalformedKey),
        (
            "bytes behind",
            of_bits(&[&[0], &key[..], &[5, 0]].concat()),
            Reason::MalformedKey,
        ),
        (
            "a key in BER",
            of_bits(&[&[0, 0x30, 0x83, 0], &key[2..]].concat()),
            Reason::MalformedKey,
        ),
        (
            "tpm/B46 negative modulus",
            rsa_spki(&good[1..], F4),
            Reason::MalformedKey,
        ),
        (
            "tpm/B46 leading zeros",
            rsa_spki(&[&[0], &good[..]].concat(), F4),
            Reason::MalformedKey,
        ),
        (
            "tpm/B46 even modulus",
            rsa_spki(&even, F4),
            Reason::MalformedKey,
        ),
        ("modulus zero", rsa_spki(&[0], F4), Reason::MalformedKey),
        (
            "negative exponent",
            rsa_spki(&good, &[0x81, 0, 1]),
            Reason::MalformedKey,
        ),
        (
            "tpm/B44 exponent zero",
            rsa_spki(&good, &[0]),
            Reason::MalformedKey,
        ),
        (
            "exponent after a zero",
            rsa_spki(&good, &[0, 1, 0, 1]),
            Reason::MalformedKey,
        ),
        (
            "tpm/B44 exponent 2^2000 + 1",
            rsa_spki(&good, &[&[1][..], &[0; 249], &[1]].concat()),
            Reason::WeakKey,
        ),
        (
            "exponent 2^64 + 65537",
            rsa_spki(&good, &[1, 0, 0, 0, 0, 0, 1, 0, 1]),
            Reason::WeakKey,
        ),
    ]);
}

#[test]
fn curve_keys_are_refused_for_what_is_wrong_with_them() {
    let point = point();
    let in_full = tlv(
        0x30,
        &[&tlv(0x02, &[&[1]]), &tlv(0x30, &[]), &tlv(0x04, &[&point])],
    );
    let p256 = oid("1.2.840.10045.3.1.7");
    let on_p256 = |octets: &[u8]| ec_spki(&p256, octets);
    refuse_keys(vec![
        (
            "implicit curve",
            ec_spki(&[5, 0], &point),
            Reason::UnsupportedKey,
        ),
        (
            "tpm/B48 explicit curve",
            ec_spki(&in_full, &point),
            Reason::UnsupportedKey,
        ),
        (
            "tpm/B49 secp256k1",
            ec_spki(&oid("1.3.132.0.10"), &point),
            Reason::UnsupportedKey,
        ),
        (
            "tpm/B49 brainpoolP256r1",
            ec_spki(&oid("1.3.36.3.3.2.8.1.1.7"), &point),
            Reason::UnsupportedKey,
        ),
        (
            "tpm/B49 SM2",
            ec_spki(&oid("1.2.156.10197.1.301"), &point),
            Reason::UnsupportedKey,
        ),
        (
            "tpm/B50 even y, compressed",
            on_p256(&[&[2], &point[1..33]].concat()),
            Reason::UnsupportedKey,
        ),
        (
            "tpm/B50 odd y, compressed",
            on_p256(&[&[3], &point[1..33]].concat()),
            Reason::UnsupportedKey,
        ),
        (
            "hybrid",
            on_p256(&[&[6], &point[1..]].concat()),
            Reason::MalformedKey,
        ),
        ("tpm/B47 infinity", on_p256(&[0]), Reason::InvalidPoint),
        (
            "tpm/B47 zeros",
            on_p256(&[&[4][..], &[0; 64]].concat()),
            Reason::InvalidPoint,
        ),
        ("short", on_p256(&point[..64]), Reason::MalformedKey),
        (
            "of another curve",
            ec_spki(&oid("1.3.132.0.34"), &point),
            Reason::MalformedKey,
        ),
        ("nothing", on_p256(&[]), Reason::MalformedKey),
    ]);
}

/// The hash of an EK is that of its numbers, not of how somebody wrote them down.
#[test]
fn a_key_has_one_hash_or_is_refused_however_it_is_encoded() {
    const RSA: &str = "1.2.840.113549.1.1.1";
    const OAEP: &str = "1.2.840.113549.1.1.7";
    let contents = modulus(2048);
    let hash = SubjectKey::rsa(&contents, 65_537).unwrap().ek_hash();
    let rsa = |dotted: &str, parameters: &[u8]| {
        rsa_spki_with(&tlv(0x30, &[&oid(dotted), parameters]), &contents, F4)
    };
    let default = tlv(0x30, &[]);
    let sha_256 = tlv(0x30, &[&oid("2.16.840.1.101.3.4.2.1"), &[5, 0]]);
    let explicit = tlv(0x30, &[&tlv(0xA0, &[&sha_256])]);
    for spki in [
        rsa(RSA, &[5, 0]),
        rsa(RSA, &[]),
        rsa(OAEP, &[]),
        rsa(OAEP, &[5, 0]),
        rsa(OAEP, &default),
        rsa(OAEP, &explicit),
    ] {
        let read = parse_public_key(&spki).unwrap();
        assert_eq!(read.ek_hash(), hash, "tpm/B59 {spki:02X?}");
    }
    let point = point();
    let (x, y) = (&point[1..33], &point[33..]);
    let parity = 2 + (y[31] & 1);
    let on_p256 = |octets: &[u8]| parse_public_key(&ec_spki(&oid("1.2.840.10045.3.1.7"), octets));
    let plain = on_p256(&point).unwrap();
    assert_eq!(plain.ek_hash(), KEYS.ek.key().ek_hash(), "tpm/B59");
    for (octets, reason) in [
        ([&[parity], x].concat(), Reason::UnsupportedKey),
        ([&[4 + parity], x, y].concat(), Reason::MalformedKey),
        ([&[4, 0], x, &[0], y].concat(), Reason::MalformedKey),
    ] {
        assert_eq!(on_p256(&octets).unwrap_err().reason, reason, "tpm/B59");
    }
}

fn point() -> Vec<u8> {
    KEYS.ek.key().point().unwrap()
}

#[test]
fn weak_keys_are_refused_whatever_brought_them() {
    let number = |bits: usize| modulus(bits)[1..].to_vec();
    let rsa = |modulus: &[u8], exponent| SubjectKey::rsa(modulus, exponent).unwrap();
    let short = [&[0x7F][..], &number(2048)[1..]].concat();
    let even = [&number(2048)[..255], &[0x16]].concat();
    let ec = |curve, x: &[u8], y: &[u8]| SubjectKey::ec(curve, x, y).unwrap();
    let point = point();
    let (x, y) = (&point[1..33], &point[33..]);
    let mut beside = y.to_vec();
    beside[31] ^= 1;
    for (case, key, reason) in [
        (
            "tpm/B43 1024 bits",
            rsa(&number(1024), 65_537),
            Reason::WeakKey,
        ),
        ("2047 bits", rsa(&short, 65_537), Reason::WeakKey),
        ("even", rsa(&even, 65_537), Reason::WeakKey),
        ("exponent 0", rsa(&number(2048), 0), Reason::WeakKey),
        ("tpm/B44 exponent 1", rsa(&number(2048), 1), Reason::WeakKey),
        ("exponent 3", rsa(&number(2048), 3), Reason::WeakKey),
        (
            "tpm/B44 exponent 65536",
            rsa(&number(2048), 65_536),
            Reason::WeakKey,
        ),
        (
            "exponent 65539",
            rsa(&number(2048), 65_539),
            Reason::WeakKey,
        ),
        (
            "2056 bits",
            rsa(&number(2056), 65_537),
            Reason::UnsupportedKey,
        ),
        ("4104 bits", rsa(&number(4104), 65_537), Reason::KeyTooLarge),
        (
            "16384 bits",
            rsa(&number(16_384), 65_537),
            Reason::KeyTooLarge,
        ),
        (
            "tpm/B52 ROCA",
            rsa(&crate::roca::tests::flawed_modulus(77), 65_537),
            Reason::RocaKey,
        ),
        (
            "tpm/B47 beside the curve",
            ec(Curve::P256, x, &beside),
            Reason::InvalidPoint,
        ),
        (
            "tpm/B47 coordinates above the prime",
            ec(Curve::P256, &[0xFF; 32], y),
            Reason::InvalidPoint,
        ),
        (
            "on another curve",
            ec(Curve::P384, x, y),
            Reason::InvalidPoint,
        ),
    ] {
        assert_eq!(sound_key(&key).unwrap_err().reason, reason, "{case}");
    }
}

#[test]
fn keys_of_the_templates_are_read_as_numbers() {
    for bits in [2048, 3072, 4096] {
        let contents = modulus(bits);
        let expected = SubjectKey::rsa(&contents, 65_537).unwrap();
        let bare = tlv(0x30, &[&oid("1.2.840.113549.1.1.1")]);
        let oaep = tlv(0x30, &[&oid("1.2.840.113549.1.1.7")]);
        let label = tlv(0x04, &[b"TCPA\0"]);
        let source = tlv(0xA2, &[&tlv(0x30, &[&oid("1.2.840.113549.1.1.9"), &label])]);
        let labelled = tlv(
            0x30,
            &[&oid("1.2.840.113549.1.1.7"), &tlv(0x30, &[&source])],
        );
        for spki in [
            rsa_spki(&contents, F4),
            rsa_spki_with(&bare, &contents, F4),
            rsa_spki_with(&oaep, &contents, F4),
            rsa_spki_with(&labelled, &contents, F4),
        ] {
            assert_eq!(parse_public_key(&spki), Ok(expected.clone()));
        }
        assert_eq!(sound_key(&expected), Ok(()));
    }
    for signer in [&KEYS.ek, &KEYS.root, &KEYS.p521, &KEYS.rsa] {
        let key = signer.key();
        assert_eq!(parse_public_key(&key.spki()), Ok(key.clone()));
        assert_eq!(sound_key(&key), Ok(()));
    }
}
