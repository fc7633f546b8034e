//! In which order two attestations of one machine were, if one TPM can have made both: edges, and lives made up at random.

use evidence::{ClockInfo, Name};
use proptest::prelude::*;

use super::policy;
use crate::continuity::{Continuity, Pair};
use crate::{MachineState, Reason, Rejection};

/// resetCount, restartCount, clock, safe.
type Shown = (u32, u32, u64, bool);

const SEEN: i64 = 1_000_000;
const HOUR: u64 = 3_600_000;

fn state(clock: Shown, root: u8, boot: &str, seen_ms: i64) -> MachineState {
    let (reset_count, restart_count, clock, safe) = clock;
    MachineState {
        ak: Name::from_bytes(&[1]),
        storage_root: (root > 0).then(|| Name::from_bytes(&[root])),
        clock: Some(ClockInfo {
            clock,
            reset_count,
            restart_count,
            safe,
        }),
        boot_ids: (!boot.is_empty())
            .then(|| boot.to_owned())
            .into_iter()
            .collect(),
        seen_ms,
    }
}

fn judge(
    known: &MachineState,
    shown: &MachineState,
    begun_ms: i64,
) -> Result<Continuity, Rejection> {
    let pair = Pair {
        state: known,
        shown,
        begun_ms,
    };
    pair.judge(&policy())
}

/// Whether the attestation is granted, and is the later one.
fn outcome(known: &MachineState, shown: &MachineState, begun_ms: i64) -> Result<bool, Reason> {
    let continuity = judge(known, shown, begun_ms).map_err(|rejection| rejection.reason)?;
    Ok(continuity.next.unwrap() != *known)
}

#[test]
fn counters_and_clock_go_on_by_the_rules_of_the_library() {
    const LOST: u64 = 1 << 22;
    let known = (5, 3, HOUR * 9, true);
    let (ok, copy, back) = (
        Ok(true),
        Err(Reason::CloneSuspected),
        Err(Reason::ClockRegressed),
    );
    let cases: [(Shown, Result<bool, Reason>); 17] = [
        ((5, 3, HOUR * 9, true), ok),
        ((5, 3, HOUR * 9 + 1, true), ok),
        ((5, 3, HOUR * 9, false), ok),
        ((5, 3, HOUR * 9 - 1, true), back),
        ((5, 3, HOUR * 9 - 1, false), back),
        ((5, 4, HOUR * 9, true), ok),
        ((5, 4, HOUR * 9 - 1, true), back),
        ((5, 4, HOUR * 9 - 1, false), ok),
        ((5, 2, HOUR * 10, true), copy),
        ((6, 0, HOUR * 9, true), ok),
        ((6, 0, HOUR * 9 - 1, true), back),
        ((6, 0, HOUR * 9 - 1, false), ok),
        ((6, 0, HOUR * 9 - LOST, false), ok),
        ((6, 0, HOUR * 9 - LOST - 1, false), back),
        ((4, 9, HOUR * 10, true), copy),
        ((4, 9, HOUR * 10, false), copy),
        ((0, 0, 0, true), copy),
    ];
    for (clock, expect) in cases {
        // Where no key is certified now, or none was, nothing else tells a clear from a copy.
        for (before, now) in [(1, 1), (0, 0), (0, 1), (1, 0)] {
            let known = state(known, before, "a", SEEN);
            let shown = state(clock, now, "b", SEEN + 60_000);
            let outcome = outcome(&known, &shown, SEEN + 50_000);
            assert_eq!(outcome, expect, "{clock:?} {before} {now}");
        }
    }
}

#[test]
fn an_attestation_that_was_going_on_may_lie_before_the_one_that_is_known() {
    let known = state((5, 3, HOUR, true), 1, "a", SEEN);
    let back = Err(Reason::ClockRegressed);
    // It began `earlier` before the other ended, and its quote lies `lag` before the other's.
    for (earlier, lag, expect) in [
        (30_000, 0, Ok(true)),
        (30_000, 1, Ok(false)),
        (30_000, 30_000, Ok(false)),
        // Servers' clocks differ by two seconds at most, and a TPM's clock runs a third too fast.
        (30_000, 42_666, Ok(false)),
        (30_000, 42_667, back),
        (0, 2_666, Ok(false)),
        (0, 2_667, back),
        (-1_999, 1, Ok(false)),
        (-2_000, 1, back),
        (-2_001, 1, back),
        // An attestation takes no longer than ten minutes.
        (598_000, 800_000, Ok(false)),
        (i64::from(i32::MAX), 800_000, Ok(false)),
        (i64::from(i32::MAX), 800_001, back),
        (i64::MAX, 800_001, back),
    ] {
        let shown = state((5, 3, HOUR - lag, true), 1, "a", SEEN + 1_000);
        let begun_ms = SEEN.saturating_sub(earlier);
        let outcome = outcome(&known, &shown, begun_ms);
        assert_eq!(outcome, expect, "{earlier} {lag}");
    }
}

