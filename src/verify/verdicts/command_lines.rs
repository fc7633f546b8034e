//! Command lines that boot event logs show, and what rules say of them.

use softtpm::SoftTpm;

use super::boots::{booted, refused, sample};
use crate::{CommandLineRule, Reason, Requirement};

fn rule(allow: &[&str], require: &[&str], forbid: &[&str]) -> Requirement {
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Requirement::CommandLine(CommandLineRule {
        allow: set(allow),
        require: set(require),
        forbid: set(forbid),
    })
}

/// A boot whose only command line is this, measured by systemd-stub.
fn with_line(line: &str) -> SoftTpm {
    let mut log = sample();
    log.entries.retain(|entry| ![8, 9, 12].contains(&entry.pcr));
    let text: Vec<u8> = line
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    log.event(12, 0xD, &text);
    booted(&log)
}

#[test]
fn command_lines_are_allowed_by_line_or_word() {
    let line = "root=/dev/vda2 ro quiet";
    for (name, tpm, rule, holds) in [
        ("allowed", with_line(line), rule(&[line], &[], &[]), true),
        (
            "one of two",
            with_line(line),
            rule(&["x", line], &[], &[]),
            true,
        ),
        (
            "longer",
            with_line("root=/dev/vda2 ro quiet init=/bin/sh"),
            rule(&[line], &[], &[]),
            false,
        ),
        ("required", with_line(line), rule(&[], &["ro"], &[]), true),
        (
            "part of a word",
            with_line(line),
            rule(&[], &["r"], &[]),
            false,
        ),
        (
            "forbidden",
            with_line(line),
            rule(&[], &[], &["quiet"]),
            false,
        ),
        (
            "not forbidden",
            with_line(line),
            rule(&[], &[], &["qui"]),
            true,
        ),
        (
            "forbidden beginning",
            with_line(line),
            rule(&[], &[], &["ro*"]),
            false,
        ),
        (
            "no such beginning",
            with_line(line),
            rule(&[], &[], &["init=*"]),
            true,
        ),
        (
            "a tab is a space",
            with_line("ro\tinit=/bin/sh"),
            rule(&[], &[], &["init=*"]),
            false,
        ),
        (
            "a quotation mark",
            with_line("a=\"x init=/bin/sh\""),
            rule(&[], &[], &["init=*"]),
            false,
        ),
        (
            "all of them",
            booted(&sample()),
            rule(&[line], &[], &[]),
            false,
        ),
        (
            "every line that there is",
            booted(&sample()),
            rule(&[], &["root=/dev/vda2", "ro"], &["init=*"]),
            true,
        ),
    ] {
        let expect = (!holds).then_some(Reason::CommandLinePolicy);
        assert_eq!(refused(tpm, rule), expect, "{name}");
    }
    let unread = {
        let mut log = sample();
        log.entries.retain(|entry| ![8, 9, 12].contains(&entry.pcr));
        let text: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
        log.event(12, 0xD, &text);
        // What root may have written beside the digest of another line.
        log.event_measuring(12, 0xD, b"another", &text);
        booted(&log)
    };
    assert_eq!(
        refused(unread, rule(&[line], &[], &[])),
        Some(Reason::CommandLinePolicy),
        "unread"
    );
    let mut none = sample();
    none.entries
        .retain(|entry| ![8, 9, 12].contains(&entry.pcr));
    let any = rule(&[], &[], &["init=*"]);
    assert_eq!(
        refused(booted(&none), any),
        Some(Reason::CommandLinePolicy),
        "none measured"
    );
}
