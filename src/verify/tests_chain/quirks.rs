//! What real vendors' certificates look like: all of it is accepted.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use super::forge::*;
use super::pki::{Accepted, NOW, Pki, accept};
use crate::chain::ChainOptions;
use crate::{Anchors, EkCertificate, Waiver};

#[test]
fn vendors_quirks_are_accepted() {
    accept(QUIRKS);
}

const QUIRKS: &[Accepted] = &[
    ("by the book", |_| {}),
    ("tpm/B37 no padding but zeros", |pki| {
        pki.tail = vec![0x00; 431];
    }),
    ("tpm/B37 padding of ones", |pki| pki.tail = vec![0xFF; 431]),
    ("one byte of padding", |pki| pki.tail = vec![0xFF]),
    ("one multi-valued RDN", |pki| {
        pki.leaf
            .put(ALTERNATIVE_NAME, true, one_rdn(&["1", "2", "3"]));
    }),
    ("an unsorted SET", |pki| {
        pki.leaf
            .put(ALTERNATIVE_NAME, true, one_rdn(&["3", "1", "2"]));
    }),
    ("a subject, SAN not critical", |pki| {
        pki.leaf.subject = name("TPM");
        pki.leaf
            .put(ALTERNATIVE_NAME, false, alternative(&tpm_rdns()));
    }),
    ("PrintableString", |pki| {
        let mut rdns = tpm_rdns();
        rdns[1] = rdn("2.23.133.2.2", 19, "ST33HTPH");
        pki.leaf.put(ALTERNATIVE_NAME, true, alternative(&rdns));
    }),
    ("a short version", |pki| {
        let mut rdns = tpm_rdns();
        rdns[2] = rdn("2.23.133.2.3", 12, "id:13");
        pki.leaf.put(ALTERNATIVE_NAME, true, alternative(&rdns));
    }),
    ("more names beside", |pki| {
        let directory = tlv(0xA4, &[&tlv(0x30, &[&tpm_rdns().concat()])]);
        let permanent = tlv(
            0xA0,
            &[&oid("1.3.6.1.5.5.7.8.3"), &tlv(0xA0, &[&tlv(0x30, &[])])],
        );
        pki.leaf
            .put(ALTERNATIVE_NAME, true, tlv(0x30, &[&permanent, &directory]));
    }),
    ("explicit FALSE", |pki| {
        pki.leaf.put(
            AUTHORITY_KEY_ID,
            false,
            tlv(0x30, &[&tlv(0x80, &[&[1; 20]])]),
        );
        for extension in &mut pki.leaf.extensions {
            if extension.flag.is_empty() {
                extension.flag = tlv(0x01, &[&[0x00]]);
            }
        }
    }),
    ("explicit FALSE for CA", |pki| {
        pki.leaf.put(
            BASIC_CONSTRAINTS,
            true,
            tlv(0x30, &[&tlv(0x01, &[&[0x00]])]),
        );
    }),
    ("critical policies", |pki| {
        let policies = tlv(0x30, &[&tlv(0x30, &[&oid("1.2.3.4")])]);
        pki.ca.put(POLICIES, true, policies.clone());
        pki.root.put(POLICIES, true, policies.clone());
        pki.leaf.put(POLICIES, true, policies);
    }),
    ("critical directory attributes", |pki| {
        let family = tlv(
            0x30,
            &[
                &tlv(0x0C, &[b"2.0"]),
                &tlv(0x02, &[&[0]]),
                &tlv(0x02, &[&[0, 0x8A]]),
            ],
        );
        let specification = tlv(0x30, &[&oid("2.23.133.2.16"), &tlv(0x31, &[&family])]);
        pki.leaf
            .put(DIRECTORY_ATTRIBUTES, true, tlv(0x30, &[&specification]));
    }),
    ("critical EKU", |pki| {
        pki.leaf
            .put(EXTENDED_KEY_USAGE, true, usages(&["2.23.133.8.1", "1.2.3"]));
    }),
    ("dataEncipherment too", |pki| {
        rsa(pki, KEYS.rsa.key().spki(), 0x30);
    }),
    ("tpm/B51 rsaesOaep, waived", |pki| {
        pki.terms.waivers = [Waiver::RsaesOaep].into();
        let algorithm = tlv(0x30, &[&oid("1.2.840.113549.1.1.7"), &tlv(0x30, &[])]);
        rsa(pki, rsa_spki_with(&algorithm, &modulus(2048), F4), 0x20);
    }),
    ("RSA-3072", |pki| {
        rsa(pki, rsa_spki(&modulus(3072), F4), 0x20);
    }),
    ("RSA-4096", |pki| {
        rsa(pki, rsa_spki(&modulus(4096), F4), 0x20);
    }),
    ("P-384", |pki| pki.leaf.spki = KEYS.root.key().spki()),
    ("P-521", |pki| pki.leaf.spki = KEYS.p521.key().spki()),
    ("year 9999", |pki| {
        pki.leaf.not_after = time("99991231235959Z");
        pki.root.not_after = time("99991231235959Z");
    }),
    ("GeneralizedTime before 2050", |pki| {
        pki.leaf.not_before = time("20200101000000Z");
    }),
    ("tpm/B53 negative serial", |pki| {
        pki.leaf.serial = tlv(0x02, &[&[0x80, 0x01]]);
    }),
    ("tpm/B53 serial of 40 bytes", |pki| {
        pki.leaf.serial = tlv(0x02, &[&[0x7F; 40]]);
    }),
    ("serial with leading zeros", |pki| {
        pki.leaf.serial = tlv(0x02, &[&[0, 0, 1]]);
    }),
    ("serial zero", |pki| pki.leaf.serial = tlv(0x02, &[&[0]])),
    ("NULL beside ECDSA", |pki| {
        pki.leaf.inner_algorithm = Some(tlv(0x30, &[&oid("1.2.840.10045.4.3.2"), &tlv(0x05, &[])]));
    }),
];

