//! Boot event logs: any bytes, and logs of boots that were made so, whether they tell of them truly or not.

use std::collections::BTreeSet;

use eventlog::{Bank, BootClaims, EventLog, LogReason, PcrValues, Quirk, Refusal, limits};
use evidence::Hash;
use softtpm::{BootLog, LogEntry};

use crate::boot_claims;
use crate::boot_reader::{self, Entry};
use crate::parts::Parts;
use crate::shown::assert_shown;

/// Any bytes as a log, appraised against the values that it leads to itself.
pub(crate) fn eventlog(data: &[u8]) {
    let outcome = EventLog::parse(data);
    assert_eq!(outcome, EventLog::parse(data), "the same twice");
    let read = boot_reader::read(data);
    let log = match (outcome, &read) {
        (Ok(log), Some(entries)) => {
            same(&log, entries, data);
            log
        }
        (Ok(log), None) => panic!("no log to another reader: {log:?}"),
        (Err(refusal), _) => {
            presentable(&refusal, limits::EVENTS);
            // Another reader knows no bounds, and nothing against SHA-1.
            let is_strict = refusal.reason == LogReason::Malformed;
            assert!(!is_strict || read.is_none(), "{refusal}");
            return;
        }
    };
    for bank in Bank::ALL {
        let quoted = eventlog::replay(&log, bank);
        assert!(quoted.values().all(|value| value.len() == bank.size()));
        if let (Some(claims), Some(entries)) = (appraised(&log, bank, &quoted), &read) {
            boot_claims::hold(&claims, entries);
        }
    }
}

/// A boot of altered entries, and the log of it: entries are altered in both, or in the log alone, which then lies.
pub(crate) fn measured_boot(data: &[u8]) {
    let [told, truth] = believed(data);
    if let (Some(told), Some(truth)) = (told, truth) {
        boot_claims::no_lie(&told, &truth);
    }
}

/// What is believed of the log of a boot, and of the log that it should have.
fn believed(data: &[u8]) -> [Option<BootClaims>; 2] {
    let mut parts = Parts::of(data);
    let mut booted = seeds::SAMPLES[usize::from(parts.byte()) % seeds::SAMPLES.len()].clone();
    let mut told = booted.clone();
    for _ in 0..MAX_STEPS {
        let (step, place, other) = (parts.byte(), parts.byte(), parts.byte());
        if step == 0 {
            break;
        }
        let part = parts.next();
        alter(&mut told, step, place, other, part);
        if step & LIE == 0 {
            alter(&mut booted, step, place, other, part);
        }
    }
    let quoted = booted.pcrs().remove(&Hash::Sha256).expect("a bank");
    [told, booted].map(|log| {
        let bytes = log.encode();
        let log = EventLog::parse(&bytes).ok()?;
        let claims = appraised(&log, Bank::Sha256, &quoted)?;
        let entries = boot_reader::read(&bytes).expect("a log to another reader");
        boot_claims::hold(&claims, &entries);
        Some(claims)
    })
}

/// What an appraisal says holds whichever log it is of.
fn appraised(log: &EventLog<'_>, bank: Bank, quoted: &PcrValues) -> Option<BootClaims> {
    let (none, all) = (BTreeSet::new(), BTreeSet::from(Quirk::ALL));
    let outcome = eventlog::appraise(log, bank, quoted, &all);
    assert_eq!(
        outcome,
        eventlog::appraise(log, bank, quoted, &all),
        "the same twice"
    );
    let strict = eventlog::appraise(log, bank, quoted, &none);
    match (&outcome, &strict) {
        (Ok(claims), Ok(strict)) => {
            assert!(strict.quirks.is_empty(), "{strict:?}");
            assert!(claims == strict || !claims.quirks.is_empty(), "{claims:?}");
        }
        (Ok(claims), Err(refusal)) => {
            presentable(refusal, log.events.len());
            assert!(
                !claims.quirks.is_empty(),
                "{refusal}: not because of a quirk"
            );
        }
        (Err(refusal), Ok(_)) => panic!("{refusal}: refused because more is tolerated"),
        (Err(refusal), Err(strict)) => {
            presentable(refusal, log.events.len());
            presentable(strict, log.events.len());
        }
    }
    let claims = outcome.ok()?;
    assert_eq!(claims.bank, bank);
    boot_claims::are_shown(&claims);
    for pcr in 0..=7 {
        let mut other = quoted.clone();
        if let Some(byte) = other.get_mut(&pcr).and_then(|value| value.last_mut()) {
            *byte ^= 1;
        }
        let refused = eventlog::appraise(log, bank, &other, &all);
        assert!(refused.is_err(), "another value of PCR {pcr}");
        other.remove(&pcr);
        let refused = eventlog::appraise(log, bank, &other, &all);
        assert!(refused.is_err(), "no value of PCR {pcr}");
    }
    Some(claims)
}

