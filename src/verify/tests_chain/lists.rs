//! Revocation lists when they are loaded: in force, foreign, or an error.

use evidence::parse_pem;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::crl_forge::*;
use super::forge::{Forge, KEY_USAGE, KEYS, alternative, bits, oid, time, tlv, tpm_rdns};
use super::pki::NOW;
use crate::{
    Anchor, Anchors, ChainOptions, CrlPolicy, EkCertificate, Reason, Terms, UnusableCertificate,
    Waiver,
};

const CRITICAL: &str = "a critical extension that is not evaluated";
const POINT: &str = "the issuing distribution point is malformed";
const FIELDS: &str = "the signed part has other fields than a list";
const TIME: &str = "the time of this or the next update is malformed";
const VERSION: &str = "it has extensions and is not of version 2";
const UNSIGNED: &str = "no certificate of its issuer that may sign lists signed it";

/// What becomes of a list beside the anchors `Root` and `CA`: in force, or what is wrong with it.
fn load(list: Vec<u8>, ca_usage: Option<u8>) -> Result<usize, &'static str> {
    let mut ca = Forge::ca("CA", &KEYS.ca, "Root");
    match ca_usage {
        Some(octet) => ca.put(KEY_USAGE, true, bits(octet)),
        None => ca.drop(KEY_USAGE),
    }
    let root = Forge::ca("Root", &KEYS.root, "Root").sign(&KEYS.root);
    let (anchors, _) = Anchors::new([root, ca.sign(&KEYS.root)], []);
    match anchors.with_crls([list]) {
        Ok((anchors, foreign)) => {
            assert_eq!(anchors.crls() + foreign.len(), 1);
            Ok(anchors.crls())
        }
        Err(invalid) => {
            assert_eq!(invalid.index, 0);
            assert!(invalid.to_string().starts_with("crl_invalid: "));
            Err(invalid.problem)
        }
    }
}

#[test]
fn lists_are_in_force_when_their_issuer_signed_them() {
    let good = List::of("CA").sign(&KEYS.ca);
    assert_eq!(load(good.clone(), Some(0x02)), Ok(1));
    assert_eq!(load(good.clone(), Some(0x06)), Ok(1));
    assert_eq!(load(good.clone(), None), Ok(1));
    assert_eq!(
        load(good, Some(0x04)),
        Err(UNSIGNED),
        "may sign certificates only"
    );
    assert_eq!(
        load(List::of("Nobody").sign(&KEYS.other), None),
        Ok(0),
        "foreign"
    );
    let forged = List::of("CA").sign(&KEYS.other);
    assert_eq!(load(forged, Some(0x06)), Err(UNSIGNED), "tpm/B26");
    let by_root = List::of("CA").sign(&KEYS.root);
    assert_eq!(load(by_root, Some(0x06)), Err(UNSIGNED));
}

