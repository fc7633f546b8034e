//! The boot event log in an exchange: when it is asked for, what becomes of it, and what profiles say of what it proves.

use std::collections::BTreeSet;

use eventlog::Quirk;
use evidence::{AkTemplate, Hash, Response};
use softtpm::{BootLog, KeyKind, Lies, Prover, SoftTpm, boot_certificate};

use super::{attest, old_agent, policy, prover};
use crate::{
    Attested, Boot, CommandLineRule, Denials, Enrolment, Grant, Mode, OptionalSelector,
    OptionalSelectors, Policy, Profile, Reason, Rejection, Requirement, StatePolicy, decide,
};

const HASHES: [Hash; 2] = [Hash::Sha256, Hash::Sha384];

fn sample() -> BootLog {
    BootLog::sample(&HASHES).unwrap()
}

fn booted(log: &BootLog) -> SoftTpm {
    let mut tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
    tpm.boot(log);
    tpm
}

/// What was booted, and a log that says otherwise.
fn lying(change: impl Fn(&mut BootLog)) -> SoftTpm {
    let mut tpm = booted(&sample());
    let mut told = sample();
    change(&mut told);
    tpm.log = Some(told.encode());
    tpm
}

fn asking(requirements: impl IntoIterator<Item = Requirement>) -> Policy {
    Policy {
        state: StatePolicy {
            ask_for_log: true,
            profiles: vec![Profile {
                name: "one".to_owned(),
                requirements: requirements.into_iter().collect(),
            }],
            ..StatePolicy::default()
        },
        ..policy()
    }
}

fn reporting() -> Policy {
    let mut policy = asking([]);
    policy.state.profiles.clear();
    policy
}

fn decided(attested: &Attested, policy: &Policy) -> Result<Grant, Rejection> {
    decide(attested, Enrolment::Enrolled, &Denials::default(), policy)
}

fn granted(tpm: SoftTpm, policy: &Policy) -> Result<Grant, Reason> {
    let attested = attest(&mut prover(tpm), policy).map_err(|rejection| rejection.reason)?;
    decided(&attested, policy).map_err(|rejection| rejection.reason)
}

fn refused(tpm: SoftTpm, requirement: Requirement) -> Option<Reason> {
    granted(tpm, &asking([requirement])).err()
}

fn state_of(tpm: SoftTpm, policy: &Policy) -> Vec<String> {
    let grant = granted(tpm, policy).unwrap();
    let about = |selector: &&String| {
        ["secure_boot:", "measured:", "boot_chain:"]
            .iter()
            .any(|key| selector.starts_with(key))
    };
    grant.selectors().iter().filter(about).cloned().collect()
}

/// The fingerprint of a certificate of the forge.
fn certificate(name: &str) -> [u8; 32] {
    let der = boot_certificate(name).unwrap();
    Hash::Sha256.digest(&[&der]).try_into().unwrap()
}

#[test]
fn a_log_is_asked_for_where_the_agent_has_one_and_the_server_wants_it() {
    let quoted = |tpm: SoftTpm, policy: &Policy| {
        let attested = attest(&mut prover(tpm), policy).unwrap();
        let crate::Method::Quote(quoted) = attested.method() else {
            panic!("a quote")
        };
        let pcrs: Vec<u8> = quoted.banks()[0].values.keys().copied().collect();
        (matches!(attested.boot(), Boot::Verified(_)), pcrs)
    };
    let few = vec![0, 4, 7];
    let all = vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14];
    let without = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
    assert_eq!(quoted(booted(&sample()), &reporting()), (true, all));
    assert_eq!(quoted(booted(&sample()), &policy()), (false, few.clone()));
    assert_eq!(quoted(without, &reporting()), (false, few));
}

