//! Profiles over what a quote and a certificate say: which machine matches, and for which reason another does not.

use std::collections::BTreeSet;

use evidence::Hash;
use softtpm::{Lies, SoftTpm};

use super::{Counter, attest, liar, machine, old_agent, policy, prover};
use crate::tests_chain::{Chain, NOW};
use crate::{
    Advisory, Anchors, Attested, Denials, EkTrust, Enrolment, FirmwareRange, FirmwareVersion,
    Grant, Matching, Mode, OptionalSelector, OptionalSelectors, Policy, Profile, Reason, Rejection,
    Requirement, StatePolicy, TpmKind, Vendor, VulnerableTpms, begin, decide,
};

fn profile(name: &str, requirements: impl IntoIterator<Item = Requirement>) -> Profile {
    Profile {
        name: name.to_owned(),
        requirements: requirements.into_iter().collect(),
    }
}

fn with(state: StatePolicy) -> Policy {
    Policy { state, ..policy() }
}

fn requiring(requirement: Requirement) -> Policy {
    with(StatePolicy {
        profiles: vec![profile("one", [requirement])],
        ..StatePolicy::default()
    })
}

fn decided(attested: &Attested, policy: &Policy) -> Result<Grant, Rejection> {
    decide(attested, Enrolment::Enrolled, &Denials::default(), policy)
}

/// A machine with an EK certificate of the vendor in the test chains, which says STM.
fn certified(policy: &Policy) -> Attested {
    let chain = Chain::of(machine().ek_key());
    let mut prover = prover(machine());
    prover.certificate = Some(chain.leaf.clone());
    prover.intermediates = vec![chain.ca.clone()];
    let payload = prover.payload().unwrap();
    let anchors = chain.anchors();
    let (challenge, pending) = begin(&payload, policy, &anchors, NOW, &mut Counter(0)).unwrap();
    pending
        .finish(&prover.answer(&payload, &challenge).unwrap())
        .unwrap()
}

fn of(vendor: &str) -> Vendor {
    Vendor::from_name(vendor).unwrap()
}

/// The version that the soft TPM has, and ranges around it.
fn range(vendor: Option<&str>, from: u64, to: u64) -> FirmwareRange {
    FirmwareRange {
        vendor: vendor.map(of),
        from: FirmwareVersion(from),
        to: FirmwareVersion(to),
    }
}

const FIRMWARE: u64 = 0x2019_1023_0016_3636;

fn pcr(pcr: u8, values: impl IntoIterator<Item = Vec<u8>>) -> Requirement {
    Requirement::Pcr {
        pcr,
        values: values.into_iter().collect(),
    }
}

fn value_of(tpm: &SoftTpm, pcr: u8) -> Vec<u8> {
    let bank = tpm.pcrs.iter().find(|bank| bank.hash == Hash::Sha256);
    bank.unwrap().values[&pcr].clone()
}

fn reset(hash: Hash, pcr: u8, byte: u8) -> SoftTpm {
    let mut tpm = machine();
    tpm.set_pcr(hash, pcr, &[byte; 32]);
    tpm
}

