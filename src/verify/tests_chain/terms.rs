//! What an operator ties to one anchor: vendors it is for, and rules that are waived below it.

use std::collections::BTreeSet;

use evidence::parse_pem;

use super::forge::{
    ALTERNATIVE_NAME, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, Forge, KEY_USAGE, KEYS, bits, name,
    time, usages,
};
use super::pki::{Pki, accept, refuse};
use crate::{Anchor, Anchors, ChainOptions, EkCertificate, Reason, Terms, Vendor, Waiver};

fn waive(pki: &mut Pki, waiver: Waiver) {
    pki.terms.waivers = BTreeSet::from([waiver]);
}

fn bind(pki: &mut Pki, vendors: &[&str]) {
    let vendors = vendors.iter().map(|name| Vendor::from_name(name).unwrap());
    pki.terms.vendors = Some(vendors.collect());
}

#[test]
fn an_anchor_vouches_for_its_vendors_alone() {
    accept(&[
        ("its vendor", |pki| bind(pki, &["STM"])),
        ("one of its vendors", |pki| bind(pki, &["IFX", "STM"])),
        ("no vendor known, by waiver", |pki| {
            bind(pki, &["IFX"]);
            waive(pki, Waiver::AlternativeName);
            pki.leaf.drop(ALTERNATIVE_NAME);
        }),
        ("another anchor that vouches", |pki| {
            bind(pki, &["IFX"]);
            pki.anchors = vec![pki.ca.sign(pki.ca_issuer)];
        }),
    ]);
    refuse(&[
        (
            "tpm/B19 another vendor",
            |pki| bind(pki, &["IFX"]),
            Reason::VendorAnchorMismatch,
        ),
        (
            "none at all",
            |pki| bind(pki, &[]),
            Reason::VendorAnchorMismatch,
        ),
    ]);
}

#[test]
fn a_waiver_excuses_one_rule_below_one_anchor() {
    accept(&[
        ("no extended key usage", |pki| {
            waive(pki, Waiver::ExtendedKeyUsage);
            pki.leaf.drop(EXTENDED_KEY_USAGE);
        }),
        ("no alternative name", |pki| {
            waive(pki, Waiver::AlternativeName);
            pki.leaf.drop(ALTERNATIVE_NAME);
        }),
        ("no basic constraints", |pki| {
            waive(pki, Waiver::BasicConstraints);
            pki.leaf.drop(BASIC_CONSTRAINTS);
        }),
        ("expired", |pki| {
            waive(pki, Waiver::Expired);
            pki.leaf.not_after = time("260101000000Z");
        }),
    ]);
    let broken: [super::pki::Refused; 10] = [
        (
            "another rule waived",
            |pki| {
                waive(pki, Waiver::Expired);
                pki.leaf.drop(EXTENDED_KEY_USAGE);
            },
            Reason::EkEku,
        ),
        (
            "waived below another anchor",
            |pki| {
                waive(pki, Waiver::ExtendedKeyUsage);
                pki.leaf.drop(EXTENDED_KEY_USAGE);
                pki.is_root_an_anchor = false;
                pki.anchors = vec![pki.root.sign(pki.root_signer)];
            },
            Reason::EkEku,
        ),
        (
            "waived for an anchor of another chain",
            |pki| {
                waive(pki, Waiver::ExtendedKeyUsage);
                pki.leaf.drop(EXTENDED_KEY_USAGE);
                pki.leaf.issuer = name("Other");
                pki.leaf_issuer = &KEYS.other;
                pki.anchors = vec![Forge::ca("Other", &KEYS.other, "Other").sign(&KEYS.other)];
            },
            Reason::EkEku,
        ),
        (
            "an extended key usage for something else",
            |pki| {
                waive(pki, Waiver::ExtendedKeyUsage);
                pki.leaf
                    .put(EXTENDED_KEY_USAGE, false, usages(&["2.23.133.8.3"]));
            },
            Reason::EkEku,
        ),
        (
            "an alternative name that describes no TPM",
            |pki| {
                waive(pki, Waiver::AlternativeName);
                pki.leaf
                    .put(ALTERNATIVE_NAME, true, super::forge::alternative(&[]));
            },
            Reason::EkSan,
        ),
        (
            "basic constraints of a CA",
            |pki| {
                waive(pki, Waiver::BasicConstraints);
                pki.leaf
                    .put(BASIC_CONSTRAINTS, true, super::forge::ca_constraints(None));
            },
            Reason::EkIsCa,
        ),
        (
            "tpm/B14 a key that signs: never waived",
            |pki| {
                pki.terms.waivers = Waiver::ALL.into();
                pki.leaf.put(KEY_USAGE, true, bits(0x88));
            },
            Reason::EkKeyUsage,
        ),
        (
            "not valid yet: never waived",
            |pki| {
                pki.terms.waivers = Waiver::ALL.into();
                pki.leaf.not_before = time("270101000000Z");
            },
            Reason::EkCertNotYetValid,
        ),
        (
            "a CA that has expired: never waived",
            |pki| {
                pki.terms.waivers = Waiver::ALL.into();
                pki.ca.not_after = time("260101000000Z");
            },
            Reason::CaExpired,
        ),
        (
            "not waived",
            |pki| {
                pki.leaf.not_after = time("260101000000Z");
            },
            Reason::EkCertExpired,
        ),
    ];
    refuse(&broken);
}

