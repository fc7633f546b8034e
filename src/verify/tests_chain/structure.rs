//! Certificates that are not one well-formed DER structure, and sizes.

use proptest::prelude::*;

use super::forge::*;
use super::pki::{Pki, Refused, refuse};
use crate::certificate::Certificate;
use crate::{EkCertificate, Reason};

#[test]
fn malformed_certificates_are_refused() {
    refuse(MALFORMED);
}

const MALFORMED: &[Refused] = &[
    (
        "tpm/B36 garbage behind",
        |pki| pki.tail = vec![0x00, 0xFF],
        Reason::MalformedCert,
    ),
    (
        "tpm/B36 a byte behind",
        |pki| pki.tail = vec![0x01],
        Reason::MalformedCert,
    ),
    (
        "zeros, then ones",
        |pki| pki.tail = vec![0x00, 0x00, 0xFF],
        Reason::MalformedCert,
    ),
    (
        "tpm/B36 two certificates",
        |pki| pki.tail = pki.leaf.sign(&KEYS.ca),
        Reason::MalformedCert,
    ),
    (
        "nothing",
        |pki| pki.sent = Some(Vec::new()),
        Reason::MalformedCert,
    ),
    (
        "padding alone",
        |pki| pki.sent = Some(vec![0xFF; 64]),
        Reason::MalformedCert,
    ),
    (
        "another structure",
        |pki| pki.sent = Some(tlv(0x30, &[&tlv(0x05, &[])])),
        Reason::MalformedCert,
    ),
    (
        "tpm/B35 duplicate SAN",
        |pki| again(pki, ALTERNATIVE_NAME),
        Reason::MalformedCert,
    ),
    (
        "tpm/B35 duplicate EKU",
        |pki| again(pki, EXTENDED_KEY_USAGE),
        Reason::MalformedCert,
    ),
    (
        "duplicate unknown extension",
        |pki| {
            pki.leaf.put("1.3.6.1.4.1.99999.1", false, vec![5, 0]);
            again(pki, "1.3.6.1.4.1.99999.1");
        },
        Reason::MalformedCert,
    ),
    (
        "tpm/B32 another algorithm outside",
        |pki| pki.leaf.outer_algorithm = Some(KEYS.root.algorithm()),
        Reason::MalformedCert,
    ),
    (
        "other parameters outside",
        |pki| {
            let algorithm = [oid("1.2.840.10045.4.3.2"), tlv(0x05, &[])].concat();
            pki.leaf.outer_algorithm = Some(tlv(0x30, &[&algorithm]));
        },
        Reason::MalformedCert,
    ),
    (
        "a field behind the extensions",
        |pki| pki.leaf.more_fields = tlv(0xA4, &[]),
        Reason::MalformedCert,
    ),
    (
        "extensions twice",
        |pki| pki.leaf.more_fields = tlv(0xA3, &[&tlv(0x30, &[])]),
        Reason::MalformedCert,
    ),
    (
        "a member behind the signature",
        |pki| pki.leaf.more_members = tlv(0x05, &[]),
        Reason::MalformedCert,
    ),
    (
        "a third time in the validity",
        |pki| pki.leaf.not_after = time("400101000000Z").repeat(2),
        Reason::MalformedCert,
    ),
    (
        "no time",
        |pki| pki.leaf.not_after = tlv(0x17, &[b"409901000000Z"]),
        Reason::MalformedCert,
    ),
    (
        "TRUE as 01",
        |pki| flag(pki, &[0x01, 0x01, 0x01]),
        Reason::MalformedCert,
    ),
    (
        "two flags",
        |pki| flag(pki, &[0x01, 0x01, 0xFF, 0x01, 0x01, 0xFF]),
        Reason::MalformedCert,
    ),
    (
        "a number as flag",
        |pki| flag(pki, &[0x02, 0x01, 0xFF]),
        Reason::MalformedCert,
    ),
    (
        "bytes behind an extension's value",
        |pki| {
            pki.leaf
                .put(KEY_USAGE, true, [bits(0x08), vec![5, 0]].concat());
        },
        Reason::MalformedCert,
    ),
    (
        "an extension's value in BER",
        |pki| {
            pki.leaf
                .put(BASIC_CONSTRAINTS, true, vec![0x30, 0x81, 0x00]);
        },
        Reason::MalformedCert,
    ),
    (
        "a malformed critical extension",
        |pki| pki.leaf.put(NAME_CONSTRAINTS, true, vec![0x02, 0x01, 0x00]),
        Reason::MalformedCert,
    ),
    (
        "tpm/B38 a name as constructed string",
        |pki| {
            let string = tlv(0x2C, &[&tlv(0x0C, &[b"CA"])]);
            let attribute = tlv(0x30, &[&oid("2.5.4.3"), &string]);
            pki.leaf.issuer = tlv(0x30, &[&tlv(0x31, &[&attribute])]);
        },
        Reason::MalformedCert,
    ),
    (
        "tpm/B38 indefinite length",
        |pki| pki.sent = Some(indefinite(&pki.leaf.sign(&KEYS.ca))),
        Reason::MalformedCert,
    ),
    (
        "tpm/B38 long length",
        |pki| pki.sent = Some(padded_length(&pki.leaf.sign(&KEYS.ca))),
        Reason::MalformedCert,
    ),
    (
        "a member behind an extension's value",
        |pki| pki.leaf.extensions[0].behind = vec![5, 0],
        Reason::MalformedCert,
    ),
    (
        "a signature of part of an octet",
        |pki| {
            // As many tries as it takes for the last bit to be zero, as DER wants an unused one.
            let mut signed = (0..).map(|_| pki.leaf.sign(&KEYS.ca));
            let mut leaf = signed.find(|leaf| leaf.last().unwrap() & 1 == 0).unwrap();
            let is_last = |at: usize| usize::from(leaf[at + 1]) == leaf.len() - at - 2;
            let signature = (0..leaf.len() - 2).find(|at| leaf[*at] == 3 && is_last(*at));
            leaf[signature.unwrap() + 2] = 1;
            pki.sent = Some(leaf);
        },
        Reason::MalformedCert,
    ),
    (
        "a name of another type",
        |pki| pki.leaf.issuer = tlv(0x30, &[&[5, 0]]),
        Reason::MalformedCert,
    ),
    (
        "a subject that ends in another type",
        |pki| pki.leaf.subject = tlv(0x30, &[&rdn("2.5.4.3", 12, "EK"), &[5, 0]]),
        Reason::MalformedCert,
    ),
    (
        "a name that ends in an empty part",
        |pki| pki.leaf.subject = tlv(0x30, &[&rdn("2.5.4.3", 12, "EK"), &tlv(0x31, &[])]),
        Reason::MalformedCert,
    ),
    (
        "a name with a third member",
        |pki| {
            let attribute = tlv(0x30, &[&oid("2.5.4.3"), &tlv(12, &[b"CA"]), &[5, 0]]);
            pki.leaf.issuer = tlv(0x30, &[&tlv(0x31, &[&attribute])]);
        },
        Reason::MalformedCert,
    ),
    (
        "a name without its type",
        |pki| {
            let attribute = tlv(0x30, &[&tlv(12, &[b"CA"]), &tlv(12, &[b"CA"])]);
            pki.leaf.issuer = tlv(0x30, &[&tlv(0x31, &[&attribute])]);
        },
        Reason::MalformedCert,
    ),
    (
        "a malformed intermediate",
        |pki| pki.offered = vec![[pki.ca.sign(&KEYS.root), vec![0]].concat()],
        Reason::MalformedCert,
    ),
];

