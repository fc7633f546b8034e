//! `policy check` and `policy explain`: mistakes with their places, and what would have to change.

use evidence::Hash;
use serde_json::{Value, json};
use softtpm::{BootLog, Generation, Prover};

use crate::recorded::{Desk, booted, record, record_of};

/// A machine whose boot meets and misses requirements of all kinds.
fn desk() -> Desk {
    let desk = Desk::new();
    let log = BootLog::sample_with_option_rom(&[Hash::Sha256]).unwrap();
    let mut tpm = booted(&log);
    tpm.clock.safe = false;
    desk.keep("machine.json", &record(tpm, &[0, 7]));
    desk
}

fn explain(desk: &Desk, code: i32, rules: &str) -> Value {
    desk.configure(rules);
    desk.json(
        code,
        &["policy", "explain", "machine.json", "--config", "rules.hcl"],
    )
}

#[test]
fn each_requirement_says_what_would_have_to_change() {
    let desk = desk();
    let zeros = "00".repeat(32);
    let db = desk.json(0, &["inspect", "evidence", "machine.json"]);
    let claims = &db["log"]["claims"];
    let fingerprint = claims["db"][0]["fingerprint"].as_str().unwrap();
    let image = claims["boot_images"][0]["digest"].as_str().unwrap();
    let pcr = db["pcrs"][7]["value"].as_str().unwrap();
    let nine = db["pcrs"][9]["value"].as_str().unwrap();
    for (rule, reason, part) in [
        (
            "clock_safe = true",
            "clock_unsafe",
            "Reboot the machine orderly",
        ),
        (
            "firmware \"any\" { to = \"1.0\" }",
            "firmware_denied",
            "add firmware \"any\" { from = \"8217.4131.22.13878\" to = \"8217.4131.22.13878\" }",
        ),
        (
            "pcr \"7\" { values = [\"ZERO\"] }",
            "pcr_policy",
            &format!("add \"{pcr}\" to the values of pcr \"7\""),
        ),
        (
            "pcr \"15\" { values = [\"ZERO\"] }",
            "pcr_policy",
            "the server did not ask for this PCR then",
        ),
        (
            "db = [\"ZERO\"]",
            "db_unexpected",
            &format!("\"{fingerprint}\""),
        ),
        ("dbx = [\"ZERO\"]", "dbx_outdated", "Update dbx"),
        (
            "authorities = [\"ZERO\"]",
            "authority_unexpected",
            "or boot what an approved key has signed",
        ),
        (
            "boot_images = [\"ZERO\"]",
            "boot_image_unexpected",
            &format!("\"{image}\""),
        ),
        (
            "pcr \"9\" { values = [\"NINE\"] } command_line { allow = [\"ro\"] }",
            "command_line_policy",
            "add \"/vmlinuz root=/dev/vda2 ro\", \"root=/dev/vda2 ro quiet\" to allow in command_line",
        ),
        (
            "pcr \"9\" { values = [\"NINE\"] } command_line { forbid = [\"ro\"] }",
            "command_line_policy",
            "`require` and `forbid` in command_line",
        ),
        (
            "option_roms = \"deny\"",
            "driver_policy",
            "Disable option ROMs",
        ),
    ] {
        let rule = rule
            .replace("ZERO", &zeros)
            .replace("NINE", nine)
            .replace(" command_line", "\ncommand_line");
        let explained = explain(&desk, 1, &format!("profile \"p\" {{\n{rule}\n}}"));
        assert_eq!(explained["verdict"], reason, "{rule}");
        assert_eq!(explained["decided_by"], "no profile matches", "{rule}");
        assert_eq!(explained["remedy"], Value::Null, "{rule}");
        let profile = &explained["profiles"][0];
        assert_eq!(
            (&profile["profile"], &profile["matches"]),
            (&json!("p"), &json!(false))
        );
        let requirements = profile["requirements"].as_array().unwrap();
        let unmet: Vec<_> = requirements
            .iter()
            .filter(|each| each["met"] == false)
            .collect();
        assert_eq!(
            (unmet.len(), &unmet[0]["reason"]),
            (1, &json!(reason)),
            "{rule}"
        );
        let change = unmet[0]["change"].as_str().unwrap();
        assert!(change.contains(part), "{rule}: {change}");
    }
}

