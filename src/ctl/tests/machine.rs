//! Evidence of the machine at hand: what it booted, kept, judged and turned into a profile.

use std::fs;

use evidence::Hash;
use serde_json::{Value, json};
use softtpm::BootLog;

use crate::software_tpm::{SoftwareTpm, tool};
use crate::{error, good, good_json, negative_json, text};

/// A machine that booted the forge's sample, at the locality that the emulator starts at, and its log.
fn booted() -> (SoftwareTpm, BootLog) {
    let tpm = SoftwareTpm::certified();
    let mut log = BootLog::sample(&[Hash::Sha256]).unwrap();
    let no_action = 3;
    log.entries.retain(|entry| entry.kind != no_action);
    tpm.boot(&log);
    (tpm, log)
}

#[test]
fn what_a_machine_proves_is_kept_and_judged_elsewhere() {
    let (tpm, log) = booted();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&directory.path().join(name));
    let (log_file, record, rules) = (path("log"), path("record.json"), path("rules.hcl"));
    fs::write(&log_file, log.encode()).unwrap();
    let address = tpm.address();
    let evidence = [
        "evidence", "-o", "json", "--device", &address, "--log", &log_file,
    ];
    let written = good_json(&tool(&[&evidence[..], &["--out", &record]].concat()));
    assert_eq!(
        (&written["log_holds"], &written["bank"]),
        (&json!(true), &json!("sha256"))
    );
    assert_eq!(written["log_bytes"], log.encode().len());
    // Without a file the record itself is printed.
    let printed = good(&tool(&[
        "evidence", "--device", &address, "--log", &log_file,
    ]));
    assert!(
        printed.starts_with("{\n  \"format\": \"tpm-attestor/record/1\""),
        "{printed}"
    );

    // From here on no TPM is needed.
    drop(tpm);
    let shown = good_json(&tool(&["inspect", "evidence", &record, "-o", "json"]));
    assert_eq!(shown["log"]["claims"]["secure_boot"], true);
    assert_eq!(shown["pcrs"].as_array().unwrap().len(), 21);
    let block = good(&tool(&["profile", "record", &record]));
    fs::create_dir(directory.path().join("hashes")).unwrap();
    fs::write(
        &rules,
        format!("hash_path = \"{}\"\n{block}", path("hashes")),
    )
    .unwrap();
    let verify = ["verify", &record, "--config", &rules, "-o", "json"];
    // No server has said whether it is enrolled: that is looked up.
    let refused = negative_json(&tool(&verify));
    assert_eq!(refused[0]["verdict"], "ek_not_allowed");
    assert_eq!(
        (&refused[0]["recorded"], &refused[0]["same"]),
        (&Value::Null, &Value::Null)
    );
    let hash = written["ek_hash"].as_str().unwrap();
    fs::write(directory.path().join("hashes").join(hash), "").unwrap();
    let granted = good_json(&tool(&verify));
    assert_eq!(granted[0]["enrolment"], "enrolled");
    assert_eq!(granted[0]["grant"]["profiles"], json!(["recorded"]));
}

#[test]
fn a_certificate_in_a_record_is_judged_by_the_configuration() {
    let (tpm, log) = booted();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&directory.path().join(name));
    let (log_file, record, rules) = (path("log"), path("record.json"), path("rules.hcl"));
    fs::write(&log_file, log.encode()).unwrap();
    let address = tpm.address();
    let evidence = [
        "evidence", "--device", &address, "--log", &log_file, "--out", &record,
    ];
    good(&tool(&evidence));
    let configure = |anchors: &str| {
        let profile = "profile \"p\" {\n tpm_kinds = [\"discrete\"]\n vendors = [\"IFX\"]\n}";
        fs::write(&rules, format!("{anchors}\n{profile}\n")).unwrap();
    };
    let explain = [
        "policy", "explain", &record, "--config", &rules, "-o", "json",
    ];
    configure(&format!("ca_path = \"{}\"", text(&tpm.root())));
    let explained = negative_json(&tool(&explain));
    assert_eq!(explained["verdict"], "untrusted_chain");
    configure(&format!(
        "ca_path = \"{}\"\nintermediates_path = \"{}\"",
        text(&tpm.root()),
        text(&tpm.issuer())
    ));
    let explained = negative_json(&tool(&explain));
    assert_eq!(explained["verdict"], "vendor_denied");
    let requirements = explained["profiles"][0]["requirements"].as_array().unwrap();
    let changes: Vec<_> = requirements
        .iter()
        .filter_map(|of| of["change"].as_str())
        .collect();
    assert_eq!(
        changes,
        [
            "add \"id:00001014\" to vendors",
            "add \"virtual\" to tpm_kinds"
        ]
    );
}

#[test]
fn a_profile_is_recorded_from_the_machine_itself() {
    let (tpm, log) = booted();
    let directory = tempfile::tempdir().unwrap();
    let log_file = text(&directory.path().join("log"));
    fs::write(&log_file, log.encode()).unwrap();
    let address = tpm.address();
    let record = ["profile", "record", "--device", &address, "--name", "mine"];
    let block = good(&tool(&[&record[..], &["--log", &log_file]].concat()));
    let pcr = hex::encode(&log.pcrs()[&Hash::Sha256][&9]);
    for part in [
        "# 1. this machine, ",
        "\nprofile \"mine\" {\n    # Secure Boot was on.\n    secure_boot = true\n",
        &format!("pcr \"9\" {{\n        values = [\n            \"{pcr}\",\n"),
    ] {
        assert!(block.contains(part), "no {part:?} in\n{block}");
    }
    // A socket has no log in the kernel.
    let block = good(&tool(&record));
    assert!(
        block.contains("# Nothing about keys and programs: this machine came without "),
        "{block}"
    );
    let absent = tool(&[&record[..], &["--log", "/absent", "-o", "json"]].concat());
    assert_eq!(
        (absent.status.code(), &error(&absent)["reason"]),
        (Some(3), &json!("file_unreadable"))
    );
}

#[test]
fn a_log_of_another_boot_is_kept_and_told_apart() {
    let (tpm, mut log) = booted();
    log.entries.pop();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&directory.path().join(name));
    let (log_file, record) = (path("log"), path("record.json"));
    fs::write(&log_file, log.encode()).unwrap();
    let address = tpm.address();
    let evidence = [
        "evidence", "--device", &address, "--log", &log_file, "--out", &record,
    ];
    let table = good(&tool(&evidence));
    assert!(
        table.contains("\nlog         not believed: eventlog_"),
        "{table}"
    );
    let without = good(&tool(&["evidence", "--device", &address, "--out", &record]));
    assert!(
        without.contains("\nlog         none: the kernel has no boot event log of unix:"),
        "{without}"
    );
    // A bank that the TPM does not have cannot be quoted.
    let sha512 = tool(&[&["-o", "json"], &evidence[..], &["--bank", "sha512"]].concat());
    assert_eq!(
        (sha512.status.code(), &error(&sha512)["reason"]),
        (Some(3), &json!("tpm_failed"))
    );
}
