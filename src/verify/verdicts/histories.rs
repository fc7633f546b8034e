//! Machines that attest again and again to a server that keeps their state (group H).

use evidence::{AkTemplate, SvidKeyTemplate};
use softtpm::{Ak, Lies, Prover, SoftTpm};

use super::certifications::with_keys;
use super::{Counter, machine, old_agent, policy, prover};
use crate::{
    Anchors, Attested, Denials, EkTrust, Enrolment, Grant, History, MachineState, OnChange,
    OnReset, Policy, Quarantine, Reason, Rejection, begin, decide, quarantine_of,
};

/// A server that keeps the state of one machine, and a clock.
pub(super) struct Server {
    pub(super) policy: Policy,
    history: History,
    now_ms: i64,
}

impl Server {
    pub(super) fn new() -> Self {
        Self {
            policy: policy(),
            history: History::New,
            now_ms: 1_700_000_000_000,
        }
    }

    /// One that knows the machine already.
    fn knowing(tpm: &mut SoftTpm) -> Self {
        let mut server = Self::new();
        assert_eq!(server.attest(tpm), Ok(Vec::new()));
        server
    }

    /// An attestation from its challenge to its decision, half an hour after the one before; the changes that are told.
    pub(super) fn attest(&mut self, tpm: &mut SoftTpm) -> Result<Vec<Reason>, Reason> {
        let mut agent = prover(tpm.clone());
        let outcome = self.judge(&mut agent);
        *tpm = agent.tpm;
        outcome.map(|grant| grant.changes().to_vec())
    }

    pub(super) fn judge(&mut self, agent: &mut Prover) -> Result<Grant, Reason> {
        self.now_ms += 1_800_000;
        let begun_ms = self.now_ms;
        let attested = self.prove(agent).map_err(|rejection| rejection.reason)?;
        self.now_ms += 900;
        self.decide(&attested, begun_ms)
            .map_err(|rejection| rejection.reason)
    }

    fn prove(&self, agent: &mut Prover) -> Result<Attested, Rejection> {
        let payload = agent.payload().unwrap();
        let anchors = Anchors::default();
        let (challenge, pending) = begin(&payload, &self.policy, &anchors, 0, &mut Counter(0))?;
        pending.finish(&agent.answer(&payload, &challenge).unwrap())
    }

    fn decide(&mut self, attested: &Attested, begun_ms: i64) -> Result<Grant, Rejection> {
        let outcome = decide(
            attested,
            Enrolment::Enrolled,
            &Denials::default(),
            &self.policy,
            &self.history,
            begun_ms,
            self.now_ms,
        );
        match &outcome {
            Ok(grant) => self.keep(grant.next_state().unwrap().clone(), None),
            Err(rejection) => {
                if let Some(quarantine) = quarantine_of(rejection, attested, self.now_ms) {
                    self.keep(self.state().clone(), Some(quarantine));
                }
            }
        }
        outcome
    }

    pub(super) fn keep(&mut self, state: MachineState, quarantine: Option<Quarantine>) {
        self.history = History::Known { state, quarantine };
    }

    pub(super) fn state(&self) -> &MachineState {
        match &self.history {
            History::Known { state, .. } => state,
            other => panic!("{other:?}"),
        }
    }

    fn quarantine(&self) -> Option<&Quarantine> {
        match &self.history {
            History::Known { quarantine, .. } => quarantine.as_ref(),
            other => panic!("{other:?}"),
        }
    }

    /// What an operator does who has looked at it.
    fn accept(&mut self) {
        let observed = self.quarantine().unwrap().observed.clone();
        self.keep(observed, None);
    }
}

#[test]
fn a_machine_is_kept_as_it_shows_itself() {
    let mut tpm = with_keys();
    let mut server = Server::new();
    let grant = server.judge(&mut prover(tpm.clone())).unwrap();
    let mut expect = MachineState {
        ak: tpm.ak.name().unwrap(),
        storage_root: Some(tpm.storage_root().unwrap().name().unwrap()),
        clock: Some(tpm.clock),
        boot_ids: tpm.boot_id.clone().into_iter().collect(),
        seen_ms: server.now_ms,
    };
    // A millisecond for each structure before the quote, and the quote.
    expect.clock.as_mut().unwrap().clock += 2;
    assert_eq!(grant.next_state(), Some(&expect));
    assert!(grant.changes().is_empty());
    tpm.clock.clock += 2;
    tpm.advance_clock(1_800_000);
    tpm.svid_keys.clear();
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
    assert_eq!(server.state().storage_root, expect.storage_root, "kept");
    assert_eq!(server.state().boot_ids, expect.boot_ids, "once");
    assert_eq!(server.state().seen_ms, server.now_ms);
    assert!(server.state().clock.unwrap().clock > expect.clock.unwrap().clock);
}