#[test]
fn a_reboot_between_two_attestations_is_no_cause() {
    let copy = Err(Reason::CloneSuspected);
    // What is known is of the second boot; what comes is of the first.
    for (known, shown, began, expect) in [
        (
            (6, 0, HOUR, true),
            (5, 3, HOUR - 9_000, true),
            -20_000,
            Ok(false),
        ),
        ((6, 0, HOUR, true), (5, 3, HOUR - 9_000, true), 3_000, copy),
        // Longer before it than the exchange went on.
        (
            (6, 0, HOUR, true),
            (5, 3, HOUR - 90_000, true),
            -20_000,
            copy,
        ),
        // A clock that is ahead of a later safe one is of another TPM.
        ((6, 0, HOUR, true), (5, 3, HOUR + 1, true), -20_000, copy),
        (
            (6, 0, HOUR, false),
            (5, 3, HOUR + 1, true),
            -20_000,
            Ok(false),
        ),
        (
            (6, 0, HOUR, false),
            (5, 3, HOUR + (1 << 22) + 1, true),
            -20_000,
            copy,
        ),
        // Nor does it help that the later one has hardly counted, if it was not cleared.
        ((6, 0, 9_000, true), (5, 3, 9_001, true), -20_000, copy),
        // On the edge of the overlap: no time is left, and the lost clock lies ahead.
        (
            (6, 0, HOUR, false),
            (5, 3, HOUR + 1, true),
            2_000,
            Ok(false),
        ),
        ((6, 0, HOUR, false), (5, 3, HOUR + 1, true), 2_001, copy),
    ] {
        let mut known = state(known, 1, "b", SEEN);
        known.boot_ids.insert(0, "a".to_owned());
        let shown = state(shown, 1, "a", SEEN + 5_000);
        assert_eq!(
            outcome(&known, &shown, SEEN + began),
            expect,
            "{shown:?} {began}"
        );
        // The later of the two stays, with what the earlier one proves first.
        known.storage_root = None;
        if let Ok(continuity) = judge(&known, &shown, SEEN + began) {
            let next = continuity.next.unwrap();
            assert_eq!(next.storage_root, shown.storage_root);
            let but_for_root = MachineState {
                storage_root: None,
                ..next
            };
            assert_eq!(but_for_root, known);
        }
    }
}

#[test]
fn a_boot_that_is_over_came_back_only_if_it_came_later() {
    let boots = |ids: &[&str], clock| MachineState {
        boot_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..state((5, 3, clock, true), 1, "", SEEN)
    };
    let copy = Err(Reason::CloneSuspected);
    for (ids, shown, clock, began, expect) in [
        (&["a", "b"][..], "b", HOUR + 1, 9_000, Ok(true)),
        (&["a", "b"], "c", HOUR + 1, 9_000, Ok(true)),
        (&["a", "b"], "a", HOUR + 1, 9_000, copy),
        (&["a", "b"], "a", HOUR + 1, -9_000, copy),
        (&["a", "b"], "a", HOUR - 1, -9_000, Ok(false)),
        (&["a", "b"], "", HOUR + 1, 9_000, Ok(true)),
        (&["a", "b", "a"], "a", HOUR + 1, 9_000, Ok(true)),
        (&["a", "b", "a"], "b", HOUR + 1, 9_000, copy),
        (&["a"], "a", HOUR + 1, 9_000, Ok(true)),
        (&[], "a", HOUR + 1, 9_000, Ok(true)),
    ] {
        let shown = state((5, 3, clock, true), 1, shown, SEEN + 10_000);
        let known = boots(ids, HOUR);
        assert_eq!(
            outcome(&known, &shown, SEEN + began),
            expect,
            "{ids:?} {shown:?}"
        );
    }
}

