//! What the log says beyond the rules: versions, command lines, stages; believed as far as a digest binds it.

use softtpm::{BootLog, SHIM_LOCK, utf16};

use crate::forged::{
    IPL, S_CRTM_VERSION, assert_refused, exit, honest, judge, judge_bytes, move_last, pcrs, place,
    sample, variable,
};
use crate::{
    Bank, BootStage, EventLog, KernelInputKind, LogReason, Quirk, appraise, limits, replay,
};

const LOAD_OPTIONS: u32 = 0x8F3B_22ED;

#[test]
fn versions_are_texts_or_guids() {
    let guid = [
        0x1E, 0xFB, 0x6B, 0x54, 0x0C, 0x1D, 0x55, 0x40, 0xA4, 0xAD, 0x4E, 0xF4, 0xBF, 0x17, 0xB8,
        0x3A,
    ];
    for (data, expected) in [
        (utf16("2.3.5\0"), Some("2.3.5")),
        (utf16("2.3.5"), Some("2.3.5")),
        (utf16("1234567\0"), Some("1234567")),
        (utf16("12345678"), Some("12345678")),
        (guid.to_vec(), Some("546bfb1e-1d0c-4055-a4ad-4ef4bf17b83a")),
        (utf16("\0"), None),
        (Vec::new(), None),
        (b"odd".to_vec(), None),
        (
            utf16("new\nline"),
            Some("0065006e-0077-000a-6c00-69006e006500"),
        ),
        (utf16("new\nline\0"), None),
        (utf16(&"x".repeat(257)), None),
    ] {
        let mut log = sample();
        let at = place(&log, 0, S_CRTM_VERSION);
        log.entries[at].rewrite(&data);
        let version = honest(&log).unwrap().firmware_version;
        assert_eq!(version.as_deref(), expected, "{data:?}");
    }
    let mut log = sample();
    log.event(0, S_CRTM_VERSION, &utf16("second\0"));
    move_last(&mut log, 2);
    let version = honest(&log).unwrap().firmware_version;
    assert_eq!(version.as_deref(), Some("1.21.0"), "the first");
}

/// Command lines of a log with one event more before the boot services are left.
fn lines_with(add: impl Fn(&mut BootLog)) -> Vec<(u8, String)> {
    let mut log = sample();
    let exit = log.entries.split_off(exit(&log));
    let own = ["/vmlinuz root=/dev/vda2 ro", "root=/dev/vda2 ro quiet"];
    add(&mut log);
    log.entries.extend(exit);
    let lines = honest(&log).unwrap().command_lines.into_iter();
    lines
        .filter(|line| !own.contains(&line.text.as_str()))
        .map(|line| (line.pcr, line.text))
        .collect()
}

#[test]
fn command_lines_are_where_their_software_writes_them() {
    let line = |pcr, text: &str| vec![(pcr, text.to_owned())];
    let none = Vec::new();
    let of = |pcr, data: &[u8]| {
        lines_with(|log| {
            log.event(pcr, IPL, data);
        })
    };
    let grub = |pcr, prefix: &str| {
        lines_with(|log| {
            log.ipl(pcr, prefix, "x");
        })
    };
    assert_eq!(grub(8, "kernel_cmdline: "), line(8, "x"));
    assert_eq!(grub(8, "grub_kernel_cmdline "), line(8, "x"));
    assert_eq!(grub(8, "grub_cmd: "), none);
    // No digest covers what GRUB calls it.
    let hidden = |mark: &str| {
        lines_with(|log| {
            log.ipl(8, mark, "/vmlinuz x");
        })
    };
    assert_eq!(hidden("grub_cmd: "), line(8, "/vmlinuz x"));
    assert_eq!(hidden(""), line(8, "/vmlinuz x"));
    assert_eq!(grub(9, "kernel_cmdline: "), none);
    assert_eq!(of(12, &utf16("x\0")), line(12, "x"));
    assert_eq!(of(12, &utf16("x")), line(12, "x"));
    assert_eq!(of(11, &utf16("x\0")), none);
    assert_eq!(of(12, b"odd"), none);
    // What cannot be read is a line all the same: it is none of those that are allowed.
    assert_eq!(of(12, &[0x00, 0xD8, 0x41, 0x00]), line(12, "\\u{fffd}A"));
    assert_eq!(of(12, &utf16("a\0b\0")), line(12, "a\\u{0}b"));
    let mut invalid = b"kernel_cmdline: ".to_vec();
    invalid.push(0xFF);
    let measured = |log: &mut BootLog| {
        log.event_measuring(8, IPL, &[0xFF], &invalid);
    };
    assert_eq!(lines_with(measured), line(8, "\\u{fffd}"));
    let unbound = |log: &mut BootLog| {
        log.event_measuring(12, IPL, b"-", &utf16("x\0"));
    };
    assert_eq!(lines_with(unbound), none);
    let other = |log: &mut BootLog| {
        log.event(12, 0x6, &utf16("x\0"));
    };
    assert_eq!(
        lines_with(other),
        line(12, "x"),
        "types are covered by no digest"
    );
}

