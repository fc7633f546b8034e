//! Loading an operator's certificates: bad ones are reported and do no harm.

use super::forge::*;
use super::pki::{NOW, Pki};
use crate::chain::ChainOptions;
use crate::{Anchors, EkCertificate, Reason, UnusableCertificate};

#[test]
fn unusable_certificates_are_reported_by_place_and_reason() {
    let root = Forge::ca("Root", &KEYS.root, "Root").sign(&KEYS.root);
    let anchors = vec![
        b"junk".to_vec(),
        root.clone(),
        Pki::new().leaf_der(),
        Forge {
            spki: rsa_spki(&modulus(1024), F4),
            ..Forge::ca("Weak", &KEYS.other, "Weak")
        }
        .sign(&KEYS.other),
        root.clone(),
        Forge {
            spki: rsa_spki(
                &[&[0][..], &crate::roca::tests::flawed_modulus(100)].concat(),
                F4,
            ),
            ..Forge::ca("Flawed", &KEYS.other, "Flawed")
        }
        .sign(&KEYS.other),
    ];
    let mut no_signer = Forge::ca("CA", &KEYS.ca, "Root");
    no_signer.put(KEY_USAGE, true, bits(0x80));
    let mut unknown = Forge::ca("CA", &KEYS.ca, "Root");
    unknown.put("1.3.6.1.4.1.99999.1", true, vec![5, 0]);
    let intermediates = vec![
        no_signer.sign(&KEYS.root),
        unknown.sign(&KEYS.root),
        [root, vec![0]].concat(),
        vec![0x30; 9000],
    ];
    let (anchors, unusable) = Anchors::new(anchors, intermediates);
    assert_eq!(anchors.len(), 1);
    let expected = [
        (0, Reason::MalformedCert),
        (2, Reason::IssuerNotCa),
        (3, Reason::WeakKey),
        (5, Reason::RocaKey),
        (6, Reason::IssuerKeyUsage),
        (7, Reason::UnhandledCriticalExt),
        (8, Reason::MalformedCert),
        (9, Reason::CertTooLarge),
    ];
    assert_eq!(
        unusable,
        expected.map(|(index, reason)| UnusableCertificate { index, reason }),
        "tpm/B52"
    );
}

#[test]
fn only_usable_anchors_count() {
    let (none, unusable) = Anchors::new(
        [b"junk".to_vec(), Pki::new().leaf_der()],
        [Pki::new().ca.sign(&KEYS.root)],
    );
    assert_eq!((none.len(), none.is_empty(), unusable.len()), (0, true, 2));
    let (one, unusable) = Anchors::new([Pki::new().root.sign(&KEYS.root)], []);
    assert_eq!((one.len(), one.is_empty(), unusable.len()), (1, false, 0));
}

#[test]
fn the_earliest_expiry_is_of_what_can_be_used() {
    let until = |name: &str, end: &str| Forge {
        not_after: time(end),
        ..Forge::ca(name, &KEYS.ca, name)
    };
    assert_eq!(
        Anchors::new(Vec::<Vec<u8>>::new(), []).0.earliest_expiry(),
        None
    );
    let mut unusable = until("C", "280101000000Z");
    unusable.drop(BASIC_CONSTRAINTS);
    let anchors = [
        until("A", "300101000000Z").sign(&KEYS.ca),
        unusable.sign(&KEYS.ca),
    ];
    let intermediates = [
        until("B", "290101000000Z").sign(&KEYS.ca),
        until("D", "99991231235959Z").sign(&KEYS.ca),
    ];
    assert_eq!(
        Anchors::new(anchors, intermediates).0.earliest_expiry(),
        Some(1_861_920_000)
    );
}

#[test]
fn an_unusable_certificate_spoils_no_chain() {
    let pki = Pki::new();
    let mut spoiled = Forge::ca("Root", &KEYS.root, "Root");
    spoiled.drop(BASIC_CONSTRAINTS);
    let (anchors, unusable) = Anchors::new(
        [spoiled.sign(&KEYS.root), vec![1], pki.root.sign(&KEYS.root)],
        [pki.ca.sign(&KEYS.root)],
    );
    assert_eq!(unusable.len(), 2);
    let leaf = EkCertificate::parse(&pki.leaf_der()).unwrap();
    assert!(
        anchors
            .verify(&leaf, &[], NOW, ChainOptions::default())
            .is_ok()
    );
}