#[test]
fn vendors_hierarchies_are_accepted() {
    accept(HIERARCHIES);
}

const HIERARCHIES: &[Accepted] = &[
    ("P-521 CA", |pki| ca_of(pki, &KEYS.p521)),
    ("RSA CA", |pki| ca_of(pki, &KEYS.rsa)),
    ("RSA-PSS CA", |pki| ca_of(pki, &KEYS.rsa_pss)),
    ("an intermediate as anchor", |pki| {
        pki.is_root_an_anchor = false;
        pki.is_ca_offered = false;
        pki.anchors = vec![pki.ca.sign(&KEYS.root)];
    }),
    ("the operator's intermediate", |pki| {
        pki.is_ca_offered = false;
        pki.intermediates = vec![pki.ca.sign(&KEYS.root)];
    }),
    ("the root offered too", |pki| {
        pki.offered = vec![pki.root.sign(&KEYS.root)];
    }),
    ("an anchor signed with SHA-1", |pki| {
        pki.root.inner_algorithm =
            Some(tlv(0x30, &[&oid("1.2.840.113549.1.1.5"), &tlv(0x05, &[])]));
    }),
    ("CA without key usage", |pki| pki.ca.drop(KEY_USAGE)),
    ("CA with the EK's usage", |pki| {
        pki.ca
            .put(EXTENDED_KEY_USAGE, true, usages(&["2.23.133.8.1"]));
    }),
    ("CA with any usage", |pki| {
        pki.ca
            .put(EXTENDED_KEY_USAGE, true, usages(&["2.5.29.37.0"]));
    }),
    ("path length that suffices", |pki| {
        pki.root
            .put(BASIC_CONSTRAINTS, true, ca_constraints(Some(1)));
        pki.ca.put(BASIC_CONSTRAINTS, true, ca_constraints(Some(0)));
    }),
    ("issuer in another letter case and string type", |pki| {
        pki.leaf.issuer = tlv(0x30, &[&rdn("2.5.4.3", 19, " ca ")]);
    }),
    ("a wrong key identifier", |pki| {
        pki.leaf.put(
            AUTHORITY_KEY_ID,
            false,
            tlv(0x30, &[&tlv(0x80, &[&[1; 20]])]),
        );
        pki.ca.put(SUBJECT_KEY_ID, false, tlv(0x04, &[&[2; 20]]));
    }),
    ("other CAs of the same name", |pki| {
        let mut expired = Forge::ca("CA", &KEYS.ca, "Root");
        expired.not_after = time("210101000000Z");
        pki.intermediates = vec![
            expired.sign(&KEYS.root),
            Forge::ca("CA", &KEYS.other, "Root").sign(&KEYS.root),
        ];
    }),
    ("a dead end beside the path", |pki| {
        pki.intermediates = vec![Forge::ca("CA", &KEYS.ca, "Gone").sign(&KEYS.other)];
    }),
];

