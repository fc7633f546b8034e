//! Machines that attest, and what a server may know of them: near to what they show, or anything.

use std::sync::LazyLock;

use evidence::{AkTemplate, ClockInfo, Name};
use softtpm::{Generation, KeyKind};
use verify::{
    Attested, Enrolment, History, MachineState, Method, OnChange, OnReset, Policy, Quarantine,
    Reason, SvidKeys, begin,
};

use crate::machine::{ANCHORS, Counter, NOW, give_keys, policy, prover};
use crate::parts::Parts;

/// A machine that has proved itself, and what it showed.
pub(crate) struct Machine {
    pub(crate) attested: Attested,
    pub(crate) clock: Option<ClockInfo>,
    pub(crate) boot_id: Option<String>,
}

/// What an attestation is judged by.
pub(crate) struct Case<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) policy: Policy,
    pub(crate) enrolment: Enrolment,
    pub(crate) history: History,
    pub(crate) begun_ms: i64,
    pub(crate) now_ms: i64,
}

impl Machine {
    fn new(generation: Generation, keys: usize, clock: ClockInfo, boot_id: Option<&str>) -> Self {
        let mut prover = prover(KeyKind::P256, AkTemplate::EccP256, generation);
        give_keys(&mut prover, keys);
        prover.certificate = None;
        prover.tpm.clock = clock;
        prover.tpm.boot_id = boot_id.map(str::to_owned);
        let payload = prover.payload().expect("a payload");
        let begun = begin(&payload, &policy(3), &ANCHORS, NOW, &mut Counter(0));
        let (challenge, pending) = begun.expect("an honest machine");
        let response = prover.answer(&payload, &challenge).expect("an answer");
        let attested = pending.finish(&response).expect("an honest machine");
        let clock = match attested.method() {
            Method::Quote(quoted) => Some(quoted.clock()),
            Method::Credential => None,
        };
        // Those of the first generation say nothing of their boot.
        let boot_id = prover.tpm.boot_id.filter(|_| clock.is_some());
        Self {
            attested,
            clock,
            boot_id,
        }
    }

    /// What a server that had never seen it would keep.
    pub(crate) fn state(&self, seen_ms: i64) -> MachineState {
        MachineState {
            ak: self.attested.ak_name().clone(),
            storage_root: self.attested.storage_root().cloned(),
            clock: self.clock,
            boot_ids: self.boot_id.iter().cloned().collect(),
            seen_ms,
        }
    }
}

impl<'a> Case<'a> {
    pub(crate) fn of(machine: &'a Machine, parts: &mut Parts<'_>) -> Self {
        let choice = parts.byte();
        let when = |bit: u8| choice & bit != 0;
        let on_change = |bit| {
            if when(bit) {
                OnChange::Quarantine
            } else {
                OnChange::Accept
            }
        };
        let policy = Policy {
            svid_keys: if when(1) {
                SvidKeys::Require
            } else {
                SvidKeys::Observe
            },
            tpm_clear: on_change(2),
            ak_change: on_change(4),
            unexpected_reset: if when(8) {
                OnReset::Refuse
            } else {
                OnReset::Warn
            },
            ..policy(3)
        };
        let enrolment = if when(16) {
            Enrolment::Absent
        } else {
            Enrolment::Enrolled
        };
        let (begun_ms, now_ms) = (time(parts), time(parts));
        Self {
            machine,
            policy,
            enrolment,
            history: history_of(machine, parts),
            begun_ms,
            now_ms,
        }
    }
}

fn history_of(machine: &Machine, parts: &mut Parts<'_>) -> History {
    match parts.byte() & 7 {
        0 => History::NotKept,
        1 => History::New,
        kind => History::Known {
            state: state_of(machine, parts),
            quarantine: (kind == 2).then(|| Quarantine {
                reason: Reason::ALL[usize::from(parts.byte()) % Reason::ALL.len()],
                since_ms: time(parts),
                observed: state_of(machine, parts),
            }),
        },
    }
}

/// Near to what the machine shows, or far from it.
fn state_of(machine: &Machine, parts: &mut Parts<'_>) -> MachineState {
    let mut state = machine.state(time(parts));
    let choice = parts.byte();
    let other = |what: &[u8]| Name::from_bytes(&[&[0, 0x0B], what, &[7; 24]].concat());
    if choice & 1 != 0 {
        state.ak = other(b"other-ak");
    }
    match choice >> 1 & 3 {
        0 => {}
        1 => state.storage_root = None,
        _ => state.storage_root = Some(other(b"another.")),
    }
    let shown = state.clock.unwrap_or(ClockInfo {
        clock: 0,
        reset_count: 0,
        restart_count: 0,
        safe: true,
    });
    if choice & 8 == 0 {
        state.clock = Some(ClockInfo {
            clock: near(shown.clock, parts),
            reset_count: count(shown.reset_count, parts),
            restart_count: count(shown.restart_count, parts),
            safe: choice & 16 == 0,
        });
    } else if choice & 16 == 0 {
        state.clock = None;
    }
    let boots = usize::from(choice >> 5);
    if boots > 0 {
        let boot = |byte: u8| match (&machine.boot_id, byte & 3) {
            (Some(shown), 0) => shown.clone(),
            _ => format!("boot {byte}"),
        };
        state.boot_ids = (0..=boots).map(|_| boot(parts.byte())).collect();
    }
    state
}

