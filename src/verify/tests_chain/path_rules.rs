//! The rules of a path and its issuers, one case each.

use evidence::SubjectKey;

use super::forge::*;
use super::pki::{NOW, Pki, Refused, refuse};
use crate::chain::ChainOptions;
use crate::{Anchors, EkCertificate, Reason};

#[test]
fn paths_that_end_nowhere_are_refused() {
    refuse(NO_PATHS);
}

const NO_PATHS: &[Refused] = &[
    (
        "tpm/B07 no anchors",
        |pki| pki.is_root_an_anchor = false,
        Reason::UntrustedChain,
    ),
    (
        "no intermediate",
        |pki| pki.is_ca_offered = false,
        Reason::UntrustedChain,
    ),
    (
        "tpm/B02 self-signed",
        |pki| {
            pki.leaf.issuer = name("");
            pki.leaf_issuer = &KEYS.ek;
        },
        Reason::UntrustedChain,
    ),
    (
        "tpm/B02 issued by itself under a name",
        |pki| {
            (pki.leaf.issuer, pki.leaf.subject) = (name("EK"), name("EK"));
            pki.leaf_issuer = &KEYS.ek;
        },
        Reason::UntrustedChain,
    ),
    (
        "tpm/B08 a root that the agent brings",
        |pki| {
            pki.leaf.issuer = name("Other");
            pki.leaf_issuer = &KEYS.other;
            pki.offered = vec![Forge::ca("Other", &KEYS.other, "Other").sign(&KEYS.other)];
        },
        Reason::UntrustedChain,
    ),
    (
        "the operator's intermediate is no anchor",
        |pki| {
            pki.is_root_an_anchor = false;
            pki.is_ca_offered = false;
            pki.intermediates = vec![pki.ca.sign(&KEYS.root)];
        },
        Reason::UntrustedChain,
    ),
    (
        "two CAs that certify each other",
        |pki| {
            pki.is_root_an_anchor = false;
            pki.ca.issuer = name("Other");
            pki.ca_issuer = &KEYS.other;
            pki.offered = vec![Forge::ca("Other", &KEYS.other, "CA").sign(&KEYS.ca)];
        },
        Reason::UntrustedChain,
    ),
    (
        "tpm/B03 another CA of the name",
        |pki| pki.leaf_issuer = &KEYS.other,
        Reason::BadCertSignature,
    ),
    (
        "tpm/B03 another root of the name",
        |pki| pki.ca_issuer = &KEYS.p521,
        Reason::BadCertSignature,
    ),
    (
        "a signature over other bytes",
        |pki| {
            let mut leaf = pki.leaf.sign(&KEYS.ca);
            let serial = leaf.windows(2).position(|two| two == [0x11, 0x22]).unwrap();
            leaf[serial] ^= 1;
            pki.sent = Some(leaf);
        },
        Reason::BadCertSignature,
    ),
    (
        "another RSA key",
        |pki| {
            pki.ca.spki = KEYS.rsa_pss.key().spki();
            pki.leaf_issuer = &KEYS.rsa;
        },
        Reason::BadCertSignature,
    ),
    (
        "another RSA key, by PSS",
        |pki| {
            pki.ca.spki = KEYS.rsa.key().spki();
            pki.leaf_issuer = &KEYS.rsa_pss;
        },
        Reason::BadCertSignature,
    ),
    (
        "an algorithm of another kind of key",
        |pki| pki.leaf.inner_algorithm = Some(KEYS.rsa.algorithm()),
        Reason::BadCertSignature,
    ),
];

#[test]
fn issuers_that_may_not_issue_are_refused() {
    refuse(NO_ISSUERS);
}

