//! The commands over boots that were captured: what is shown, what differs, and which profile comes of it.
//!
//! What they print is kept in `tests/expected`; `UPDATE_EXPECTED=1` writes it anew.

use std::fs;
use std::path::Path;

use evidence::Hash;
use serde_json::{Value, json};
use softtpm::{
    BootLog, CERT_SHA256, IMAGE_SECURITY_DATABASE, LogEntry, signature_list, variable_data,
};

use crate::recorded::{Desk, booted, captured, captures, record, record_in};

/// All PCRs that a profile may name.
const PCRS: [u8; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15];

/// A desk with records and with logs and values of the captured boots, named after them.
fn desk() -> Desk {
    let desk = Desk::new();
    for boot in ["good", "updated", "changed", "insecure"] {
        desk.keep(&format!("{boot}.json"), &record(captured(boot), &PCRS));
        for file in ["eventlog.bin", "pcrs.txt"] {
            let contents = fs::read(captures().join(boot).join(file)).unwrap();
            desk.write(
                &format!("{boot}.{}", file.replace("eventlog.bin", "log")),
                contents,
            );
        }
    }
    desk
}

fn same(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/expected")
        .join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name}; UPDATE_EXPECTED=1 writes it anew");
}

#[test]
fn a_log_is_shown_with_its_events_its_values_and_its_claims() {
    let desk = desk();
    let with_values = ["inspect", "eventlog", "good.log", "--pcrs", "good.pcrs.txt"];
    same("eventlog-good.txt", &desk.table(0, &with_values));
    let report = desk.json(0, &with_values);
    assert_eq!(
        (&report["values"], &report["bank"]),
        (&json!("given"), &json!("sha256"))
    );
    assert_eq!(
        report["events"][25]["text"],
        r"initrd=\initrd console=ttyS0 quiet panic=-1"
    );
    assert_eq!(report["events"][25]["bound"], true);
    assert_eq!(report["events"][24]["bound"], false);
    assert_eq!(
        report["claims"]["boot_chain"],
        json!(["systemd-boot", "linux-stub"])
    );
    let disagreeing = report["pcrs"].as_array().unwrap().iter();
    let disagreeing: Vec<_> = disagreeing.filter(|pcr| pcr["agrees"] == false).collect();
    assert_eq!((disagreeing.len(), &disagreeing[0]["pcr"]), (1, &json!(10)));

    // The bank that is asked for is the bank that is shown.
    let sha384 = [&with_values[..], &["--bank", "sha384"]].concat();
    let report = desk.json(0, &sha384);
    assert_eq!(report["pcrs"][0]["given"].as_str().unwrap().len(), 96);
    assert_eq!(report["events"][0]["digest"].as_str().unwrap().len(), 96);
}

#[test]
fn a_log_by_itself_proves_nothing_and_says_so() {
    let desk = desk();
    let table = desk.table(0, &["inspect", "eventlog", "good.log"]);
    let said = "PCR values  what the log itself leads to; nothing proves that this was booted\n";
    assert!(table.contains(said), "{table}");
    assert!(!table.contains("agrees"), "{table}");
    let report = desk.json(0, &["inspect", "eventlog", "good.log"]);
    assert_eq!(report["values"], "replayed");
    assert_eq!(report["pcrs"][7]["given"], Value::Null);
}

#[test]
fn a_log_that_does_not_hold_is_refused_with_the_code_of_the_server() {
    let desk = desk();
    let cut = fs::read(desk.path("good.log")).unwrap();
    desk.write("cut.log", &cut[..cut.len() - 1]);
    desk.write("sha1.log", BootLog::new(&[Hash::Sha1]).encode());
    for (log, values, reason) in [
        ("good.log", "insecure.pcrs.txt", "eventlog_replay"),
        ("cut.log", "good.pcrs.txt", "eventlog_malformed"),
        ("sha1.log", "good.pcrs.txt", "eventlog_bank"),
    ] {
        let arguments = ["inspect", "eventlog", log, "--pcrs", values];
        let report = desk.json(1, &arguments);
        assert_eq!(report["refusal"]["reason"], reason, "{log}");
        assert_eq!(report["claims"], Value::Null);
        let table = desk.table(1, &arguments);
        assert!(
            table.contains(&format!("\nnot believed: {reason}: ")),
            "{table}"
        );
        // The server says the same of it.
        let mut tpm = captured(values.split('.').next().unwrap());
        tpm.log = Some(fs::read(desk.path(log)).unwrap());
        desk.keep("record.json", &record(tpm, &PCRS));
        let shown = desk.json(0, &["inspect", "evidence", "record.json"]);
        assert_eq!(shown["log"]["refusal"], report["refusal"], "{log}");
    }
    assert_eq!(
        desk.failure(2, &["inspect", "eventlog", "--device", "unix:/absent"])["reason"],
        "no_event_log"
    );
}