/// The log is what another reader finds, no byte is left over, and no beginning is a log but where an event ends.
fn same(log: &EventLog<'_>, entries: &[Entry<'_>], data: &[u8]) {
    assert!(data.len() <= limits::LOG && log.events.len() <= limits::EVENTS);
    assert!((1..=limits::ALGORITHMS).contains(&log.spec_id.algorithms.len()));
    assert_eq!(log.events.len(), entries.len());
    for ((index, event), entry) in log.events.iter().enumerate().zip(entries) {
        assert_eq!((event.index, u32::from(event.pcr)), (index, entry.pcr));
        assert_eq!((event.kind.0, event.data), (entry.kind, entry.data));
        assert!(event.pcr < 24 && event.data.len() <= limits::EVENT_DATA);
        let mut digests = event.digests.clone();
        let order = digests.iter().map(|(of, _)| of);
        assert!(order.eq(log.spec_id.algorithms.iter().map(|(of, _)| of)));
        digests.sort_unstable();
        assert_eq!(digests, entry.digests);
    }
    let starts = entries.iter().map(|entry| entry.start);
    let mut ends: Vec<usize> = starts.chain([data.len()]).collect();
    ends.dedup();
    assert_eq!(
        entries.last().map_or(data.len(), |last| last.end),
        data.len()
    );
    for (events, end) in ends.iter().enumerate().step_by(1 + ends.len() / 8) {
        let cut = EventLog::parse(&data[..*end]);
        assert_eq!(cut.map(|log| log.events.len()), Ok(events), "until {end}");
        let inside = EventLog::parse(&data[..end - 1]).map_err(|refusal| refusal.reason);
        assert_eq!(inside, Err(LogReason::Malformed), "until {end} but one");
    }
}

fn presentable(refusal: &Refusal, events: usize) {
    assert_shown(&refusal.detail, limits::TEXT);
    assert!(!refusal.detail.is_empty());
    assert!(refusal.event.is_none_or(|event| event < events));
}

/// One step: what happens to an entry, and with what.
fn alter(log: &mut BootLog, step: u8, place: u8, other: u8, part: &[u8]) {
    let count = log.entries.len().max(1);
    let (place, other_place) = (usize::from(place) % count, usize::from(other) % count);
    let new = LogEntry::new(&log.hashes, 7, u32::from(other), part, part);
    let Some(entry) = log.entries.get_mut(place) else {
        log.entries.push(new);
        return;
    };
    match step & !LIE {
        1 => entry.rewrite(part),
        2 => entry.data = part.to_vec(),
        3 => entry.measure(part),
        // What stands before the value of a variable: GUID, sizes, the name.
        4 => {
            let name = entry
                .data
                .get(16)
                .map_or(0, |units| 2 * usize::from(*units));
            let mut data = entry.data.clone();
            data.truncate(32 + name);
            data.extend(part);
            if let Some(size) = data.get_mut(24..32) {
                size.copy_from_slice(&u64::try_from(part.len()).expect("a size").to_le_bytes());
            }
            entry.rewrite(&data);
        }
        5 => {
            let at = usize::from(other) * entry.data.len() / 256;
            let mut data = entry.data.clone();
            for (byte, with) in data.iter_mut().skip(at).zip(part) {
                *byte ^= with;
            }
            entry.rewrite(&data);
        }
        6 => entry.pcr = u32::from(other % 25),
        7 => entry.kind = seeds::KINDS[usize::from(other) % seeds::KINDS.len()],
        8 => log.entries.swap(place, other_place),
        9 => {
            log.entries.remove(place);
        }
        10 => {
            let again = entry.clone();
            log.entries.insert(other_place, again);
        }
        11 => log.entries.insert(place, new),
        12 => {
            log.startup_locality(other);
        }
        13 => log.shim_variables(),
        14 => log.exit_boot_services(),
        _ => {}
    }
}

/// Steps of one input.
const MAX_STEPS: usize = 16;
/// The bit of a step that the log tells and the machine did not do.
const LIE: u8 = 0x80;

/// Logs of soft boots, and steps that break one rule each.
pub(crate) mod seeds {
    use std::sync::LazyLock;

    use evidence::Hash;
    use softtpm::{BootLog, signature_list};

    use crate::parts::part;