#[test]
fn what_was_asked_for_comes_and_nothing_else() {
    let lie = |lies: Lies, policy: &Policy| {
        let mut prover: Prover = prover(booted(&sample()));
        prover.lies = lies;
        attest(&mut prover, policy)
            .err()
            .map(|rejection| rejection.reason)
    };
    let withheld = || Lies::none().log(|log| *log = None);
    let unasked = || Lies::none().log(|log| *log = Some(sample().encode()));
    let altered = || {
        Lies::none().answer(|answer| {
            if let Response::Proof(proof) = &mut answer.response {
                proof.log.as_mut().unwrap().push(0);
            }
        })
    };
    assert_eq!(
        lie(withheld(), &reporting()),
        Some(Reason::EventlogMissing),
        "tpm/F01"
    );
    assert_eq!(lie(unasked(), &policy()), Some(Reason::UnsolicitedEvidence));
    assert_eq!(lie(altered(), &reporting()), Some(Reason::ProofMismatch));
    assert_eq!(lie(Lies::none(), &reporting()), None);
}

#[test]
fn a_profile_that_needs_the_log_refuses_without_it() {
    let without = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
    assert_eq!(
        refused(without, Requirement::EventLog),
        Some(Reason::EventlogMissing),
        "tpm/F01"
    );
    let policy = asking([Requirement::SecureBoot]);
    let old = attest(&mut old_agent(booted(&sample())), &policy).unwrap();
    let reason = decided(&old, &policy).unwrap_err().reason;
    assert_eq!(reason, Reason::PolicyRequiresQuote);
}

#[test]
fn without_profiles_the_state_is_told_and_nobody_refused() {
    let on = booted(&sample());
    let off = booted(&BootLog::sample_insecure(&HASHES).unwrap());
    let torn = lying(|log| drop(log.entries.remove(3)));
    assert_eq!(state_of(on, &reporting()), ["secure_boot:on"]);
    assert_eq!(state_of(off, &reporting()), ["secure_boot:off"]);
    assert_eq!(state_of(torn, &reporting()), [""; 0]);
    let mut chained = reporting();
    chained.state.selectors = OptionalSelectors {
        kinds: vec![OptionalSelector::BootChain],
        pcrs: vec![],
    };
    let stages = state_of(booted(&sample()), &chained);
    assert!(stages.contains(&"boot_chain:grub".to_owned()), "{stages:?}");
}

/// Each kind of refusal by the log's judge has one reason, and a profile gives it on.
#[test]
fn each_fault_of_a_log_has_its_reason() {
    const RELABELLED: u32 = 0xD;
    let pcr7 = |log: &BootLog| log.position(|entry| entry.pcr == 7).unwrap();
    let at = pcr7(&sample());
    let twice = |pcr: u32| {
        let mut log = sample();
        let separator = log
            .position(|entry| (entry.pcr, entry.kind) == (pcr, 4))
            .unwrap();
        let again = log.entries[separator].clone();
        log.entries.insert(separator, again);
        booted(&log)
    };
    let mut inactive = booted(&sample());
    for pcr in 0..24 {
        inactive.set_pcr(Hash::Sha256, pcr, &[0; 32]);
    }
    let mut long = BootLog::sample(&[Hash::Sha256]).unwrap();
    for _ in 0..eventlog::limits::EVENTS {
        long.no_action(0, b"");
    }
    let mut torn = booted(&sample());
    torn.log.as_mut().unwrap().pop();
    let other_bank = {
        let mut tpm = booted(&sample());
        tpm.log = Some(BootLog::sample(&[Hash::Sha384]).unwrap().encode());
        tpm
    };
    let mut doubled = sample();
    let first = pcr7(&doubled);
    let variable = doubled.entries[first].clone();
    doubled.entries.insert(first, variable);
    let mut late = sample();
    let variable = late.entries.remove(first);
    late.entries.push(variable);
    let mut unverified = sample();
    unverified.entries.retain(|entry| entry.kind != 0x8000_00E0);
    let mut debug = sample();
    let separator = debug
        .position(|entry| (entry.pcr, entry.kind) == (7, 4))
        .unwrap();
    debug.action(7, "UEFI Debug Mode");
    let action = debug.entries.pop().unwrap();
    debug.entries.insert(separator, action);

    for (name, tpm, expect) in [
        ("sound", booted(&sample()), None),
        ("tpm/F02", torn, Some(Reason::EventlogMalformed)),
        ("tpm/F28", booted(&long), Some(Reason::EventlogLimit)),
        ("tpm/F26", other_bank, Some(Reason::EventlogBank)),
        ("tpm/E31", inactive, Some(Reason::PcrBankInactive)),
        (
            "tpm/F04",
            lying(|log| drop(log.entries.remove(3))),
            Some(Reason::EventlogReplay),
        ),
        (
            "tpm/F07",
            lying(|log| log.entries[at].kind = RELABELLED),
            Some(Reason::EventlogUntrustedEvent),
        ),
        (
            "tpm/F08",
            lying(|log| *log.entries[at].data.last_mut().unwrap() ^= 1),
            Some(Reason::EventlogDigest),
        ),
        ("tpm/F09", booted(&doubled), Some(Reason::EventlogDuplicate)),
        ("tpm/F10", booted(&late), Some(Reason::EventlogOrder)),
        ("tpm/F12", twice(3), Some(Reason::EventlogSeparator)),
        (
            "tpm/F15",
            booted(&unverified),
            Some(Reason::SecureBootInconsistent),
        ),
        ("tpm/F16", booted(&debug), Some(Reason::SecureBootDebug)),
    ] {
        assert_eq!(refused(tpm, Requirement::EventLog), expect, "{name}");
    }
}

