//! The rules of replay, startup and separators, one broken at a time: what the log says against what was booted.

use evidence::Hash;
use softtpm::{BootLog, utf16};

use crate::forged::{
    APPLICATION, IPL, NO_ACTION, SEPARATOR, assert_refused, honest, judge, judge_bytes, move_last,
    pcrs, place, sample,
};
use crate::{Bank, BootStage, EventLog, LogReason, PcrValues, replay};

use LogReason::{BankInactive, Digest, Malformed, Replay, Separator};

type Change = fn(&mut BootLog);
type ChangeAt = fn(&mut BootLog, usize);
type Expected = (LogReason, &'static str);

#[test]
fn a_log_that_does_not_lead_to_the_quoted_values_is_refused() {
    let boot = sample();
    let cases: [(&str, Change, &str); 6] = [
        (
            "tpm/F03 eventlog_replay: another machine",
            |log| log.entries[1].rewrite(&utf16("1.22.0\0")),
            "PCR 0",
        ),
        (
            "tpm/F05 eventlog_replay: PCR 7 filtered",
            |log| log.entries.retain(|entry| entry.pcr != 7),
            "PCR 7",
        ),
        ("no locality", |log| drop(log.entries.remove(0)), "PCR 0"),
        (
            "another locality",
            |log| log.entries[0].data[16] = 0,
            "PCR 0",
        ),
        (
            "EV_NO_ACTION hides",
            |log| {
                let at = place(log, 4, APPLICATION);
                log.entries[at].kind = NO_ACTION;
            },
            "PCR 4",
        ),
        (
            "two in another order",
            |log| {
                let at = place(log, 4, APPLICATION);
                let shim = log.entries.remove(at);
                log.entries.push(shim);
            },
            "PCR 4",
        ),
    ];
    for (case, change, detail) in cases {
        let mut told = boot.clone();
        change(&mut told);
        assert_refused(judge(&boot, &told), (Replay, detail), case);
    }
}

#[test]
fn each_event_counts() {
    let boot = sample();
    for at in 0..boot.entries.len() {
        let entry = &boot.entries[at];
        let mut told = boot.clone();
        told.entries.remove(at);
        let verdict = judge(&boot, &told);
        if entry.pcr <= 7 {
            let case = format!("tpm/F04 eventlog_replay: without event {at}");
            assert_refused(verdict, (Replay, &format!("PCR {}", entry.pcr)), &case);
        } else {
            let claims = verdict.unwrap();
            assert!(!claims.replayed.contains(&u8::try_from(entry.pcr).unwrap()));
        }
        let cut = BootLog {
            entries: boot.entries[..at].to_vec(),
            ..boot.clone()
        };
        assert_refused(
            judge(&boot, &cut),
            (Replay, "PCR "),
            &format!("tpm/F02: cut at {at}"),
        );
    }
}

#[test]
fn each_firmware_pcr_has_to_be_quoted() {
    let log = sample().encode();
    let quoted = pcrs(&sample());
    for pcr in 0..=7 {
        let case = format!("tpm/F04 eventlog_replay: PCR {pcr}");
        let expected = format!("PCR {pcr}");
        let changes: [fn(&mut PcrValues, u8); 3] = [
            |values, pcr| drop(values.remove(&pcr)),
            |values, pcr| values.get_mut(&pcr).unwrap()[5] ^= 1,
            |values, pcr| values.get_mut(&pcr).unwrap().push(0),
        ];
        for change in changes {
            let mut values = quoted.clone();
            change(&mut values, pcr);
            assert_refused(judge_bytes(&values, &log, &[]), (Replay, &expected), &case);
        }
    }
    for pcr in 8..24 {
        let mut values = quoted.clone();
        values.insert(pcr, vec![0x77; 32]);
        let claims = judge_bytes(&values, &log, &[]).unwrap();
        assert!(!claims.replayed.contains(&pcr), "{pcr}");
        values.remove(&pcr);
        judge_bytes(&values, &log, &[]).unwrap();
    }
}

#[test]
fn pcrs_without_firmware_events_lead_to_their_reset_value() {
    let mut boot = BootLog::new(&[Hash::Sha256]);
    boot.event(0, 1, b"code");
    boot.event(7, 1, b"policy");
    let mut values = pcrs(&boot);
    values.insert(6, vec![0x66; 32]);
    assert_refused(
        judge_bytes(&values, &boot.encode(), &[]),
        (Replay, "PCR 6"),
        "eventlog_replay: a PCR whose events were all left out",
    );
}

#[test]
fn the_operating_systems_pcrs_are_believed_only_where_the_log_leads() {
    let claims = honest(&sample()).unwrap();
    let replayed: Vec<_> = claims.replayed.iter().copied().collect();
    assert_eq!(
        replayed,
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15],
        "never 10, 16 to 23"
    );
    let mut running = sample();
    for pcr in [8, 9, 11, 12] {
        running.event(pcr, IPL, b"systemd");
    }
    let claims = judge(&running, &sample()).unwrap();
    let replayed: Vec<_> = claims.replayed.iter().copied().collect();
    assert_eq!(replayed, [0, 1, 2, 3, 4, 5, 6, 7, 13, 14, 15]);
    assert_eq!(claims.command_lines, []);
    assert_eq!(claims.kernel_inputs, []);
    assert_eq!(claims.boot_chain, [BootStage::Shim]);
}