#[test]
fn each_requirement_of_a_quote_has_its_reason() {
    let good = value_of(&machine(), 7);
    let (zero, ones) = (vec![0; 32], vec![0xFF; 32]);
    let unsafe_clock = || liar(Lies::none().attest(|attest| attest.clock.safe = false));
    for (name, mut prover, requirement, expect) in vec![
        ("quote", prover(machine()), Requirement::Quote, None),
        (
            "old agent",
            old_agent(machine()),
            Requirement::Quote,
            Some(Reason::PolicyRequiresQuote),
        ),
        ("clock", prover(machine()), Requirement::ClockSafe, None),
        (
            "tpm/E30",
            unsafe_clock(),
            Requirement::ClockSafe,
            Some(Reason::ClockUnsafe),
        ),
        (
            "old agent, clock",
            old_agent(machine()),
            Requirement::ClockSafe,
            Some(Reason::PolicyRequiresQuote),
        ),
        ("listed", prover(machine()), pcr(7, [good.clone()]), None),
        (
            "one of several",
            prover(machine()),
            pcr(7, [vec![1; 32], good.clone()]),
            None,
        ),
        (
            "tpm/E32",
            prover(machine()),
            pcr(7, [vec![1; 32]]),
            Some(Reason::PcrPolicy),
        ),
        (
            "value of another PCR",
            prover(machine()),
            pcr(4, [good.clone()]),
            Some(Reason::PcrPolicy),
        ),
        (
            "not quoted",
            prover(machine()),
            pcr(12, [zero.clone()]),
            Some(Reason::PcrPolicy),
        ),
        (
            "tpm/E31",
            prover(reset(Hash::Sha256, 0, 0)),
            pcr(7, [good.clone()]),
            Some(Reason::PcrBankInactive),
        ),
        (
            "tpm/E31 ones",
            prover(reset(Hash::Sha256, 0, 0xFF)),
            pcr(7, [good.clone()]),
            Some(Reason::PcrBankInactive),
        ),
        (
            "tpm/E31 listed",
            prover(reset(Hash::Sha256, 7, 0)),
            pcr(7, [zero]),
            Some(Reason::PcrBankInactive),
        ),
        (
            "tpm/E31 ones listed",
            prover(reset(Hash::Sha256, 4, 0xFF)),
            pcr(4, [ones]),
            Some(Reason::PcrBankInactive),
        ),
        (
            "another bank",
            prover(reset(Hash::Sha384, 0, 0)),
            pcr(7, [good]),
            None,
        ),
        (
            "in range",
            prover(machine()),
            Requirement::Firmware(vec![range(None, FIRMWARE, FIRMWARE)]),
            None,
        ),
        (
            "second range",
            prover(machine()),
            Requirement::Firmware(vec![range(None, 0, 1), range(None, 2, u64::MAX)]),
            None,
        ),
        (
            "below",
            prover(machine()),
            Requirement::Firmware(vec![range(None, FIRMWARE + 1, u64::MAX)]),
            Some(Reason::FirmwareDenied),
        ),
        (
            "above",
            prover(machine()),
            Requirement::Firmware(vec![range(None, 0, FIRMWARE - 1)]),
            Some(Reason::FirmwareDenied),
        ),
        (
            "of a vendor that nobody certified",
            prover(machine()),
            Requirement::Firmware(vec![range(Some("STM"), 0, u64::MAX)]),
            Some(Reason::FirmwareDenied),
        ),
        (
            "old agent, firmware",
            old_agent(machine()),
            Requirement::Firmware(vec![range(None, 0, u64::MAX)]),
            Some(Reason::PolicyRequiresQuote),
        ),
        (
            "no certificate",
            prover(machine()),
            Requirement::EkCertificate,
            Some(Reason::EkCertMissing),
        ),
        (
            "no vendor",
            prover(machine()),
            Requirement::Vendors([of("STM")].into()),
            Some(Reason::VendorDenied),
        ),
        (
            "no kind",
            prover(machine()),
            Requirement::Kinds(TpmKind::ALL.into()),
            Some(Reason::TpmKindDenied),
        ),
        (
            "no log",
            prover(machine()),
            Requirement::EventLog,
            Some(Reason::EventlogMissing),
        ),
    ] {
        let policy = requiring(requirement);
        let attested = attest(&mut prover, &policy).unwrap();
        let refused = decided(&attested, &policy).err();
        assert_eq!(refused.map(|rejection| rejection.reason), expect, "{name}");
    }
}

#[test]
fn each_requirement_of_a_certificate_has_its_reason() {
    for (name, requirement, expect) in [
        ("certificate", Requirement::EkCertificate, None),
        (
            "vendor",
            Requirement::Vendors([of("IFX"), of("STM")].into()),
            None,
        ),
        (
            "another vendor",
            Requirement::Vendors([of("IFX")].into()),
            Some(Reason::VendorDenied),
        ),
        ("kind", Requirement::Kinds([TpmKind::Discrete].into()), None),
        (
            "another kind",
            Requirement::Kinds([TpmKind::Firmware, TpmKind::Virtual].into()),
            Some(Reason::TpmKindDenied),
        ),
        (
            "firmware",
            Requirement::Firmware(vec![range(Some("STM"), 0, u64::MAX)]),
            None,
        ),
        (
            "another's firmware",
            Requirement::Firmware(vec![range(Some("IFX"), 0, u64::MAX)]),
            Some(Reason::FirmwareDenied),
        ),
    ] {
        let policy = Policy {
            ek_trust: EkTrust::Either,
            ..requiring(requirement)
        };
        let refused = decided(&certified(&policy), &policy).err();
        assert_eq!(refused.map(|rejection| rejection.reason), expect, "{name}");
    }
    // A certificate that leads nowhere vouches for no vendor, also where the machine is enrolled.
    let policy = Policy {
        ek_trust: EkTrust::Either,
        ..requiring(Requirement::EkCertificate)
    };
    let chain = Chain::of(machine().ek_key());
    let mut prover = prover(machine());
    prover.certificate = Some(chain.leaf);
    let payload = prover.payload().unwrap();
    let nobody = Anchors::default();
    let (challenge, pending) = begin(&payload, &policy, &nobody, NOW, &mut Counter(0)).unwrap();
    let attested = pending
        .finish(&prover.answer(&payload, &challenge).unwrap())
        .unwrap();
    let refused = decided(&attested, &policy).unwrap_err();
    assert_eq!(refused.reason, Reason::UntrustedChain);
}

