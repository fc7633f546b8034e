//! Revocation lists and lists of denied machines: what they name is refused, and what is damaged is no list.

use std::sync::LazyLock;

use evidence::AkTemplate;
use softtpm::{KeyKind, SoftTpm};
use verify::{Anchors, ChainOptions, CrlPolicy, Denials, EkCertificate, Reason};
use x509_parser::nom::Err;
use x509_parser::prelude::{FromDer, X509Error};
use x509_parser::revocation_list::CertificateRevocationList;

use crate::der::members;
use crate::machine::{LEAF_SERIAL, NOW, PKI, Signer, sign};
use crate::shown::assert_shown;

static LEAF: LazyLock<EkCertificate> = LazyLock::new(|| {
    let tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).expect("samples");
    EkCertificate::parse(&PKI.certify(tpm.ek_key())).expect("a certificate")
});

/// A revocation list: as it came, or signed by the CA or the root, whatever it says.
pub(crate) fn crl(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let der = match choice % 3 {
        0 => rest.to_vec(),
        1 => sign(Signer::Ca, rest),
        _ => sign(Signer::Root, rest),
    };
    let with = |der: &[u8]| {
        let (anchors, unusable) = Anchors::new([PKI.root.clone()], [PKI.ca.clone()]);
        assert_eq!(unusable, []);
        anchors.with_crls([PKI.root_list.clone(), der.to_vec()])
    };
    let (anchors, foreign) = match with(&der) {
        Ok(outcome) => outcome,
        Err(invalid) => {
            assert_eq!(invalid.index, 1);
            assert_shown(invalid.problem, 128);
            assert_eq!(with(&der).err(), Some(invalid), "the same twice");
            return;
        }
    };
    assert_eq!(anchors.crls() + foreign.len(), 2);
    assert!(
        with(&der[..der.len() - 1]).is_err(),
        "the beginning of a list"
    );
    assert!(
        with(&[der.as_slice(), &[0]].concat()).is_err(),
        "something follows"
    );
    if foreign.is_empty() {
        let dated = with_good_dates(&der);
        let list = CertificateRevocationList::from_der(&der).map_or_else(
            |_| CertificateRevocationList::from_der(&dated).map(|(_, list)| (list, false)),
            |(_, list)| Ok((list, true)),
        );
        match list {
            Ok((list, has_dates)) => judged(&anchors, &list, has_dates),
            // Of an extension that decides nothing here the contents are the issuer's affair; the
            // other reader wants to know them all.
            Err(Err::Error(X509Error::InvalidExtensions)) => {}
            Err(error) => panic!("{error}: {}", hex::encode(&der)),
        }
    } else {
        assert_eq!(
            verified(&anchors, CrlPolicy::Use),
            None,
            "nobody the operator knows revoked it"
        );
    }
}

fn verified(anchors: &Anchors, crl_policy: CrlPolicy) -> Option<Reason> {
    let options = ChainOptions {
        accept_expired_leaf: false,
        crl_policy,
    };
    anchors
        .verify(&LEAF, &[], NOW, options)
        .err()
        .map(|rejection| rejection.reason)
}

/// The list with every date a good one. When an entry's certificate was revoked changes nothing, so
/// nobody here reads that date, and another reader refuses what is no date.
fn with_good_dates(der: &[u8]) -> Vec<u8> {
    let list = 0..der.len();
    let signed = members(der, list).remove(0);
    let mut good = der.to_vec();
    // Whatever is a sequence there and is no entry has no date in second place either.
    for field in members(der, signed).into_iter().skip(3) {
        for entry in members(der, field) {
            let Some(date) = members(der, entry).get(1).cloned() else {
                continue;
            };
            let text: &[u8] = match der[date.start..date.start + 2] {
                [0x17, 13] => b"260101000000Z",
                [0x18, 15] => b"20260101000000Z",
                _ => continue,
            };
            good[date.start + 2..date.end].copy_from_slice(text);
        }
    }
    good
}