#[test]
fn what_differs_between_two_boots_is_told_in_words() {
    let desk = desk();
    for other in ["updated", "changed", "insecure"] {
        let name = format!("{other}.json");
        let table = desk.table(1, &["profile", "diff", "good.json", &name]);
        same(&format!("diff-{other}.txt"), &table);
    }
    let difference = desk.json(1, &["profile", "diff", "good.json", "changed.json"]);
    assert_eq!(difference["bank"], "sha256");
    assert_eq!(difference["tpm"], json!([]));
    let changed: Vec<_> = difference["pcrs"].as_array().unwrap().iter().collect();
    assert_eq!(changed.len(), 2);
    assert_eq!(
        (&changed[1]["pcr"], &changed[1]["explained"]),
        (&json!(12), &json!(true))
    );
    let command_line =
        json!([{"what": "kernel command line", "removed": [], "added": ["init=/bin/sh"]}]);
    assert_eq!(changed[1]["changes"], command_line);
    assert_eq!(
        changed[0]["changes"][0], command_line[0],
        "PCR 9 has its digest alone"
    );
    assert_eq!(changed[0]["changes"][1]["what"], "initramfs");
}

#[test]
fn logs_are_compared_without_records() {
    let desk = desk();
    let by_records = desk.json(1, &["profile", "diff", "good.json", "updated.json"]);
    let by_logs = desk.json(1, &["profile", "diff", "good.log", "updated.log"]);
    assert_eq!(by_logs["old"]["values"], "replayed");
    assert_eq!(by_logs["pcrs"], by_records["pcrs"]);
    let values = [
        "--old-pcrs",
        "good.pcrs.txt",
        "--new-pcrs",
        "updated.pcrs.txt",
    ];
    let arguments = [&["profile", "diff", "good.log", "updated.log"], &values[..]].concat();
    let with_values = desk.json(1, &arguments);
    let pcrs = |report: &Value| -> Vec<u64> {
        let changed = report["pcrs"].as_array().unwrap().iter();
        changed.map(|pcr| pcr["pcr"].as_u64().unwrap()).collect()
    };
    assert_eq!(
        (pcrs(&by_logs), pcrs(&with_values)),
        (vec![4, 9], vec![4, 9, 10])
    );
    let table = desk.table(1, &arguments);
    let said = "10   ?          PCR 10 changed and the log does not explain it: the kernel extends it \
                while the machine runs (IMA)\n";
    assert!(table.contains(said), "{table}");
    let same = desk.table(0, &["profile", "diff", "good.log", "good.json"]);
    assert!(same.contains("\nno PCR changed\n"), "{same}");
    let failure = desk.failure(
        2,
        &[
            "profile",
            "diff",
            "good.json",
            "good.log",
            "--old-pcrs",
            "good.pcrs.txt",
        ],
    );
    assert_eq!(failure["reason"], "usage");
    desk.write("no.log", "no log");
    let failure = desk.failure(1, &["profile", "diff", "good.log", "no.log"]);
    assert_eq!(failure["reason"], "eventlog_malformed");
}

