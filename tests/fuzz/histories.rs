//! Machines that attest to a server that knows something of them already: what is kept, what is told, and who is locked out.

use evidence::ClockInfo;
use verify::{
    BOOT_IDS, Denials, Enrolment, Grant, History, MachineState, OnChange, OnReset, Reason,
    Rejection, SvidKeys, decide, quarantine_of,
};

use crate::certificates::refused;
pub(crate) use crate::histories_known::seeds;
use crate::histories_known::{Case, MACHINES};
use crate::parts::Parts;

/// One of some machines, and anything that a server may know of it, at any time.
pub(crate) fn history(data: &[u8]) {
    judge(data);
}

/// Why it is refused, if it is.
fn judge(data: &[u8]) -> Option<Reason> {
    let mut parts = Parts::of(data);
    let machine = &MACHINES[usize::from(parts.byte()) % MACHINES.len()];
    let case = Case::of(machine, &mut parts);
    let outcome = case.decide(&case.history);
    assert_eq!(outcome, case.decide(&case.history), "the same twice");
    match outcome {
        Ok(grant) => {
            case.granted(&grant);
            None
        }
        Err(rejection) => {
            case.refused(&rejection);
            Some(rejection.reason)
        }
    }
}

impl Case<'_> {
    fn decide(&self, history: &History) -> Result<Grant, Rejection> {
        decide(
            &self.machine.attested,
            self.enrolment,
            &Denials::default(),
            &self.policy,
            history,
            self.begun_ms,
            self.now_ms,
        )
    }

    fn granted(&self, grant: &Grant) {
        let attested = &self.machine.attested;
        assert_eq!(self.enrolment, Enrolment::Enrolled);
        let has_keys = !attested.svid_keys().is_empty();
        assert!(has_keys || self.policy.svid_keys == SvidKeys::Observe);
        let certified = |grant: &Grant| {
            let mut selectors = grant.selectors().iter();
            selectors.any(|selector| selector == "svid_key:certified")
        };
        assert!(!certified(grant), "nobody enforces it");
        assert_eq!(certified(&grant.clone().with_enforced_keys()), has_keys);
        let shown = self.machine.state(self.now_ms);
        match (&self.history, grant.next_state()) {
            (History::NotKept, None) => assert_eq!(grant.changes(), []),
            (History::New, Some(next)) => {
                assert_eq!((next, grant.changes()), (&shown, &[][..]));
            }
            (
                History::Known {
                    state,
                    quarantine: None,
                },
                Some(next),
            ) => {
                let pair = Pair {
                    known: state,
                    shown: &shown,
                };
                self.goes_on(&pair, grant.changes());
                kept(state, &shown, next);
            }
            (history, next) => panic!("{history:?} becomes {next:?}"),
        }
        if let Some(next) = grant.next_state() {
            let known = History::Known {
                state: next.clone(),
                quarantine: None,
            };
            let again = self.decide(&known);
            let again = again.expect("the same attestation again");
            assert_eq!(again.next_state(), Some(next), "nothing is left to keep");
        }
    }

    /// What is true of every machine that is not refused, in another order of questions than the verifier's.
    fn goes_on(&self, pair: &Pair<'_>, changes: &[Reason]) {
        let has = |reason| changes.contains(&reason);
        assert_eq!(has(Reason::TpmCleared), pair.has_another_root());
        assert!(!pair.has_another_root() || self.policy.tpm_clear == OnChange::Accept);
        assert_eq!(has(Reason::AkChanged), pair.has_another_ak());
        assert!(!pair.has_another_ak() || self.policy.ak_change == OnChange::Accept);
        assert!(!has(Reason::ResetUnexpected) || pair.was_reset_within_a_boot());
        let is_warned = self.policy.unexpected_reset == OnReset::Warn;
        assert!(!has(Reason::ResetUnexpected) || is_warned);
        assert!(!pair.lost_its_quote());
        let went_on_at_once = i128::from(self.begun_ms) <= i128::from(pair.known.seen_ms) + SKEW_MS;
        if went_on_at_once {
            return;
        }
        assert_eq!(has(Reason::ResetUnexpected), pair.was_reset_within_a_boot());
        let Some((known, shown)) = pair.clocks() else {
            return;
        };
        assert!(!pair.is_of_an_old_boot(), "a boot that was over came back");
        assert!(pair.counts_on(known, shown), "{known:?} became {shown:?}");
    }

    fn refused(&self, rejection: &Rejection) {
        refused(rejection);
        let reason = rejection.reason;
        let quarantine = quarantine_of(rejection, &self.machine.attested, self.now_ms);
        let shown = self.machine.state(self.now_ms);
        let locks_out = matches!(
            reason,
            Reason::AkChanged
                | Reason::TpmCleared
                | Reason::CloneSuspected
                | Reason::ClockRegressed
        );
        assert_eq!(quarantine.is_some(), locks_out, "{reason:?}");
        if let Some(quarantine) = &quarantine {
            assert_eq!(
                (quarantine.reason, quarantine.since_ms),
                (reason, self.now_ms)
            );
            assert_eq!(quarantine.observed, shown);
        }
        let is_right = match &self.history {
            History::Known { state, quarantine } => {
                let pair = Pair {
                    known: state,
                    shown: &shown,
                };
                match quarantine {
                    Some(_) => reason == Reason::Quarantined,
                    None => self.is_right(reason, &pair),
                }
            }
            History::New | History::NotKept => false,
        };
        assert!(is_right || self.is_without_history(reason), "{reason:?}");
    }

    /// Whether a machine may be refused for this reason, whatever is known of it.
    fn is_without_history(&self, reason: Reason) -> bool {
        match reason {
            Reason::EkNotAllowed => self.enrolment == Enrolment::Absent,
            Reason::SvidKeyUncertified => {
                let has_none = self.machine.attested.svid_keys().is_empty();
                has_none && self.policy.svid_keys == SvidKeys::Require
            }
            _ => false,
        }
    }

    /// Whether a machine that is in no quarantine may be refused for this reason.
    fn is_right(&self, reason: Reason, pair: &Pair<'_>) -> bool {
        let policy = &self.policy;
        match reason {
            Reason::Downgrade => pair.lost_its_quote(),
            Reason::ResetUnexpected => {
                pair.was_reset_within_a_boot() && policy.unexpected_reset == OnReset::Refuse
            }
            Reason::AkChanged => pair.has_another_ak() && policy.ak_change == OnChange::Quarantine,
            Reason::TpmCleared => {
                pair.has_another_root() && policy.tpm_clear == OnChange::Quarantine
            }
            Reason::CloneSuspected | Reason::ClockRegressed => {
                let behind = |(known, shown)| !pair.counts_on(known, shown);
                pair.clocks().is_some_and(behind) || pair.is_of_an_old_boot()
            }
            _ => false,
        }
    }
}