#[test]
fn what_is_suggested_helps() {
    let desk = desk();
    let zeros = "00".repeat(32);
    for key in ["db", "authorities", "boot_images", "pcr"] {
        let rule = |values: &str| match key {
            "pcr" => format!("profile \"p\" {{ pcr \"7\" {{ values = [{values}] }} }}"),
            _ => format!("profile \"p\" {{ {key} = [{values}] }}"),
        };
        let explained = explain(&desk, 1, &rule(&format!("\"{zeros}\"")));
        let requirements = explained["profiles"][0]["requirements"].as_array().unwrap();
        let unmet = requirements
            .iter()
            .find(|each| each["met"] == false)
            .unwrap();
        let change = unmet["change"].as_str().unwrap();
        let values = change.strip_prefix("add ").unwrap();
        let end = values
            .rfind('"')
            .filter(|_| key != "pcr")
            .map_or(66, |end| end + 1);
        explain(&desk, 0, &rule(values.get(..end).unwrap()));
    }
}

#[test]
fn the_rule_that_decided_is_named() {
    let desk = desk();
    let (good, bad) = ("secure_boot = true", "clock_safe = true");
    for (rules, code, decided) in [
        (String::new(), 0, "no profile: every state is accepted"),
        (
            format!(
                "profile \"a\" {{ {bad} }}\nprofile \"b\" {{ {good} }}\nprofile \"c\" {{ {good} }}"
            ),
            0,
            "profile \"b\", the first that matches",
        ),
        (
            format!(
                "profile_match = \"all\"\nprofile \"a\" {{ {bad} }}\nprofile \"b\" {{ {good} }}"
            ),
            1,
            "every profile has to match, and these do not: a",
        ),
        (
            format!("profile_match = \"all\"\nprofile \"b\" {{ {good} }}"),
            0,
            "every profile matches",
        ),
        (
            format!("mode = \"monitor\"\nprofile \"a\" {{ {bad} }}"),
            0,
            "no profile matches; mode = \"monitor\" accepts it all the same",
        ),
        (
            format!(
                "vulnerable_tpms = \"reject\"\nadvisory \"site-1\" {{ from = \"8217\" to = \"8217\" source = \"a\" }}\n\
                 profile \"b\" {{ {good} }}"
            ),
            1,
            "vulnerable_tpms: the firmware is in site-1",
        ),
    ] {
        let explained = explain(&desk, code, &rules);
        assert_eq!(explained["decided_by"], decided, "{rules}");
    }
    let explained = explain(
        &desk,
        0,
        "advisory \"site-1\" { from = \"8217\" to = \"8217\" source = \"a\" }",
    );
    assert_eq!(explained["advisories"], json!(["site-1"]));
    assert_eq!(explained["grant"]["advisories"], json!(["site-1"]));
}

#[test]
fn what_decides_before_the_state_is_named_with_its_remedy() {
    let desk = desk();
    desk.configure("profile \"a\" { secure_boot = true }");
    let arguments = ["policy", "explain", "machine.json", "--config", "rules.hcl"];
    let explained = desk.json(1, &[&arguments[..], &["--not-enrolled"]].concat());
    assert_eq!(explained["verdict"], "ek_not_allowed");
    assert_eq!(
        explained["decided_by"],
        "whom the server trusts: the machine's state was not looked at"
    );
    assert!(explained["remedy"].as_str().unwrap().contains("hash_path"));
    assert_eq!(
        explained["profiles"][0]["matches"], true,
        "it is judged all the same"
    );

    let mut old = Prover::new(
        booted(&BootLog::sample(&[Hash::Sha256]).unwrap()),
        "example.org",
    );
    old.generation = Generation::First;
    desk.keep("machine.json", &record_of(&mut old, &[0]));
    let explained = desk.json(1, &arguments);
    assert_eq!(explained["verdict"], "policy_requires_quote");
    let requirements = &explained["profiles"][0]["requirements"];
    assert_eq!(requirements[0]["requirement"], "legacy_agents");
    assert!(
        requirements[0]["change"]
            .as_str()
            .unwrap()
            .starts_with("upgrade the agent")
    );
    let explained = explain(&desk, 1, "legacy_agents = \"deny\"");
    assert_eq!(
        explained["decided_by"],
        "the exchange itself: it proves no machine to these rules"
    );
}

#[test]
fn an_explanation_is_a_table_for_people() {
    let desk = desk();
    desk.configure("profile \"a\" {\nsecure_boot = true\nclock_safe = true\n}");
    let table = desk.table(
        1,
        &["policy", "explain", "machine.json", "--config", "rules.hcl"],
    );
    for part in [
        "\nverdict    clock_unsafe\n",
        "\ndecided by no profile matches\n",
        "\nPROFILE  REQUIREMENT    ",
        "\na        legacy_agents  met\n",
        "\na        clock_safe     not met  clock_unsafe: the TPM's clock may have gone back\n",
        "\n                                 → Reboot the machine orderly; ",
        "\na        secure_boot    met\n",
    ] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
}