#[test]
fn what_no_log_explains_is_told_as_such() {
    let desk = Desk::new();
    let log = BootLog::sample(&[Hash::Sha256]).unwrap();
    desk.keep("old.json", &record(booted(&log), &PCRS));
    let mut tpm = booted(&log);
    tpm.extend(9, b"in no log");
    tpm.clock.reset_count = 9;
    tpm.firmware += 1;
    desk.keep("new.json", &record(tpm, &PCRS));
    let difference = desk.json(1, &["profile", "diff", "old.json", "new.json"]);
    let pcr = &difference["pcrs"][0];
    assert_eq!(
        (&pcr["pcr"], &pcr["explained"], &pcr["changes"]),
        (&json!(9), &json!(false), &json!([]))
    );
    let table = desk.table(1, &["profile", "diff", "old.json", "new.json"]);
    assert!(
        table.contains("\n9    ?      PCR 9 changed and the log does not explain it\n"),
        "{table}"
    );
    assert!(
        table.contains("\nTPM resets    - 7\n              + 9\n"),
        "{table}"
    );
    assert!(
        table
            .contains("\nTPM firmware  - 8217.4131.22.13878\n              + 8217.4131.22.13879\n"),
        "{table}"
    );

    // What changes while the machine runs is in no profile.
    let block = desk.table(0, &["profile", "record", "new.json"]);
    assert!(
        block.contains("    # PCR 9 is left out: a log does not account for it, "),
        "{block}"
    );
    assert!(
        block.contains("pcr \"8\"") && !block.contains("pcr \"9\""),
        "{block}"
    );

    let mut without = booted(&log);
    without.log = None;
    desk.keep("without.json", &record(without, &PCRS));
    let table = desk.table(0, &["profile", "diff", "old.json", "without.json"]);
    assert!(
        table.contains("without a log: nothing explains a change\n"),
        "{table}"
    );
}

#[test]
fn an_update_of_dbx_is_told_by_its_entries_and_survived_by_a_profile() {
    let desk = Desk::new();
    let old = BootLog::sample(&[Hash::Sha256]).unwrap();
    let mut new = old.clone();
    let list = signature_list(CERT_SHA256, &[&[0xD1; 32], &[0xD2; 32], &[0xD3; 32]]);
    let before = |entry: &LogEntry| {
        entry.pcr == 7
            && entry.data.starts_with(&IMAGE_SECURITY_DATABASE)
            && entry.data.ends_with(&[0xD2; 32])
    };
    let at = new.position(before).unwrap();
    new.entries[at].rewrite(&variable_data(IMAGE_SECURITY_DATABASE, "dbx", &list));
    desk.keep("old.json", &record(booted(&old), &PCRS));
    desk.keep("new.json", &record(booted(&new), &PCRS));
    let difference = desk.json(1, &["profile", "diff", "old.json", "new.json"]);
    let entry = format!("image {}", "d3".repeat(32));
    let change = json!({"what": "variable dbx", "removed": [], "added": [entry]});
    assert_eq!(difference["pcrs"][0]["changes"], json!([change]));
    // The list only grows: what was there before is enough.
    for (recorded, dbx, verdicts) in [
        ("old.json", false, ["granted", "granted"]),
        ("old.json", true, ["granted", "granted"]),
        ("new.json", true, ["dbx_outdated", "granted"]),
    ] {
        let mut arguments = vec!["profile", "record", recorded];
        arguments.extend(dbx.then_some("--dbx"));
        desk.configure(&desk.table(0, &arguments));
        let code = i32::from(verdicts != ["granted"; 2]);
        let found = desk.json(
            code,
            &["verify", "old.json", "new.json", "--config", "rules.hcl"],
        );
        assert_eq!(
            [&found[0]["verdict"], &found[1]["verdict"]],
            verdicts,
            "{recorded} {dbx}"
        );
    }
    let both = desk.table(0, &["profile", "record", "old.json", "new.json", "--dbx"]);
    assert!(
        both.contains(&"d2".repeat(32)) && !both.contains(&"d3".repeat(32)),
        "what all have: {both}"
    );
}

#[test]
fn the_locality_of_the_start_explains_pcr_0() {
    let desk = Desk::new();
    let old = BootLog::sample(&[Hash::Sha256]).unwrap();
    let mut new = old.clone();
    let no_action = 3;
    let at = new.position(|entry| entry.kind == no_action).unwrap();
    *new.entries[at].data.last_mut().unwrap() = 4;
    desk.keep("old.json", &record(booted(&old), &PCRS));
    desk.keep("new.json", &record(booted(&new), &PCRS));
    let difference = desk.json(1, &["profile", "diff", "old.json", "new.json"]);
    let pcr = &difference["pcrs"][0];
    assert_eq!((&pcr["pcr"], &pcr["explained"]), (&json!(0), &json!(true)));
    assert_eq!(
        pcr["changes"][0]["what"],
        "locality at which the machine started"
    );
}