const NO_ISSUERS: &[Refused] = &[
    (
        "version 1",
        |pki| pki.ca.version.clear(),
        Reason::IssuerNotCa,
    ),
    (
        "tpm/B09 no CA",
        |pki| pki.ca.put(BASIC_CONSTRAINTS, true, tlv(0x30, &[])),
        Reason::IssuerNotCa,
    ),
    (
        "tpm/B09 no constraints",
        |pki| pki.ca.drop(BASIC_CONSTRAINTS),
        Reason::IssuerNotCa,
    ),
    (
        "root no CA",
        |pki| pki.root.drop(BASIC_CONSTRAINTS),
        Reason::IssuerNotCa,
    ),
    (
        "tpm/B11 CA without keyCertSign",
        |pki| pki.ca.put(KEY_USAGE, true, bits(0x82)),
        Reason::IssuerKeyUsage,
    ),
    (
        "root without keyCertSign",
        |pki| pki.root.put(KEY_USAGE, false, bits(0x02)),
        Reason::IssuerKeyUsage,
    ),
    (
        "tpm/B22 CA expired",
        |pki| pki.ca.not_after = time("261123235959Z"),
        Reason::CaExpired,
    ),
    (
        "CA to come",
        |pki| pki.ca.not_before = time("261124000001Z"),
        Reason::CaExpired,
    ),
    (
        "tpm/B22 root expired",
        |pki| pki.root.not_after = time("261123235959Z"),
        Reason::CaExpired,
    ),
    (
        "CA expired, leaf may be",
        |pki| {
            pki.ca.not_after = time("261123235959Z");
            pki.accept_expired_leaf = true;
        },
        Reason::CaExpired,
    ),
    (
        "tpm/B10 path length",
        |pki| {
            pki.root
                .put(BASIC_CONSTRAINTS, true, ca_constraints(Some(0)));
        },
        Reason::PathLen,
    ),
    (
        "tpm/B33 unknown critical",
        |pki| pki.ca.put("1.3.6.1.4.1.99999.1", true, vec![5, 0]),
        Reason::UnhandledCriticalExt,
    ),
    (
        "tpm/B33 unknown critical of the root",
        |pki| pki.root.put("1.3.6.1.4.1.99999.1", true, vec![5, 0]),
        Reason::UnhandledCriticalExt,
    ),
    (
        "tpm/B34 critical name constraints",
        |pki| {
            let host = tlv(0x30, &[&tlv(0x82, &[b"example.org"])]);
            pki.ca
                .put(NAME_CONSTRAINTS, true, tlv(0x30, &[&tlv(0xA0, &[&host])]));
        },
        Reason::UnhandledCriticalExt,
    ),
    (
        "critical policy constraints",
        |pki| pki.ca.put("2.5.29.36", true, tlv(0x30, &[&[0x80, 1, 0]])),
        Reason::UnhandledCriticalExt,
    ),
    (
        "critical EKU for servers",
        |pki| {
            pki.ca
                .put(EXTENDED_KEY_USAGE, true, usages(&["1.3.6.1.5.5.7.3.1"]));
        },
        Reason::UnhandledCriticalExt,
    ),
    (
        "a key for RSAES-OAEP",
        |pki| {
            let SubjectKey::Rsa { modulus, .. } = KEYS.rsa.key() else {
                panic!("an RSA key")
            };
            let algorithm = tlv(0x30, &[&oid("1.2.840.113549.1.1.7"), &tlv(0x30, &[])]);
            pki.ca.spki = rsa_spki_with(&algorithm, &[&[0], modulus.as_slice()].concat(), F4);
            pki.leaf_issuer = &KEYS.rsa;
        },
        Reason::UnsupportedKey,
    ),
    (
        "tpm/B43 RSA-1024",
        |pki| pki.ca.spki = rsa_spki(&modulus(1024), F4),
        Reason::WeakKey,
    ),
    (
        "tpm/B44 exponent 3",
        |pki| pki.ca.spki = rsa_spki(&modulus(2048), &[3]),
        Reason::WeakKey,
    ),
    (
        "tpm/B45 RSA-16384",
        |pki| pki.ca.spki = rsa_spki(&modulus(16_384), F4),
        Reason::KeyTooLarge,
    ),
    (
        "ROCA",
        |pki| {
            let flawed = crate::roca::tests::flawed_modulus(100);
            pki.ca.spki = rsa_spki(&[&[0][..], &flawed].concat(), F4);
        },
        Reason::RocaKey,
    ),
    (
        "a point beside the curve",
        |pki| {
            let last = pki.ca.spki.len() - 1;
            pki.ca.spki[last] ^= 1;
        },
        Reason::InvalidPoint,
    ),
];

#[test]
fn weak_and_unknown_signature_algorithms_are_refused() {
    const SHA1: &str = "1.3.14.3.2.26";
    const SHA256: &str = "2.16.840.1.101.3.4.2.1";
    const SHA384: &str = "2.16.840.1.101.3.4.2.2";
    let identifier = |dotted: &str| tlv(0x30, &[&oid(dotted), &tlv(0x05, &[])]);
    let mut other_mask = pss_algorithm(SHA256, SHA256, 32, 1);
    let mgf1 = oid("1.2.840.113549.1.1.8");
    let at = other_mask.windows(mgf1.len()).position(|part| part == mgf1);
    other_mask[at.unwrap() + mgf1.len() - 1] = 9;
    for (algorithm, reason) in [
        (identifier("1.2.840.113549.1.1.5"), Reason::WeakSignatureAlg),
        (
            identifier("1.2.840.113549.1.1.4"),
            Reason::UnsupportedSignatureAlg,
        ),
        (
            identifier("1.2.840.113549.1.1.2"),
            Reason::UnsupportedSignatureAlg,
        ),
        (identifier("1.2.840.10045.4.1"), Reason::WeakSignatureAlg),
        (
            identifier("1.2.840.113549.1.1.14"),
            Reason::UnsupportedSignatureAlg,
        ),
        (
            identifier("1.2.840.10045.4.3.1"),
            Reason::UnsupportedSignatureAlg,
        ),
        (identifier("1.3.101.112"), Reason::UnsupportedSignatureAlg),
        (
            identifier("1.2.840.113549.1.1.10"),
            Reason::UnsupportedSignatureAlg,
        ),
        (pss_algorithm(SHA1, SHA1, 20, 1), Reason::WeakSignatureAlg),
        (other_mask, Reason::UnsupportedSignatureAlg),
        (
            pss_algorithm(SHA256, SHA384, 32, 1),
            Reason::UnsupportedSignatureAlg,
        ),
        (
            pss_algorithm(SHA256, SHA256, 20, 1),
            Reason::UnsupportedSignatureAlg,
        ),
        (
            pss_algorithm(SHA256, SHA256, 32, 2),
            Reason::UnsupportedSignatureAlg,
        ),
    ] {
        let mut pki = Pki::new();
        pki.leaf.inner_algorithm = Some(algorithm.clone());
        assert_eq!(
            pki.judge().0.unwrap_err().reason,
            reason,
            "tpm/B30 tpm/B31 leaf {algorithm:02X?}"
        );
        let mut pki = Pki::new();
        pki.ca.inner_algorithm = Some(algorithm.clone());
        assert_eq!(
            pki.judge().0.unwrap_err().reason,
            reason,
            "tpm/B30 tpm/B31 CA {algorithm:02X?}"
        );
    }
}

