//! The rules of an EK certificate, one case each.

use super::forge::*;
use super::pki::{Pki, Refused, refuse};
use crate::Reason;

#[test]
fn certificates_that_are_no_ek_certificates_are_refused() {
    refuse(NO_EK_CERTIFICATES);
}

const NO_EK_CERTIFICATES: &[Refused] = &[
    (
        "version 1",
        |pki| pki.leaf.version.clear(),
        Reason::EkVersion,
    ),
    (
        "version 2",
        |pki| pki.leaf.version = tlv(0xA0, &[&tlv(0x02, &[&[1]])]),
        Reason::EkVersion,
    ),
    (
        "tpm/B06 a CA certificate",
        |pki| pki.sent = Some(pki.ca.sign(&KEYS.root)),
        Reason::EkIsCa,
    ),
    (
        "CA by constraints",
        |pki| pki.leaf.put(BASIC_CONSTRAINTS, true, ca_constraints(None)),
        Reason::EkIsCa,
    ),
    (
        "no constraints",
        |pki| pki.leaf.drop(BASIC_CONSTRAINTS),
        Reason::EkIsCa,
    ),
    (
        "tpm/B12 no EKU",
        |pki| pki.leaf.drop(EXTENDED_KEY_USAGE),
        Reason::EkEku,
    ),
    (
        "tpm/B13 EKU of an AK",
        |pki| eku(pki, &["2.23.133.8.3"]),
        Reason::EkEku,
    ),
    (
        "tpm/B13 EKU of an AK too",
        |pki| eku(pki, &["2.23.133.8.1", "2.23.133.8.3"]),
        Reason::EkEku,
    ),
    (
        "tpm/B13 any EKU",
        |pki| eku(pki, &["2.5.29.37.0"]),
        Reason::EkEku,
    ),
    (
        "client EKU",
        |pki| eku(pki, &["1.3.6.1.5.5.7.3.2"]),
        Reason::EkEku,
    ),
    (
        "no key usage",
        |pki| pki.leaf.drop(KEY_USAGE),
        Reason::EkKeyUsage,
    ),
    (
        "key usage not critical",
        |pki| pki.leaf.put(KEY_USAGE, false, bits(0x08)),
        Reason::EkKeyUsage,
    ),
    (
        "tpm/B14 digitalSignature",
        |pki| usage(pki, 0x88),
        Reason::EkKeyUsage,
    ),
    ("nonRepudiation", |pki| usage(pki, 0x48), Reason::EkKeyUsage),
    ("keyCertSign", |pki| usage(pki, 0x0C), Reason::EkKeyUsage),
    ("cRLSign", |pki| usage(pki, 0x0A), Reason::EkKeyUsage),
    (
        "keyEncipherment alone on ECC",
        |pki| usage(pki, 0x20),
        Reason::EkKeyUsage,
    ),
    (
        "tpm/B15 keyAgreement alone on RSA",
        |pki| pki.leaf.spki = rsa_spki(&modulus(2048), F4),
        Reason::EkKeyUsage,
    ),
    (
        "tpm/B33 unknown critical",
        |pki| pki.leaf.put("1.3.6.1.4.1.99999.1", true, vec![5, 0]),
        Reason::UnhandledCriticalExt,
    ),
    (
        "critical CRL distribution points",
        |pki| {
            pki.leaf
                .put("2.5.29.31", true, tlv(0x30, &[&tlv(0x30, &[])]));
        },
        Reason::UnhandledCriticalExt,
    ),
    (
        "tpm/B21 expired",
        |pki| pki.leaf.not_after = time("261123235959Z"),
        Reason::EkCertExpired,
    ),
    (
        "tpm/B23 not yet valid",
        |pki| pki.leaf.not_before = time("261124000001Z"),
        Reason::EkCertNotYetValid,
    ),
    (
        "not yet valid, expiry accepted",
        |pki| {
            pki.leaf.not_before = time("261124000001Z");
            pki.accept_expired_leaf = true;
        },
        Reason::EkCertNotYetValid,
    ),
];

