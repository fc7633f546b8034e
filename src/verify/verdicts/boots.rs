//! The boot event log in an exchange: when it is asked for, what becomes of it, and what profiles say of what it proves.

use std::collections::BTreeSet;

use eventlog::Quirk;
use evidence::{AkTemplate, Hash, Response};
use softtpm::{BootLog, KeyKind, Lies, Prover, SoftTpm, boot_certificate};

use super::{attest, decide, old_agent, policy, prover};
use crate::{
    Attested, Boot, Denials, Enrolment, Grant, KnownBoots, Mode, OptionalSelector,
    OptionalSelectors, Policy, Profile, Reason, Rejection, Request, Requirement, StatePolicy,
};

const HASHES: [Hash; 2] = [Hash::Sha256, Hash::Sha384];

pub(super) fn sample() -> BootLog {
    BootLog::sample(&HASHES).unwrap()
}

pub(super) fn booted(log: &BootLog) -> SoftTpm {
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

pub(super) fn refused(tpm: SoftTpm, requirement: Requirement) -> Option<Reason> {
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
fn pcrs_are_asked_for_once_and_in_order() {
    let mut policy = reporting();
    policy.pcrs[0].1 = vec![23, 7, 0];
    let payload = prover(booted(&sample())).payload().unwrap();
    let nobody = crate::Anchors::default();
    let entropy = &mut super::Counter(0);
    let (challenge, _) = crate::begin(&payload, &policy, &nobody, 0, entropy).unwrap();
    let asked = evidence::Challenge::decode(&challenge).unwrap().extension;
    let all = vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 23];
    assert_eq!(asked.unwrap().pcrs, [(Hash::Sha256, all)]);
}

#[test]
fn a_refusal_names_the_key_and_its_owner() {
    let policy = asking([Requirement::Db([[0; 32]].into())]);
    let attested = attest(&mut prover(booted(&sample())), &policy).unwrap();
    let detail = decided(&attested, &policy).unwrap_err().detail.unwrap();
    let key = hex::encode(certificate("Image Signing CA"));
    assert_eq!(detail, format!("{key} (CN=Image Signing CA)"));
}

#[test]
fn a_recorded_exchange_is_judged_as_it_was() {
    let policy = asking([Requirement::SecureBoot]);
    let mut prover = prover(booted(&sample()));
    let payload = prover.payload().unwrap();
    let nobody = crate::Anchors::default();
    let entropy = &mut super::Counter(0);
    let (challenge, pending) = crate::begin(&payload, &policy, &nobody, 7, entropy).unwrap();
    let record = evidence::Record {
        trust_domain: "example.org".to_owned(),
        time: 7,
        secret: pending.secret().clone(),
        response: prover.answer(&payload, &challenge).unwrap(),
        payload,
        challenge,
        enrolment: Enrolment::Enrolled.name().to_owned(),
        verdict: "granted".to_owned(),
    };
    // Whatever domain the policy is for.
    let elsewhere = Policy {
        trust_domain: "elsewhere".to_owned(),
        ..policy.clone()
    };
    let again = |record: &evidence::Record, policy: &Policy| {
        let attested = crate::judge_again(record, policy, &nobody);
        attested.map_err(|rejection| rejection.reason)
    };
    let attested = again(&record, &elsewhere).unwrap();
    assert!(decided(&attested, &policy).is_ok());
    let altered = |change: fn(&mut evidence::Record)| {
        let mut record = record.clone();
        change(&mut record);
        again(&record, &policy).unwrap_err()
    };
    let other_secret =
        |record: &mut evidence::Record| record.secret = evidence::Secret::new(vec![0; 32]);
    assert_eq!(altered(other_secret), Reason::ProofMismatch);
    assert_eq!(
        altered(|record| record.payload.push(b' ')),
        Reason::ProofMismatch
    );
    assert_eq!(
        altered(|record| record.challenge.push(b' ')),
        Reason::ProofMismatch
    );
    assert_eq!(
        altered(|record| record.trust_domain.push('x')),
        Reason::ProofMismatch
    );
    assert_eq!(
        altered(|record| record.response.truncate(1)),
        Reason::MalformedResponse
    );
    assert_eq!(
        altered(|record| record.time = u64::MAX),
        Reason::InternalError
    );
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

/// Attests twice to a server that remembers, with a change of the machine between; what the second answer held, and what came
/// of it.
fn again(change: impl Fn(&mut Prover), policies: [&Policy; 2]) -> (bool, Result<Attested, Reason>) {
    let mut known = KnownBoots::new(4);
    let mut machine = prover(booted(&sample()));
    let nobody = crate::Anchors::default();
    let mut round = |machine: &mut Prover, policy: &Policy| {
        let payload = machine.payload().unwrap();
        let request = Request::read(payload.clone(), policy).unwrap();
        let request = request.knowing(&mut known);
        let begun = request.begin(policy, &nobody, 0, &mut super::Counter(0));
        let (challenge, pending) = begun.unwrap();
        let asked = evidence::Challenge::decode(&challenge).unwrap().extension;
        assert!(asked.is_some_and(|asked| asked.log || asked.known_pcrs.is_none()));
        let answer = machine.answer(&payload, &challenge).unwrap();
        let Ok(Response::Proof(proof)) = Response::decode(&answer) else {
            panic!("a proof")
        };
        let attested = pending
            .finish(&answer)
            .map_err(|rejection| rejection.reason);
        if let Ok(attested) = &attested
            && let Some((log, boot)) = attested.known_boot().cloned()
        {
            known.remember(attested.ek_hash(), log, boot);
        }
        (proof.log.is_some(), attested)
    };
    let (sent, first) = round(&mut machine, policies[0]);
    assert!(sent && first.is_ok(), "the first time the log comes");
    change(&mut machine);
    round(&mut machine, policies[1])
}

#[test]
fn a_boot_that_is_known_needs_no_log() {
    let policy = reporting();
    let (sent, attested) = again(|_| (), [&policy, &policy]);
    assert!(!sent);
    let attested = attested.unwrap();
    assert!(attested.known_boot().is_none(), "nothing new");
    let all = again(|_| (), [&policy, &reporting()]).1.unwrap();
    assert_eq!(all.boot().claims(), attested.boot().claims());
    let on = asking([Requirement::SecureBoot]);
    assert!(decided(&attested, &on).is_ok());
}

#[test]
fn what_changed_is_shown_again() {
    let policy = reporting();
    // The log leads to PCR 8 no more, and is judged anew.
    let (sent, attested) = again(
        |machine| machine.tpm.extend(8, b"later"),
        [&policy, &policy],
    );
    assert!(sent);
    let replayed = attested.unwrap().boot().claims().unwrap().replayed.clone();
    assert!(
        !replayed.contains(&8) && replayed.contains(&7),
        "{replayed:?}"
    );

    let mut rebooted = BootLog::sample(&HASHES).unwrap();
    rebooted.entries.retain(|entry| entry.pcr != 12);
    let (sent, attested) = again(|machine| machine.tpm.boot(&rebooted), [&policy, &policy]);
    assert!(sent && attested.is_ok(), "another log");

    let mut other = reporting();
    other.pcrs[0].1.push(23);
    assert!(
        again(|_| (), [&policy, &other]).0,
        "other PCRs are asked for"
    );
    let mut tolerant = reporting();
    tolerant.state.tolerated = [Quirk::ShimVariables].into();
    assert!(again(|_| (), [&policy, &tolerant]).0, "by other rules");
    let never = self::policy();
    let (sent, attested) = again(|_| (), [&policy, &never]);
    assert!(
        !sent && matches!(attested.unwrap().boot(), Boot::Absent),
        "nobody asks"
    );
}

#[test]
fn a_log_is_left_out_by_the_quote_s_leave_and_no_other() {
    let policy = reporting();
    let withheld = |machine: &mut Prover| {
        machine.tpm.extend(8, b"later");
        machine.lies = Lies::none().log(|log| *log = None);
    };
    let (_, attested) = again(withheld, [&policy, &policy]);
    assert_eq!(attested.unwrap_err(), Reason::EventlogMissing);
    // Nor by a boot that was judged by other rules.
    let mut tolerant = reporting();
    tolerant.state.tolerated = [Quirk::ShimVariables].into();
    let silent = |machine: &mut Prover| machine.lies = Lies::none().log(|log| *log = None);
    let (_, attested) = again(silent, [&tolerant, &policy]);
    assert_eq!(attested.unwrap_err(), Reason::EventlogMissing);
    // Another machine gets nothing from this one's boot, nor does who does not know its log.
    let other = |machine: &mut Prover| {
        machine.tpm.ek = softtpm::Key::generate(KeyKind::P256).unwrap();
    };
    assert!(again(other, [&policy, &policy]).0);
    let unknowing = |machine: &mut Prover| {
        machine.lies = Lies::none().offer(|offer| {
            offer.extension.as_mut().unwrap().log_sha256 = Some([0; 32]);
        });
    };
    assert!(again(unknowing, [&policy, &policy]).0);
}
