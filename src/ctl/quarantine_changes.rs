//! How what was seen of a machine differs from what was known of it, in words.

use evidence::ClockInfo;
use verify::MachineState;

use crate::text::printable;

/// One sentence for each difference, those that matter most first; one in any case.
pub(crate) fn changes(known: &MachineState, seen: &MachineState) -> Vec<String> {
    let mut changes = Vec::new();
    match (&known.clock, &seen.clock) {
        (Some(known), Some(seen)) => changes.extend(of_clock(known, seen)),
        (Some(_), None) => changes.push("no quote came, and there was one before".to_owned()),
        (None, Some(_)) => changes.push("a quote came, the first one".to_owned()),
        (None, None) => {}
    }
    changes.extend(of_boots(known, seen));
    match (&known.storage_root, &seen.storage_root) {
        (Some(known), Some(seen)) if known != seen => {
            changes.push("the storage root key is another one, as after TPM2_Clear".to_owned());
        }
        (Some(_), None) => changes.push("the storage root key was not shown".to_owned()),
        (None, Some(_)) => {
            changes.push("the storage root key was shown, the first time".to_owned());
        }
        _ => {}
    }
    if known.ak != seen.ak {
        changes.push("the AK is another one".to_owned());
    }
    if changes.is_empty() {
        changes.push("nothing that is kept differs".to_owned());
    }
    changes
}

/// Milliseconds as people say them, to the second.
pub(crate) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    match () {
        () if milliseconds < 1000 => format!("{milliseconds} ms"),
        () if minutes == 0 => format!("{seconds} s"),
        () if hours == 0 => format!("{minutes} min {} s", seconds % 60),
        () if days == 0 => format!("{hours} h {} min", minutes % 60),
        () => format!("{days} d {} h {} min", hours % 24, minutes % 60),
    }
}

fn of_clock(known: &ClockInfo, seen: &ClockInfo) -> Vec<String> {
    let mut changes = Vec::new();
    changes.extend(counter("resets", known.reset_count, seen.reset_count));
    changes.extend(counter(
        "restarts since the last reset",
        known.restart_count,
        seen.restart_count,
    ));
    if let Some(back) = known.clock.checked_sub(seen.clock)
        && back > 0
    {
        let safe = if seen.safe {
            ", and the TPM says that it cannot have"
        } else {
            ""
        };
        changes.push(format!(
            "the TPM's clock went back by {}{safe}",
            duration(back)
        ));
    }
    changes
}

/// Restarts begin anew with each reset, so that only both together say which state is the older one.
fn counter(what: &str, known: u32, seen: u32) -> Option<String> {
    let went = match seen.cmp(&known) {
        std::cmp::Ordering::Less => "back",
        std::cmp::Ordering::Greater => "on",
        std::cmp::Ordering::Equal => return None,
    };
    Some(format!(
        "the TPM's {what} went {went} from {known} to {seen}"
    ))
}

fn of_boots(known: &MachineState, seen: &MachineState) -> Option<String> {
    let (before, now) = (known.boot_ids.last()?, seen.boot_ids.last()?);
    let shown = printable(now);
    match () {
        () if before == now => None,
        () if known.boot_ids.contains(now) => {
            Some(format!("boot {shown}, which had ended, is back"))
        }
        () => Some(format!(
            "the machine says that it is in boot {shown}, a new one"
        )),
    }
}

#[cfg(test)]
mod tests {
    use evidence::Name;

    use super::*;

    fn state() -> MachineState {
        MachineState {
            ak: Name::from_bytes(&[0, 0x0B, 1]),
            storage_root: Some(Name::from_bytes(&[0, 0x0B, 2])),
            clock: Some(ClockInfo {
                clock: 100_000,
                reset_count: 7,
                restart_count: 2,
                safe: true,
            }),
            boot_ids: vec!["one".to_owned(), "two".to_owned()],
            seen_ms: 1_764_000_000_000,
        }
    }

    #[test]
    fn every_difference_has_words() {
        type Change = fn(&mut MachineState);
        let clock = |change: fn(&mut ClockInfo)| {
            let mut seen = state();
            change(seen.clock.as_mut().unwrap());
            changes(&state(), &seen)
        };
        assert_eq!(
            changes(&state(), &state()),
            ["nothing that is kept differs"]
        );
        assert_eq!(
            clock(|of| (of.reset_count, of.restart_count) = (5, 3)),
            [
                "the TPM's resets went back from 7 to 5",
                "the TPM's restarts since the last reset went on from 2 to 3"
            ]
        );
        assert_eq!(
            clock(|of| of.clock = 40_000),
            ["the TPM's clock went back by 1 min 0 s, and the TPM says that it cannot have"]
        );
        assert_eq!(
            clock(|of| (of.clock, of.safe) = (99_999, false)),
            ["the TPM's clock went back by 1 ms"]
        );
        assert_eq!(
            clock(|of| of.clock = 100_001),
            ["nothing that is kept differs"]
        );
        let table: [(Change, &str); 7] = [
            (
                |seen| seen.clock = None,
                "no quote came, and there was one before",
            ),
            (
                |seen| seen.boot_ids = vec!["one".to_owned()],
                "boot one, which had ended, is back",
            ),
            (
                |seen| seen.boot_ids = vec!["\u{1b}[2J".to_owned()],
                "the machine says that it is in boot \\u{1b}[2J, a new one",
            ),
            (|seen| seen.boot_ids.clear(), "nothing that is kept differs"),
            (
                |seen| seen.storage_root = Some(Name::from_bytes(&[0, 0x0B, 3])),
                "the storage root key is another one, as after TPM2_Clear",
            ),
            (
                |seen| seen.storage_root = None,
                "the storage root key was not shown",
            ),
            (
                |seen| seen.ak = Name::from_bytes(&[0, 0x0B, 9]),
                "the AK is another one",
            ),
        ];
        for (change, expected) in table {
            let mut seen = state();
            change(&mut seen);
            assert_eq!(changes(&state(), &seen), [expected]);
        }
        let mut known = state();
        (known.clock, known.storage_root) = (None, None);
        assert_eq!(
            changes(&known, &state()),
            [
                "a quote came, the first one",
                "the storage root key was shown, the first time"
            ]
        );
    }

    #[test]
    fn durations_are_as_long_as_they_are() {
        for (milliseconds, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1 s"),
            (59_999, "59 s"),
            (60_000, "1 min 0 s"),
            (3_599_999, "59 min 59 s"),
            (3_600_000, "1 h 0 min"),
            (86_399_999, "23 h 59 min"),
            (90_061_000, "1 d 1 h 1 min"),
        ] {
            assert_eq!(duration(milliseconds), text);
        }
    }
}