fn impossible() -> Requirement {
    pcr(7, [vec![1; 32]])
}

#[test]
fn the_first_match_decides_or_every_profile_must_match() {
    type Case = (
        &'static str,
        Matching,
        Vec<Profile>,
        Result<Vec<&'static str>, Reason>,
    );
    let good = || pcr(7, [value_of(&machine(), 7)]);
    let old = || Requirement::Firmware(vec![range(None, 0, 1)]);
    let (first, all) = (Matching::First, Matching::All);
    let cases: Vec<Case> = vec![
        ("none", first, vec![], Ok(vec![])),
        ("one", first, vec![profile("a", [good()])], Ok(vec!["a"])),
        (
            "second",
            first,
            vec![profile("a", [impossible()]), profile("b", [good()])],
            Ok(vec!["b"]),
        ),
        (
            "first of two",
            first,
            vec![profile("b", [good()]), profile("a", [Requirement::Quote])],
            Ok(vec!["b"]),
        ),
        (
            "all",
            all,
            vec![profile("b", [good()]), profile("a", [Requirement::Quote])],
            Ok(vec!["b", "a"]),
        ),
        (
            "not all",
            all,
            vec![profile("b", [good()]), profile("a", [old()])],
            Err(Reason::FirmwareDenied),
        ),
        (
            "the same reason",
            first,
            vec![profile("a", [impossible()]), profile("b", [impossible()])],
            Err(Reason::PcrPolicy),
        ),
        (
            "several reasons",
            first,
            vec![profile("a", [impossible()]), profile("b", [old()])],
            Err(Reason::ProfileMismatch),
        ),
        (
            "first requirement",
            first,
            vec![profile("a", [impossible(), old()])],
            Err(Reason::FirmwareDenied),
        ),
    ];
    for (name, matching, profiles, expect) in cases {
        let policy = with(StatePolicy {
            profiles,
            matching,
            ..StatePolicy::default()
        });
        let attested = attest(&mut prover(machine()), &policy).unwrap();
        let outcome = decided(&attested, &policy);
        let matched = outcome.as_ref().map(|grant| grant.matched().to_vec());
        let expect = expect.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            matched.map_err(|rejection| rejection.reason),
            expect,
            "{name}"
        );
        if let Ok(grant) = outcome {
            let measured: Vec<_> = grant
                .selectors()
                .iter()
                .filter_map(|selector| selector.strip_prefix("measured:"))
                .collect();
            assert_eq!(measured, grant.matched(), "{name}");
        }
    }
}

#[test]
fn the_detail_names_every_profile() {
    let policy = with(StatePolicy {
        profiles: vec![
            profile("a", [impossible()]),
            profile("b", [Requirement::EventLog]),
        ],
        ..StatePolicy::default()
    });
    let attested = attest(&mut prover(machine()), &policy).unwrap();
    let detail = decided(&attested, &policy).unwrap_err().detail.unwrap();
    let value = hex::encode(value_of(&machine(), 7));
    assert_eq!(
        detail,
        format!("a: pcr_policy PCR 7 is {value}; b: eventlog_missing ")
    );
}

#[test]
fn monitoring_accepts_and_says_what_it_would_have_refused() {
    let mut policy = requiring(impossible());
    policy.state.mode = Mode::Monitor;
    let attested = attest(&mut prover(machine()), &policy).unwrap();
    let grant = decided(&attested, &policy).unwrap();
    assert_eq!(grant.tolerated().unwrap().reason, Reason::PcrPolicy);
    assert_eq!(grant.matched(), [""; 0]);
    assert!(
        !grant
            .selectors()
            .iter()
            .any(|selector| selector.starts_with("measured:"))
    );
    policy.state.profiles = vec![profile("good", [Requirement::Quote])];
    let grant = decided(&attested, &policy).unwrap();
    assert_eq!(
        (grant.tolerated(), grant.matched()),
        (None, ["good".to_owned()].as_slice())
    );
}

#[test]
fn monitoring_is_about_the_state_alone() {
    let mut policy = requiring(Requirement::Quote);
    policy.state.mode = Mode::Monitor;
    let attested = attest(&mut prover(machine()), &policy).unwrap();
    let stranger = decide(&attested, Enrolment::Absent, &Denials::default(), &policy);
    assert_eq!(stranger.unwrap_err().reason, Reason::EkNotAllowed);
}