#[test]
fn each_requirement_of_a_boot_has_its_reason() {
    let sound = || booted(&sample());
    let insecure = || booted(&BootLog::sample_insecure(&HASHES).unwrap());
    let option_rom = || booted(&BootLog::sample_with_option_rom(&HASHES).unwrap());
    let images = || {
        let attested = attest(&mut prover(sound()), &reporting()).unwrap();
        let boot = attested.boot().claims().unwrap();
        boot.images
            .iter()
            .map(|image| image.digest.clone())
            .collect::<BTreeSet<_>>()
    };
    let some_images = || images().into_iter().skip(1).collect::<BTreeSet<_>>();
    let unprotected = || {
        let mut log = sample();
        let separator = log
            .position(|entry| (entry.pcr, entry.kind) == (7, 4))
            .unwrap();
        log.action(7, "DMA Protection Disabled");
        let action = log.entries.pop().unwrap();
        log.entries.insert(separator, action);
        booted(&log)
    };
    let db = [certificate("Image Signing CA"), certificate("Other Vendor")];
    let authorities = [
        certificate("Image Signing CA"),
        certificate("Distribution CA"),
    ];
    for (name, tpm, requirement, expect) in [
        ("on", sound(), Requirement::SecureBoot, None),
        (
            "tpm/F14",
            insecure(),
            Requirement::SecureBoot,
            Some(Reason::SecureBootDisabled),
        ),
        ("db", sound(), Requirement::Db(db.into()), None),
        (
            "tpm/F18",
            sound(),
            Requirement::Db([db[0]].into()),
            Some(Reason::DbUnexpected),
        ),
        ("dbx", sound(), Requirement::Dbx([[0xD2; 32]].into()), None),
        (
            "tpm/F17",
            sound(),
            Requirement::Dbx([[0xD2; 32], [0xD3; 32]].into()),
            Some(Reason::DbxOutdated),
        ),
        (
            "authorities",
            sound(),
            Requirement::Authorities(authorities.into()),
            None,
        ),
        (
            "another's",
            sound(),
            Requirement::Authorities([authorities[0]].into()),
            Some(Reason::AuthorityUnexpected),
        ),
        (
            "nobody verified",
            insecure(),
            Requirement::Authorities(authorities.into()),
            Some(Reason::SecureBootDisabled),
        ),
        ("images", sound(), Requirement::BootImages(images()), None),
        (
            "one more image",
            sound(),
            Requirement::BootImages(some_images()),
            Some(Reason::BootImageUnexpected),
        ),
        ("no option ROM", sound(), Requirement::NoOptionRoms, None),
        (
            "tpm/F29",
            option_rom(),
            Requirement::NoOptionRoms,
            Some(Reason::DriverPolicy),
        ),
        ("protected", sound(), Requirement::DmaProtection, None),
        (
            "unprotected",
            unprotected(),
            Requirement::DmaProtection,
            Some(Reason::DmaUnprotected),
        ),
    ] {
        assert_eq!(refused(tpm, requirement), expect, "{name}");
    }
}