/// The list is in force. Who names the issuer of an entry, and who has a scope, is left to the
/// tables of the verifier.
fn judged(anchors: &Anchors, list: &CertificateRevocationList<'_>, has_dates: bool) {
    let simple = list
        .iter_revoked_certificates()
        .all(|entry| entry.extensions().is_empty());
    let names = |serial: u8| {
        list.iter_revoked_certificates()
            .any(|entry| entry.raw_serial() == [serial])
    };
    let issuer = list.issuer().to_string().to_lowercase();
    let used = verified(anchors, CrlPolicy::Use);
    let expect = match issuer.as_str() {
        "cn=ca" if names(LEAF_SERIAL) => Some(Reason::EkRevoked),
        "cn=root" if names(CA_SERIAL) => Some(Reason::CaRevoked),
        _ => None,
    };
    if simple {
        assert_eq!(used, expect, "{issuer}");
    }
    if used.is_some() {
        assert_eq!(
            verified(anchors, CrlPolicy::Require),
            used,
            "a revocation counts in either case"
        );
    } else if verified(anchors, CrlPolicy::Require).is_none() {
        assert_eq!(
            issuer, "cn=ca",
            "only the CA's list is about the EK certificate"
        );
        let next = list.next_update().expect("a list that holds ends");
        assert!(!has_dates || list.last_update().timestamp() <= NOW && NOW <= next.timestamp());
    }
}

/// The list of denied machines.
pub(crate) fn denials(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let outcome = Denials::parse(text);
    assert_eq!(outcome, Denials::parse(text), "the same twice");
    let lines = text.lines().count();
    let denials = match outcome {
        Ok(denials) => denials,
        Err(problem) => {
            assert!((1..=lines).contains(&problem.line));
            assert_shown(problem.problem, 128);
            // What follows does not mend it, and only the last line can be mended by being cut.
            assert_eq!(Denials::parse(&format!("{text}\n# more\n")), Err(problem));
            return;
        }
    };
    assert!(denials.len() <= lines);
    assert_eq!(
        Denials::parse(&format!("{text}\n{text}")).as_ref(),
        Ok(&denials),
        "twice is once"
    );
    assert_eq!(
        Denials::parse(&format!("# x\n\n{text} # y")).as_ref(),
        Ok(&denials)
    );
    let reversed: Vec<_> = text.lines().rev().collect();
    assert_eq!(
        Denials::parse(&reversed.join("\n")).as_ref(),
        Ok(&denials),
        "in any order"
    );
    let entries: Vec<_> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|entry| !entry.is_empty())
        .collect();
    assert_eq!(entries.is_empty(), denials.is_empty());
    if let Some(last) = entries.last()
        && !last.starts_with("serial:")
    {
        assert!(
            Denials::parse(&last[..last.len() - 1]).is_err(),
            "half a hash: {last}"
        );
    }
    assert!(
        Denials::parse(&format!("{text}\nx")).is_err(),
        "every line counts"
    );
}

/// The serial number of the CA's certificate.
const CA_SERIAL: u8 = 2;

/// Lists of the CA's and the root's, and of every form of entry.
pub(crate) mod seeds {
    use crate::der::signed_part;
    use crate::machine::{LEAF_SERIAL, PKI};

    pub(crate) fn crl() -> Vec<Vec<u8>> {
        let lists =
            [&[][..], &[LEAF_SERIAL], &[1, LEAF_SERIAL, 3]].map(|serials| PKI.list(serials));
        let raw = lists.iter().map(|list| [&[0], list.as_slice()].concat());
        let signed = lists.iter().map(|list| [&[1], signed_part(list)].concat());
        let root = [&[2], signed_part(&PKI.root_list)].concat();
        // In the CA's name, by the root.
        let other = [&[2], signed_part(&lists[1])].concat();
        raw.chain(signed).chain([root, other]).collect()
    }

    pub(crate) fn denials() -> Vec<Vec<u8>> {
        let (one, other) = ("0123456789abcdef".repeat(4), "FE".repeat(32));
        let texts = [
            format!("# recalled\n{one}\nek:{other} # one more\n"),
            format!("cert:{one}\r\nserial:{other}:01ff\n"),
            one,
        ];
        texts.map(String::into_bytes).to_vec()
    }
}