/// Milliseconds since the epoch: near one moment, or anywhere.
fn time(parts: &mut Parts<'_>) -> i64 {
    near((NOW * 1000).cast_unsigned(), parts).cast_signed()
}

/// A number not far from another, or any.
fn near(middle: u64, parts: &mut Parts<'_>) -> u64 {
    let size = [0, 1, 2, 4, 8][usize::from(parts.byte()) % 5];
    let bytes: Vec<_> = (0..size).map(|_| parts.byte()).collect();
    let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        0xFF
    } else {
        0
    };
    let mut number = [sign; 8];
    number[8 - size..].copy_from_slice(&bytes);
    let number = u64::from_be_bytes(number);
    if size == 8 {
        number
    } else {
        middle.wrapping_add(number)
    }
}

fn count(middle: u32, parts: &mut Parts<'_>) -> u32 {
    let step = i32::from(parts.byte().cast_signed());
    // A step that no counter makes is a jump.
    if step == i32::from(i8::MIN) {
        u32::from_be_bytes([(); 4].map(|()| parts.byte()))
    } else {
        middle.wrapping_add_signed(step)
    }
}

pub(crate) static MACHINES: LazyLock<Vec<Machine>> = LazyLock::new(|| {
    let clock = |clock, reset_count, restart_count, safe| ClockInfo {
        clock,
        reset_count,
        restart_count,
        safe,
    };
    let day = clock(86_400_000, 7, 2, true);
    let unsafe_day = clock(86_400_000, 7, 0, false);
    let last = clock(u64::MAX - 16, u32::MAX, u32::MAX, true);
    let boot = Some("7d9e9b1c-8f4e-4a57-9d0b-0f6c2b6a4c11");
    vec![
        Machine::new(Generation::Current, 2, day, boot),
        Machine::new(Generation::Current, 0, day, boot),
        Machine::new(Generation::Current, 1, unsafe_day, None),
        Machine::new(Generation::First, 0, day, None),
        Machine::new(Generation::Current, 1, clock(0, 0, 0, true), boot),
        Machine::new(Generation::Current, 1, last, boot),
    ]
});

/// Histories of each kind.
pub(crate) mod seeds {
    /// The same moment for an attestation's begin and end.
    const AT_ONCE: [u8; 2] = [0, 0];
    /// Half an hour before it.
    const BEFORE: [u8; 5] = [3, 0xFF, 0xE4, 0x88, 0x80];

    /// The machine and the policy, what is known but for the time, and what follows.
    fn known(machine: u8, policy: u8, kind: u8, state: &[u8]) -> Vec<u8> {
        [&[machine, policy], &AT_ONCE[..], &[kind], &BEFORE, state].concat()
    }

    pub(crate) fn history() -> Vec<Vec<u8>> {
        // A minute less on the clock and nothing else.
        let minute = [2, 0x15, 0xA0];
        let state =
            |choice: u8, clock: &[u8], counts: [u8; 2]| [&[choice], clock, &counts].concat();
        let earlier = state(0, &[2, 0xFF, 0x00], [0, 0]);
        let earlier_root = state(4, &[2, 0xFF, 0x00], [0, 0]);
        let honest = (0..6).map(|machine| known(machine, 0, 3, &earlier));
        let kept = (0..3).map(|kind| known(0, 0, kind, &earlier));
        let cases = [
            // The clock, resetCount and restartCount fell.
            known(0, 0, 3, &state(0, &minute, [0, 0])),
            known(0, 0, 3, &state(0, &[0], [1, 0])),
            known(0, 0, 3, &state(0, &[0], [0, 1])),
            // Another AK, another storage root key and none, each by both policies.
            known(0, 0, 3, &state(1, &[0], [0, 0])),
            known(0, 4, 3, &state(1, &[0], [0, 0])),
            known(4, 0, 3, &state(4, &minute, [1, 0])),
            known(4, 2, 3, &state(4, &minute, [1, 0])),
            known(0, 0, 3, &state(2, &[0], [0, 0])),
            // Another storage root key, where the clock did not begin again: counters that fell, and such as go on.
            known(0, 0, 3, &state(4, &minute, [1, 0])),
            known(0, 2, 3, &earlier_root),
            // Another storage root key and a clock far ahead, as where a copy was cleared and the original comes back.
            known(0, 0, 3, &state(4, &[3, 0xFC, 0, 0, 0], [1, 0])),
            // Reset within a boot, by both policies.
            known(0, 0, 3, &state(0, &[0], [0xFF, 0])),
            known(0, 8, 3, &state(0, &[0], [0xFF, 0])),
            // A clock that lost what was not saved, and a quote that is gone.
            known(2, 0, 3, &state(0, &minute, [0xFF, 0])),
            known(3, 0, 3, &earlier),
            // A boot that was over.
            known(
                0,
                0,
                3,
                &[&state(0x20, &[0], [0xFF, 0])[..], &[0, 1]].concat(),
            ),
            // No keys, and not enrolled.
            known(1, 1, 3, &earlier),
            known(1, 16, 3, &earlier),
        ];
        honest.chain(kept).chain(cases).collect()
    }
}