#[test]
fn text_in_certificates_comes_out_escaped() {
    let mut pki = Pki::new();
    let mut rdns = tpm_rdns();
    rdns[1] = rdn("2.23.133.2.2", 12, "SLB9670\n selector:\u{202E}x\0");
    rdns[2] = rdn("2.23.133.2.3", 12, &"\u{1F4A9}".repeat(40));
    pki.leaf.put(ALTERNATIVE_NAME, true, alternative(&rdns));
    let certified = pki.judge().0.unwrap();
    assert_eq!(
        certified.description().unwrap().model(),
        "SLB9670\\u{a} selector:\\u{202e}x\\u{0}",
        "tpm/B54"
    );
    assert_eq!(
        certified.description().unwrap().version(),
        "\\u{1f4a9}".repeat(14)
    );
}

#[test]
fn what_is_known_without_a_verdict() {
    let mut leaf = Forge::ek("Vendor\tCA");
    let text = "id:00001014";
    leaf.put(
        ALTERNATIVE_NAME,
        true,
        alternative(&[
            rdn("2.23.133.2.1", 12, text),
            tpm_rdns().remove(1),
            tpm_rdns().remove(2),
        ]),
    );
    let ocsp = tlv(
        0x30,
        &[
            &oid("1.3.6.1.5.5.7.48.1"),
            &tlv(0x86, &[b"http://ocsp.example"]),
        ],
    );
    let issuer = tlv(
        0x30,
        &[
            &oid("1.3.6.1.5.5.7.48.2"),
            &tlv(0x86, &[b"http://ca.example"]),
        ],
    );
    leaf.put(AUTHORITY_INFO, false, tlv(0x30, &[&ocsp, &issuer]));
    let der = leaf.sign(&KEYS.ca);
    let read = EkCertificate::parse(&[der.clone(), vec![0xFF; 9]].concat()).unwrap();
    assert_eq!(read.der(), der);
    assert_eq!(*read.key(), KEYS.ek.key());
    assert_eq!(read.issuer_text(), "CN=Vendor\\u{9}CA");
    assert_eq!(read.authority_info(), Some("http://ca.example"));
    assert_eq!(read.description().unwrap().vendor().to_string(), text);
    leaf.drop(ALTERNATIVE_NAME);
    assert_eq!(
        EkCertificate::parse(&leaf.sign(&KEYS.ca))
            .unwrap()
            .description(),
        None
    );
}

#[test]
fn a_chain_by_another_encoder_is_accepted() {
    let named = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        params
    };
    let mut root = named("Root");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let anchor = root.self_signed(&root_key).unwrap();
    let mut ek = named("");
    ek.distinguished_name = DistinguishedName::new();
    ek.is_ca = IsCa::ExplicitNoCa;
    ek.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    ek.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Other(vec![
        2, 23, 133, 8, 1,
    ])];
    ek.use_authority_key_identifier_extension = true;
    let mut san = CustomExtension::from_oid_content(&[2, 5, 29, 17], alternative(&tpm_rdns()));
    san.set_criticality(true);
    ek.custom_extensions = vec![san];
    let leaf = ek.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
    let (anchors, unusable) = Anchors::new([anchor.der().to_vec()], []);
    assert_eq!(unusable, []);
    let leaf = EkCertificate::parse(leaf.der()).unwrap();
    let certified = anchors
        .verify(&leaf, &[], NOW, ChainOptions::default())
        .unwrap();
    assert_eq!(
        certified.key().spki(),
        rcgen::PublicKeyData::subject_public_key_info(&key)
    );
}

/// The three attributes in one RDN, in this order.
fn one_rdn(order: &[&str]) -> Vec<u8> {
    let value = |last: &str| match last {
        "1" => "id:4E544300",
        "2" => "NPCT75x",
        _ => "id:00070002",
    };
    let attributes = order
        .iter()
        .map(|last| attribute(&format!("2.23.133.2.{last}"), 12, value(last)));
    alternative(&[tlv(0x31, &[&attributes.collect::<Vec<_>>().concat()])])
}

fn rsa(pki: &mut Pki, spki: Vec<u8>, usage: u8) {
    pki.leaf.spki = spki;
    pki.leaf.put(KEY_USAGE, true, bits(usage));
}

fn ca_of(pki: &mut Pki, signer: &'static Signer) {
    pki.ca.spki = signer.key().spki();
    pki.leaf_issuer = signer;
}