#[test]
fn the_last_boots_are_remembered_in_their_order() {
    let mut known = state((5, 3, HOUR, true), 1, "0", SEEN);
    for boot in 1..20 {
        let clock = (5, 3, HOUR + boot, true);
        let shown = state(clock, 1, &boot.to_string(), SEEN + 10_000);
        known = judge(&known, &shown, SEEN + 9_000).unwrap().next.unwrap();
    }
    let expect: Vec<String> = (12..20).map(|boot| boot.to_string()).collect();
    assert_eq!(known.boot_ids, expect);
}

#[test]
fn another_root_goes_with_a_clock_of_a_clear_or_with_one_that_goes_on() {
    const SLACK: u64 = 600_000;
    let known = state((5, 3, HOUR, true), 1, "a", SEEN);
    let (told, copy, back) = (
        Ok(vec![Reason::TpmCleared]),
        Err(Reason::CloneSuspected),
        Err(Reason::ClockRegressed),
    );
    let cases: [(Shown, i64, Result<Vec<Reason>, Reason>); 19] = [
        // A clear: the clock began again, and the counters say nothing.
        ((0, 0, 0, true), 60_000, told.clone()),
        ((0, 0, 80_000 + SLACK, true), 60_000, told.clone()),
        ((0, 0, 80_000 + SLACK + 1, true), 60_000, copy.clone()),
        ((0, 0, HOUR, true), 60_000, copy.clone()),
        ((9, 9, 80_000 + SLACK, true), 60_000, told.clone()),
        // A server's clock that was set back makes no time pass.
        ((0, 0, SLACK, true), -60_000, told.clone()),
        ((0, 0, SLACK + 1, true), -60_000, copy.clone()),
        // No clear: counters and clock go on as they do with the same root.
        ((5, 3, HOUR, true), 60_000, told.clone()),
        ((5, 3, HOUR - 1, true), 60_000, back.clone()),
        ((5, 2, HOUR, true), 60_000, copy.clone()),
        ((4, 9, HOUR, true), 60_000, copy.clone()),
        ((6, 0, HOUR, true), 60_000, told.clone()),
        ((6, 0, HOUR - 1, true), 60_000, back),
        ((6, 0, HOUR - 1, false), 60_000, told.clone()),
        // And no faster than time goes by.
        ((5, 3, HOUR + 80_000 + SLACK, true), 60_000, told.clone()),
        (
            (5, 3, HOUR + 80_000 + SLACK + 1, true),
            60_000,
            copy.clone(),
        ),
        (
            (6, 0, HOUR + 80_000 + SLACK + 1, true),
            60_000,
            copy.clone(),
        ),
        ((5, 3, HOUR + SLACK, true), -60_000, told),
        ((5, 3, HOUR + SLACK + 1, true), -60_000, copy),
    ];
    for (clock, passed, expect) in cases {
        let shown = state(clock, 2, "b", SEEN + passed);
        let judged = judge(&known, &shown, SEEN + 50_000)
            .map(|continuity| continuity.changes)
            .map_err(|rejection| rejection.reason);
        assert_eq!(judged, expect, "{clock:?} {passed}");
    }
}

#[test]
fn a_clear_between_two_attestations_is_no_cause() {
    // What is known was cleared a moment ago; what comes is of before that.
    let copy = Err(Reason::CloneSuspected);
    for (clock, began, expect) in [
        (9_000, -20_000, Ok(false)),
        (9_000, 2_001, copy),
        (29_333, -20_000, Ok(false)),
        (29_334, -20_000, copy),
    ] {
        let known = state((0, 0, clock, true), 2, "a", SEEN);
        let shown = state((5, 3, HOUR, true), 1, "a", SEEN + 5_000);
        assert_eq!(
            outcome(&known, &shown, SEEN + began),
            expect,
            "{clock} {began}"
        );
        // Its counters are of before the clear: they tell no reset.
        if let Ok(continuity) = judge(&known, &shown, SEEN + began) {
            assert_eq!(continuity.changes, [Reason::TpmCleared]);
        }
    }
}

/// A machine that is what it says, seen from outside.
#[derive(Debug, Clone)]
struct Machine {
    clock: u64,
    saved: u64,
    save_interval: u64,
    resets: u32,
    restarts: u32,
    is_safe: bool,
    root: u8,
    boot: u32,
    now_ms: i64,
}

/// What happens to it.
#[derive(Debug, Clone)]
enum Event {
    Runs { ms: u32, percent: u64 },
    Reboots { off: u32 },
    LosesPower { off: u32 },
    Sleeps { off: u32 },
    StartsAnotherKernel,
    IsReset,
    IsCleared,
    GetsAnotherRoot,
}