#[test]
fn vulnerable_firmware_is_told_or_refused() {
    let affected = |range| Advisory {
        name: "CVE-0000-0001".to_owned(),
        affected: vec![range],
    };
    let reject = VulnerableTpms::Reject;
    for (name, vulnerable_tpms, mode, range, expect) in [
        (
            "warned of",
            VulnerableTpms::Warn,
            Mode::Enforce,
            range(None, FIRMWARE, FIRMWARE),
            Ok(1),
        ),
        (
            "tpm/E27",
            reject,
            Mode::Enforce,
            range(None, FIRMWARE, FIRMWARE),
            Err(Reason::FirmwareDenied),
        ),
        (
            "monitored",
            reject,
            Mode::Monitor,
            range(None, FIRMWARE, FIRMWARE),
            Ok(1),
        ),
        (
            "fixed",
            reject,
            Mode::Enforce,
            range(None, 0, FIRMWARE - 1),
            Ok(0),
        ),
        (
            "another vendor's",
            reject,
            Mode::Enforce,
            range(Some("STM"), 0, u64::MAX),
            Ok(0),
        ),
    ] {
        let policy = with(StatePolicy {
            advisories: vec![affected(range)],
            vulnerable_tpms,
            mode,
            profiles: vec![profile("any", [Requirement::Quote])],
            ..StatePolicy::default()
        });
        let attested = attest(&mut prover(machine()), &policy).unwrap();
        let outcome = decided(&attested, &policy);
        let told = outcome
            .map(|grant| grant.advisories().len())
            .map_err(|rejection| rejection.reason);
        assert_eq!(told, expect, "{name}");
    }
}

#[test]
fn a_certified_vendor_s_firmware_is_known_by_its_vendor() {
    let policy = Policy {
        ek_trust: EkTrust::Either,
        ..with(StatePolicy {
            advisories: vec![Advisory {
                name: "CVE-0000-0001".to_owned(),
                affected: vec![range(Some("STM"), 0, u64::MAX)],
            }],
            ..StatePolicy::default()
        })
    };
    let grant = decided(&certified(&policy), &policy).unwrap();
    assert_eq!(grant.advisories(), ["CVE-0000-0001"]);
}

#[test]
fn an_agent_of_the_first_generation_shows_no_firmware_and_may_match() {
    let policy = with(StatePolicy {
        advisories: vec![Advisory {
            name: "CVE-0000-0001".to_owned(),
            affected: vec![range(None, 0, u64::MAX)],
        }],
        vulnerable_tpms: VulnerableTpms::Reject,
        profiles: vec![profile("old", BTreeSet::new())],
        ..StatePolicy::default()
    });
    let attested = attest(&mut old_agent(machine()), &policy).unwrap();
    let grant = decided(&attested, &policy).unwrap();
    assert_eq!(
        (grant.matched(), grant.advisories()),
        (["old".to_owned()].as_slice(), [].as_slice())
    );
}

#[test]
fn further_selectors_are_there_when_asked_for() {
    let asked = |kinds: &[OptionalSelector], pcrs: &[u8]| OptionalSelectors {
        kinds: kinds.to_vec(),
        pcrs: pcrs.to_vec(),
    };
    let seven = hex::encode(value_of(&machine(), 7));
    for (selectors, expect) in [
        (asked(&[], &[]), vec![]),
        (
            asked(&[OptionalSelector::Firmware], &[]),
            vec!["firmware:8217.4131".to_owned()],
        ),
        (
            asked(&[OptionalSelector::Model], &[]),
            vec!["model:st33htph".to_owned()],
        ),
        (asked(&[OptionalSelector::BootChain], &[]), vec![]),
        // 12 is not quoted.
        (asked(&[], &[7, 12]), vec![format!("pcr:sha256:7:{seven}")]),
    ] {
        let policy = Policy {
            ek_trust: EkTrust::Either,
            ..with(StatePolicy {
                selectors,
                ..StatePolicy::default()
            })
        };
        let grant = decided(&certified(&policy), &policy).unwrap();
        let plain = ["vendor:STM", "kind:discrete"];
        assert_eq!(&grant.selectors()[4..6], plain);
        assert_eq!(&grant.selectors()[6..], expect);
    }
    let policy = Policy {
        ek_trust: EkTrust::Either,
        ..with(StatePolicy {
            selectors: asked(&[OptionalSelector::EkCa], &[]),
            ..StatePolicy::default()
        })
    };
    let grant = decided(&certified(&policy), &policy).unwrap();
    let last = grant.selectors().last().unwrap();
    let digits = last.strip_prefix("ek_ca:").unwrap();
    assert!(
        digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{last}"
    );
}