#[test]
fn a_bank_must_be_in_the_log_and_have_been_extended() {
    let log = BootLog::sample(&[Hash::Sha384]).unwrap();
    assert_refused(
        judge_bytes(&pcrs(&sample()), &log.encode(), &[]),
        (LogReason::Bank, "sha256"),
        "tpm/F26 eventlog_bank",
    );
    let quoted = pcrs(&sample());
    for (pcr, last) in [(0, 0), (0, 3), (0, 4), (7, 0)] {
        let mut values = quoted.clone();
        let mut reset = vec![0; 32];
        reset[31] = last;
        values.insert(pcr, reset);
        assert_refused(
            judge_bytes(&values, &sample().encode(), &[]),
            (BankInactive, &format!("PCR {pcr} of sha256")),
            "tpm/E31 pcr_bank_inactive",
        );
    }
    for (pcr, at, byte) in [(7, 31, 1), (0, 31, 5), (0, 30, 3), (0, 0, 1), (7, 0, 1)] {
        let mut values = quoted.clone();
        let mut nearly = vec![0; 32];
        nearly[at] = byte;
        values.insert(pcr, nearly);
        let verdict = judge_bytes(&values, &sample().encode(), &[]);
        let expected = format!("PCR {pcr}");
        assert_refused(verdict, (Replay, &expected), "not a reset value");
    }

    let empty = BootLog::new(&[Hash::Sha256]);
    let case = "tpm/E31 pcr_bank_inactive: nothing was measured";
    assert_refused(honest(&empty), (BankInactive, "PCR 0"), case);
}

#[test]
fn startup_is_told_once_and_first() {
    let cases: [(&str, Change, &str); 5] = [
        (
            "tpm/F27 eventlog_malformed: two",
            |log| {
                log.startup_locality(3);
                move_last(log, 0);
            },
            "two startup localities",
        ),
        (
            "tpm/F27 eventlog_malformed: late",
            |log| {
                let locality = log.entries.remove(0);
                log.entries.insert(1, locality);
            },
            "follows an event of PCR 0",
        ),
        (
            "tpm/F27 eventlog_malformed: locality 9",
            |log| log.entries[0].data[16] = 9,
            "no such locality",
        ),
        (
            "tpm/F27 eventlog_malformed: locality 1",
            |log| log.entries[0].data[16] = 1,
            "no such locality",
        ),
        (
            "tpm/F27 eventlog_malformed: no locality",
            |log| log.entries[0].data.truncate(16),
            "not one byte",
        ),
    ];
    for (case, change, detail) in cases {
        let mut log = sample();
        change(&mut log);
        assert_refused(honest(&log), (Malformed, detail), case);
    }
    for locality in [0, 3, 4] {
        let mut log = sample();
        log.entries[0].data[16] = locality;
        honest(&log).unwrap();
    }
    let mut log = sample();
    log.entries[0].data[16] = 9;
    let bytes = log.encode();
    let replayed = replay(&EventLog::parse(&bytes).unwrap(), Bank::Sha256);
    log.entries[0].data[16] = 0;
    assert_eq!(replayed, pcrs(&log), "as if at locality 0");
}

#[test]
fn separators_are_one_each_and_tell_of_no_error() {
    for pcr in 0..=7 {
        let cases: [(&str, ChangeAt, Expected); 6] = [
            (
                "tpm/F11 eventlog_separator: none",
                |log, at| drop(log.entries.remove(at)),
                (Separator, "has no separator"),
            ),
            (
                "tpm/F12 eventlog_separator: two",
                |log, at| log.entries.insert(at, log.entries[at].clone()),
                (Separator, "it is the second"),
            ),
            (
                "tpm/F12 eventlog_separator: an error",
                |log, at| log.entries[at].rewrite(&[0xFF; 4]),
                (Separator, "not 00000000"),
            ),
            (
                "tpm/F12 eventlog_separator: another error",
                |log, at| log.entries[at].rewrite(&[1, 0, 0, 0]),
                (Separator, "not 00000000"),
            ),
            (
                "tpm/F12 eventlog_separator: five bytes",
                |log, at| log.entries[at].rewrite(&[0; 5]),
                (Separator, "not 00000000"),
            ),
            (
                "tpm/F08 eventlog_digest: a separator",
                |log, at| log.entries[at].measure(&[0xFF; 4]),
                (Digest, "its digest is another one"),
            ),
        ];
        for (case, change, expected) in cases {
            let mut log = sample();
            let at = place(&log, pcr, SEPARATOR);
            change(&mut log, at);
            assert_refused(honest(&log), expected, &format!("{case} in PCR {pcr}"));
        }
    }
}