#[test]
fn lists_that_cannot_be_relied_on_are_errors() {
    let critical = |oid| List::of("CA").with(oid, true, tlv(0x02, &[&[1]]));
    let scoped = |scope: &[u8]| List::of("CA").with(ISSUING_POINT, true, tlv(0x30, &[scope]));
    let indirect = || List::of("CA").with(ISSUING_POINT, true, indirect());
    let named = |value| [extension(CERTIFICATE_ISSUER, true, value)];
    let bent = |bend: fn(&mut List)| {
        let mut list = List::of("CA");
        bend(&mut list);
        list
    };
    let two = tlv(0x30, &[&directory("A")[2..], &directory("B")[2..]]);
    for (list, problem) in [
        (critical(DELTA), "a delta list"),
        (
            List::of("CA").with(DELTA, false, tlv(0x02, &[&[1]])),
            "a delta list",
        ),
        (critical("1.2.3.4"), CRITICAL),
        (
            critical(CRL_NUMBER).with(CRL_NUMBER, false, tlv(0x02, &[&[2]])),
            CRITICAL,
        ),
        (
            List::of("CA")
                .with(CRL_NUMBER, false, tlv(0x02, &[&[1]]))
                .with(CRL_NUMBER, false, tlv(0x02, &[&[2]])),
            "an extension occurs twice",
        ),
        (
            bent(|list| {
                let mut number = extension(CRL_NUMBER, false, tlv(0x02, &[&[1]]));
                number.flag = tlv(0x02, &[&[1]]);
                list.extensions.push(number);
            }),
            "an extension is malformed",
        ),
        (
            bent(|list| list.more_fields = tlv(0xA0, &[&tlv(0x30, &[]), &tlv(0x30, &[])])),
            "the extensions are malformed",
        ),
        (
            bent(|list| list.more_fields = extensions(&[&[0x04, 1, 9, 0x04, 1, 9]])),
            "an extension is malformed",
        ),
        (
            bent(|list| list.more_fields = extensions(&[&oid("1.2.3.4"), &[0x0C, 1, 9]])),
            "an extension is malformed",
        ),
        (
            scoped(&[0x84, 1, 0]).revoking(&[1], &entry_of("CA")),
            "an entry names an issuer though the list is not indirect",
        ),
        (
            List::of("CA").with(ISSUING_POINT, false, tlv(0x02, &[&[1]])),
            POINT,
        ),
        (scoped(&[0x81, 1, 0xFF, 0x82, 1, 0xFF]), POINT),
        (scoped(&[0x84, 1, 0xFF, 0x81, 1, 0xFF]), POINT),
        (scoped(&[0x84, 1, 0xFF, 0x84, 1, 0xFF]), POINT),
        (scoped(&[0x84, 0]), POINT),
        (scoped(&[0x86, 1, 0xFF]), POINT),
        (scoped(&[0xA0, 2, 0xA2, 0]), POINT),
        (
            List::of("CA").revoking(&[1], &entry_of("CA")),
            "an entry names an issuer though the list is not indirect",
        ),
        (
            indirect().revoking(&[1], &named(tlv(0x30, &[]))),
            "an entry's issuer is malformed",
        ),
        (
            indirect().revoking(&[1], &named(two)),
            "an entry's issuer is malformed",
        ),
        (
            indirect().revoking(&[1], &[&entry_of("A")[..], &entry_of("B")].concat()),
            "an entry names two issuers",
        ),
        (
            List::of("CA").revoking(&[1], &[extension("1.2.3.4", true, tlv(0x05, &[]))]),
            "an entry has a critical extension that is not evaluated",
        ),
        (
            bent(|list| list.entries = vec![tlv(0x30, &[&tlv(0x02, &[&[1]])])]),
            "an entry is malformed",
        ),
        (
            bent(|list| list.entries = vec![tlv(0x30, &[&tlv(0x04, &[&[1]]), &list.this_update])]),
            "an entry is malformed",
        ),
        (
            bent(|list| list.entries = vec![tlv(0x30, &[&tlv(0x02, &[&[1]]), &[5, 0]])]),
            "an entry is malformed",
        ),
        (
            bent(|list| list.outer_algorithm = Some(KEYS.root.algorithm())),
            "two signature algorithms are named",
        ),
        (bent(|list| list.more_fields = tlv(0x05, &[])), FIELDS),
        (
            bent(|list| list.more_fields = tlv(0x30, &[]).repeat(2)),
            FIELDS,
        ),
        (
            bent(|list| list.this_update = tlv(0x17, &[b"269901000000Z"])),
            TIME,
        ),
        (
            bent(|list| list.next_update = tlv(0x17, &[b"269901000000Z"])),
            TIME,
        ),
        (bent(|list| list.this_update = tlv(0x02, &[&[1]])), TIME),
        (
            bent(|list| list.issuer = tlv(0x30, &[&[5, 0]])),
            "the issuer is malformed",
        ),
        (
            bent(|list| {
                list.version.clear();
                list.extensions = vec![extension(CRL_NUMBER, false, tlv(0x02, &[&[1]]))];
            }),
            VERSION,
        ),
        (
            List {
                version: Vec::new(),
                ..List::of("CA").revoking(&[1], &[extension(REASON, false, tlv(0x0A, &[&[6]]))])
            },
            VERSION,
        ),
        (
            bent(|list| list.version = tlv(0x02, &[&[2]])),
            "two signature algorithms are named",
        ),
    ] {
        assert_eq!(load(list.sign(&KEYS.ca), Some(0x06)), Err(problem));
    }
    let mut explicit = extension("1.2.3.4", false, tlv(0x05, &[]));
    explicit.flag = tlv(0x01, &[&[0]]);
    let mut list = List::of("CA");
    list.extensions.push(explicit);
    assert_eq!(load(list.sign(&KEYS.ca), None), Ok(1), "explicit FALSE");
    let old = bent(|list| list.version.clear()).revoking(&[1], &[]);
    assert_eq!(load(old.sign(&KEYS.ca), None), Ok(1), "version 1");
}

/// The extensions of a list: one of these parts.
fn extensions(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0xA0, &[&tlv(0x30, &[&tlv(0x30, parts)])])
}