#[test]
fn boots_of_other_banks_and_other_pcrs_are_not_mixed() {
    let desk = desk();
    let mut strong = captured("good");
    strong.pcrs.remove(0);
    desk.keep("strong.json", &record_in(Hash::Sha384, strong));
    let mixed = ["profile", "record", "good.json", "strong.json"];
    let failure = desk.failure(2, &mixed);
    assert_eq!(
        failure["message"],
        "the records are of several PCR banks; --bank chooses one of them"
    );
    let failure = desk.failure(1, &[&mixed[..], &["--bank", "sha256"]].concat());
    assert_eq!(failure["reason"], "pcr_selection");
    let failure = desk.failure(2, &["profile", "diff", "good.json", "strong.json"]);
    assert_eq!(failure["message"], "the boots have no PCR bank in common");
    let block = desk.table(0, &["profile", "record", "strong.json"]);
    assert!(
        block.contains("# Needs pcr_bank = \"sha384\".\n"),
        "{block}"
    );
    desk.configure(&format!("pcr_bank = \"sha384\"\n{block}"));
    desk.table(0, &["verify", "strong.json", "--config", "rules.hcl"]);

    desk.keep("more.json", &record(captured("good"), &[0, 17]));
    let difference = desk.json(0, &["profile", "diff", "good.json", "more.json"]);
    assert_eq!(difference["incomparable"], json!([15, 17]));
    let table = desk.table(0, &["profile", "diff", "good.json", "more.json"]);
    assert!(
        table.contains("\nnot known of both: PCRs 15, 17\n"),
        "{table}"
    );
}

#[test]
fn a_recorded_profile_is_good_for_what_it_was_recorded_from_and_for_nothing_else() {
    let desk = desk();
    let block = desk.table(
        0,
        &[
            "profile",
            "record",
            "good.json",
            "updated.json",
            "--name",
            "production",
        ],
    );
    same("profile.hcl", &block);
    assert_eq!(
        block,
        desk.table(
            0,
            &[
                "profile",
                "record",
                "good.json",
                "updated.json",
                "--name",
                "production"
            ]
        )
    );
    desk.configure(&block);
    let checked = desk.json(0, &["policy", "check", "--config", "rules.hcl"]);
    assert_eq!(checked["problems"], json!([]));
    let requires = json!([
        "legacy_agents",
        "secure_boot",
        "db",
        "authorities",
        "boot_images",
        "command_line",
        "pcr",
        "pcr",
        "pcr",
        "pcr"
    ]);
    assert_eq!(
        checked["rules"]["profiles"],
        json!([{"profile": "production", "requires": requires}])
    );
    for (boot, verdict) in [
        ("good", "granted"),
        ("updated", "granted"),
        ("changed", "command_line_policy"),
        ("insecure", "secure_boot_disabled"),
    ] {
        let name = format!("{boot}.json");
        let code = i32::from(verdict != "granted");
        let verdicts = desk.json(code, &["verify", &name, "--config", "rules.hcl"]);
        assert_eq!(verdicts[0]["verdict"], verdict, "{boot}");
        let profiles = &verdicts[0]["grant"]["profiles"];
        let expect = if code == 0 {
            json!(["production"])
        } else {
            Value::Null
        };
        assert_eq!(*profiles, expect, "{boot}");
    }
    // In monitor all get an identity, and it is told who would not.
    desk.configure(&format!("mode = \"monitor\"\n{block}"));
    let all = [
        "verify",
        "good.json",
        "changed.json",
        "insecure.json",
        "--config",
        "rules.hcl",
    ];
    let verdicts = desk.json(0, &all);
    let monitored = |index: usize| verdicts[index]["grant"]["monitored"]["reason"].clone();
    assert_eq!(
        [monitored(0), monitored(1), monitored(2)],
        [
            Value::Null,
            json!("command_line_policy"),
            json!("secure_boot_disabled")
        ]
    );
}

