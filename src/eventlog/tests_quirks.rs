//! The departures that can be tolerated, each by its name and for nothing else.

use evidence::Hash;
use softtpm::{
    BootLog, GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, SHIM_LOCK, boot_certificate, variable_data,
};

use crate::forged::{
    AUTHORITY, SEPARATOR, assert_refused, exit, judge_bytes, move_last, pcrs, place, sample,
    set_secure_boot,
};
use crate::{LogReason, Quirk};

use LogReason::{Digest, Malformed, Replay};

type Change = fn(&mut BootLog);
type Expected = (LogReason, &'static str);

#[test]
fn quirks_are_tolerated_by_name_and_told_when_met() {
    let cases: [(Quirk, Change, Expected); 6] = [
        (
            Quirk::EmptySecureBoot,
            |log| {
                *log = BootLog::sample_insecure(&[Hash::Sha256]).unwrap();
                set_secure_boot(log, &[]);
            },
            (Malformed, "SecureBoot"),
        ),
        (
            Quirk::ShimVariables,
            |log| {
                let exit = log.entries.split_off(exit(log));
                log.shim_variables();
                log.entries.extend(exit);
            },
            (Malformed, "no certificate"),
        ),
        (
            Quirk::ShimExtraByte,
            |log| {
                let at = place(log, 7, AUTHORITY);
                log.entries[at].data.push(0xAF);
            },
            (Digest, "not what was measured"),
        ),
        (
            Quirk::ShimExtraByte,
            |log| {
                let at = place(log, 7, AUTHORITY);
                let certificate = boot_certificate("Image Signing CA").unwrap();
                let mut data = variable_data(IMAGE_SECURITY_DATABASE, "db", &certificate);
                data.extend([0; 5]);
                log.entries[at].rewrite(&data);
                log.entries[at].data.push(0xAF);
            },
            (Digest, "not what was measured"),
        ),
        (
            Quirk::ShimExtraByte,
            |log| {
                let at = place(log, 7, AUTHORITY);
                let data = [&log.entries[at].data[..], &[0; 7]].concat();
                log.entries[at].rewrite(&data);
                log.entries[at].data.push(0xAF);
            },
            (Digest, "not what was measured"),
        ),
        (
            Quirk::MissingExitBootServices,
            |_| {},
            (Replay, "the entries of ExitBootServices are missing"),
        ),
    ];
    for (quirk, change, expected) in cases {
        let mut boot = sample();
        change(&mut boot);
        let mut told = boot.clone();
        if quirk == Quirk::MissingExitBootServices {
            told.entries.truncate(exit(&boot));
        }
        let case = format!("tpm/F31 eventlog_replay: {}", quirk.name());
        let (quoted, log) = (pcrs(&boot), told.encode());
        let others: Vec<_> = Quirk::ALL
            .into_iter()
            .filter(|other| *other != quirk)
            .collect();
        assert_refused(judge_bytes(&quoted, &log, &others), expected, &case);
        let claims = judge_bytes(&quoted, &log, &[quirk]).expect(&case);
        assert_eq!(claims.quirks, [quirk].into(), "{case}");
        assert_eq!(claims.images.len(), 3, "{case}");
        assert!((0..=7).all(|pcr| claims.replayed.contains(&pcr)), "{case}");
        let all = judge_bytes(&quoted, &log, &Quirk::ALL).unwrap();
        assert_eq!(all, claims, "{case}");
    }
    let claims = judge_bytes(&pcrs(&sample()), &sample().encode(), &Quirk::ALL).unwrap();
    assert!(claims.quirks.is_empty(), "none was met");
}

#[test]
fn quirks_excuse_nothing_else() {
    let shims: [(&str, Change, Expected); 4] = [
        (
            "a settings variable under another GUID",
            |log| {
                log.authority(GLOBAL_VARIABLE, "SbatLevel", b"sbat,1\n");
                let at = exit(log);
                move_last(log, at);
            },
            (Malformed, "no certificate"),
        ),
        (
            "the last byte is measured, and not the one before",
            |log| {
                let at = place(log, 7, AUTHORITY);
                log.entries[at].data.extend([0, 0]);
            },
            (Digest, ""),
        ),
        (
            "more than padding is measured",
            |log| {
                let at = place(log, 7, AUTHORITY);
                let data = [&log.entries[at].data[..], b"more"].concat();
                log.entries[at].rewrite(&data);
                log.entries[at].data.push(0);
            },
            (Digest, ""),
        ),
        (
            "more padding than a structure has",
            |log| {
                let at = place(log, 7, AUTHORITY);
                let data = [&log.entries[at].data[..], &[0; 8]].concat();
                log.entries[at].rewrite(&data);
                log.entries[at].data.push(0);
            },
            (Digest, ""),
        ),
    ];
    for (case, change, expected) in shims {
        let mut log = sample();
        change(&mut log);
        let verdict = judge_bytes(&pcrs(&log), &log.encode(), &Quirk::ALL);
        assert_refused(verdict, expected, case);
    }
    let boot = sample();
    let mut half = boot.clone();
    half.entries.truncate(exit(&boot) + 1);
    let verdict = judge_bytes(&pcrs(&boot), &half.encode(), &Quirk::ALL);
    assert_refused(
        verdict,
        (Replay, "PCR 5"),
        "tpm/F31: one of the two is there",
    );
    let mut fewer = boot.clone();
    let at = place(&fewer, 5, SEPARATOR);
    fewer.entries.truncate(exit(&boot));
    fewer.entries.remove(at);
    let verdict = judge_bytes(&pcrs(&boot), &fewer.encode(), &Quirk::ALL);
    assert_refused(verdict, (Replay, "PCR 5"), "tpm/F31: more is missing");
    let mut again = boot.clone();
    again.exit_boot_services();
    let verdict = judge_bytes(&pcrs(&again), &boot.encode(), &Quirk::ALL);
    assert_refused(verdict, (Replay, "PCR 5"), "tpm/F31: nothing is missing");
    for pcr in (0..=7).filter(|pcr| *pcr != 5) {
        let mut told = boot.clone();
        told.entries.truncate(exit(&boot));
        let mut elsewhere = told.clone();
        elsewhere.action(pcr, "Exit Boot Services Invocation");
        elsewhere.action(pcr, "Exit Boot Services Returned with Success");
        let verdict = judge_bytes(&pcrs(&elsewhere), &told.encode(), &Quirk::ALL);
        let expected = format!("PCR {pcr}");
        assert_refused(verdict, (Replay, &expected), "tpm/F31: another PCR");
    }
    // 48 bytes of settings are no hash with its owner.
    let mut settings = sample();
    settings.authority(SHIM_LOCK, "SbatLevel", &[b's'; 48]);
    let at = exit(&settings);
    move_last(&mut settings, at);
    let claims = judge_bytes(&pcrs(&settings), &settings.encode(), &Quirk::ALL).unwrap();
    assert_eq!(claims.secure_boot.authorities[2].entry, None);
}
