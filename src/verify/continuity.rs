//! Whether a machine that attests is the one that attested before, a copy of it, or an older state of it.

use evidence::{ClockInfo, Name};

use crate::policy::{OnChange, OnReset, Policy};
use crate::session::{Attested, Method};
use crate::{BOOT_IDS, History, MachineState, Quarantine, Reason, Rejection};

/// What becomes of what is kept of a machine, and what its operator is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Continuity {
    pub(crate) next: Option<MachineState>,
    pub(crate) changes: Vec<Reason>,
}

/// What a server keeps of a refused machine, so that it stays refused; `None` where the refusal is of this attestation
/// alone.
pub fn quarantine_of(
    rejection: &Rejection,
    attested: &Attested,
    now_ms: i64,
) -> Option<Quarantine> {
    let reason = rejection.reason;
    reason.quarantines().then(|| Quarantine {
        reason,
        since_ms: now_ms,
        observed: shown(attested, now_ms),
    })
}

impl Continuity {
    /// Judges an attestation whose challenge was made at `begun_ms` and that ends at `now_ms`.
    pub(crate) fn judge(
        attested: &Attested,
        policy: &Policy,
        history: &History,
        begun_ms: i64,
        now_ms: i64,
    ) -> Result<Self, Rejection> {
        let shown = || shown(attested, now_ms);
        match history {
            History::NotKept => Ok(Self::default()),
            History::New => Ok(Self {
                next: Some(shown()),
                changes: Vec::new(),
            }),
            History::Known {
                quarantine: Some(quarantine),
                ..
            } => Err(quarantined(quarantine)),
            History::Known {
                state,
                quarantine: None,
            } => Pair {
                state,
                shown: &shown(),
                begun_ms,
            }
            .judge(policy),
        }
    }
}

/// What is known of a machine, and what it shows now in an exchange whose challenge was made at `begun_ms`.
pub(crate) struct Pair<'a> {
    pub(crate) state: &'a MachineState,
    pub(crate) shown: &'a MachineState,
    pub(crate) begun_ms: i64,
}

/// Which of the two was first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// What is shown came after what is known.
    After,
    /// It came before it and was judged after it: two attestations of the machine went on at once.
    Before,
}

impl Pair<'_> {
    pub(crate) fn judge(&self, policy: &Policy) -> Result<Continuity, Rejection> {
        // Refused and no more: who can strip what an agent sends must not be able to lock its machine out.
        if self.state.clock.is_some() && self.shown.clock.is_none() {
            return Err(Reason::Downgrade.into());
        }
        let order = self.order()?;
        let mut changes = Vec::new();
        let mut change = |reason, is_accepted| {
            if is_accepted {
                changes.push(reason);
                Ok(())
            } else {
                Err(Rejection::from(reason))
            }
        };
        if self.has_another_root() {
            change(Reason::TpmCleared, policy.tpm_clear == OnChange::Accept)?;
        }
        if self.state.ak != self.shown.ak {
            change(Reason::AkChanged, policy.ak_change == OnChange::Accept)?;
        }
        if order == Order::After && self.was_reset_within_a_boot() {
            let is_accepted = policy.unexpected_reset == OnReset::Warn;
            change(Reason::ResetUnexpected, is_accepted)?;
        }
        Ok(Continuity {
            next: Some(self.next(order)),
            changes,
        })
    }

    /// The order of the two, or why there is none that one TPM can have made.
    fn order(&self) -> Result<Order, Rejection> {
        let (Some(known), Some(shown)) = (self.state.clock, self.shown.clock) else {
            return Ok(Order::After);
        };
        let other_root = self.has_another_root();
        let goes_on = if other_root && shown.clock <= self.passed_ms() {
            Ok(())
        } else if other_root {
            follows(known, shown).and_then(|()| self.check_leap(known, shown))
        } else {
            follows(known, shown)
        };
        let goes_on = goes_on.and_then(|()| self.check_boot());
        // By the counters of a TPM that was cleared nobody can tell, so that it may have been before although it goes on.
        if goes_on.is_ok() && !other_root {
            return Ok(Order::After);
        }
        let overlap = self.overlap_ms();
        if overlap.is_some_and(|overlap| self.came_before(known, shown, overlap)) {
            return Ok(Order::Before);
        }
        goes_on.map(|()| Order::After)
    }

    /// Whether what is shown was so before what is known, in attestations that went on at once for `overlap` milliseconds.
    fn came_before(&self, known: ClockInfo, shown: ClockInfo, overlap: u64) -> bool {
        // A TPM that was cleared meanwhile has counted no longer than that.
        let was_cleared = self.has_another_root() && known.clock <= overlap;
        was_cleared || precedes(shown, known, overlap)
    }

    fn has_another_root(&self) -> bool {
        let roots = (&self.state.storage_root, &self.shown.storage_root);
        matches!(roots, (Some(known), Some(proved)) if known != proved)
    }

    /// The most that a TPM's clock can have counted since the state that is known. A clear sets the clock to zero, so that
    /// with another storage root key a clock up to this may be that of a clear, whatever the counters say. Above it the key
    /// was replaced and nothing cleared: whoever has a copy of a TPM's state makes as many primary keys as they like.
    fn passed_ms(&self) -> u64 {
        let passed = milliseconds(self.shown.seen_ms.saturating_sub(self.state.seen_ms));
        by_fast_clock(passed).saturating_add(milliseconds(LONGEST_EXCHANGE_MS))
    }

    /// A clock that goes on counts no more than the time that has passed. It does where a copy was cleared, and then the
    /// original comes back with its own storage root key.
    fn check_leap(&self, before: ClockInfo, after: ClockInfo) -> Result<(), Rejection> {
        let passed = self.passed_ms();
        if after.clock > before.clock.saturating_add(passed) {
            let detail = "the storage root key is another one, and the clock is ahead of time";
            return Err(Rejection::because(Reason::CloneSuspected, detail));
        }
        Ok(())
    }

    /// A kernel's id of its boot is made up anew at each, so one that is over does not come back.
    fn check_boot(&self) -> Result<(), Rejection> {
        let boots = self.state.boot_ids.split_last();
        let over = boots.map_or(&[][..], |(_last, over)| over);
        let last = self.last_boot();
        let is_over = |id: &String| Some(id) != last && over.contains(id);
        if self.shown.boot_ids.iter().any(is_over) {
            let detail = "a boot that was over came back";
            return Err(Rejection::because(Reason::CloneSuspected, detail));
        }
        Ok(())
    }

    fn last_boot(&self) -> Option<&String> {
        self.state.boot_ids.last()
    }

    fn was_reset_within_a_boot(&self) -> bool {
        let resets = |state: &MachineState| state.clock.map(|clock| clock.reset_count);
        let counts = resets(self.state).zip(resets(self.shown));
        let same_boot =
            self.last_boot().is_some() && self.last_boot() == self.shown.boot_ids.last();
        same_boot && counts.is_some_and(|(before, after)| after > before)
    }

    /// For how long this attestation and the one that is known may have gone on at once, by a TPM's clock; `None` where
    /// this one began after the other had ended.
    fn overlap_ms(&self) -> Option<u64> {
        let known = self.state.seen_ms.saturating_add(SERVER_SKEW_MS);
        let overlap = known.saturating_sub(self.begun_ms).min(LONGEST_EXCHANGE_MS);
        (overlap >= 0).then(|| by_fast_clock(milliseconds(overlap)))
    }

    fn next(&self, order: Order) -> MachineState {
        let (state, shown) = (self.state, self.shown);
        if order == Order::Before {
            let storage_root = state.storage_root.as_ref().or(shown.storage_root.as_ref());
            return MachineState {
                storage_root: storage_root.cloned(),
                ..state.clone()
            };
        }
        let storage_root: Option<&Name> =
            shown.storage_root.as_ref().or(state.storage_root.as_ref());
        MachineState {
            ak: shown.ak.clone(),
            storage_root: storage_root.cloned(),
            clock: shown.clock,
            boot_ids: self.boots(),
            seen_ms: shown.seen_ms,
        }
    }

    fn boots(&self) -> Vec<String> {
        let mut boots = self.state.boot_ids.clone();
        let shown = self.shown.boot_ids.iter();
        boots.extend(shown.filter(|id| Some(*id) != self.last_boot()).cloned());
        let forgotten = boots.len().saturating_sub(BOOT_IDS);
        boots.drain(..forgotten);
        boots
    }
}