#[test]
fn nothing_is_judged_where_nothing_is_kept() {
    let mut server = Server::knowing(&mut with_keys());
    server.history = History::NotKept;
    let mut back = with_keys();
    back.clock.reset_count = 0;
    let attested = server.prove(&mut prover(back)).unwrap();
    let grant = decide(
        &attested,
        Enrolment::Enrolled,
        &Denials::default(),
        &server.policy,
        &History::NotKept,
        server.now_ms,
        server.now_ms,
    )
    .unwrap();
    assert_eq!((grant.next_state(), grant.changes()), (None, &[][..]));
}

#[test]
fn a_life_of_reboots_sleep_and_power_cuts_is_no_cause() {
    type Event = fn(&mut SoftTpm);
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    let life: [Event; 7] = [
        |tpm| tpm.advance_clock(1_800_000),
        |tpm| tpm.reboot().unwrap(),
        SoftTpm::restart,
        |tpm| tpm.lose_power().unwrap(),
        |tpm| tpm.advance_clock(6_000_000),
        |tpm| {
            tpm.lose_power().unwrap();
            tpm.lose_power().unwrap();
        },
        |_tpm| {},
    ];
    for event in life.iter().cycle().take(40) {
        event(&mut tpm);
        assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
    }
    assert_eq!(server.state().boot_ids.len(), crate::BOOT_IDS);
    assert_eq!(server.state().boot_ids.last(), tpm.boot_id.as_ref());
}

#[test]
fn a_copy_is_refused_by_its_counters() {
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    let mut copy = tpm.clone();
    tpm.reboot().unwrap();
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
    let kept = server.state().clone();
    copy.advance_clock(10_000_000);
    assert_eq!(
        server.attest(&mut copy),
        Err(Reason::CloneSuspected),
        "tpm/H01"
    );
    // The one that was refused is not what is known, and nobody can tell which is the copy.
    assert_eq!(*server.state(), kept);
    assert_eq!(server.attest(&mut tpm), Err(Reason::Quarantined));
    assert_eq!(server.attest(&mut copy), Err(Reason::Quarantined));
    let quarantine = server.quarantine().unwrap();
    assert_eq!(quarantine.reason, Reason::CloneSuspected);
    let observed = quarantine.observed.clock.unwrap();
    assert_eq!(observed.reset_count, copy.clock.reset_count);
}

#[test]
fn a_copy_that_has_seen_the_same_boots_is_refused_by_its_clock() {
    let mut tpm = machine();
    let mut server = Server::knowing(&mut tpm);
    let mut copy = tpm.clone();
    tpm.advance_clock(1_800_000);
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
    copy.advance_clock(1_000_000);
    assert_eq!(
        server.attest(&mut copy),
        Err(Reason::ClockRegressed),
        "tpm/H01"
    );
}

#[test]
fn a_restored_snapshot_is_refused() {
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    let snapshot = tpm.clone();
    tpm.advance_clock(60_000);
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
    let mut restored = snapshot;
    assert_eq!(
        server.attest(&mut restored),
        Err(Reason::ClockRegressed),
        "tpm/H02"
    );
    let quarantine = server.quarantine().unwrap();
    assert_eq!(quarantine.reason, Reason::ClockRegressed);
    assert_eq!(quarantine.since_ms, server.now_ms);
    // Until the operator says that it was wanted; from then on the machine is compared with what it showed.
    server.accept();
    assert_eq!(server.attest(&mut restored), Ok(Vec::new()));
}