#[test]
fn a_recorded_profile_has_what_was_asked_for() {
    let desk = desk();
    let block =
        |rest: &[&str]| desk.table(0, &[&["profile", "record", "good.json"], rest].concat());
    let plain = block(&[]);
    assert!(
        !plain.contains("dbx") && !plain.contains("pcr \"7\""),
        "{plain}"
    );
    assert!(
        block(&["--dbx"]).contains("    # What every dbx has; more may be in it.\n    dbx = [\n")
    );
    let chosen = block(&["--pcrs", "7,14"]);
    for (pcr, there) in [("0", false), ("7", true), ("9", false), ("14", true)] {
        assert_eq!(
            chosen.contains(&format!("pcr \"{pcr}\"")),
            there,
            "{chosen}"
        );
    }
    // Nothing is required of keys that were not in force.
    let insecure = desk.table(0, &["profile", "record", "good.json", "insecure.json"]);
    assert!(
        !insecure.contains("secure_boot = ") && !insecure.contains("db = "),
        "{insecure}"
    );
    assert!(
        insecure.contains("pcr \"7\"") && insecure.contains("boot_images = ["),
        "{insecure}"
    );
    desk.configure(&insecure);
    for boot in ["good.json", "insecure.json"] {
        desk.table(0, &["verify", boot, "--config", "rules.hcl"]);
    }
    let json = desk.json(0, &["profile", "record", "good.json"]);
    assert_eq!(
        (&json["block"], &json["bank"]),
        (&json!(plain), &json!("sha256"))
    );
    assert_eq!(json["boots"], json!(["good.json, 2026-11-24T12:00:00Z"]));
}

#[test]
fn a_profile_of_pcrs_that_were_not_quoted_is_not_made_up() {
    let desk = Desk::new();
    let log = BootLog::sample(&[Hash::Sha256]).unwrap();
    let mut tpm = booted(&log);
    tpm.log = None;
    desk.keep("few.json", &record(tpm, &[0, 7]));
    let block = desk.table(0, &["profile", "record", "few.json"]);
    assert!(
        block.contains(
            "# Nothing about keys and programs: few.json came without a boot event log.\n"
        ),
        "{block}"
    );
    assert!(
        block.contains("# PCR 4 is left out: it was not quoted everywhere.\n"),
        "{block}"
    );
    assert!(
        block.contains("pcr \"7\" {") && !block.contains("pcr \"4\""),
        "{block}"
    );
    let failure = desk.failure(2, &["profile", "record", "few.json", "--pcrs", "9"]);
    assert_eq!(failure["message"], "few.json has no value of PCR 9");
    let failure = desk.failure(1, &["profile", "record", "few.json", "--bank", "sha384"]);
    assert_eq!(failure["reason"], "pcr_selection");
    for pcr in ["10", "16", "23", "24"] {
        assert_eq!(
            desk.failure(2, &["profile", "record", "few.json", "--pcrs", pcr])["reason"],
            "usage"
        );
    }
}

#[test]
fn a_command_line_of_any_characters_can_be_pasted() {
    let desk = Desk::new();
    let line = "/vmlinuz a=\"b c\" d=${e} f=\\g # \u{202E}h";
    let mut log = BootLog::sample(&[Hash::Sha256]).unwrap();
    log.entries.retain(|entry| {
        ![8, 12].contains(&entry.pcr) && !entry.data.ends_with(b"LOADED_IMAGE::LoadOptions\0")
    });
    let end = log
        .position(|entry| entry.pcr == 5 && entry.kind == 0x8000_0007)
        .unwrap();
    let mut text = BootLog::new(&[Hash::Sha256]);
    text.ipl(8, "kernel_cmdline: ", line);
    log.entries.splice(end..end, text.entries);
    desk.keep("odd.json", &record(booted(&log), &PCRS));
    let block = desk.table(0, &["profile", "record", "odd.json"]);
    assert!(block.is_ascii(), "{block}");
    desk.configure(&block);
    desk.table(0, &["verify", "odd.json", "--config", "rules.hcl"]);
    assert!(block.contains("command_line {"), "{block}");
}