impl Machine {
    fn new(save_interval: u64) -> Self {
        Self {
            clock: 5 * HOUR,
            saved: 5 * HOUR,
            save_interval,
            resets: 5,
            restarts: 2,
            is_safe: true,
            root: 1,
            boot: 0,
            now_ms: SEEN,
        }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Runs { ms, percent } => {
                self.now_ms += i64::from(*ms);
                self.count(u64::from(*ms) * percent / 100);
            }
            Event::Reboots { off } => {
                self.saved = self.clock;
                self.starts(*off);
            }
            Event::LosesPower { off } => {
                self.clock = self.saved;
                self.is_safe = false;
                self.starts(*off);
            }
            Event::Sleeps { off } => {
                self.saved = self.clock;
                self.restarts += 1;
                self.now_ms += i64::from(*off);
            }
            Event::StartsAnotherKernel => {
                self.boot += 1;
                self.now_ms += 1_000;
                self.count(1_000);
            }
            Event::IsReset => {
                self.resets += 1;
                self.restarts = 0;
            }
            Event::IsCleared => {
                (self.clock, self.saved, self.resets, self.restarts) = (0, 0, 0, 0);
                self.is_safe = true;
                self.root += 1;
            }
            Event::GetsAnotherRoot => self.root += 1,
        }
    }

    /// TPM library part 4, TimeClockUpdate: where an interval ends, the clock is recorded and safe again.
    fn count(&mut self, ms: u64) {
        let after = self.clock + ms;
        if after / self.save_interval > self.clock / self.save_interval {
            self.saved = after;
            self.is_safe = true;
        }
        self.clock = after;
    }

    fn starts(&mut self, off: u32) {
        self.resets += 1;
        self.restarts = 0;
        self.boot += 1;
        self.now_ms += i64::from(off);
    }

    fn shows(&self) -> MachineState {
        let clock = (self.resets, self.restarts, self.clock, self.is_safe);
        state(clock, self.root, &self.boot.to_string(), 0)
    }
}

/// What takes time takes no longer than `most` milliseconds.
fn event(most: u32) -> impl Strategy<Value = Event> {
    // Accurate to 15 %, and adjusted by as much.
    let percent = 75..=130u64;
    let runs = move |most: u32| {
        (1..most, percent.clone()).prop_map(|(ms, percent)| Event::Runs { ms, percent })
    };
    prop_oneof![
        6 => runs(20_000),
        3 => runs(most),
        2 => (0..most).prop_map(|off| Event::Reboots { off }),
        2 => (0..most).prop_map(|off| Event::LosesPower { off }),
        1 => (0..most).prop_map(|off| Event::Sleeps { off }),
        1 => Just(Event::StartsAnotherKernel),
        1 => Just(Event::IsReset),
        1 => Just(Event::IsCleared),
        1 => Just(Event::GetsAnotherRoot),
    ]
}

/// Hours at a time.
const LONG: u32 = 8_000_000;
/// So that some of them take less than an attestation may.
const SHORT: u32 = 40_000;

fn life(longest: u32, most: usize) -> impl Strategy<Value = (Machine, Vec<Event>)> {
    let machine = (8..=22u32).prop_map(|exponent| Machine::new(1 << exponent));
    (machine, prop::collection::vec(event(longest), 1..most))
}

/// An attestation that has been challenged, and perhaps has been answered.
#[derive(Debug, Clone)]
struct Exchange {
    begun_ms: i64,
    shown: Option<MachineState>,
}