/// What an attestation shows of its machine.
fn shown(attested: &Attested, now_ms: i64) -> MachineState {
    let clock = match attested.method() {
        Method::Quote(quoted) => Some(quoted.clock()),
        Method::Credential => None,
    };
    let boot_id = attested.boot_id().filter(|id| !id.is_empty());
    MachineState {
        ak: attested.ak_name().clone(),
        storage_root: attested.storage_root().cloned(),
        clock,
        boot_ids: boot_id.map(str::to_owned).into_iter().collect(),
        seen_ms: now_ms,
    }
}

fn quarantined(quarantine: &Quarantine) -> Rejection {
    let (since, code) = (quarantine.since_ms, quarantine.reason.code());
    Rejection::because(
        Reason::Quarantined,
        format!("for {code}, since {since} ms after the epoch"),
    )
}

/// Whether a TPM that showed `before` can show `after` later, unless it was cleared (TPM library part 1, section 36; part 2,
/// sections 10.11.1 to 10.11.5): resetCount and restartCount never fall but for the latter at a reset, and Clock never
/// does, but for what a start after an unorderly stop lost, as `safe` then says.
fn follows(before: ClockInfo, after: ClockInfo) -> Result<(), Rejection> {
    let counters = |clock: ClockInfo| (clock.reset_count, clock.restart_count);
    let (known, shown) = (counters(before), counters(after));
    if shown < known {
        let detail = format!("the counters went from {known:?} to {shown:?}");
        return Err(Rejection::because(Reason::CloneSuspected, detail));
    }
    let lost = if shown == known || after.safe {
        0
    } else {
        CLOCK_LOSS_MS
    };
    if after.clock.saturating_add(lost) < before.clock {
        let detail = format!("the clock went from {} to {} ms", before.clock, after.clock);
        return Err(Rejection::because(Reason::ClockRegressed, detail));
    }
    Ok(())
}

/// Whether `earlier` came before `later` and not by more than `overlap` milliseconds.
fn precedes(earlier: ClockInfo, later: ClockInfo, overlap: u64) -> bool {
    let lag = later.clock.saturating_sub(earlier.clock);
    follows(earlier, later).is_ok() && lag <= overlap
}

/// What a TPM's clock may show in the time: it may run 15 % fast, and be set to run 15 % faster still (part 1, section 36).
fn by_fast_clock(milliseconds: u64) -> u64 {
    milliseconds.saturating_add(milliseconds.div_euclid(3))
}

fn milliseconds(span: i64) -> u64 {
    u64::try_from(span).unwrap_or_default()
}

/// Part 2, section 10.11.2: a TPM records its clock at least once in 2^22 milliseconds, and loses no more than what it has
/// not recorded.
const CLOCK_LOSS_MS: u64 = 1 << 22;

/// By how much the clocks of servers that keep one store may differ.
const SERVER_SKEW_MS: i64 = 2_000;

/// No attestation takes longer: `attestation_timeout` is not above it. A server's clock that was set back makes none longer.
const LONGEST_EXCHANGE_MS: i64 = 600_000;