#[test]
fn what_is_no_list_is_an_error() {
    let good = List::of("CA").sign(&KEYS.ca);
    let is_last = |at: usize| usize::from(good[at + 1]) == good.len() - at - 2;
    let signature = (0..good.len() - 2).find(|at| good[*at] == 3 && is_last(*at));
    let mut no_bits = good.clone();
    no_bits[signature.unwrap()] = 0x04;
    let certificate = Forge::ca("CA", &KEYS.ca, "Root").sign(&KEYS.root);
    for (list, problem) in [
        (Vec::new(), "not DER"),
        ([good.as_slice(), &[0]].concat(), "not DER"),
        (vec![0x30, 0x80, 0, 0], "not DER"),
        (
            vec![5, 0],
            "not a signed part, an algorithm and a signature",
        ),
        (
            vec![0x30, 6, 5, 0, 5, 0, 5, 0],
            "the signed part is no sequence",
        ),
        (
            vec![0x30, 6, 0x30, 0, 5, 0, 5, 0],
            "the signed part lacks fields",
        ),
        (certificate, "two signature algorithms are named"),
        (no_bits, "the signature is malformed"),
        (
            tlv(0x04, &[&vec![0; (16 << 20) - 5]]),
            "not a signed part, an algorithm and a signature",
        ),
        (
            tlv(0x04, &[&vec![0; (16 << 20) - 4]]),
            "the list is too large",
        ),
    ] {
        assert_eq!(load(list, None), Err(problem));
    }
    for len in 0..good.len() {
        assert_eq!(load(good[..len].to_vec(), None), Err("not DER"), "{len}");
    }
}

proptest! {
    // No file beside the crates: the workspace takes every directory there for a crate.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No change of a byte makes another list: at the most one of another issuer.
    #[test]
    fn altered_lists_are_not_in_force(at in 0usize..1000, change in 1u8..) {
        let mut list = List::of("CA").revoking(&[7], &[]).sign(&KEYS.ca);
        let at = at % list.len();
        list[at] ^= change;
        prop_assert!(load(list, Some(0x06)) != Ok(1));
    }
}

/// The lists of vendors that are none of the operator's may be anything, as long as they say whose they are.
#[test]
fn lists_of_others_are_passed_over_whatever_they_are() {
    for list in [
        List::of("Nobody").with(DELTA, true, tlv(0x02, &[&[1]])),
        List::of("Nobody").revoking(&[1], &entry_of("CA")),
    ] {
        assert_eq!(load(list.sign(&KEYS.other), None), Ok(0));
    }
    let weak = tlv(0x30, &[&oid("1.2.840.113549.1.1.4"), &tlv(0x05, &[])]);
    let mut list = List::of("Nobody");
    list.inner_algorithm = Some(weak);
    assert_eq!(load(list.sign(&KEYS.rsa), None), Ok(0));
    list.issuer = List::of("CA").issuer;
    assert_eq!(
        load(list.sign(&KEYS.rsa), None),
        Err("signed with a weak or unknown algorithm")
    );
}

#[test]
fn entries_of_all_lists_are_limited() {
    let root = || Forge::ca("Root", &KEYS.root, "Root").sign(&KEYS.root);
    let ca = || Forge::ca("CA", &KEYS.ca, "Root").sign(&KEYS.root);
    let of = |issuer, signer, count: u8| {
        let list = (0..count).fold(List::of(issuer), |list, serial| {
            list.revoking(&[serial], &[])
        });
        list.sign(signer)
    };
    let load = |in_root, in_ca, limit| {
        let lists = [of("Root", &KEYS.root, in_root), of("CA", &KEYS.ca, in_ca)];
        let (anchors, _) = Anchors::new([root(), ca()], []);
        let outcome = anchors.with_some_crls(lists, limit);
        outcome.map(drop).map_err(|invalid| invalid.index)
    };
    assert_eq!(load(3, 4, 7), Ok(()));
    assert_eq!(load(3, 4, 6), Err(1));
    assert_eq!(load(7, 0, 6), Err(0));
}

/// Certificates and lists of a file, in this order.
fn read(pem: &str, certificates: usize) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let blocks = parse_pem(pem, 4).unwrap();
    let mut all: Vec<_> = blocks.into_iter().map(|block| block.contents).collect();
    let lists = all.split_off(certificates);
    (all, lists)
}

/// See the file beside for how it was made.
const SHA1_LISTS: &str = include_str!("vectors/sha1-lists.pem");