/// Booted once more than the state that was known, so that the counters alone say nothing.
#[test]
fn a_snapshot_that_has_booted_since_is_refused_by_its_safe_clock() {
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    let mut restored = tpm.clone();
    tpm.advance_clock(8_000_000);
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
    restored.reboot().unwrap();
    let mut crashed = restored.clone();
    assert_eq!(
        server.attest(&mut restored),
        Err(Reason::ClockRegressed),
        "tpm/H02"
    );
    // An unsafe clock has lost a known time at most.
    let mut server = Server::knowing(&mut tpm);
    crashed.lose_power().unwrap();
    assert!(!crashed.clock.safe);
    assert_eq!(
        server.attest(&mut crashed),
        Err(Reason::ClockRegressed),
        "tpm/H02"
    );
}

#[test]
fn a_reset_within_a_boot_is_told_or_refused() {
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    tpm.reset();
    let told = Ok(vec![Reason::ResetUnexpected]);
    assert_eq!(server.attest(&mut tpm), told, "tpm/H03");
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()), "once");
    server.policy.unexpected_reset = OnReset::Refuse;
    tpm.reset();
    let kept = server.state().clone();
    let refused = Err(Reason::ResetUnexpected);
    assert_eq!(server.attest(&mut tpm), refused, "tpm/H03");
    assert_eq!(server.quarantine(), None, "refused and no more");
    assert_eq!(*server.state(), kept);
    assert_eq!(
        server.attest(&mut tpm),
        Err(Reason::ResetUnexpected),
        "still"
    );
    tpm.reboot().unwrap();
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
    // What a machine does not say, nobody knows.
    for unknown in [None, Some(String::new())] {
        let mut silent = with_keys();
        silent.boot_id = unknown;
        let mut server = Server::knowing(&mut silent);
        for _ in 0..2 {
            silent.reset();
            assert_eq!(server.attest(&mut silent), Ok(Vec::new()));
        }
        assert!(server.state().boot_ids.is_empty());
    }
    // Sleep is no reset.
    tpm.reboot().unwrap();
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
    tpm.restart();
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
}

#[test]
fn a_cleared_tpm_is_accepted_or_quarantined() {
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    let known = server.state().clone();
    tpm.reboot().unwrap();
    tpm.clear().unwrap();
    tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
    let told = Ok(vec![Reason::TpmCleared]);
    assert_eq!(server.attest(&mut tpm.clone()), told, "tpm/H04");
    let root = tpm.storage_root().unwrap().name();
    assert_eq!(server.state().storage_root, root);
    assert_eq!(server.attest(&mut tpm.clone()), Ok(Vec::new()), "once");

    server.keep(known.clone(), None);
    server.policy.tpm_clear = OnChange::Quarantine;
    let refused = Err(Reason::TpmCleared);
    assert_eq!(server.attest(&mut tpm), refused, "tpm/H04");
    assert_eq!(server.quarantine().unwrap().reason, Reason::TpmCleared);
    assert_eq!(server.state().storage_root, known.storage_root);
    server.accept();
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
}

/// Without a certified key a clear cannot be told from a copy.
#[test]
fn a_clear_that_no_key_shows_is_taken_for_a_copy() {
    for keys_before in [true, false] {
        let mut tpm = if keys_before { with_keys() } else { machine() };
        let mut server = Server::knowing(&mut tpm);
        tpm.clear().unwrap();
        if !keys_before {
            tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
        }
        let outcome = server.attest(&mut tpm);
        assert_eq!(
            outcome,
            Err(Reason::CloneSuspected),
            "keys before: {keys_before}"
        );
    }
}

/// A copy that clears its TPM looks like a machine that did, until the machine itself comes back.
#[test]
fn a_cleared_copy_is_found_out_by_the_original() {
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    let mut copy = tpm.clone();
    copy.clear().unwrap();
    copy.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
    assert_eq!(server.attest(&mut copy), Ok(vec![Reason::TpmCleared]));
    tpm.advance_clock(3_600_000);
    assert_eq!(
        server.attest(&mut tpm),
        Err(Reason::CloneSuspected),
        "tpm/H01"
    );
}

/// Its SVID keys are below another primary key of the owner hierarchy from now on, and nothing else has changed.
fn replace_storage_root(tpm: &mut SoftTpm) {
    let clock = tpm.clock;
    tpm.clear().unwrap();
    tpm.clock = clock;
    tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
}