    pub(super) static SAMPLES: LazyLock<[BootLog; 4]> = LazyLock::new(|| {
        let hashes = [Hash::Sha256];
        let mut bare = BootLog::new(&hashes);
        bare.separators(&[0, 1, 2, 3, 4, 5, 6, 7]);
        [
            BootLog::sample(&hashes).expect("a sample"),
            BootLog::sample_with_option_rom(&hashes).expect("a sample"),
            BootLog::sample_insecure(&hashes).expect("a sample"),
            bare,
        ]
    });

    /// Types of the profile that are known, and some that are none.
    pub(super) const KINDS: [u32; 16] = [
        1,
        3,
        4,
        5,
        6,
        8,
        0xD,
        0x8000_0001,
        0x8000_0002,
        0x8000_0003,
        0x8000_0004,
        0x8000_0007,
        0x8000_0008,
        0x8000_00E0,
        0x8000_00E1,
        0x7777,
    ];

    pub(crate) fn eventlog() -> Vec<Vec<u8>> {
        let both = BootLog::sample(&[Hash::Sha1, Hash::Sha256, Hash::Sha384]).expect("a sample");
        let mut shim = SAMPLES[0].clone();
        shim.shim_variables();
        let old = BootLog::sample(&[Hash::Sha1]).expect("a sample");
        let mut empty = BootLog::new(&[Hash::Sha512]);
        let bare = empty.encode();
        empty.separators(&[0, 7]);
        let mut twice = both.clone();
        twice.entries.truncate(2);
        let digests = &mut twice.entries[1].digests;
        digests[2] = digests[1].clone();
        let logs = [&both, &shim, &old, &empty, &twice];
        let logs = logs.into_iter().chain(SAMPLES.iter());
        logs.map(BootLog::encode).chain([bare]).collect()
    }

    pub(crate) fn measured_boot() -> Vec<Vec<u8>> {
        let step = |step: u8, place: u8, other: u8, data: &[u8]| {
            [vec![step, place, other], part(data)].concat()
        };
        let place = |is: fn(&softtpm::LogEntry) -> bool| {
            let place = SAMPLES[0].position(is).expect("an entry");
            u8::try_from(place).expect("a short log")
        };
        let secure_boot = place(|entry| entry.pcr == 7);
        let authority = place(|entry| entry.kind == 0x8000_00E0);
        let separator = place(|entry| (entry.pcr, entry.kind) == (7, 4));
        let image = place(|entry| entry.kind == 0x8000_0003);
        let hashes = signature_list(softtpm::CERT_SHA256, &[&[0xA1; 32], &[0xA2; 32]]);
        let mut headed = hashes.clone();
        headed[20] = 48;
        let mut uneven = [hashes.as_slice(), &[0]].concat();
        uneven[16] += 1;
        let steps = [
            Vec::new(),
            step(4, secure_boot, 0, &[0]),
            step(4, secure_boot, 0, &[]),
            step(0x84, secure_boot, 0, &[0]),
            step(4, secure_boot + 3, 0, &hashes),
            step(4, secure_boot + 4, 0, &headed),
            step(4, secure_boot + 4, 0, &uneven),
            step(1, separator, 0, &[0xFF; 4]),
            step(0x87, separator, 6, &[]),
            step(
                0x82,
                image,
                0,
                &softtpm::image_load(&softtpm::option_rom_path()),
            ),
            step(9, authority, 0, &[]),
            step(0x89, authority, 0, &[]),
            step(10, authority, separator, &[]),
            step(8, secure_boot, separator, &[]),
            step(11, separator, 7, b"UEFI Debug Mode"),
            [
                step(10, secure_boot, secure_boot, &[]),
                step(4, secure_boot, 0, &[0]),
            ]
            .concat(),
            step(12, 0, 4, &[]),
            step(13, 0, 0, &[]),
            [step(9, 255, 0, &[]), step(14, 0, 0, &[])].concat(),
        ];
        let with = |steps: &Vec<u8>| [&[0], steps.as_slice()].concat();
        let all = steps.iter().map(with);
        all.chain([vec![1], vec![2], vec![3]]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is refused before it is looked at would prove nothing.
    #[test]
    fn seeds_get_as_far_as_claims() {
        let believed: Vec<_> = seeds::measured_boot()
            .iter()
            .map(|seed| believed(seed).map(|claims| claims.is_some()))
            .collect();
        let count = |of| believed.iter().filter(|found| **found == of).count();
        assert_eq!(believed[0], [true, true], "the sample as it is");
        assert!(count([true, true]) >= 5, "{believed:?}");
        assert!(count([false, true]) >= 3, "{believed:?}");
        assert!(count([false, false]) >= 5, "{believed:?}");
        assert_eq!(count([true, false]), 0, "{believed:?}");
    }
}
