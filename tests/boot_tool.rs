//! What the operator's tool makes of the evidence that the server stored of each boot.

use serde_json::Value;
use tests::{Tool, binary};

use crate::boot_machine::{Boot, Boots, Files, boots};

/// The tool's JSON, and whether it ended well.
fn tool(arguments: &[&str]) -> (bool, Value) {
    let arguments = [arguments, &["-o", "json"]].concat();
    let done = Tool::run(binary("tpm-attestor"), &arguments, &[]);
    let parsed = serde_json::from_str(&done.stdout);
    let said = parsed.unwrap_or_else(|error| unreachable!("{arguments:?}: {error}: {done:?}"));
    (done.success, said)
}

/// A server's configuration with this policy, and the anchors that it names.
fn configuration(files: &Files, boots: &Boots, policy: &str) -> String {
    let anchors = files.write("anchors.pem", boots.anchors.as_bytes());
    let text = format!("ca_path = \"{anchors}\"\n{policy}");
    files.write("plugin_data.hcl", text.as_bytes())
}

fn verdict(files: &Files, config: &str, boot: &Boot) -> (bool, Value) {
    let record = files.write("record.json", boot.record.as_bytes());
    let (success, verdicts) = tool(&["verify", "--config", config, &record]);
    (success, verdicts[0].clone())
}

#[test]
fn stored_evidence_gets_the_same_verdict_off_line() {
    let (boots, files) = (boots(), Files::new());
    let config = configuration(&files, boots, &boots.profile);
    for (boot, expect) in [
        (&boots.good, "granted"),
        (&boots.updated, "granted"),
        (&boots.changed, "command_line_policy"),
        (&boots.insecure, "secure_boot_disabled"),
    ] {
        let (success, verdict) = verdict(&files, &config, boot);
        assert_eq!(verdict["verdict"], expect, "{verdict}");
        assert_eq!(verdict["recorded"], expect, "{verdict}");
        assert_eq!(success, expect == "granted", "{verdict}");
    }
}

/// The kernel's word on a PCR, SHA-256.
fn pcr(boot: &Boot, index: u8) -> &str {
    let begin = format!("sha256 {index} ");
    let mut lines = boot.pcrs.lines();
    lines.find_map(|line| line.strip_prefix(&begin)).unwrap()
}

#[test]
fn each_rule_alone_refuses_what_it_is_about() {
    let (boots, files) = (boots(), Files::new());
    let good = |index| {
        let value = pcr(&boots.good, index);
        format!("pcr \"{index}\" {{ values = [\"{value}\"] }}\n")
    };
    // The kernel is the same one: its line is what differs.
    assert_eq!(pcr(&boots.good, 4), pcr(&boots.changed, 4));
    let line = "secure_boot = true\ncommand_line { forbid = [\"init=*\"] }\n";
    for (rules, boot, expect) in [
        (
            line.to_owned() + &good(4),
            &boots.changed,
            "command_line_policy",
        ),
        (good(9), &boots.changed, "pcr_policy"),
        (good(4), &boots.updated, "pcr_policy"),
        (good(7), &boots.insecure, "pcr_policy"),
    ] {
        let profile = format!("profile \"plain\" {{\n{rules}}}\n");
        let config = configuration(&files, boots, &profile);
        let (_, refused) = verdict(&files, &config, boot);
        assert_eq!(refused["verdict"], expect, "{rules}: {refused}");
        let (_, granted) = verdict(&files, &config, &boots.good);
        assert_eq!(granted["verdict"], "granted", "{rules}: {granted}");
    }
}

#[test]
fn the_explanation_names_what_is_not_met() {
    let (boots, files) = (boots(), Files::new());
    let config = configuration(&files, boots, &boots.profile);
    let unmet = |boot: &Boot| {
        let record = files.write("record.json", boot.record.as_bytes());
        let (_, said) = tool(&["policy", "explain", "--config", &config, &record]);
        let requirements = said["profiles"][0]["requirements"].as_array().unwrap();
        let unmet = requirements.iter().filter(|one| one["met"] == false);
        unmet
            .map(|one| one["requirement"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(unmet(&boots.good), Vec::<String>::new());
    let changed = ["command_line", "pcr \"9\"", "pcr \"12\""];
    assert_eq!(unmet(&boots.changed), changed);
    assert_eq!(unmet(&boots.insecure)[0], "secure_boot");
}

#[test]
fn the_difference_between_two_boots_is_explained() {
    let (boots, files) = (boots(), Files::new());
    let good = files.write("good.json", boots.good.record.as_bytes());
    for (boot, expect) in [
        (&boots.good, &[][..]),
        (&boots.updated, &[(4, "program"), (9, "initramfs")]),
        (
            &boots.changed,
            &[
                (9, "kernel command line"),
                (9, "initramfs"),
                (12, "kernel command line"),
            ],
        ),
        (
            &boots.insecure,
            &[(7, "variable SecureBoot"), (7, "variable db")],
        ),
    ] {
        let other = files.write("other.json", boot.record.as_bytes());
        let (same, said) = tool(&["profile", "diff", &good, &other]);
        assert_eq!(same, expect.is_empty(), "{said}");
        let pcrs = said["pcrs"].as_array().unwrap();
        assert!(pcrs.iter().all(|pcr| pcr["explained"] == true), "{said}");
        let found: Vec<_> = pcrs
            .iter()
            .flat_map(|pcr| {
                pcr["changes"].as_array().unwrap().iter().map(|change| {
                    (
                        pcr["pcr"].as_u64().unwrap(),
                        change["what"].as_str().unwrap(),
                    )
                })
            })
            .collect();
        for change in expect {
            assert!(found.contains(change), "{change:?} in {found:?}");
        }
    }
}
