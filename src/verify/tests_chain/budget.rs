//! What a request may cost, in signature checks.

use super::forge::*;
use super::pki::{NOW, Pki};
use crate::chain::ChainOptions;
use crate::{Anchors, EkCertificate, Reason};

#[test]
fn a_plain_chain_takes_one_check_for_each_link() {
    let (outcome, checks) = Pki::new().judge();
    assert!(outcome.is_ok());
    assert_eq!(checks, 2);
}

#[test]
fn the_leafs_own_faults_cost_no_check() {
    let (outcome, checks) = Pki::bent(|pki| pki.leaf.drop(EXTENDED_KEY_USAGE)).judge();
    assert_eq!((outcome.unwrap_err().reason, checks), (Reason::EkEku, 0));
}

#[test]
fn keys_that_are_too_large_cost_no_check() {
    let (outcome, checks) = Pki::bent(|pki| pki.ca.spki = rsa_spki(&modulus(16_384), F4)).judge();
    assert_eq!(
        (outcome.unwrap_err().reason, checks),
        (Reason::KeyTooLarge, 0),
        "tpm/B45"
    );
}

#[test]
fn the_number_of_anchors_costs_nothing() {
    let (outcome, checks) = Pki::bent(|pki| {
        pki.anchors = (0..500)
            .map(|n| Forge::ca(&format!("Root {n}"), &KEYS.other, "Root").sign(&KEYS.other))
            .collect();
    })
    .judge();
    assert!(outcome.is_ok());
    assert_eq!(checks, 2);
}

#[test]
fn a_web_of_equal_names_exhausts_the_budget() {
    // Ten certificates of each of CA, A, B and C, every one signed by the next name: 10^4 paths.
    let signers = [&KEYS.ca, &KEYS.other, &KEYS.rsa, &KEYS.p521];
    let names = ["CA", "A", "B", "C", "Nowhere"];
    let mut pki = Pki::bent(|pki| pki.is_ca_offered = false);
    for (level, signer) in signers.into_iter().enumerate() {
        let issuer = signers[(level + 1) % signers.len()];
        pki.intermediates.extend((0..10).map(|serial| {
            let forge = Forge::ca(names[level], signer, names[level + 1]);
            Forge {
                serial: tlv(0x02, &[&[serial]]),
                ..forge
            }
            .sign(issuer)
        }));
    }
    let (outcome, checks) = pki.judge();
    assert_eq!(
        (outcome.unwrap_err().reason, checks),
        (Reason::ChainLimit, 32),
        "tpm/B42"
    );
}

#[test]
fn many_keys_of_one_name_exhaust_the_budget() {
    let others: Vec<_> = (0..40)
        .map(|_| Forge::ca("CA", &fresh_signer(), "Root").sign(&KEYS.root))
        .collect();
    let (outcome, checks) = Pki::bent(|pki| pki.intermediates = others.clone()).judge();
    assert_eq!(
        (outcome.unwrap_err().reason, checks),
        (Reason::ChainLimit, 32)
    );
    // The key identifier leads to the right one at once.
    let (outcome, checks) = Pki::bent(|pki| {
        pki.intermediates = others;
        pki.leaf.put(
            AUTHORITY_KEY_ID,
            false,
            tlv(0x30, &[&tlv(0x80, &[&[7; 20]])]),
        );
        pki.ca.put(SUBJECT_KEY_ID, false, tlv(0x04, &[&[7; 20]]));
    })
    .judge();
    assert!(outcome.is_ok());
    assert_eq!(checks, 2);
}

#[test]
fn circles_end() {
    // The agent's four: CA and A certify each other, twice over.
    let (outcome, checks) = Pki::bent(|pki| {
        pki.is_root_an_anchor = false;
        pki.ca.issuer = name("A");
        pki.ca_issuer = &KEYS.other;
        let again = Forge {
            serial: tlv(0x02, &[&[9]]),
            ..Forge::ca("CA", &KEYS.ca, "A")
        };
        let a = Forge::ca("A", &KEYS.other, "CA");
        let b = Forge {
            serial: tlv(0x02, &[&[9]]),
            ..a.clone()
        };
        pki.offered = vec![again.sign(&KEYS.other), a.sign(&KEYS.ca), b.sign(&KEYS.ca)];
    })
    .judge();
    assert_eq!(
        (outcome.unwrap_err().reason, checks),
        (Reason::UntrustedChain, 6),
        "tpm/B41"
    );
}

#[test]
fn paths_are_six_certificates_at_most() {
    // Root → n CAs → EK.
    let signers: Vec<Signer> = (0..5).map(|_| fresh_signer()).collect();
    let chain = |length: usize| -> (Anchors, EkCertificate) {
        let root = Forge::ca("CA 0", &KEYS.root, "CA 0").sign(&KEYS.root);
        let intermediates = (1..=length).map(|level| {
            let issuer = if level == 1 {
                &KEYS.root
            } else {
                &signers[level - 2]
            };
            Forge::ca(
                &format!("CA {level}"),
                &signers[level - 1],
                &format!("CA {}", level - 1),
            )
            .sign(issuer)
        });
        let leaf = Forge::ek(&format!("CA {length}")).sign(&signers[length - 1]);
        (
            Anchors::new([root], intermediates).0,
            EkCertificate::parse(&leaf).unwrap(),
        )
    };
    let (anchors, leaf) = chain(4);
    assert!(
        anchors
            .verify(&leaf, &[], NOW, ChainOptions::default())
            .is_ok()
    );
    let (anchors, leaf) = chain(5);
    let (outcome, checks) = anchors.verify_counting(&leaf, &[], NOW, ChainOptions::default());
    assert_eq!(
        (outcome.unwrap_err().reason, checks),
        (Reason::ChainLimit, 5),
        "tpm/B41"
    );
}