#[test]
fn another_storage_root_key_without_a_clear_is_told_as_one() {
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    replace_storage_root(&mut tpm);
    tpm.advance_clock(1_800_000);
    assert_eq!(server.attest(&mut tpm), Ok(vec![Reason::TpmCleared]));
}

/// Whoever has a copy of a TPM's state makes primary keys as they like, but no clock and no counters.
#[test]
fn a_copy_with_another_storage_root_key_is_no_cleared_tpm() {
    for (reboots, reason) in [
        (true, Reason::CloneSuspected),
        (false, Reason::ClockRegressed),
    ] {
        let mut tpm = with_keys();
        let mut server = Server::knowing(&mut tpm);
        let mut copy = tpm.clone();
        if reboots {
            tpm.reboot().unwrap();
        }
        tpm.advance_clock(60_000);
        assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
        replace_storage_root(&mut copy);
        assert_eq!(server.attest(&mut copy), Err(reason), "tpm/H01");
        assert_eq!(server.attest(&mut tpm), Err(Reason::Quarantined), "tpm/H01");
    }
}

#[test]
fn a_boot_that_is_over_does_not_come_back() {
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    let first = tpm.boot_id.clone();
    for _ in 0..2 {
        tpm.reboot().unwrap();
        assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
    }
    let mut copy = tpm.clone();
    copy.boot_id = first;
    copy.reset();
    let kept = server.state().clone();
    assert_eq!(server.attest(&mut copy), Err(Reason::CloneSuspected));
    // Nor after a clear, which does not turn a kernel's time back.
    server.keep(kept, None);
    copy.clear().unwrap();
    copy.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
    assert_eq!(server.attest(&mut copy), Err(Reason::CloneSuspected));
}

#[test]
fn another_ak_is_accepted_or_quarantined() {
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    let known = server.state().clone();
    tpm.ak = Ak::of(AkTemplate::Rsa2048).unwrap();
    let told = Ok(vec![Reason::AkChanged]);
    assert_eq!(server.attest(&mut tpm), told, "tpm/H04");
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()), "once");
    server.keep(known.clone(), None);
    server.policy.ak_change = OnChange::Quarantine;
    assert_eq!(server.attest(&mut tpm), Err(Reason::AkChanged), "tpm/H04");
    assert_eq!(server.quarantine().unwrap().reason, Reason::AkChanged);
    assert_eq!(*server.state(), known);
    server.accept();
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
}

#[test]
fn all_that_has_changed_is_told() {
    let mut tpm = with_keys();
    tpm.clock.reset_count = 0;
    let mut server = Server::knowing(&mut tpm);
    tpm.clear().unwrap();
    tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
    tpm.ak = Ak::of(AkTemplate::Rsa2048).unwrap();
    tpm.reset();
    let told = vec![
        Reason::TpmCleared,
        Reason::AkChanged,
        Reason::ResetUnexpected,
    ];
    assert_eq!(server.attest(&mut tpm), Ok(told));
}

#[test]
fn who_gave_a_quote_does_not_come_without() {
    let mut tpm = machine();
    let mut server = Server::knowing(&mut tpm);
    let kept = server.state().clone();
    let refused = server.judge(&mut old_agent(tpm.clone())).unwrap_err();
    assert_eq!(refused, Reason::Downgrade);
    assert_eq!(
        server.quarantine(),
        None,
        "who strips a quote locks nobody out"
    );
    assert_eq!(*server.state(), kept);
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
}

/// TOCTOU: what was found before a refusal is not kept (CVE-2022-3500).
#[test]
fn an_attestation_that_fails_leaves_no_state() {
    let mut tpm = with_keys();
    let mut server = Server::knowing(&mut tpm);
    let kept = server.history.clone();
    tpm.reboot().unwrap();
    tpm.reboot().unwrap();
    let mut liar = prover(tpm.clone());
    liar.lies = Lies::none().attest(|attest| attest.extra_data.clear());
    assert_eq!(
        server.judge(&mut liar).unwrap_err(),
        Reason::NonceMismatch,
        "tpm/H08"
    );
    assert_eq!(server.history, kept, "tpm/H08");
    let trust = server.policy.ek_trust;
    server.policy.ek_trust = EkTrust::Both;
    let mut uncertified = prover(tpm.clone());
    assert_eq!(
        server.judge(&mut uncertified).unwrap_err(),
        Reason::EkCertMissing
    );
    assert_eq!(server.history, kept, "tpm/H08");
    server.policy.ek_trust = trust;
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
}

