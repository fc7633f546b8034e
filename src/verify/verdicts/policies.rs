//! Policies as a whole: which profile decides, what monitoring lets pass, advisories, and what a grant says of it all.

use std::collections::BTreeSet;

use super::states::{
    FIRMWARE, certified, decided, impossible, pcr, profile, range, requiring, value_of, with,
};
use super::{attest, decide, machine, old_agent, prover};
use crate::{
    Advisory, Denials, EkTrust, Enrolment, Matching, Mode, OptionalSelector, OptionalSelectors,
    Policy, Profile, Reason, Requirement, StatePolicy, VulnerableTpms,
};

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
fn who_is_trusted_does_not_depend_on_the_state() {
    let policy = requiring(impossible());
    let attested = attest(&mut prover(machine()), &policy).unwrap();
    for (enrolment, expect) in [(Enrolment::Enrolled, true), (Enrolment::Absent, false)] {
        assert_eq!(crate::is_trusted(&attested, enrolment, &policy), expect);
    }
}

#[test]
fn names_are_those_of_records_and_configuration() {
    for enrolment in [Enrolment::NotKept, Enrolment::Enrolled, Enrolment::Absent] {
        assert_eq!(Enrolment::from_name(enrolment.name()), Some(enrolment));
    }
    assert_eq!(Enrolment::from_name("enrolment"), None);
    for selector in OptionalSelector::ALL {
        assert_eq!(OptionalSelector::from_name(selector.name()), Some(selector));
    }
    assert_eq!(OptionalSelector::from_name("pcr"), None);
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
    let alone = decided(&attested, &requiring(impossible())).unwrap_err();
    assert_eq!(alone.detail.unwrap(), format!("PCR 7 is {value}"));
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
