//! Benchmarks of the built plugins, small ones: what is counted, not how long it takes.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::software_tpm::{SoftwareTpm, tool};
use crate::{error, good_json};

/// A plugin of this workspace, built beside the tool.
fn plugin(name: &str) -> String {
    let path = Path::new(env!("CARGO_BIN_EXE_tpm-attestor")).with_file_name(name);
    assert!(path.is_file(), "{} is not built", path.display());
    path.display().to_string()
}

/// Few machines, whose keys are quickly made, on whatever CPUs there are.
fn server(more: &[&str]) -> Output {
    let plugin = plugin("tpm-attestor-server");
    let few = [
        ("--plugin", plugin.as_str()),
        ("--identities", "8"),
        ("--attestations", "20"),
        ("--warm-up", "2"),
        ("--streams", "2"),
        ("--ca-key", "ecc"),
        ("--ek", "ecc"),
    ];
    bench("server", &few, more)
}

fn agent(device: &str, more: &[&str]) -> Output {
    let plugin = plugin("tpm-attestor-agent");
    let few = [
        ("--plugin", plugin.as_str()),
        ("--attestations", "5"),
        ("--device", device),
    ];
    bench("agent", &few, more)
}

fn eventlog(logs: &[&str]) -> Output {
    let few = [
        "bench",
        "eventlog",
        "-o",
        "json",
        "--runs",
        "2",
        "--repetitions",
        "10",
        "--driver-core",
        "any",
    ];
    tool(&[&few, logs].concat())
}

/// A log that a real firmware wrote.
fn boot(name: &str) -> String {
    let boots = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/boots");
    format!("{boots}/{name}/eventlog.bin")
}

/// Options that are given `more` take the place of those that are not.
fn bench(command: &str, few: &[(&str, &str)], more: &[&str]) -> Output {
    let any = [
        ("--runs", "2"),
        ("--plugin-core", "any"),
        ("--driver-core", "any"),
    ];
    let defaults = few.iter().chain(&any);
    let defaults = defaults.filter(|(option, _)| !more.contains(option));
    let mut arguments = vec!["bench", command, "-o", "json"];
    arguments.extend(defaults.flat_map(|(option, value)| [*option, *value]));
    arguments.extend(more);
    tool(&arguments)
}

/// The exit code, and the reason on stderr.
fn bad(output: &Output) -> (Option<i32>, String) {
    let error = error(output);
    let reason = error.get("reason").and_then(Value::as_str).unwrap();
    (output.status.code(), reason.to_owned())
}

fn is_positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number > 0.0)
}

#[test]
fn every_setting_of_a_server_is_measured_as_often_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let report = good_json(&server(&[
        "--streams",
        "1,8",
        "--ca-files",
        "1,3",
        "--json",
        &file.display().to_string(),
    ]));
    let settings = report["settings"].as_array().unwrap();
    let names = |setting: &Value| json!([setting["mode"], setting["ca_files"], setting["streams"]]);
    assert_eq!(
        settings.iter().map(names).collect::<Vec<_>>(),
        [
            json!(["hash", 0, 1]),
            json!(["hash", 0, 8]),
            json!(["ca", 1, 1]),
            json!(["ca", 1, 8]),
            json!(["ca", 3, 1]),
            json!(["ca", 3, 8]),
        ]
    );
    for setting in settings {
        let runs = setting["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 2);
        for run in runs.iter().chain([&setting["median"]]) {
            assert_eq!(run["failures"], json!({}));
            for figure in ["cpu_us", "per_second", "handshake_us", "configured_us"] {
                assert!(is_positive(&run[figure]), "{figure}: {run}");
            }
            assert!(run["latency_us"]["p99"].as_f64() >= run["latency_us"]["p50"].as_f64());
            assert!(run["configured_us"].as_f64() > run["handshake_us"].as_f64());
            assert!(is_positive(&run["memory_idle_kib"]["resident"]));
            assert!(run.get("beside").is_none());
        }
    }
    assert_eq!(report["load"]["ek"], "p-256");
    let written = std::fs::read(file).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), report);
}

