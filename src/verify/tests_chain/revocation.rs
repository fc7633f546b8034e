//! Revocation lists: what they revoke, what they do not, and when they are no lists to rely on.

use super::forge::{Extension, Forge, KEY_USAGE, KEYS, Signer, bits, name, oid, time, tlv};
use super::pki::{Pki, accept, refuse};
use crate::{Anchors, CrlPolicy, Reason};

const CRL_POINTS: &str = "2.5.29.31";
const ISSUING_POINT: &str = "2.5.29.28";
const CRL_NUMBER: &str = "2.5.29.20";
const DELTA: &str = "2.5.29.27";
const REASON: &str = "2.5.29.21";
const CERTIFICATE_ISSUER: &str = "2.5.29.29";

/// What every EK certificate of the forge has.
const LEAF_SERIAL: &[u8] = &[0x11, 0x22];
const CA_SERIAL: &[u8] = &[0x33];

/// A list to be.
struct List {
    issuer: Vec<u8>,
    this_update: Vec<u8>,
    next_update: Vec<u8>,
    entries: Vec<Vec<u8>>,
    extensions: Vec<Extension>,
    outer_algorithm: Option<Vec<u8>>,
}

impl List {
    fn of(issuer: &str) -> Self {
        Self {
            issuer: name(issuer),
            this_update: time("260101000000Z"),
            next_update: time("280101000000Z"),
            entries: Vec::new(),
            extensions: Vec::new(),
            outer_algorithm: None,
        }
    }

    fn revoking(mut self, serial: &[u8], extensions: &[Extension]) -> Self {
        let extensions = match extensions {
            [] => Vec::new(),
            some => tlv(0x30, &[&some.iter().flat_map(written).collect::<Vec<_>>()]),
        };
        let date = time("260201000000Z");
        let entry = tlv(0x30, &[&tlv(0x02, &[serial]), &date, &extensions]);
        self.entries.push(entry);
        self
    }

    fn with(mut self, oid: &'static str, critical: bool, value: Vec<u8>) -> Self {
        self.extensions.push(extension(oid, critical, value));
        self
    }

    fn sign(&self, signer: &Signer) -> Vec<u8> {
        let algorithm = signer.algorithm();
        let entries = match self.entries.as_slice() {
            [] => Vec::new(),
            entries => tlv(0x30, &[&entries.concat()]),
        };
        let extensions = match self.extensions.as_slice() {
            [] => Vec::new(),
            all => {
                let all: Vec<u8> = all.iter().flat_map(written).collect();
                tlv(0xA0, &[&tlv(0x30, &[&all])])
            }
        };
        let signed = tlv(
            0x30,
            &[
                &tlv(0x02, &[&[1]]),
                &algorithm,
                &self.issuer,
                &self.this_update,
                &self.next_update,
                &entries,
                &extensions,
            ],
        );
        let signature = tlv(0x03, &[&[0], &signer.sign(&signed)]);
        let outer = self.outer_algorithm.as_ref().unwrap_or(&algorithm);
        tlv(0x30, &[&signed, outer, &signature])
    }
}

fn extension(oid: &'static str, critical: bool, value: Vec<u8>) -> Extension {
    let flag = if critical {
        tlv(0x01, &[&[0xFF]])
    } else {
        Vec::new()
    };
    Extension {
        oid,
        flag,
        value,
        behind: Vec::new(),
    }
}

fn written(all: &Extension) -> Vec<u8> {
    tlv(0x30, &[&oid(all.oid), &all.flag, &tlv(0x04, &[&all.value])])
}

/// A directory name among general names.
fn directory(common: &str) -> Vec<u8> {
    tlv(0x30, &[&tlv(0xA4, &[&name(common)])])
}

fn entry_of(issuer: &str) -> [Extension; 1] {
    [extension(CERTIFICATE_ISSUER, true, directory(issuer))]
}

/// The issuing distribution point of an indirect list.
fn indirect() -> Vec<u8> {
    tlv(0x30, &[&tlv(0x84, &[&[0xFF]])])
}

/// Distribution points that name an issuer of lists.
fn lists_by(issuer: &str) -> Vec<u8> {
    tlv(
        0x30,
        &[&tlv(0x30, &[&tlv(0xA2, &[&tlv(0xA4, &[&name(issuer)])])])],
    )
}

fn point(uri: &str) -> Vec<u8> {
    tlv(0xA0, &[&tlv(0xA0, &[&tlv(0x86, &[uri.as_bytes()])])])
}