#[test]
fn what_may_be_a_line_and_shows_no_text_is_told() {
    let unread = |add: &dyn Fn(&mut BootLog)| {
        let mut log = sample();
        let exit = log.entries.split_off(exit(&log));
        add(&mut log);
        log.entries.extend(exit);
        let unread = honest(&log).unwrap().unread;
        unread.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(unread(&|_| ()), [0; 0]);
    let text = utf16("x\0");
    assert_eq!(
        unread(&|log| {
            log.event(12, IPL, &text);
        }),
        [0; 0]
    );
    let elsewhere = |log: &mut BootLog| {
        log.event_measuring(11, IPL, b"-", b"x");
    };
    assert_eq!(unread(&elsewhere), [0; 0]);
    for pcr in [8, 12] {
        let unbound = |log: &mut BootLog| {
            log.event_measuring(pcr, IPL, b"-", &text);
        };
        assert_eq!(unread(&unbound), [u8::try_from(pcr).unwrap()]);
    }
    assert_eq!(
        unread(&|log| {
            log.event(12, IPL, b"odd");
        }),
        [12]
    );
    let unknown = utf16("unknown\0");
    let options = b"LOADED_IMAGE::LoadOptions\0";
    let stub = |log: &mut BootLog| {
        log.tagged(9, LOAD_OPTIONS, &unknown, options);
    };
    assert_eq!(unread(&stub), [9]);
}

#[test]
fn a_line_that_no_kernel_takes_is_refused_and_not_cut() {
    for (size, is_refused) in [
        (limits::COMMAND_LINE, false),
        (limits::COMMAND_LINE + 1, true),
    ] {
        let text = "x".repeat(size);
        for pcr in [8, 12] {
            let mut log = sample();
            match pcr {
                8 => log.ipl(8, "kernel_cmdline: ", &text),
                _ => log.event(12, IPL, &utf16(&text)),
            };
            if is_refused {
                let expected = (LogReason::Limit, "a command line is too long");
                assert_refused(honest(&log), expected, "eventlog_limit");
            } else {
                let lines = honest(&log).unwrap().command_lines;
                assert!(lines.iter().any(|line| line.text == text));
            }
        }
    }
}

#[test]
fn what_the_kernel_measured_is_a_known_text_or_a_digest() {
    let mut log = sample();
    let exit = log.entries.split_off(exit(&log));
    let of_grub = "BOOT_IMAGE=/vmlinuz root=/dev/vda2 ro";
    for measured in [of_grub, "unknown"] {
        log.tagged(
            9,
            LOAD_OPTIONS,
            &utf16(measured),
            b"LOADED_IMAGE::LoadOptions\0",
        );
    }
    // Tags and types are hints: an initramfs of a line's bytes has no text.
    log.tagged(9, 0x8F3B_22EC, &utf16(of_grub), b"Linux initrd\0");
    log.tagged(9, 0x8F3B_22EE, b"other", b"other");
    log.tagged(11, LOAD_OPTIONS, b"elsewhere", b"");
    let tag = [&LOAD_OPTIONS.to_le_bytes()[..], &[0; 4]].concat();
    log.event_measuring(9, IPL, b"another type", &tag);
    log.entries.extend(exit);
    let claims = honest(&log).unwrap();
    let texts = claims.kernel_inputs.iter();
    let texts: Vec<_> = texts.map(|one| (one.kind, one.text.as_deref())).collect();
    assert_eq!(
        texts,
        [
            (
                KernelInputKind::LoadOptions,
                Some("root=/dev/vda2 ro quiet")
            ),
            (KernelInputKind::Initrd, None),
            (KernelInputKind::LoadOptions, Some(of_grub)),
            (KernelInputKind::LoadOptions, None),
            (KernelInputKind::Initrd, None),
        ]
    );
    let lines = claims.command_lines.iter();
    let lines: Vec<_> = lines.map(|line| (line.pcr, line.text.as_str())).collect();
    assert_eq!(lines[2..], [(9, "root=/dev/vda2 ro quiet"), (9, of_grub)]);
}

#[test]
fn lines_are_in_the_order_of_the_log() {
    let mut log = sample();
    let stub = log
        .position(|entry| (entry.pcr, entry.kind) == (9, 0x6))
        .unwrap();
    let options = log.entries.remove(stub);
    log.entries.insert(1, options);
    let lines = honest(&log).unwrap().command_lines.into_iter();
    let pcrs: Vec<_> = lines.map(|line| line.pcr).collect();
    assert_eq!(pcrs, [9, 8, 12]);
}

#[test]
fn stages_show_in_what_they_measure() {
    use BootStage::{Grub, LinuxStub, Shim, SystemdBoot, SystemdStub};
    let stages = |keep: fn(u32) -> bool, add: fn(&mut BootLog)| {
        let mut log = sample();
        log.entries.retain(|entry| keep(entry.pcr));
        let exit = log.entries.split_off(exit(&log));
        add(&mut log);
        log.entries.extend(exit);
        judge_bytes(&pcrs(&log), &log.encode(), &Quirk::ALL)
            .unwrap()
            .boot_chain
    };
    let firmware = |pcr| pcr < 8;
    let loader_conf = |log: &mut BootLog| {
        log.tagged(5, 0xF5BC_582A, b"conf", b"");
    };
    assert_eq!(
        stages(|_| true, |_| {}),
        [Shim, Grub, SystemdStub, LinuxStub]
    );
    assert_eq!(
        stages(|pcr| pcr != 8, |_| {}),
        [Shim, SystemdStub, LinuxStub]
    );
    assert_eq!(stages(|pcr| pcr != 9, |_| {}), [Shim, Grub, SystemdStub]);
    assert_eq!(
        stages(|pcr| pcr != 11, |_| {}),
        [Shim, Grub, SystemdBoot, LinuxStub]
    );
    assert_eq!(stages(firmware, |_| {}), [Shim]);
    assert_eq!(stages(firmware, loader_conf), [Shim, SystemdBoot]);
    assert_eq!(
        stages(|pcr| ![9, 12].contains(&pcr), loader_conf),
        [Shim, Grub, SystemdBoot, SystemdStub]
    );
    let blob: fn(&mut BootLog) = |log| {
        log.event_measuring(12, IPL, b"credential", &utf16("a.cred\0"));
    };
    assert_eq!(stages(firmware, blob), [Shim]);
    let older: fn(&mut BootLog) = |log| {
        log.ipl(8, "grub_cmd ", "linux");
    };
    assert_eq!(stages(firmware, older), [Shim, Grub]);
    assert_eq!(stages(firmware, nearly_stages), [Shim]);
    let without_shim: fn(&mut BootLog) = |log| {
        log.entries
            .retain(|entry| !entry.data.starts_with(&SHIM_LOCK));
        nearly_stages(log);
        log.variable(SHIM_LOCK, "MokListRT", &[]);
        move_last(log, 1);
    };
    assert_eq!(stages(firmware, without_shim), []);

    let mut log = sample();
    log.entries
        .retain(|entry| !entry.data.starts_with(&SHIM_LOCK));
    assert_eq!(
        honest(&log).unwrap().boot_chain,
        [Grub, SystemdStub, LinuxStub]
    );
    log.event_measuring(14, IPL, b"keys", b"MokListX\0");
    assert_eq!(honest(&log).unwrap().boot_chain[0], Shim);
}

/// What tells of no stage, though it nearly does.
fn nearly_stages(log: &mut BootLog) {
    log.tagged(9, 0xF5BC_582A, b"conf", b"");
    log.ipl(9, "grub_cmd: ", "linux");
    log.event(8, IPL, &utf16("x\0"));
    log.event_measuring(11, IPL, b".linux", &utf16(".linux\0"));
    log.event_measuring(11, IPL, b"linux\0", &utf16("linux\0"));
    log.event_measuring(11, 0x6, b".linux\0", &utf16(".linux\0"));
    log.event_measuring(13, IPL, b".linux\0", &utf16(".linux\0"));
    log.event_measuring(14, IPL, b"other", b"other\0");
    log.event_measuring(14, 0x6, b"other", b"MokList\0");
    log.event_measuring(13, IPL, b"other", b"MokList\0");
    log.event_measuring(5, IPL, b"conf", &[0x2A, 0x58, 0xBC, 0xF5, 0, 0, 0, 0]);
    log.tagged(5, 0xF5BC_582B, b"conf", b"");
    log.tagged(11, LOAD_OPTIONS, b"x", b"");
}

#[test]
fn actions_are_what_was_measured() {
    let mut log = sample();
    log.event(1, 0x5, b"Booting\x07");
    move_last(&mut log, 1);
    log.event(8, 0x5, b"not of the firmware");
    let actions = |told: &BootLog| {
        let actions = judge(&log, told).unwrap().actions.into_iter();
        actions
            .map(|action| (action.pcr, action.text))
            .collect::<Vec<_>>()
    };
    let own = actions(&log);
    assert_eq!(own[0], (1, "Booting\\u{7}".to_owned()));
    let pcrs: Vec<_> = own.iter().map(|(pcr, _)| *pcr).collect();
    assert_eq!(pcrs, [1, 4, 5, 5]);
    let mut told = log.clone();
    told.entries[1].data = b"Halting".to_vec();
    assert_eq!(actions(&told), own[1..]);
}

#[test]
fn a_log_whose_events_lack_the_bank_is_refused() {
    let bytes = sample().encode();
    let mut log = EventLog::parse(&bytes).unwrap();
    log.events[4].digests.remove(0);
    let verdict = appraise(&log, Bank::Sha256, &pcrs(&sample()), &[].into());
    assert_refused(verdict, (LogReason::Bank, "event 4"), "eventlog_bank");
    assert!(replay(&log, Bank::Sha256).is_empty());
    assert_eq!(replay(&log, Bank::Sha384).len(), 24);
}

#[test]
fn details_are_printable_and_short() {
    let detail = |name: &str| {
        let mut log = sample();
        let at = variable(&log, "db");
        for _ in 0..2 {
            log.variable(SHIM_LOCK, name, &[]);
            move_last(&mut log, at);
        }
        let refusal = honest(&log).unwrap_err();
        assert_eq!(refusal.reason, LogReason::Duplicate);
        refusal.detail
    };
    let kind = "EV_EFI_VARIABLE_DRIVER_CONFIG in PCR 7: ";
    for (name, expected) in [
        ("\u{1b}\u{202e}", "\\u{1b}\\u{202e}"),
        ("a\0b", "a variable whose name is no text"),
        (&"\u{1b}".repeat(100), "a variable whose name is no text"),
    ] {
        assert_eq!(detail(name), [kind, expected].concat(), "tpm/F30: {name:?}");
    }
    let long = "n".repeat(limits::TEXT);
    let expected = [kind, &long].concat();
    assert_eq!(
        Some(detail(&long).as_str()),
        expected.get(..limits::TEXT),
        "tpm/F30"
    );
}