#[test]
fn sha_1_counts_in_lists_by_an_anchor_that_waives_the_rule_and_by_what_it_issued() {
    const WEAK: Result<usize, &str> = Err("signed with a weak algorithm");
    let (certificates, lists) = read(SHA1_LISTS, 2);
    let [root, ca] = certificates.try_into().unwrap();
    let [of_root, of_ca] = lists.try_into().unwrap();
    let load = |is_waived, ca_as_anchor: bool, list: &[u8]| {
        let mut anchor = Anchor::from(root.clone());
        if is_waived {
            anchor.terms.waivers.insert(Waiver::Sha1);
        }
        let beside = ca_as_anchor.then(|| Anchor::from(ca.clone()));
        let (anchors, unusable) = Anchors::new([anchor].into_iter().chain(beside), [ca.clone()]);
        assert_eq!(unusable, []);
        let outcome = anchors.with_crls([list.to_vec()]);
        outcome
            .map(|(anchors, _)| anchors.crls())
            .map_err(|invalid| invalid.problem)
    };
    assert_eq!(load(true, false, &of_root), Ok(1));
    assert_eq!(load(true, false, &of_ca), Ok(1));
    assert_eq!(load(false, false, &of_root), WEAK);
    assert_eq!(load(false, false, &of_ca), WEAK);
    assert_eq!(load(true, true, &of_ca), WEAK, "an anchor on its own terms");
    // An anchor of the name that issued nothing waives nothing.
    let namesake = Anchor {
        der: Forge::ca("Root", &KEYS.root, "Root").sign(&KEYS.root),
        terms: Terms {
            vendors: None,
            waivers: [Waiver::Sha1].into(),
        },
    };
    let (anchors, _) = Anchors::new([namesake], [ca.clone()]);
    let invalid = anchors.with_crls([of_ca]).unwrap_err();
    assert_eq!(invalid.problem, "signed with a weak algorithm");
}

#[test]
fn a_key_that_vouches_for_nothing_signs_no_list() {
    let (certificates, lists) = read(include_str!("vectors/exponent-3.pem"), 1);
    let (anchors, unusable) = Anchors::new(certificates, []);
    let reason = Reason::WeakKey;
    assert_eq!(unusable, [UnusableCertificate { index: 0, reason }]);
    let invalid = anchors.with_crls(lists).unwrap_err();
    assert_eq!(invalid.problem, UNSIGNED);
}

#[test]
fn a_list_by_another_encoder_revokes_and_covers() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "CA");
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap().der().to_vec();
    let issuer = Issuer::new(params, key);
    let list = |serial: &[u8]| {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: date_time_ymd(2026, 2, 1),
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: Some(date_time_ymd(2026, 1, 1)),
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2028, 1, 1),
            crl_number: SerialNumber::from(7),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&issuer).unwrap().der().to_vec()
    };
    let leaf = ek_by_another_encoder(&issuer);
    for (serial, expect) in [
        (&[0x11, 0x22][..], Some(Reason::EkRevoked)),
        (&[0x11], None),
    ] {
        let (anchors, _) = Anchors::new([root.clone()], []);
        let (anchors, foreign) = anchors.with_crls([list(serial)]).unwrap();
        assert_eq!((anchors.crls(), foreign.len()), (1, 0));
        let options = ChainOptions {
            crl_policy: CrlPolicy::Require,
            ..ChainOptions::default()
        };
        let outcome = anchors.verify(&leaf, &[], NOW, options);
        assert_eq!(outcome.err().map(|rejection| rejection.reason), expect);
    }
}

fn ek_by_another_encoder(issuer: &Issuer<'_, KeyPair>) -> EkCertificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&[0x11, 0x22]));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    let purpose = vec![2, 23, 133, 8, 1];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Other(purpose)];
    let name = alternative(&tpm_rdns());
    let mut name = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], name);
    name.set_criticality(true);
    params.custom_extensions = vec![name];
    let signed = params.signed_by(&KeyPair::generate().unwrap(), issuer);
    EkCertificate::parse(signed.unwrap().der()).unwrap()
}

#[test]
fn lists_that_were_to_be_replaced_are_known() {
    let root = Forge::ca("Root", &KEYS.root, "Root").sign(&KEYS.root);
    let ca = Forge::ca("CA", &KEYS.ca, "Root").sign(&KEYS.root);
    // 2027-01-01, 00:00:00.
    let end = 1_798_761_600;
    let mut sooner = List::of("Root");
    sooner.next_update = time("270101000000Z");
    let mut endless = List::of("CA");
    endless.next_update = Vec::new();
    let lists = [
        List::of("CA").sign(&KEYS.ca),
        sooner.sign(&KEYS.root),
        endless.sign(&KEYS.ca),
    ];
    let (anchors, _) = Anchors::new([root, ca], []).0.with_crls(lists).unwrap();
    let overdue = |now| anchors.overdue_crls(now).collect::<Vec<_>>();
    assert_eq!(overdue(end), []);
    assert_eq!(overdue(end + 1), [("CN=Root", end)]);
    assert_eq!(anchors.crls(), 3);
}