/// Only a machine that would be accepted otherwise is brought into quarantine.
#[test]
fn whom_nobody_trusts_cannot_bring_a_machine_into_quarantine() {
    let mut tpm = with_keys();
    let server = Server::knowing(&mut tpm);
    tpm.clock.reset_count = 0;
    let attested = server.prove(&mut prover(tpm)).unwrap();
    let stranger = decide(
        &attested,
        Enrolment::Absent,
        &Denials::default(),
        &server.policy,
        &server.history,
        server.now_ms + 10_000,
        server.now_ms + 10_000,
    );
    assert_eq!(stranger.unwrap_err().reason, Reason::EkNotAllowed);
    let denied = Denials::parse(&machine().ek_hash().hex()).unwrap();
    let denied = decide(
        &attested,
        Enrolment::Enrolled,
        &denied,
        &server.policy,
        &server.history,
        server.now_ms + 10_000,
        server.now_ms + 10_000,
    );
    assert_eq!(denied.unwrap_err().reason, Reason::EkDenied);
}

#[test]
fn the_id_follows_from_the_ek_whatever_else_changes() {
    let mut tpm = with_keys();
    let mut server = Server::new();
    let before = server.judge(&mut prover(tpm.clone())).unwrap();
    tpm.ak = Ak::of(AkTemplate::Rsa2048).unwrap();
    tpm.clear().unwrap();
    tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
    tpm.firmware += 1;
    tpm.reboot().unwrap();
    let mut agent = prover(tpm);
    agent.lies = Lies::none().offer(|offer| {
        offer.extension.as_mut().unwrap().boot_id = Some("../../other/agent".to_owned());
    });
    let after = server.judge(&mut agent).unwrap();
    assert_eq!(before.agent_id(), after.agent_id(), "tpm/H05");
    let elsewhere = SoftTpm::generate().unwrap();
    let other = Server::new().judge(&mut prover(elsewhere)).unwrap();
    assert_ne!(before.agent_id(), other.agent_id(), "tpm/H05");
}

/// A boot id is any text that a machine likes: it is compared, and shown nowhere.
#[test]
fn no_text_of_a_machine_is_in_a_refusal() {
    let mut tpm = machine();
    tpm.boot_id = Some("\u{1b}[2J\nforged".to_owned());
    let mut server = Server::knowing(&mut tpm);
    let over = tpm.boot_id.clone();
    tpm.reboot().unwrap();
    assert_eq!(server.attest(&mut tpm), Ok(Vec::new()));
    tpm.reset();
    tpm.boot_id = over;
    let attested = server.prove(&mut prover(tpm)).unwrap();
    let now_ms = server.now_ms + 10_000;
    let refused = server.decide(&attested, now_ms).unwrap_err();
    assert_eq!(refused.reason, Reason::CloneSuspected);
    assert!(!format!("{refused:?}").contains("forged"));
    let refused = server.decide(&attested, now_ms).unwrap_err();
    let detail = refused.detail.unwrap();
    let expect = format!(
        "for clone_suspected, since {} ms after the epoch",
        server.now_ms
    );
    assert_eq!((refused.reason, detail), (Reason::Quarantined, expect));
}

#[test]
fn only_some_refusals_keep_a_machine_out() {
    let attested = Server::new().prove(&mut prover(machine())).unwrap();
    for reason in Reason::ALL {
        let lasting = [
            Reason::CloneSuspected,
            Reason::ClockRegressed,
            Reason::TpmCleared,
            Reason::AkChanged,
        ];
        let kept = quarantine_of(&Rejection::from(*reason), &attested, 5);
        assert_eq!(kept.is_some(), lasting.contains(reason), "{reason}");
        let expect = |quarantine: Quarantine| (quarantine.reason, quarantine.since_ms);
        assert_eq!(
            kept.map(expect),
            lasting.contains(reason).then_some((*reason, 5))
        );
    }
}