#[test]
fn agents_of_the_first_generation_attest_with_rsa_keys_that_are_kept() {
    let cache = tempfile::tempdir().unwrap();
    let path = cache.path().display().to_string();
    let arguments = [
        "--wire",
        "first",
        "--ek",
        "rsa",
        "--streams",
        "2",
        "--ca-files",
        "2",
        "--cache",
        &path,
    ];
    let report = good_json(&server(&arguments));
    assert_eq!(report["load"]["ak"], "rsa");
    assert_eq!(report["load"]["ek"], "rsa-2048");
    let keys = |name: &str| {
        let text = std::fs::read_to_string(cache.path().join(name)).unwrap();
        text.matches("BEGIN PRIVATE KEY").count()
    };
    let counts = ["ek-rsa-2048.pem", "ak-rsa-2048.pem", "ca-p-256.pem"].map(keys);
    assert_eq!(counts, [8, 8, 2]);
}

#[test]
fn honest_machines_are_measured_beside_idle_and_hostile_streams() {
    let report = good_json(&server(&[
        "--mode",
        "ca",
        "--ca-files",
        "2",
        "--streams",
        "4",
        "--idle",
        "20",
        "--hostile",
        "7",
        "--attestations",
        "100",
    ]));
    let runs = report["settings"][0]["runs"].as_array().unwrap();
    for run in runs {
        let beside = &run["beside"];
        assert_eq!(
            (&beside["idle"], &beside["granted"], &beside["failures"]),
            (&json!(20), &json!(0), &json!({}))
        );
        assert!(is_positive(&beside["latency_us"]["p50"]));
        assert!(is_positive(&beside["memory_kib"]["resident"]));
        let attacks = beside["attacks"].as_object().unwrap();
        assert_eq!(attacks.len(), 7, "{attacks:?}");
        for (attack, answer) in [
            ("noise", "malformed_payload"),
            ("nested JSON", "malformed_payload"),
            ("oversize payload", "payload_too_large"),
            ("maze of certificates", "untrusted_chain"),
            ("forged proof", "proof_mismatch"),
            ("oversize response", "response_too_large"),
            ("cancelled", "challenged"),
        ] {
            let answers = attacks[attack].as_object().unwrap();
            assert!(answers.values().all(is_positive));
            assert!(
                answers.keys().all(|key| key.contains(answer)),
                "{attack}: {answers:?}"
            );
        }
    }
}

#[test]
fn a_rate_is_kept_to() {
    let report = good_json(&server(&["--mode", "hash", "--rate", "50", "--runs", "1"]));
    let per_second = report["settings"][0]["median"]["per_second"].as_f64();
    // The first of each stream begin at once.
    assert!(per_second.is_some_and(|rate| rate < 60.0), "{per_second:?}");
}

