//! What becomes of text that others chose: identities and selectors are made of what was proved, in one form.

use std::collections::BTreeSet;

use softtpm::Lies;

use super::{Counter, decide, liar, machine, policy, prover};
use crate::tests_chain::{Chain, NOW};
use crate::{Certification, Denials, EkTrust, Enrolment, Grant, Policy, Reason, begin};

const UTF8: u8 = 12;
const PRINTABLE: u8 = 19;
const BMP: u8 = 30;

/// What a machine with such a certificate becomes, and the model that its certificate names.
fn described(attributes: [(u8, &[u8]); 3]) -> Result<(Grant, String), Reason> {
    let chain = Chain::described(machine().ek_key(), attributes);
    let policy = Policy {
        ek_trust: EkTrust::Certificate,
        ..policy()
    };
    let mut prover = prover(machine());
    prover.certificate = Some(chain.leaf.clone());
    prover.intermediates = vec![chain.ca.clone()];
    let payload = prover.payload().unwrap();
    let begun = begin(&payload, &policy, &chain.anchors(), NOW, &mut Counter(0));
    let (challenge, pending) = begun.map_err(|rejection| rejection.reason)?;
    let attested = pending
        .finish(&prover.answer(&payload, &challenge).unwrap())
        .unwrap();
    let Certification::Verified(ek) = attested.certification() else {
        unreachable!("a certificate is needed")
    };
    let model = ek.description().unwrap().model().to_owned();
    let granted = decide(&attested, Enrolment::NotKept, &Denials::default(), &policy).unwrap();
    Ok((granted, model))
}

fn of_model(string: u8, model: &[u8]) -> Result<(Grant, String), Reason> {
    described([
        (UTF8, b"id:53544D20"),
        (string, model),
        (UTF8, b"id:00010102"),
    ])
}

/// The selectors of a machine whose certificate is in order, whatever it says besides.
fn ordinary() -> Vec<String> {
    of_model(UTF8, b"ST33HTPH").unwrap().0.selectors().to_vec()
}

#[test]
fn a_model_makes_no_selector_and_comes_out_escaped() {
    for (case, model, shown) in [
        ("tpm/I01", "a:b", "a:b"),
        (
            "tpm/I01",
            "x selector:admin ek_cert:verified",
            "x selector:admin ek_cert:verified",
        ),
        ("tpm/I02", "a\nvendor:IFX\r", "a\\u{a}vendor:IFX\\u{d}"),
        (
            "tpm/I02",
            "\u{1b}[31m\u{202e}\0",
            "\\u{1b}[31m\\u{202e}\\u{0}",
        ),
        ("tpm/I05", "\u{ff29}FX", "\\u{ff29}FX"),
    ] {
        let (granted, model) = of_model(UTF8, model.as_bytes()).unwrap();
        assert_eq!(model, shown, "{case}");
        assert_eq!(granted.selectors(), ordinary(), "{case}");
    }
}

#[test]
fn long_models_are_cut_or_refused() {
    let (granted, model) = of_model(UTF8, &[b'x'; 5000]).unwrap();
    assert_eq!(model.len(), 128, "tpm/I03");
    assert_eq!(granted.selectors(), ordinary(), "tpm/I03");
    let outcome = of_model(UTF8, &[b'x'; 10 << 10]).map(drop);
    assert_eq!(outcome, Err(Reason::CertTooLarge), "tpm/I03");
}

#[test]
fn what_is_no_text_describes_no_tpm() {
    for (case, string, model) in [
        ("tpm/I04", PRINTABLE, &b"\xFF\xFE"[..]),
        ("tpm/I04", UTF8, b"\xC0\x80"),
        ("tpm/I04", UTF8, b"\xED\xA0\x80"),
        ("tpm/I04", BMP, b"\0S\0T"),
    ] {
        let outcome = of_model(string, model).map(drop);
        assert_eq!(outcome, Err(Reason::EkSan), "{case} {string} {model:?}");
    }
}

#[test]
fn a_vendor_is_four_bytes_and_no_look_alike() {
    let of_vendor = |vendor: &str| {
        described([
            (UTF8, vendor.as_bytes()),
            (UTF8, b"SLB9670"),
            (UTF8, b"id:00010102"),
        ])
    };
    for vendor in [
        "\u{ff29}\u{ff26}\u{ff38}",
        "id:\u{ff14}9465800",
        "id:494658\u{ff10}0",
        "id:4946580O",
    ] {
        let outcome = of_vendor(vendor).map(drop);
        assert_eq!(outcome, Err(Reason::EkSan), "tpm/I05: {vendor}");
    }
    // Bytes that are no letters are shown as digits, not as what they resemble.
    let (granted, _) = of_vendor("id:49465807").unwrap();
    let vendor = granted.selectors().last().unwrap();
    assert_eq!(vendor, "vendor:id:49465807", "tpm/I05");
}

/// Everything in a payload that is no key, no certificate and no version.
#[test]
fn claims_of_the_agent_become_nothing() {
    let honest = super::grant(&mut prover(machine()), &policy()).unwrap();
    for (case, boot_id, member) in [
        ("tpm/I06", "../../server", "\"path\":\"../../server\""),
        ("tpm/I07", "..", "\"agent_path\":\"\""),
        ("tpm/I07", "%2e%2e/x", "\"spiffe_id\":\"spiffe://other/x\""),
        ("tpm/I08", "host.example", "\"hostname\":\"other.example\""),
        (
            "tpm/I08",
            "",
            "\"selectors\":[\"pub_hash:0\",\"vendor:IFX\"]",
        ),
        ("tpm/I14", "ABCDEF", "\"hash\":\"ABCDEF0123456789\""),
    ] {
        let member = member.to_owned();
        let lie = Lies::none()
            .offer(move |offer| {
                offer.extension.as_mut().unwrap().boot_id = Some(boot_id.to_owned());
            })
            .payload(move |payload| {
                let rest = String::from_utf8(payload[1..].to_vec()).unwrap();
                *payload = format!("{{{member},{rest}").into_bytes();
            });
        let granted = super::grant(&mut liar(lie), &policy()).unwrap();
        assert_eq!(granted, honest, "{case}");
    }
}

/// One path of lower-case hex digits, and a handful of short selectors in one order, each once.
#[test]
fn identities_have_one_form() {
    let (granted, _) = of_model(UTF8, b"ST33HTPH").unwrap();
    let prefix = "spiffe://example.org/spire/agent/tpm/";
    let segment = granted.agent_id().strip_prefix(prefix).unwrap();
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    assert!(
        segment.len() == 64 && segment.chars().all(is_hex),
        "tpm/I14"
    );
    assert_eq!(segment, machine().ek_hash().hex(), "tpm/I06");

    let selectors = granted.selectors();
    let keys: Vec<_> = selectors
        .iter()
        .map(|selector| selector.split(':').next().unwrap())
        .collect();
    let expected = [
        "pub_hash",
        "device",
        "attestation",
        "ek_cert",
        "vendor",
        "kind",
    ];
    assert_eq!(keys, expected, "tpm/I09");
    assert!(selectors.iter().all(|text| text.len() <= 80), "tpm/I09");
    assert_eq!(granted.selectors(), ordinary(), "tpm/I09: always the same");
    let distinct: BTreeSet<_> = selectors.iter().collect();
    assert_eq!(distinct.len(), selectors.len(), "tpm/I10");
}