#[test]
fn names_that_describe_no_tpm_are_refused() {
    refuse(NO_TPM_NAMES);
}

const NO_TPM_NAMES: &[Refused] = &[
    (
        "tpm/B16 no SAN",
        |pki| pki.leaf.drop(ALTERNATIVE_NAME),
        Reason::EkSan,
    ),
    (
        "SAN not critical, subject empty",
        |pki| {
            pki.leaf
                .put(ALTERNATIVE_NAME, false, alternative(&tpm_rdns()));
        },
        Reason::EkSan,
    ),
    (
        "SAN of a host",
        |pki| {
            pki.leaf
                .put(ALTERNATIVE_NAME, true, tlv(0x30, &[&tlv(0x82, &[b"host"])]));
        },
        Reason::EkSan,
    ),
    ("no manufacturer", |pki| san_without(pki, 0), Reason::EkSan),
    ("no model", |pki| san_without(pki, 1), Reason::EkSan),
    ("no version", |pki| san_without(pki, 2), Reason::EkSan),
    (
        "tpm/B17 manufacturer twice",
        |pki| san_more(pki, rdn("2.23.133.2.1", 12, "id:49465800")),
        Reason::EkSan,
    ),
    (
        "same model twice",
        |pki| san_more(pki, rdn("2.23.133.2.2", 12, "ST33HTPH")),
        Reason::EkSan,
    ),
    (
        "version twice",
        |pki| san_more(pki, rdn("2.23.133.2.3", 12, "id:00010102")),
        Reason::EkSan,
    ),
    (
        "tpm/B17 manufacturer in two directory names",
        |pki| {
            let second = tlv(
                0xA4,
                &[&tlv(0x30, &[&rdn("2.23.133.2.1", 12, "id:49465800")])],
            );
            let first = tlv(0xA4, &[&tlv(0x30, &[&tpm_rdns().concat()])]);
            pki.leaf
                .put(ALTERNATIVE_NAME, true, tlv(0x30, &[&first, &second]));
        },
        Reason::EkSan,
    ),
    (
        "tpm/B18 manufacturer without digits",
        |pki| san_with(pki, 0, rdn("2.23.133.2.1", 12, "id:ZZ")),
        Reason::EkSan,
    ),
    (
        "tpm/B18 manufacturer of three bytes",
        |pki| san_with(pki, 0, rdn("2.23.133.2.1", 12, "id:4E5443")),
        Reason::EkSan,
    ),
    (
        "manufacturer by name",
        |pki| san_with(pki, 0, rdn("2.23.133.2.1", 12, "STM")),
        Reason::EkSan,
    ),
    (
        "tpm/B18 manufacturer of octets",
        |pki| san_with(pki, 0, rdn("2.23.133.2.1", 4, "id:53544D20")),
        Reason::EkSan,
    ),
    (
        "model of octets",
        |pki| san_with(pki, 1, rdn("2.23.133.2.2", 4, "ST33HTPH")),
        Reason::EkSan,
    ),
    (
        "model of IA5String",
        |pki| san_with(pki, 1, rdn("2.23.133.2.2", 22, "ST33HTPH")),
        Reason::EkSan,
    ),
    (
        "empty model",
        |pki| san_with(pki, 1, rdn("2.23.133.2.2", 12, "")),
        Reason::EkSan,
    ),
    (
        "empty version",
        |pki| san_with(pki, 2, rdn("2.23.133.2.3", 12, "")),
        Reason::EkSan,
    ),
    (
        "a malformed directory name beside",
        |pki| {
            let first = tlv(0xA4, &[&tlv(0x30, &[&tpm_rdns().concat()])]);
            pki.leaf.put(
                ALTERNATIVE_NAME,
                true,
                tlv(0x30, &[&first, &tlv(0xA4, &[&tlv(0x31, &[])])]),
            );
        },
        Reason::EkSan,
    ),
];