#[test]
fn a_refusal_is_a_failure_and_bad() {
    let output = server(&[
        "--wire",
        "first",
        "--mode",
        "hash",
        "--ak",
        "ecc",
        "--streams",
        "3",
        "--config",
        "legacy_agents = \"deny\"",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let failures = report["settings"][0]["median"]["failures"]
        .as_object()
        .unwrap();
    assert_eq!(failures.len(), 1);
    let (reason, count) = failures.iter().next().unwrap();
    assert!(reason.contains("policy_requires_quote"), "{reason}");
    // Of both runs.
    assert_eq!(*count, 40);
}

/// Secure Boot can only be known of a machine whose log leads to the PCRs that it quotes.
#[test]
fn machines_with_a_boot_event_log_are_measured_beside_those_without() {
    let captured = boot("grub");
    let file = format!("--event-log={captured}");
    let captured = std::fs::metadata(&captured).unwrap().len();
    for (option, mode, sizes) in [
        ("--event-log", "hash", 60_000..61_000),
        (&file, "ca", captured..captured + 1),
    ] {
        let output = server(&[
            option,
            "--mode",
            mode,
            "--ca-files",
            "2",
            "--config",
            "profile \"proved\" { secure_boot = true }",
        ]);
        // The machines without a log are refused.
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let [without, sent, known] = report["settings"].as_array().unwrap().as_slice() else {
            panic!("{report}")
        };
        for (setting, log) in [(without, "absent"), (sent, "sent"), (known, "known")] {
            assert_eq!(
                (&setting["mode"], &setting["log"]),
                (&json!(mode), &json!(log))
            );
            assert_eq!(setting["runs"].as_array().unwrap().len(), 2);
        }
        assert_eq!(without["log_bytes"], 0);
        assert_eq!(
            failures(without),
            [("PermissionDenied: eventlog_missing".to_owned(), 40)]
        );
        for with in [sent, known] {
            assert!(
                sizes.contains(&with["log_bytes"].as_u64().unwrap()),
                "{with}"
            );
            // That a log travelled which should not have, or did not, would be among them.
            assert_eq!(failures(with), []);
            assert!(is_positive(&with["median"]["cpu_us"]));
        }
    }
}

/// What a log costs is not measured by attestations without one.
#[test]
fn a_log_that_travels_otherwise_than_it_should_is_a_failure() {
    let records = tempfile::tempdir().unwrap();
    let kept = format!("evidence_path = {:?}", records.path());
    let (unwanted, unknown) = (
        "the server did not want the log",
        "the server did not know the log",
    );
    for (configuration, sent, known) in [
        // Records are to be whole.
        (kept.as_str(), None, Some(unknown)),
        ("event_log = \"never\"", Some(unwanted), Some(unknown)),
    ] {
        let output = server(&[
            "--event-log",
            "--mode",
            "hash",
            "--config",
            configuration,
            "--runs",
            "1",
        ]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let expected = [None, sent, known].map(|reason| {
            let reason = reason.map(|reason| (reason.to_owned(), 20));
            reason.into_iter().collect::<Vec<_>>()
        });
        let settings = report["settings"].as_array().unwrap();
        assert_eq!(
            settings.iter().map(failures).collect::<Vec<_>>(),
            expected,
            "{configuration}"
        );
    }
}

#[test]
fn machines_with_svid_keys_are_measured_beside_those_without() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store").display().to_string();
    for more in [&[][..], &["--store", &store]] {
        let arguments = [&["--svid-keys", "2", "--mode", "hash"], more].concat();
        let report = good_json(&server(&arguments));
        let [without, with] = report["settings"].as_array().unwrap().as_slice() else {
            panic!("{report}")
        };
        assert_eq!(
            (&without["svid_keys"], &with["svid_keys"]),
            (&json!(0), &json!(2))
        );
        // That a key was not certified would be among them.
        assert_eq!((failures(without), failures(with)), (vec![], vec![]));
        assert_eq!(report["load"]["store"], "SQLite");
    }
    assert!(Path::new(&store).is_file());
    let refused = bad(&server(&["--svid-keys", "1", "--wire", "first"]));
    assert_eq!(refused, (Some(2), "usage".to_owned()));
}

#[test]
fn keys_are_made_used_and_certified_while_the_commands_are_counted() {
    let tpm = SoftwareTpm::certified();
    let plugin = plugin("tpm-attestor-agent");
    let address = tpm.address();
    let few = [
        ("--plugin", plugin.as_str()),
        ("--device", &address),
        ("--signatures", "7"),
        ("--rotations", "4"),
        ("--attestations", "3"),
    ];
    let report = good_json(&bench("keys", &few, &[]));
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs.iter().chain([&report["median"]]) {
        assert_eq!(
            (&run["failures"], &run["certified"]),
            (&json!({}), &json!(2))
        );
        assert!(is_positive(&run["first_us"]));
        for call in ["signature", "rotation", "attestation"] {
            for figure in ["latency_us", "tpm_us", "outside_us"] {
                assert!(is_positive(&run[call][figure]["p50"]), "{call}: {run}");
            }
        }
        // A loaded key signs with one command; a rotation costs one key, and a certification for each of both.
        assert_eq!(run["signature"]["commands"], json!({"TPM2_Sign": 1.0}));
        let rotation = &run["rotation"]["commands"];
        assert_eq!(
            (&rotation["TPM2_Create"], &rotation["TPM2_Certify"]),
            (&json!(1.0), &Value::Null)
        );
        let attestation = &run["attestation"]["commands"];
        assert_eq!(
            (&attestation["TPM2_Certify"], &attestation["TPM2_Create"]),
            (&json!(2.0), &Value::Null)
        );
    }
    assert_eq!(tpm.handles(0x8000_0000), 0);
    let output = bench("keys", &few, &["--config", "no_such_key = 1"]);
    assert_eq!(bad(&output), (Some(3), "plugin_failed".to_owned()));
}

#[test]
fn a_store_is_measured_with_all_its_machines() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store").display().to_string();
    let few = [
        "bench",
        "store",
        "-o",
        "json",
        "--runs",
        "2",
        "--machines",
        "30",
        "--operations",
        "50",
    ];
    let report = good_json(&tool(&few));
    assert_eq!(report["store"], "SQLite");
    assert_eq!(report["runs"].as_array().unwrap().len(), 2);
    for run in [&report["median"], &report["runs"][0], &report["runs"][1]] {
        let p50 = |step: &str| run[step]["p50"].as_f64().unwrap();
        let steps = ["lookup_us", "record_us", "match_us"].map(p50);
        assert!(steps.iter().all(|step| *step > 0.0), "{run}");
        // Medians do not add up exactly.
        assert!(steps.iter().all(|step| *step < p50("together_us")), "{run}");
    }
    assert!(is_positive(&report["bytes_per_machine"]));
    // A store that is named is used, and again with other machines.
    for _ in 0..2 {
        good_json(&tool(&[&few[..], &["--store", &file]].concat()));
    }
    assert!(Path::new(&file).is_file());
    for (more, code, reason) in [
        (&["--store", "relative"][..], 2, "bad_store"),
        (
            &["--store", "postgres://u@127.0.0.1:1/d"],
            3,
            "database_unavailable",
        ),
    ] {
        let output = tool(&[&few[..], more].concat());
        assert_eq!(bad(&output), (Some(code), reason.to_owned()));
    }
}

/// Reasons up to the sentence, and how often.
fn failures(setting: &Value) -> Vec<(String, u64)> {
    let failures = setting.pointer("/median/failures");
    let failures = failures
        .and_then(Value::as_object)
        .unwrap()
        .iter()
        .map(|(reason, count)| {
            let code: Vec<_> = reason.split(": ").take(2).collect();
            (code.join(": "), count.as_u64().unwrap())
        });
    failures.collect()
}

#[test]
fn logs_are_judged_and_timed() {
    let captured = boot("grub");
    let report = good_json(&eventlog(&["made", &captured]));
    let [made, grub] = report["logs"].as_array().unwrap().as_slice() else {
        panic!("{report}")
    };
    for log in [made, grub] {
        assert_eq!(
            (&log["bank"], &log["refused"]),
            (&json!("sha256"), &Value::Null)
        );
        for figure in ["parse_us", "appraise_us", "judge_us"] {
            assert!(is_positive(&log[figure]), "{figure}: {log}");
        }
    }
    assert_eq!(made["file"], Value::Null);
    assert_eq!(grub["file"], captured);
    assert_eq!(grub["events"], 47);
    assert_eq!(good_json(&eventlog(&[]))["logs"][0]["bytes"], made["bytes"]);
}

/// Times of a log that is refused at once are not what a log costs.
#[test]
fn a_log_that_is_refused_is_bad() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log");
    let bytes = std::fs::read(boot("grub")).unwrap();
    // The header alone: a whole log, of a machine that measured nothing.
    let header = 32 + usize::from(bytes[28]);
    for (kept, code, field) in [(header, 1, "refused"), (header + 9, 3, "reason")] {
        std::fs::write(&file, &bytes[..kept]).unwrap();
        let output = eventlog(&[&file.display().to_string()]);
        assert_eq!(output.status.code(), Some(code), "{kept}");
        if field == "refused" {
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            let refused = report["logs"][0]["refused"].as_str().unwrap();
            assert!(refused.contains("never extended"), "{refused}");
        } else {
            assert_eq!(bad(&output).1, "bad_event_log");
        }
    }
}