#[test]
fn sizes_are_bounded() {
    refuse(&[
        (
            "tpm/B40 a large extension",
            |pki| pki.leaf = large(&pki.leaf, 100_000),
            Reason::CertTooLarge,
        ),
        (
            "much padding",
            |pki| pki.tail = vec![0xFF; 8192],
            Reason::CertTooLarge,
        ),
        (
            "a large intermediate",
            |pki| pki.ca = large(&pki.ca, 8192),
            Reason::CertTooLarge,
        ),
        (
            "five intermediates",
            |pki| pki.offered = vec![pki.ca.sign(&KEYS.root); 4],
            Reason::ChainLimit,
        ),
        (
            "tpm/B41 fifty intermediates",
            |pki| pki.offered = vec![pki.ca.sign(&KEYS.root); 50],
            Reason::ChainLimit,
        ),
    ]);
    let largest = Pki::bent(|pki| {
        pki.leaf = large(&pki.leaf, 7000);
        pki.tail = vec![0xFF; 8192 - pki.leaf_der().len()];
        // Signatures differ in length; this one is signed already.
        let sent = pki.leaf.sign(&KEYS.ca);
        pki.tail = vec![0xFF; 8192 - sent.len()];
        pki.sent = Some(sent);
    });
    assert!(largest.judge().0.is_ok());
}