/// Decides over an answer at `now_ms`; the state that is known from then on.
fn decide(known: &mut MachineState, exchange: Exchange, now_ms: i64) -> Result<(), Rejection> {
    let shown = MachineState {
        seen_ms: now_ms,
        ..exchange.shown.unwrap()
    };
    let next = judge(known, &shown, exchange.begun_ms)?.next;
    *known = next.unwrap();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_machine_is_never_refused((mut machine, events) in life(LONG, 40)) {
        let mut known = MachineState { seen_ms: SEEN, ..machine.shows() };
        for event in &events {
            machine.happens(event);
            let begun_ms = machine.now_ms;
            let shown = Some(machine.shows());
            machine.happens(&Event::Runs { ms: 900, percent: 100 });
            let outcome = decide(&mut known, Exchange { begun_ms, shown }, machine.now_ms);
            prop_assert!(outcome.is_ok(), "{event:?} {outcome:?}");
        }
    }

    /// Two attestations of a machine go on at once at two servers whose clocks differ, are answered at some time, and are
    /// decided in either order, whatever happens to the machine meanwhile.
    #[test]
    fn honest_attestations_may_overlap(
        (mut machine, events) in life(SHORT, 12),
        skews in prop::array::uniform2(-900..=900i64),
        places in prop::array::uniform4(0..12usize),
        first in any::<bool>(),
        late in prop::array::uniform2(0..20_000i64),
    ) {
        let mut known = MachineState { seen_ms: SEEN, ..machine.shows() };
        machine.happens(&Event::Runs { ms: 5_000, percent: 100 });
        let mut exchanges = [None, None];
        let begin = places[0].max(places[1]).min(events.len() - 1);
        let start = machine.now_ms;
        for (at, event) in events.iter().enumerate() {
            for (index, exchange) in exchanges.iter_mut().enumerate() {
                if at == places[index].min(begin) {
                    let begun_ms = machine.now_ms + skews[index];
                    *exchange = Some(Exchange { begun_ms, shown: None });
                }
                if let Some(exchange) = exchange && at >= places[index + 2] && exchange.shown.is_none() {
                    exchange.shown = Some(machine.shows());
                }
            }
            machine.happens(event);
        }
        for exchange in exchanges.iter_mut().flatten() {
            exchange.shown.get_or_insert_with(|| machine.shows());
        }
        let late = [late[0], late[0] + late[1]];
        prop_assert!(machine.now_ms + late[1] - start < 600_000, "no attestation takes longer");
        let order = if first { [0, 1] } else { [1, 0] };
        for (index, late) in order.into_iter().zip(late) {
            let exchange = exchanges[index].clone().unwrap();
            let now_ms = machine.now_ms + late + skews[index];
            let outcome = decide(&mut known, exchange, now_ms);
            prop_assert!(outcome.is_ok(), "{index} {outcome:?}");
        }
        // And the machine goes on.
        machine.happens(&Event::Runs { ms: 60_000, percent: 100 });
        let exchange = Exchange { begun_ms: machine.now_ms, shown: Some(machine.shows()) };
        let outcome = decide(&mut known, exchange, machine.now_ms + 900);
        prop_assert!(outcome.is_ok(), "afterwards {outcome:?}");
    }

    /// A copy of any state that a machine was in, whatever the copy has done since but for a clear, and whatever primary
    /// keys it has made.
    #[test]
    fn a_copy_that_is_behind_is_refused(
        (mut machine, events) in life(LONG, 20),
        taken in 0..20usize,
        apart in prop::collection::vec(event(LONG), 0..6),
        other_root in any::<bool>(),
    ) {
        let mut known = MachineState { seen_ms: SEEN, ..machine.shows() };
        let mut copy = machine.clone();
        let is_root = |event: &Event| matches!(event, Event::IsCleared | Event::GetsAnotherRoot);
        for (at, event) in events.iter().enumerate() {
            if at == taken {
                copy = machine.clone();
            }
            if !is_root(event) {
                machine.happens(event);
            }
            let exchange = Exchange { begun_ms: machine.now_ms, shown: Some(machine.shows()) };
            machine.happens(&Event::Runs { ms: 900, percent: 100 });
            prop_assert!(decide(&mut known, exchange, machine.now_ms).is_ok());
        }
        for event in apart.iter().filter(|event| !is_root(event)) {
            copy.happens(event);
        }
        if other_root {
            copy.root = 9;
        }
        let (clock, shown) = (known.clock.unwrap(), copy.shows());
        let now = shown.clock.unwrap();
        let counters = |clock: ClockInfo| (clock.reset_count, clock.restart_count);
        let lost = if now.safe || counters(now) == counters(clock) { 0 } else { 1 << 22 };
        let is_behind = counters(now) < counters(clock) || now.clock + lost < clock.clock;
        let begun_ms = machine.now_ms.max(copy.now_ms) + 10_000;
        let exchange = Exchange { begun_ms, shown: Some(shown) };
        let passed = u64::try_from(begun_ms + 900 - known.seen_ms).unwrap();
        let may_be_cleared = other_root && now.clock <= passed + passed / 3 + 600_000;
        let outcome = decide(&mut known, exchange, begun_ms + 900);
        if is_behind && !may_be_cleared {
            let reason = outcome.unwrap_err().reason;
            prop_assert!(reason.quarantines(), "{reason}");
        }
    }
}