#[test]
fn what_cannot_be_measured_is_told() {
    for (more, code, reason) in [
        (&["--streams", "9"][..], 2, "usage"),
        (&["--ek", "ecc", "--streams", "0"], 2, "usage"),
        (&["--config", "no_such_key = 1"], 3, "plugin_failed"),
        (&["--json", "/absent/directory/file"], 3, "output_failed"),
        (&["--event-log", "--wire", "first"], 2, "usage"),
        // More than a server remembers.
        (
            &["--event-log", "--identities", "1001", "--streams", "1001"],
            2,
            "usage",
        ),
        (&["--event-log=/absent/file"], 3, "file_unreadable"),
        (&["--event-log=/dev/null"], 3, "bad_event_log"),
        (&["--plugin-core", "100000"], 3, "plugin_failed"),
        (&["--driver-core", "100000"], 3, "bench_failed"),
    ] {
        let more = [&["--mode", "hash", "--attestations", "1"], more].concat();
        assert_eq!(
            bad(&server(&more)),
            (Some(code), reason.to_owned()),
            "{more:?}"
        );
    }
}

#[test]
fn an_agent_s_commands_are_counted_and_timed() {
    let tpm = SoftwareTpm::certified();
    let report = good_json(&agent(&tpm.address(), &[]));
    assert_eq!(report["runs"].as_array().unwrap().len(), 2);
    for run in report["runs"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&report["median"]])
    {
        assert_eq!(run["failures"], json!({}));
        let warm = json!({
            "TPM2_ActivateCredential": 1.0,
            "TPM2_PCR_Read": 1.0,
            "TPM2_PolicySecret": 1.0,
            "TPM2_Quote": 1.0,
            "TPM2_StartAuthSession": 1.0,
        });
        assert_eq!(run["warm"]["commands"], warm);
        // The EK is persistent: the AK is all that is made.
        let first = &run["first"]["commands"];
        assert_eq!(first["TPM2_CreatePrimary"], 1, "{first}");
        assert_eq!(first["TPM2_CertifyCreation"], 1, "{first}");
        for split in ["tpm_us", "outside_us", "latency_us"] {
            assert!(is_positive(&run["warm"][split]["p50"]), "{run}");
        }
        assert!(run["first"]["since_start_us"].as_f64() > run["first"]["took_us"].as_f64());
    }
}

#[test]
fn an_agent_is_measured_without_a_look_at_its_commands() {
    let tpm = SoftwareTpm::certified();
    let report = good_json(&agent(
        &tpm.address(),
        &["--direct", "--host-metrics", "off"],
    ));
    let run = &report["median"];
    assert_eq!(
        (&run["warm"]["tpm_us"], &run["warm"]["outside_us"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(run["first"]["commands"], json!({}));
    assert!(is_positive(&run["warm"]["latency_us"]["p50"]) && is_positive(&run["warm"]["cpu_us"]));
    let failed = agent("unix:/absent/tpm", &["--config", "tpm_timeout = \"1s\""]);
    assert_eq!(bad(&failed), (Some(3), "plugin_failed".to_owned()));
}