/// Root and CA are the operator's, so that lists of both can be verified; the CA has its own serial.
fn listed(pki: &mut Pki, lists: &[(&List, &Signer)]) {
    pki.ca.serial = tlv(0x02, &[CA_SERIAL]);
    pki.intermediates = vec![pki.ca.sign(pki.ca_issuer)];
    pki.is_ca_offered = false;
    pki.crls = lists
        .iter()
        .map(|(list, signer)| list.sign(signer))
        .collect();
}

fn list_of_ca(pki: &mut Pki, list: &List) {
    listed(pki, &[(list, &KEYS.ca)]);
}

/// Lists of both issuers in the chain.
fn required(pki: &mut Pki, of_ca: &List, of_root: &List) {
    listed(pki, &[(of_ca, &KEYS.ca), (of_root, &KEYS.root)]);
    pki.crl_policy = CrlPolicy::Require;
}

#[test]
fn revoked_certificates_are_refused() {
    refuse(&[
        (
            "tpm/B24 the EK certificate",
            |pki| list_of_ca(pki, &List::of("CA").revoking(LEAF_SERIAL, &[])),
            Reason::EkRevoked,
        ),
        (
            "the EK certificate, among others, with a reason and a number",
            |pki| {
                let reason = [extension(REASON, false, tlv(0x0A, &[&[6]]))];
                let list = List::of("CA")
                    .revoking(&[1], &[])
                    .revoking(LEAF_SERIAL, &reason)
                    .revoking(&[2], &[])
                    .with(CRL_NUMBER, false, tlv(0x02, &[&[9]]));
                list_of_ca(pki, &list);
            },
            Reason::EkRevoked,
        ),
        (
            "the EK certificate, by a list that is out of date",
            |pki| {
                let mut list = List::of("CA").revoking(LEAF_SERIAL, &[]);
                list.next_update = time("260301000000Z");
                list_of_ca(pki, &list);
            },
            Reason::EkRevoked,
        ),
        (
            "the EK certificate, whatever vouches for it otherwise",
            |pki| {
                list_of_ca(pki, &List::of("CA").revoking(LEAF_SERIAL, &[]));
                pki.anchors = vec![pki.ca.sign(pki.ca_issuer)];
            },
            Reason::EkRevoked,
        ),
        (
            "tpm/B25 the CA",
            |pki| {
                let list = List::of("Root").revoking(CA_SERIAL, &[]);
                listed(pki, &[(&list, &KEYS.root)]);
            },
            Reason::CaRevoked,
        ),
        (
            "tpm/B28 the EK certificate in an indirect list",
            |pki| {
                pki.leaf.put(CRL_POINTS, false, lists_by("Root"));
                let list = List::of("Root")
                    .with(ISSUING_POINT, true, indirect())
                    .revoking(&[7], &[])
                    .revoking(&[8], &entry_of("CA"))
                    .revoking(LEAF_SERIAL, &[]);
                listed(pki, &[(&list, &KEYS.root)]);
            },
            Reason::EkRevoked,
        ),
    ]);
}

#[test]
fn lists_revoke_nothing_but_what_they_name() {
    accept(&[
        ("no entries", |pki| list_of_ca(pki, &List::of("CA"))),
        ("another serial number", |pki| {
            list_of_ca(pki, &List::of("CA").revoking(&[0x11, 0x23], &[]));
        }),
        ("a serial number that is longer by a zero", |pki| {
            list_of_ca(pki, &List::of("CA").revoking(&[0, 0x11, 0x22], &[]));
        }),
        ("the same serial number of another issuer", |pki| {
            let list = List::of("Root").revoking(LEAF_SERIAL, &[]);
            listed(pki, &[(&list, &KEYS.root)]);
        }),
        ("the anchor", |pki| {
            let serial = &pki.root.serial.get(2..).unwrap().to_vec();
            pki.root.serial = tlv(0x02, &[&[0x55]]);
            let list = List::of("Root")
                .revoking(&[0x55], &[])
                .revoking(&serial[..1], &[]);
            listed(pki, &[(&list, &KEYS.root)]);
        }),
        (
            "tpm/B28 an indirect list that the certificate does not name",
            |pki| {
                let list = List::of("Root")
                    .with(ISSUING_POINT, true, indirect())
                    .revoking(LEAF_SERIAL, &entry_of("CA"));
                listed(pki, &[(&list, &KEYS.root)]);
            },
        ),
        (
            "tpm/B28 an indirect list, the number of another issuer's certificate",
            |pki| {
                pki.leaf.put(CRL_POINTS, false, lists_by("Root"));
                let list = List::of("Root")
                    .with(ISSUING_POINT, true, indirect())
                    .revoking(LEAF_SERIAL, &entry_of("Other"))
                    .revoking(&[5], &entry_of("CA"));
                listed(pki, &[(&list, &KEYS.root)]);
            },
        ),
    ]);
}

