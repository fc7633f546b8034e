//! What revocation lists make of a chain: what they revoke, what they do not, and what they cover.

use super::crl_forge::*;
use super::forge::{BASIC_CONSTRAINTS, Forge, KEY_USAGE, KEYS, Signer, attribute, bits, time, tlv};
use super::pki::{Pki, accept, refuse};
use crate::{CrlPolicy, Reason};

/// What every EK certificate of the forge has.
const LEAF_SERIAL: &[u8] = &[0x11, 0x22];
const CA_SERIAL: &[u8] = &[0x33];

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
        (
            "tpm/B28 the same in the list of an issuer of lists that is no CA",
            |pki| {
                pki.leaf.put(CRL_POINTS, false, lists_by("Lists"));
                let list = List::of("Lists")
                    .with(ISSUING_POINT, true, indirect())
                    .revoking(LEAF_SERIAL, &entry_of("CA"));
                listed(pki, &[(&list, &KEYS.other)]);
                let signer = Forge::ca("Lists", &KEYS.other, "Root")
                    .with(BASIC_CONSTRAINTS, true, tlv(0x30, &[]))
                    .with(KEY_USAGE, true, bits(0x02));
                pki.intermediates.push(signer.sign(&KEYS.root));
            },
            Reason::EkRevoked,
        ),
        (
            "tpm/B28 the issuer among other names",
            |pki| {
                pki.leaf.put(CRL_POINTS, false, lists_by("Root"));
                let names = [&tlv(0x86, &[b"http://a"])[..], &directory("CA")[2..]].concat();
                let names = [extension(CERTIFICATE_ISSUER, true, tlv(0x30, &[&names]))];
                let list = List::of("Root")
                    .with(ISSUING_POINT, true, indirect())
                    .revoking(LEAF_SERIAL, &names);
                listed(pki, &[(&list, &KEYS.root)]);
            },
            Reason::EkRevoked,
        ),
        (
            "the EK certificate by one of several lists of its issuer",
            |pki| {
                let lists = [
                    List::of("CA"),
                    List::of("CA").revoking(LEAF_SERIAL, &[]),
                    List::of("CA").revoking(&[9], &[]),
                ];
                listed(pki, &lists.each_ref().map(|list| (list, &KEYS.ca)));
            },
            Reason::EkRevoked,
        ),
        (
            "the EK certificate by a list with a limited scope",
            |pki| {
                let some = tlv(0x30, &[&tlv(0x83, &[&[1, 0x40]])]);
                let list = List::of("CA")
                    .with(ISSUING_POINT, true, some)
                    .revoking(LEAF_SERIAL, &[]);
                list_of_ca(pki, &list);
            },
            Reason::EkRevoked,
        ),
        (
            "a CA that the agent brings",
            |pki| {
                let list = List::of("Root").revoking(CA_SERIAL, &[]);
                listed(pki, &[(&list, &KEYS.root)]);
                pki.intermediates.clear();
                pki.is_ca_offered = true;
            },
            Reason::CaRevoked,
        ),
        (
            "the EK certificate, before a CA",
            |pki| {
                let of_ca = List::of("CA").revoking(LEAF_SERIAL, &[]);
                let of_root = List::of("Root").revoking(CA_SERIAL, &[]);
                listed(pki, &[(&of_ca, &KEYS.ca), (&of_root, &KEYS.root)]);
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
        (
            "tpm/B28 an indirect list, the entry after one of another issuer",
            |pki| {
                pki.leaf.put(CRL_POINTS, false, lists_by("Root"));
                let list = List::of("Root")
                    .with(ISSUING_POINT, true, indirect())
                    .revoking(&[5], &entry_of("CA"))
                    .revoking(&[6], &entry_of("Other"))
                    .revoking(LEAF_SERIAL, &[]);
                listed(pki, &[(&list, &KEYS.root)]);
            },
        ),
        (
            "a list by the issuer of lists that is not indirect",
            |pki| {
                pki.leaf.put(CRL_POINTS, false, lists_by("Root"));
                let list = List::of("Root").revoking(LEAF_SERIAL, &[]);
                listed(pki, &[(&list, &KEYS.root)]);
            },
        ),
        ("one of two CAs of a name and key", |pki| {
            listed(
                pki,
                &[(&List::of("Root").revoking(CA_SERIAL, &[]), &KEYS.root)],
            );
            let mut renewed = pki.ca.clone();
            renewed.serial = tlv(0x02, &[&[0x34]]);
            pki.offered = vec![renewed.sign(pki.ca_issuer)];
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
        ("a list out of date beside its successor", |pki| {
            let mut stale = List::of("CA");
            stale.next_update = time("260301000000Z");
            let (next, root) = (List::of("CA"), List::of("Root"));
            listed(
                pki,
                &[(&stale, &KEYS.ca), (&next, &KEYS.ca), (&root, &KEYS.root)],
            );
            pki.crl_policy = CrlPolicy::Require;
        }),
        (
            "nothing for an anchor that issued the EK certificate",
            |pki| {
                listed(pki, &[(&List::of("CA"), &KEYS.ca)]);
                pki.anchors = vec![pki.ca.sign(pki.ca_issuer)];
                pki.intermediates.clear();
                pki.crl_policy = CrlPolicy::Require;
            },
        ),
        ("flags that are written and not set", |pki| {
            let flags = [0x81, 1, 0, 0x82, 1, 0, 0x84, 1, 0, 0x85, 1, 0];
            let list = List::of("CA").with(ISSUING_POINT, true, tlv(0x30, &[&flags]));
            required(pki, &list, &List::of("Root"));
        }),
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
            "a list by the issuer of lists that is not indirect",
            |pki| {
                pki.leaf.put(CRL_POINTS, false, lists_by("Root"));
                listed(pki, &[(&List::of("Root"), &KEYS.root)]);
                pki.crl_policy = CrlPolicy::Require;
            },
            Reason::CrlMissing,
        ),
        (
            "a list for a point relative to its issuer",
            |pki| {
                let name = tlv(0xA1, &[&attribute("2.5.4.3", 12, "lists")]);
                let point = tlv(0x30, &[&tlv(0xA0, &[&name])]);
                let list = List::of("CA").with(ISSUING_POINT, true, point);
                required(pki, &list, &List::of("Root"));
            },
            Reason::CrlMissing,
        ),
        (
            "a list out of date beside one about others",
            |pki| {
                let mut stale = List::of("CA");
                stale.next_update = time("260301000000Z");
                let only = tlv(0x30, &[&tlv(0x82, &[&[0xFF]])]);
                let others = List::of("CA").with(ISSUING_POINT, true, only);
                let root = List::of("Root");
                listed(
                    pki,
                    &[(&stale, &KEYS.ca), (&others, &KEYS.ca), (&root, &KEYS.root)],
                );
                pki.crl_policy = CrlPolicy::Require;
            },
            Reason::CrlStale,
        ),
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

#[test]
fn a_list_holds_from_its_first_to_its_last_second() {
    let at = |now| {
        let pki = Pki::bent(|pki| {
            let mut list = List::of("CA");
            // 2026-11-24, 00:00:00 and 00:00:09.
            list.this_update = time("261124000000Z");
            list.next_update = time("261124000009Z");
            required(pki, &list, &List::of("Root"));
            pki.now = now;
        });
        pki.judge().0.err().map(|rejection| rejection.reason)
    };
    let first = 1_795_478_400;
    assert_eq!(at(first - 1), Some(Reason::CrlStale));
    assert_eq!(at(first), None);
    assert_eq!(at(first + 9), None);
    assert_eq!(at(first + 10), Some(Reason::CrlStale));
}

#[test]
fn a_refusal_names_the_certificate() {
    let pki = Pki::bent(|pki| list_of_ca(pki, &List::of("CA").revoking(LEAF_SERIAL, &[])));
    assert_eq!(
        pki.judge().0.unwrap_err().detail.unwrap(),
        "certificate 1122 of \"CN=CA\""
    );
}