#[test]
fn no_prefix_of_a_certificate_is_one() {
    let leaf = Pki::new().leaf_der();
    assert!(EkCertificate::parse(&leaf).is_ok());
    for len in 0..leaf.len() {
        let rejection = EkCertificate::parse(&leaf[..len]).unwrap_err();
        assert_eq!(
            rejection.reason,
            Reason::MalformedCert,
            "tpm/B39 prefix of {len}"
        );
    }
}

proptest! {
    // No file beside the crates: the workspace takes every directory there for a crate.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No change of a byte makes an accepted certificate: every byte is signed, or is compared with
    /// one that is, or belongs to the signature.
    #[test]
    fn altered_certificates_are_refused(at in 0usize..2000, change in 1u8..) {
        let mut pki = Pki::new();
        let mut leaf = pki.leaf_der();
        let at = at % leaf.len();
        leaf[at] ^= change;
        pki.sent = Some(leaf);
        prop_assert!(pki.judge().0.is_err());
    }

    /// Whatever else is read is kept as it came.
    #[test]
    fn what_is_read_is_what_was_sent(at in 0usize..2000, byte in any::<u8>()) {
        let mut ca = Pki::new().ca.sign(&KEYS.root);
        let at = at % ca.len();
        ca[at] = byte;
        if let Ok(certificate) = Certificate::read(&ca) {
            prop_assert_eq!(certificate.fingerprint().to_vec(), evidence::Hash::Sha256.digest(&[&ca]));
            let printable = |text: &str| text.chars().all(|char| (' '..='~').contains(&char));
            prop_assert!(printable(certificate.subject.text()) && printable(certificate.issuer.text()));
        }
    }
}

fn again(pki: &mut Pki, oid: &str) {
    let copy = pki
        .leaf
        .extensions
        .iter()
        .find(|extension| extension.oid == oid)
        .cloned();
    pki.leaf.extensions.extend(copy);
}

fn flag(pki: &mut Pki, der: &[u8]) {
    pki.leaf.extensions[0].flag = der.to_vec();
}

fn large(forge: &Forge, size: usize) -> Forge {
    forge
        .clone()
        .with("1.3.6.1.4.1.99999.2", false, vec![0; size])
}

/// The outer length made indefinite, as BER allows.
fn indefinite(certificate: &[u8]) -> Vec<u8> {
    assert_eq!(certificate[..2], [0x30, 0x82]);
    [&[0x30, 0x80], &certificate[4..], &[0, 0]].concat()
}

/// The outer length with a leading zero, as BER allows.
fn padded_length(certificate: &[u8]) -> Vec<u8> {
    assert_eq!(certificate[..2], [0x30, 0x82]);
    [&[0x30, 0x83, 0x00], &certificate[2..]].concat()
}