#[test]
fn with_require_every_certificate_needs_a_list_that_holds() {
    accept(&[
        ("both lists", |pki| {
            required(pki, &List::of("CA"), &List::of("Root"));
        }),
        ("lists for what is in the chain", |pki| {
            let only = |tag| tlv(0x30, &[&tlv(tag, &[&[0xFF]])]);
            let users = List::of("CA").with(ISSUING_POINT, true, only(0x81));
            let authorities = List::of("Root").with(ISSUING_POINT, true, only(0x82));
            required(pki, &users, &authorities);
        }),
        (
            "the list of the certificate's own distribution point",
            |pki| {
                let at = point("http://a/1");
                pki.leaf
                    .put(CRL_POINTS, false, tlv(0x30, &[&tlv(0x30, &[&at])]));
                let list = List::of("CA").with(ISSUING_POINT, true, tlv(0x30, &[&at]));
                required(pki, &list, &List::of("Root"));
            },
        ),
        ("an indirect list that the certificate names", |pki| {
            pki.leaf.put(CRL_POINTS, false, lists_by("Root"));
            let list = List::of("Root").with(ISSUING_POINT, true, indirect());
            listed(pki, &[(&list, &KEYS.root)]);
            pki.crl_policy = CrlPolicy::Require;
        }),
    ]);
    refuse(&[
        (
            "tpm/B27 a list that was to be replaced",
            |pki| {
                let mut stale = List::of("CA");
                stale.next_update = time("260301000000Z");
                required(pki, &stale, &List::of("Root"));
            },
            Reason::CrlStale,
        ),
        (
            "a list for the CA that was to be replaced",
            |pki| {
                let mut stale = List::of("Root");
                stale.next_update = time("260301000000Z");
                required(pki, &List::of("CA"), &stale);
            },
            Reason::CrlStale,
        ),
        (
            "a list that does not say until when it holds",
            |pki| {
                let mut endless = List::of("CA");
                endless.next_update = Vec::new();
                required(pki, &endless, &List::of("Root"));
            },
            Reason::CrlStale,
        ),
        (
            "a list of a time to come",
            |pki| {
                let mut early = List::of("CA");
                early.this_update = time("270101000000Z");
                required(pki, &early, &List::of("Root"));
            },
            Reason::CrlStale,
        ),
        (
            "no list for the EK certificate",
            |pki| {
                listed(pki, &[(&List::of("Root"), &KEYS.root)]);
                pki.crl_policy = CrlPolicy::Require;
            },
            Reason::CrlMissing,
        ),
        (
            "no list for the CA",
            |pki| {
                listed(pki, &[(&List::of("CA"), &KEYS.ca)]);
                pki.crl_policy = CrlPolicy::Require;
            },
            Reason::CrlMissing,
        ),
        (
            "a list for authorities only",
            |pki| {
                let list =
                    List::of("CA").with(ISSUING_POINT, true, tlv(0x30, &[&tlv(0x82, &[&[0xFF]])]));
                required(pki, &list, &List::of("Root"));
            },
            Reason::CrlMissing,
        ),
        (
            "a list for users only",
            |pki| {
                let list = List::of("Root").with(
                    ISSUING_POINT,
                    true,
                    tlv(0x30, &[&tlv(0x81, &[&[0xFF]])]),
                );
                required(pki, &List::of("CA"), &list);
            },
            Reason::CrlMissing,
        ),
        (
            "a list for attribute certificates",
            |pki| {
                let list =
                    List::of("CA").with(ISSUING_POINT, true, tlv(0x30, &[&tlv(0x85, &[&[0xFF]])]));
                required(pki, &list, &List::of("Root"));
            },
            Reason::CrlMissing,
        ),
        (
            "a list for some reasons only",
            |pki| {
                let some = tlv(0x30, &[&tlv(0x83, &[&[1, 0x40]])]);
                let list = List::of("CA").with(ISSUING_POINT, true, some);
                required(pki, &list, &List::of("Root"));
            },
            Reason::CrlMissing,
        ),
        (
            "the list of another distribution point",
            |pki| {
                let at = tlv(0x30, &[&tlv(0x30, &[&point("http://a/1")])]);
                pki.leaf.put(CRL_POINTS, false, at);
                let other = tlv(0x30, &[&point("http://a/2")]);
                let list = List::of("CA").with(ISSUING_POINT, true, other);
                required(pki, &list, &List::of("Root"));
            },
            Reason::CrlMissing,
        ),
        (
            "an indirect list that the certificate does not name",
            |pki| {
                let list = List::of("Root").with(ISSUING_POINT, true, indirect());
                listed(pki, &[(&list, &KEYS.root)]);
                pki.crl_policy = CrlPolicy::Require;
            },
            Reason::CrlMissing,
        ),
    ]);
}

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
    const UNSIGNED: &str = "no certificate of its issuer that may sign lists signed it";
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
    let mut two_algorithms = List::of("CA");
    two_algorithms.outer_algorithm = Some(KEYS.root.algorithm());
    let good = List::of("CA").sign(&KEYS.ca);
    for (case, list, problem) in [
        (
            "a delta list",
            critical(DELTA).sign(&KEYS.ca),
            "a critical extension that is not evaluated, as in a delta list",
        ),
        (
            "a critical extension",
            critical("1.2.3.4").sign(&KEYS.ca),
            "a critical extension that is not evaluated, as in a delta list",
        ),
        (
            "an extension twice",
            List::of("CA")
                .with(CRL_NUMBER, false, tlv(0x02, &[&[1]]))
                .with(CRL_NUMBER, false, tlv(0x02, &[&[2]]))
                .sign(&KEYS.ca),
            "an extension occurs twice",
        ),
        (
            "a malformed distribution point",
            List::of("CA")
                .with(ISSUING_POINT, false, tlv(0x02, &[&[1]]))
                .sign(&KEYS.ca),
            "the issuing distribution point is malformed",
        ),
        (
            "an issuer of an entry, not indirect",
            List::of("CA")
                .revoking(&[1], &entry_of("CA"))
                .sign(&KEYS.ca),
            "an entry names an issuer though the list is not indirect",
        ),
        (
            "a malformed issuer of an entry",
            List::of("CA")
                .with(ISSUING_POINT, true, indirect())
                .revoking(&[1], &[extension(CERTIFICATE_ISSUER, true, tlv(0x30, &[]))])
                .sign(&KEYS.ca),
            "an entry's issuer is malformed",
        ),
        (
            "a critical extension of an entry",
            List::of("CA")
                .revoking(&[1], &[extension("1.2.3.4", true, tlv(0x05, &[]))])
                .sign(&KEYS.ca),
            "an entry has a critical extension that is not evaluated",
        ),
        (
            "two algorithms",
            two_algorithms.sign(&KEYS.ca),
            "two signature algorithms are named",
        ),
        (
            "a certificate",
            Forge::ca("CA", &KEYS.ca, "Root").sign(&KEYS.root),
            "two signature algorithms are named",
        ),
        ("nothing", Vec::new(), "not DER"),
        ("half", good[..good.len() / 2].to_vec(), "not DER"),
        (
            "something behind it",
            [good.as_slice(), &[0]].concat(),
            "not DER",
        ),
    ] {
        assert_eq!(load(list, Some(0x06)), Err(problem), "{case}");
    }
}