#[test]
fn programs_that_nobody_measured_are_on_no_list() {
    // No boot option was tried as far as the log shows, and nothing in it is believed to be a program.
    let mut log = sample();
    let action = log.position(|entry| (entry.pcr, entry.kind) == (4, 0x8000_0007));
    log.entries.remove(action.unwrap());
    let any = Requirement::BootImages([vec![0; 32]].into());
    assert_eq!(
        refused(booted(&log), any),
        Some(Reason::BootImageUnexpected)
    );
}

#[test]
fn departures_count_where_they_are_not_tolerated() {
    let mut log = sample();
    log.shim_variables();
    let shim = log.entries.len() - 3;
    let ends: Vec<_> = log.entries.drain(shim..).collect();
    let after = log.position(|entry| entry.kind == 0x8000_00E0).unwrap();
    log.entries.splice(after..after, ends);
    let mut policy = asking([Requirement::SecureBoot]);
    assert_eq!(
        granted(booted(&log), &policy).unwrap_err(),
        Reason::EventlogMalformed
    );
    policy.state.tolerated = [Quirk::ShimVariables].into();
    assert!(granted(booted(&log), &policy).is_ok());
}

#[test]
fn monitoring_tells_what_a_log_lacks() {
    let mut policy = asking([Requirement::SecureBoot]);
    policy.state.mode = Mode::Monitor;
    let off = booted(&BootLog::sample_insecure(&HASHES).unwrap());
    let grant = granted(off, &policy).unwrap();
    assert_eq!(
        grant.tolerated().unwrap().reason,
        Reason::SecureBootDisabled
    );
    assert!(grant.selectors().contains(&"secure_boot:off".to_owned()));
}

fn rule(allow: &[&str], require: &[&str], forbid: &[&str]) -> Requirement {
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Requirement::CommandLine(CommandLineRule {
        allow: set(allow),
        require: set(require),
        forbid: set(forbid),
    })
}

/// A boot whose only command line is this, measured by systemd-stub.
fn with_line(line: &str) -> SoftTpm {
    let mut log = sample();
    log.entries.retain(|entry| ![8, 9, 12].contains(&entry.pcr));
    let text: Vec<u8> = line
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    log.event(12, 0xD, &text);
    booted(&log)
}

#[test]
fn command_lines_are_allowed_by_line_or_word() {
    let line = "root=/dev/vda2 ro quiet";
    for (name, tpm, rule, holds) in [
        ("allowed", with_line(line), rule(&[line], &[], &[]), true),
        (
            "one of two",
            with_line(line),
            rule(&["x", line], &[], &[]),
            true,
        ),
        (
            "longer",
            with_line("root=/dev/vda2 ro quiet init=/bin/sh"),
            rule(&[line], &[], &[]),
            false,
        ),
        ("required", with_line(line), rule(&[], &["ro"], &[]), true),
        (
            "part of a word",
            with_line(line),
            rule(&[], &["r"], &[]),
            false,
        ),
        (
            "forbidden",
            with_line(line),
            rule(&[], &[], &["quiet"]),
            false,
        ),
        (
            "not forbidden",
            with_line(line),
            rule(&[], &[], &["qui"]),
            true,
        ),
        (
            "forbidden beginning",
            with_line(line),
            rule(&[], &[], &["ro*"]),
            false,
        ),
        (
            "no such beginning",
            with_line(line),
            rule(&[], &[], &["init=*"]),
            true,
        ),
        (
            "a tab is a space",
            with_line("ro\tinit=/bin/sh"),
            rule(&[], &[], &["init=*"]),
            false,
        ),
        (
            "a quotation mark",
            with_line("a=\"x init=/bin/sh\""),
            rule(&[], &[], &["init=*"]),
            false,
        ),
        (
            "all of them",
            booted(&sample()),
            rule(&[line], &[], &[]),
            false,
        ),
        (
            "every line that there is",
            booted(&sample()),
            rule(&[], &["root=/dev/vda2", "ro"], &["init=*"]),
            true,
        ),
    ] {
        let expect = (!holds).then_some(Reason::CommandLinePolicy);
        assert_eq!(refused(tpm, rule), expect, "{name}");
    }
    let mut none = sample();
    none.entries
        .retain(|entry| ![8, 9, 12].contains(&entry.pcr));
    let any = rule(&[], &[], &["init=*"]);
    assert_eq!(
        refused(booted(&none), any),
        Some(Reason::CommandLinePolicy),
        "none measured"
    );
}