/// The reason is the one that there would be without any waiver, also where a later rule is broken, too.
#[test]
fn without_a_waiver_the_first_broken_rule_is_told() {
    type Bend = fn(&mut Pki);
    let all: [(Bend, Reason); 6] = [
        (|pki| pki.leaf.drop(BASIC_CONSTRAINTS), Reason::EkIsCa),
        (|pki| pki.leaf.drop(EXTENDED_KEY_USAGE), Reason::EkEku),
        (
            |pki| pki.leaf.put(KEY_USAGE, true, bits(0x88)),
            Reason::EkKeyUsage,
        ),
        (|pki| pki.leaf.drop(ALTERNATIVE_NAME), Reason::EkSan),
        (
            |pki| pki.leaf.not_after = time("260101000000Z"),
            Reason::EkCertExpired,
        ),
        (|pki| pki.is_ca_offered = false, Reason::UntrustedChain),
    ];
    for (first, (bend, reason)) in all.iter().enumerate() {
        for (later, _) in &all[first..] {
            let pki = Pki::bent(|pki| {
                bend(pki);
                later(pki);
            });
            assert_eq!(pki.judge().0.unwrap_err().reason, *reason);
        }
    }
}

/// An EK certificate that an RSA root signed with SHA-1, and the root; made with OpenSSL 3.0, which
/// signs so as aws-lc-rs no longer does.
const SHA1: &str = include_str!("vectors/sha1.pem");
/// 2027-01-15.
const LATER: i64 = 1_800_000_000;

#[test]
fn sha_1_counts_below_an_anchor_that_waives_the_rule() {
    let blocks = parse_pem(SHA1, 2).unwrap();
    let leaf = EkCertificate::parse(&blocks[0].contents).unwrap();
    let judge = |waivers: &[&[Waiver]]| {
        let root = |waivers: &&[Waiver]| Anchor {
            der: blocks[1].contents.clone(),
            terms: Terms {
                vendors: None,
                waivers: waivers.iter().copied().collect(),
            },
        };
        let (anchors, _) = Anchors::new(waivers.iter().map(root), []);
        let outcome = anchors.verify(&leaf, &[], LATER, ChainOptions::default());
        outcome.map(|_| ()).map_err(|rejection| rejection.reason)
    };
    assert_eq!(judge(&[&[Waiver::Sha1]]), Ok(()));
    assert_eq!(judge(&[&[]]), Err(Reason::WeakSignatureAlg), "tpm/B30");
    assert_eq!(judge(&[&[Waiver::Expired]]), Err(Reason::WeakSignatureAlg));
}

#[test]
fn sha_1_does_not_count_below_another_anchor() {
    let blocks = parse_pem(SHA1, 2).unwrap();
    let leaf = EkCertificate::parse(&blocks[0].contents).unwrap();
    let elsewhere = Pki::new().root.sign(Pki::new().root_signer);
    let waived = Anchor {
        der: elsewhere,
        terms: Terms {
            vendors: None,
            waivers: BTreeSet::from([Waiver::Sha1]),
        },
    };
    let (anchors, _) = Anchors::new([waived, blocks[1].contents.clone().into()], []);
    let outcome = anchors.verify(&leaf, &[], LATER, ChainOptions::default());
    assert_eq!(outcome.unwrap_err().reason, Reason::WeakSignatureAlg);
}

#[test]
fn waivers_have_distinct_names() {
    for waiver in Waiver::ALL {
        assert_eq!(Waiver::from_name(waiver.name()), Some(waiver));
    }
    assert_eq!(Waiver::from_name("key_usage"), None);
}
