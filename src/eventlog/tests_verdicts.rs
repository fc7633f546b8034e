//! What a boot that breaks no rule proves, what limits its images, and which of several broken rules gives the reason.

use evidence::Hash;
use softtpm::{BootLog, IMAGE_SECURITY_DATABASE, signature_data};

use crate::forged::{
    AUTHORITY, EFI_ACTION, IPL, SEPARATOR, assert_refused, exit, honest, judge, judge_bytes,
    move_last, pcrs, place, sample,
};
use crate::{Bank, BootStage, EventLog, LogReason, appraise};

use LogReason::{
    BankInactive, Malformed, Order, Replay, SecureBootInconsistent, Separator, UntrustedEvent,
};

type Change = fn(&mut BootLog);
type Expected = (LogReason, &'static str);

#[test]
fn a_boot_that_breaks_no_rule_is_believed() {
    let claims = honest(&sample()).unwrap();
    assert!(claims.secure_boot.enabled);
    assert_eq!(claims.firmware_version.as_deref(), Some("1.21.0"));
    assert!(claims.quirks.is_empty());
    let stages = [
        BootStage::Shim,
        BootStage::Grub,
        BootStage::SystemdStub,
        BootStage::LinuxStub,
    ];
    assert_eq!(claims.boot_chain, stages);
    let lines = claims.command_lines.iter();
    let lines: Vec<_> = lines.map(|line| (line.pcr, line.text.as_str())).collect();
    let of_systemd = "root=/dev/vda2 ro quiet";
    assert_eq!(
        lines,
        [
            (8, "/vmlinuz root=/dev/vda2 ro"),
            (12, of_systemd),
            (9, of_systemd)
        ]
    );
    let entries = &claims.secure_boot;
    let counts = [&entries.pk, &entries.kek, &entries.db, &entries.dbx].map(Vec::len);
    assert_eq!(counts, [1, 1, 2, 2]);
    let used = entries.authorities.iter();
    let used: Vec<_> = used.map(|used| used.variable.as_str()).collect();
    assert_eq!(used, ["db", "Shim"]);
    let images = claims.images.iter().map(|image| image.digest.as_slice());
    let booted = [&b"shim"[..], b"grub", b"kernel"].map(|image| Hash::Sha256.digest(&[image]));
    assert!(images.eq(booted.iter().map(Vec::as_slice)));

    let off = honest(&BootLog::sample_insecure(&[Hash::Sha256]).unwrap()).unwrap();
    assert!(!off.secure_boot.enabled);
    assert!(off.secure_boot.authorities.is_empty());
}

#[test]
fn images_are_believed_between_boot_option_and_exit() {
    let cases: [(&str, Change, usize); 7] = [
        ("as they are", |_| {}, 3),
        (
            "no boot option",
            |log| {
                let at = place(log, 4, EFI_ACTION);
                log.entries.remove(at);
            },
            0,
        ),
        (
            "another action than the boot option",
            |log| {
                let at = place(log, 4, EFI_ACTION);
                log.entries[at].rewrite(b"Entering ROM Based Setup");
            },
            0,
        ),
        (
            "a boot option after the separator",
            |log| {
                let at = place(log, 4, EFI_ACTION);
                let action = log.entries.remove(at);
                let at = place(log, 4, SEPARATOR);
                log.entries.insert(at + 1, action);
            },
            0,
        ),
        (
            "no exit",
            |log| {
                log.entries.truncate(exit(log));
            },
            0,
        ),
        (
            "one before the boot option is not hidden",
            |log| {
                log.image(4, b"of the firmware", &[]);
                move_last(log, 1);
            },
            4,
        ),
        (
            "two boot options",
            |log| {
                log.action(4, "Calling EFI Application from Boot Option");
                let at = exit(log);
                move_last(log, at);
            },
            3,
        ),
    ];
    for (case, change, expected) in cases {
        let mut log = sample();
        change(&mut log);
        assert_eq!(honest(&log).unwrap().images.len(), expected, "{case}");
    }
}

#[test]
fn nothing_of_the_firmwares_follows_the_exit() {
    for pcr in 0..=7 {
        let mut log = sample();
        match pcr {
            7 => log.authority(IMAGE_SECURITY_DATABASE, "db", &signature_data(&[1; 32])),
            _ => log.event(pcr, IPL, b"at run time"),
        };
        let case = format!("tpm/F06 eventlog_order: PCR {pcr}");
        let expected = (Order, "after the boot services were left");
        assert_refused(honest(&log), expected, &case);
    }
    let mut log = sample();
    for pcr in 8..16 {
        log.event(pcr, IPL, b"at run time");
    }
    log.action(5, "Exit Boot Services Returned with Failure");
    log.exit_boot_services();
    honest(&log).unwrap();
    // Other PCRs tell of no exit.
    let mut early = sample();
    early.action(8, "Exit Boot Services Invocation");
    move_last(&mut early, 1);
    honest(&early).unwrap();
    // Whatever the entry claims to be, and whatever it claims to have measured.
    let mut disguised = sample();
    let at = exit(&disguised);
    for entry in &mut disguised.entries[at..] {
        entry.kind = IPL;
        entry.data = b"nothing".to_vec();
    }
    disguised.image(4, b"late", &[]);
    assert_refused(honest(&disguised), (Order, "PCR 4"), "tpm/F06");
}

#[test]
fn the_first_rule_that_is_broken_gives_the_reason() {
    let mut boot = sample();
    let later: [(Change, Expected); 4] = [
        (
            |log| {
                log.image(4, b"late", &[]);
            },
            (Order, ""),
        ),
        (
            |log| log.entries.retain(|entry| entry.kind != AUTHORITY),
            (SecureBootInconsistent, ""),
        ),
        (
            |log| {
                log.event(7, IPL, b"text");
                move_last(log, 1);
            },
            (UntrustedEvent, ""),
        ),
        (
            |log| {
                let at = place(log, 3, SEPARATOR);
                log.entries.remove(at);
            },
            (Separator, ""),
        ),
    ];
    for (change, expected) in later {
        change(&mut boot);
        assert_refused(honest(&boot), expected, "an earlier rule");
    }
    let mut told = boot.clone();
    told.entries[2].measure(b"something else");
    assert_refused(judge(&boot, &told), (Replay, "PCR 0"), "before separators");
    let mut quoted = pcrs(&boot);
    quoted.insert(7, vec![0; 32]);
    let verdict = judge_bytes(&quoted, &told.encode(), &[]);
    assert_refused(verdict, (BankInactive, ""), "before replay");
    told.startup_locality(9);
    let bytes = told.encode();
    let verdict = judge_bytes(&quoted, &bytes, &[]);
    assert_refused(verdict, (Malformed, ""), "before the bank's values");
    let mut parsed = EventLog::parse(&bytes).unwrap();
    parsed.spec_id.algorithms.remove(0);
    let verdict = appraise(&parsed, Bank::Sha256, &quoted, &[].into());
    assert_refused(verdict, (LogReason::Bank, "sha256"), "first of all");
}