/// What is known and what is shown, for a reader who asks one thing at a time.
struct Pair<'a> {
    known: &'a MachineState,
    shown: &'a MachineState,
}

impl Pair<'_> {
    fn clocks(&self) -> Option<(ClockInfo, ClockInfo)> {
        self.known.clock.zip(self.shown.clock)
    }

    fn has_another_root(&self) -> bool {
        let roots = (&self.known.storage_root, &self.shown.storage_root);
        roots.0.is_some() && roots.1.is_some() && roots.0 != roots.1
    }

    /// With another storage root key the clock began again, or it goes on as with the same one and no faster than time does.
    fn counts_on(&self, known: ClockInfo, shown: ClockInfo) -> bool {
        if !self.has_another_root() {
            return follows(known, shown);
        }
        let [then, now] = [self.known, self.shown].map(|state| i128::from(state.seen_ms));
        let passed = (now - then).max(0);
        let most = passed + passed / 3 + EXCHANGE_MS;
        let [before, after] = [known, shown].map(|info| i128::from(info.clock));
        after <= most || follows(known, shown) && after - before <= most
    }

    fn has_another_ak(&self) -> bool {
        self.known.ak != self.shown.ak
    }

    fn lost_its_quote(&self) -> bool {
        self.known.clock.is_some() && self.shown.clock.is_none()
    }

    fn was_reset_within_a_boot(&self) -> bool {
        let boots = (self.known.boot_ids.last(), self.shown.boot_ids.last());
        let grew = |(known, shown): (ClockInfo, ClockInfo)| shown.reset_count > known.reset_count;
        boots.0.is_some() && boots.0 == boots.1 && self.clocks().is_some_and(grew)
    }

    fn is_of_an_old_boot(&self) -> bool {
        let boot = self.shown.boot_ids.last();
        let known = &self.known.boot_ids;
        boot != known.last() && boot.is_some_and(|boot| known.contains(boot))
    }
}

/// TPM library part 1, section 36: the counters never fall, and the clock only at a start, by what was not saved of it.
fn follows(known: ClockInfo, shown: ClockInfo) -> bool {
    let counters =
        |clock: ClockInfo| u64::from(clock.reset_count) << 32 | u64::from(clock.restart_count);
    let started = counters(shown) > counters(known);
    let lost = if started && !shown.safe { 1 << 22 } else { 0 };
    let clocks = [known, shown].map(|info| i128::from(info.clock));
    counters(shown) >= counters(known) && clocks[1] + lost >= clocks[0]
}

/// Either what was known stays, or what is shown takes its place; a storage root key is not forgotten either way.
fn kept(state: &MachineState, shown: &MachineState, next: &MachineState) {
    assert!(next.boot_ids.len() <= BOOT_IDS);
    let roots = (&state.storage_root, &shown.storage_root);
    assert_eq!(
        next.storage_root.is_some(),
        roots.0.is_some() || roots.1.is_some()
    );
    let roots = [roots.0, roots.1];
    assert!(roots.contains(&&next.storage_root));
    let rest = |state: &MachineState| MachineState {
        storage_root: None,
        boot_ids: Vec::new(),
        ..state.clone()
    };
    if next.boot_ids == state.boot_ids && rest(next) == rest(state) {
        return;
    }
    assert_eq!(rest(next), rest(shown));
    let last = shown.boot_ids.last().or(state.boot_ids.last());
    assert_eq!(next.boot_ids.last(), last);
}

/// By how much the clocks of servers may differ.
const SKEW_MS: i128 = 2_000;
/// No attestation takes longer.
const EXCHANGE_MS: i128 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_reach_every_verdict_on_a_history() {
        use Reason::{
            AkChanged, ClockRegressed, CloneSuspected, Downgrade, EkNotAllowed, Quarantined,
            ResetUnexpected, SvidKeyUncertified, TpmCleared,
        };
        let reasons: Vec<_> = seeds::history().iter().map(|seed| judge(seed)).collect();
        assert_eq!(reasons[..3], [None, None, None]);
        for expected in [
            AkChanged,
            CloneSuspected,
            ClockRegressed,
            Downgrade,
            EkNotAllowed,
            Quarantined,
            ResetUnexpected,
            SvidKeyUncertified,
            TpmCleared,
        ] {
            assert!(
                reasons.contains(&Some(expected)),
                "{expected:?}: {reasons:?}"
            );
        }
    }
}