#[test]
fn weak_and_foreign_eks_are_refused() {
    refuse(&[
        (
            "tpm/B43 RSA-1024",
            |pki| rsa(pki, &modulus(1024), F4),
            Reason::WeakKey,
        ),
        (
            "RSA-2560",
            |pki| rsa(pki, &modulus(2560), F4),
            Reason::UnsupportedKey,
        ),
        (
            "RSA-16384",
            |pki| rsa(pki, &modulus(16_384), F4),
            Reason::KeyTooLarge,
        ),
        (
            "tpm/B44 exponent 3",
            |pki| rsa(pki, &modulus(2048), &[3]),
            Reason::WeakKey,
        ),
        (
            "tpm/B52 ROCA",
            |pki| {
                let modulus = crate::roca::tests::flawed_modulus(100);
                rsa(pki, &[&[0][..], &modulus].concat(), F4);
            },
            Reason::RocaKey,
        ),
        (
            "tpm/B51 rsaesOaep",
            |pki| {
                let algorithm = tlv(0x30, &[&oid("1.2.840.113549.1.1.7"), &tlv(0x30, &[])]);
                pki.leaf.spki = rsa_spki_with(&algorithm, &modulus(2048), F4);
                usage(pki, 0x20);
            },
            Reason::UnsupportedKey,
        ),
        (
            "tpm/B47 a point beside the curve",
            |pki| {
                let last = pki.leaf.spki.len() - 1;
                pki.leaf.spki[last] ^= 1;
            },
            Reason::InvalidPoint,
        ),
    ]);
}

#[test]
fn the_validity_includes_both_ends() {
    let is_expired = |bend: fn(&mut Pki)| Pki::bent(bend).judge().0.unwrap().expired();
    assert!(!is_expired(|pki| pki.leaf.not_after = time("261124000000Z")));
    assert!(!is_expired(
        |pki| pki.leaf.not_before = time("261124000000Z")
    ));
    assert!(is_expired(|pki| {
        pki.leaf.not_after = time("261123235959Z");
        pki.accept_expired_leaf = true;
    }));
}

#[test]
fn details_say_what_was_found() {
    let detail = |bend: fn(&mut Pki)| Pki::bent(bend).judge().0.unwrap_err().detail.unwrap();
    assert_eq!(detail(|pki| usage(pki, 0x88)), "allows signing");
    assert_eq!(
        detail(|pki| pki.leaf.put("1.3.6.1.4.1.99999.1", true, vec![5, 0])),
        "extension 1.3.6.1.4.1.99999.1 of \"\""
    );
}

fn eku(pki: &mut Pki, oids: &[&str]) {
    pki.leaf.put(EXTENDED_KEY_USAGE, false, usages(oids));
}

fn usage(pki: &mut Pki, octet: u8) {
    pki.leaf.put(KEY_USAGE, true, bits(octet));
}

fn rsa(pki: &mut Pki, modulus: &[u8], exponent: &[u8]) {
    pki.leaf.spki = rsa_spki(modulus, exponent);
    usage(pki, 0x20);
}

fn san_without(pki: &mut Pki, index: usize) {
    let mut rdns = tpm_rdns();
    rdns.remove(index);
    pki.leaf.put(ALTERNATIVE_NAME, true, alternative(&rdns));
}

fn san_with(pki: &mut Pki, index: usize, rdn: Vec<u8>) {
    let mut rdns = tpm_rdns();
    rdns.splice(index..=index, [rdn]);
    pki.leaf.put(ALTERNATIVE_NAME, true, alternative(&rdns));
}

fn san_more(pki: &mut Pki, rdn: Vec<u8>) {
    let mut rdns = tpm_rdns();
    rdns.push(rdn);
    pki.leaf.put(ALTERNATIVE_NAME, true, alternative(&rdns));
}