#[test]
fn mistakes_have_their_places() {
    let desk = Desk::new();
    desk.configure(
        "profile \"a\" {\n    pcr \"10\" { values = [\"00\"] }\n    secure_bot = true\n}\n",
    );
    let checked = desk.json(1, &["policy", "check", "--config", "rules.hcl"]);
    let problems = checked["problems"].as_array().unwrap();
    let places: Vec<_> = problems
        .iter()
        .map(|problem| {
            (
                problem["line"].as_u64().unwrap(),
                problem["column"].as_u64().unwrap(),
            )
        })
        .collect();
    assert!(places.contains(&(3, 9)), "PCR 10: {problems:?}");
    assert!(places.contains(&(4, 5)), "the unknown key: {problems:?}");
    assert!(places.is_sorted(), "{places:?}");
    let table = desk.table(1, &["policy", "check", "--config", "rules.hcl"]);
    assert!(
        table
            .contains("rules.hcl:4:5: unknown key \"secure_bot\"; did you mean \"secure_boot\"?\n"),
        "{table}"
    );
    // The other commands do not judge by half a configuration.
    let machine = record(booted(&BootLog::sample(&[Hash::Sha256]).unwrap()), &[0]);
    desk.keep("machine.json", &machine);
    for command in [&["verify"][..], &["policy", "explain"]] {
        let arguments = [command, &["machine.json", "--config", "rules.hcl"]].concat();
        let failure = desk.failure(2, &arguments);
        assert_eq!(failure["reason"], "bad_configuration");
        assert!(
            failure["message"]
                .as_str()
                .unwrap()
                .starts_with("rules.hcl:3:9: "),
            "{failure}"
        );
    }
    let absent = desk.failure(3, &["policy", "check", "--config", "absent.hcl"]);
    assert_eq!(absent["reason"], "file_unreadable");
}

#[test]
fn a_sound_configuration_is_summed_up() {
    let desk = Desk::new();
    desk.write("hashes/notes", "");
    desk.configure(
        "pcrs = [0]\nprofile \"a\" {\n  pcr \"7\" { values = [\"VALUE\"] }\n}\n"
            .replace("VALUE", &"ab".repeat(32))
            .as_str(),
    );
    let checked = desk.json(0, &["policy", "check", "--config", "rules.hcl"]);
    assert_eq!(
        checked["warnings"],
        json!(["hash_path: \"notes\" is no EK's hash"])
    );
    assert_eq!(checked["rules"]["pcrs"], json!([0, 7]));
    let table = desk.table(0, &["policy", "check", "--config", "rules.hcl"]);
    for part in [
        "warning: hash_path: \"notes\" is no EK's hash\n",
        "\nquoted         sha256 PCRs 0, 7\n",
        "\nstore          none: nothing is kept of machines\n",
        "\nsvid_keys      observe\n",
        "\nPROFILE  REQUIRES\na        legacy_agents, pcr\n",
    ] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    desk.configure("");
    let table = desk.table(0, &["policy", "check", "--config", "rules.hcl"]);
    assert!(
        table.ends_with("\nno profiles: every state is accepted\n"),
        "{table}"
    );
}

#[test]
fn what_is_kept_of_machines_is_summed_up_and_its_slips_have_places() {
    let desk = Desk::new();
    let check = ["policy", "check", "--config", "rules.hcl"];
    desk.configure(
        "store = \"postgres://tpm:${DB_PASSWORD}@db.example.org/spire\"\nsvid_keys = \"require\"\n\
         tpm_clear = \"quarantine\"\nunexpected_reset = \"refuse\"\n",
    );
    let rules = &desk.json(0, &check)["rules"];
    for (key, value) in [
        ("store", "postgres://tpm@db.example.org:5432/spire"),
        ("svid_keys", "require"),
        ("tpm_clear", "quarantine"),
        ("ak_change", "accept"),
        ("unexpected_reset", "refuse"),
    ] {
        assert_eq!(rules[key], value);
    }
    let table = desk.table(0, &check);
    assert!(table.contains("\nunexpected_reset  refuse\n"), "{table}");
    assert!(
        table.contains("\nsvid_keys         require: the CredentialComposer of "),
        "{table}"
    );
    for (text, place) in [
        ("store = \"relative\"\n", "2:9: store "),
        ("svid_keys = \"require\"\n", "2:13: svid_keys = "),
        ("tpm_clear = \"accept\"\nstore = 1\n", "3:9: "),
        (
            "store = \"/absent/store\"\nno_such_key = 1\n",
            "2:9: store ",
        ),
    ] {
        desk.configure(text);
        let table = desk.table(1, &check);
        assert!(
            table.contains(&format!("rules.hcl:{place}")),
            "{text}: {table}"
        );
    }
    // Both slips of the last one.
    assert!(desk.table(1, &check).contains("rules.hcl:3:1: unknown key"));
}