#[test]
fn the_missing_issuer_is_named_and_escaped() {
    let mut pki = Pki::new();
    pki.is_ca_offered = false;
    pki.leaf.issuer = name("Vendor \"CA\"\n level=info");
    let location = tlv(0x86, &[b"http://vendor.example/ca.crt\n"]);
    let access = tlv(0x30, &[&oid("1.3.6.1.5.5.7.48.2"), &location]);
    pki.leaf.put(AUTHORITY_INFO, false, tlv(0x30, &[&access]));
    let rejection = pki.judge().0.unwrap_err();
    assert_eq!(rejection.reason, Reason::UntrustedChain, "tpm/B54");
    assert_eq!(
        rejection.detail.unwrap(),
        "no certificate of the issuer \"CN=Vendor \\u{22}CA\\u{22}\\u{a} level=info\"; \
         it may be at \"http://vendor.example/ca.crt\\u{a}\""
    );
}

#[test]
fn the_longest_verified_path_is_the_one_reported() {
    // Beside the right CA, whose root is missing, lie one that expired and one of another key.
    let mut pki = Pki::new();
    pki.is_root_an_anchor = false;
    let mut expired = Forge::ca("CA", &KEYS.other, "Root");
    expired.not_after = time("210101000000Z");
    pki.intermediates = vec![
        expired.sign(&KEYS.root),
        Forge::ca("CA", &KEYS.p521, "Root").sign(&KEYS.root),
    ];
    let rejection = pki.judge().0.unwrap_err();
    assert_eq!(rejection.reason, Reason::UntrustedChain);
    assert_eq!(
        rejection.detail.unwrap(),
        "no certificate of the issuer \"CN=Root\""
    );
    // The same with the dead ends last.
    pki.is_ca_offered = false;
    pki.offered = std::mem::replace(&mut pki.intermediates, vec![pki.ca.sign(&KEYS.root)]);
    let rejection = pki.judge().0.unwrap_err();
    assert_eq!(rejection.reason, Reason::UntrustedChain);
}

#[test]
fn self_issued_certificates_do_not_count_in_path_lengths() {
    // Root (path length 1) → Root, renewed key → CA → EK.
    let mut pki = Pki::new();
    pki.root
        .put(BASIC_CONSTRAINTS, true, ca_constraints(Some(1)));
    pki.offered = vec![Forge::ca("Root", &KEYS.other, "Root").sign(&KEYS.root)];
    pki.ca_issuer = &KEYS.other;
    assert!(pki.judge().0.is_ok());
    pki.root
        .put(BASIC_CONSTRAINTS, true, ca_constraints(Some(0)));
    assert_eq!(pki.judge().0.unwrap_err().reason, Reason::PathLen);
}

#[test]
fn the_proof_names_the_key_the_tpm_and_the_anchor() {
    let pki = Pki::new();
    let root = pki.root.sign(pki.root_signer);
    let ca = pki.ca.sign(pki.ca_issuer);
    let leaf = EkCertificate::parse(&pki.leaf_der()).unwrap();
    let (anchors, _) = Anchors::new([root.clone()], []);
    let certified = anchors
        .verify(
            &leaf,
            std::slice::from_ref(&ca),
            NOW,
            ChainOptions::default(),
        )
        .unwrap();
    assert_eq!(*certified.key(), KEYS.ek.key());
    assert_eq!(
        certified.anchor().as_slice(),
        evidence::Hash::Sha256.digest(&[&root])
    );
    assert!(!certified.expired());
    let tpm = certified.description();
    assert_eq!(
        (
            tpm.unwrap().vendor().to_string().as_str(),
            tpm.unwrap().model(),
            tpm.unwrap().version()
        ),
        ("STM", "ST33HTPH", "id:00010102")
    );
    // The nearest anchor ends the path.
    let (anchors, _) = Anchors::new([root, ca.clone()], []);
    let certified = anchors
        .verify(&leaf, &[], NOW, ChainOptions::default())
        .unwrap();
    assert_eq!(
        certified.anchor().as_slice(),
        evidence::Hash::Sha256.digest(&[&ca])
    );
}