#[test]
fn lists_signed_with_sha_1_are_errors() {
    let mut list = List::of("CA");
    let weak = tlv(0x30, &[&oid("1.2.840.113549.1.1.5"), &tlv(0x05, &[])]);
    list.outer_algorithm = Some(weak.clone());
    let mut signed = list.sign(&KEYS.rsa);
    let strong = KEYS.rsa.algorithm();
    let inner = signed
        .windows(strong.len())
        .position(|part| part == strong)
        .unwrap();
    signed[inner..inner + strong.len()].copy_from_slice(&weak);
    assert_eq!(
        load(signed, Some(0x06)),
        Err("signed with a weak or unknown algorithm")
    );
}

#[test]
fn the_first_list_to_be_replaced_is_known() {
    let root = Forge::ca("Root", &KEYS.root, "Root").sign(&KEYS.root);
    let ca = Forge::ca("CA", &KEYS.ca, "Root").sign(&KEYS.root);
    let mut sooner = List::of("Root");
    sooner.next_update = time("270101000000Z");
    let lists = [List::of("CA").sign(&KEYS.ca), sooner.sign(&KEYS.root)];
    let (anchors, _) = Anchors::new([root, ca], []).0.with_crls(lists).unwrap();
    assert_eq!(anchors.earliest_crl_update(), Some(1_798_761_600));
    assert_eq!(Anchors::default().earliest_crl_update(), None);
}
