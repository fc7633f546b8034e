//! Profiles: every key takes effect, in every form that SPIRE passes on.

use evidence::Hash;
use verify::{Profile, Requirement};

use crate::SCHEMA;
use crate::profiles::profiles;
use crate::requirements::Given;

pub(crate) const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbBB";

/// `A` and `B` in quotation marks are two SHA-256s.
pub(crate) fn read(text: &str, given: Given) -> Result<Vec<Profile>, Vec<String>> {
    let text = text
        .replace("\"A\"", &format!("\"{A}\""))
        .replace("\"B\"", &format!("\"{B}\""));
    let (values, mut problems) = SCHEMA.read(&text);
    let profiles = profiles(&values, given, &mut problems);
    problems.sort();
    if problems.is_empty() {
        Ok(profiles)
    } else {
        Err(problems.iter().map(ToString::to_string).collect())
    }
}

pub(crate) const GIVEN: Given = Given {
    has_anchors: true,
    bank: Hash::Sha256,
};

/// What a profile with `body` requires, as it is shown for debugging; without the quote, which each requires.
fn required(body: &str) -> Vec<String> {
    let profiles = read(&format!("profile \"p\" {{\n{body}\n}}"), GIVEN).expect(body);
    assert_eq!(profiles.len(), 1, "{body}");
    shown(&profiles[0])
}

fn shown(profile: &Profile) -> Vec<String> {
    let (quote, others): (Vec<_>, Vec<_>) = profile
        .requirements
        .iter()
        .partition(|requirement| **requirement == Requirement::Quote);
    assert_eq!(quote.len(), 1, "{profile:?}");
    others.iter().map(|each| brief(each)).collect()
}

/// A requirement in few characters.
fn brief(requirement: &Requirement) -> String {
    let first = |digests: Vec<String>| {
        digests
            .iter()
            .map(|text| text.chars().take(2).collect())
            .collect()
    };
    let join = |mut words: Vec<String>| {
        words.insert(0, requirement.name().to_owned());
        words.join(" ")
    };
    join(match requirement {
        Requirement::Vendors(vendors) => vendors.iter().map(ToString::to_string).collect(),
        Requirement::Kinds(kinds) => kinds.iter().map(|kind| kind.name().to_owned()).collect(),
        Requirement::Firmware(ranges) => {
            let range = |range: &verify::FirmwareRange| {
                let vendor = range
                    .vendor
                    .map_or("any".to_owned(), |vendor| vendor.to_string());
                format!("{vendor}:{}-{}", range.from, range.to)
            };
            ranges.iter().map(range).collect()
        }
        Requirement::Pcr { pcr, values } => {
            let values = first(values.iter().map(hex::encode).collect());
            [vec![pcr.to_string()], values].concat()
        }
        Requirement::Db(set) | Requirement::Dbx(set) | Requirement::Authorities(set) => {
            first(set.iter().map(hex::encode).collect())
        }
        Requirement::BootImages(set) => first(set.iter().map(hex::encode).collect()),
        Requirement::CommandLine(rule) => {
            vec![format!(
                "{:?}{:?}{:?}",
                rule.allow, rule.require, rule.forbid
            )]
        }
        _ => Vec::new(),
    })
}

#[test]
fn every_key_takes_effect() {
    for (body, expect) in [
        ("ek_cert = true", &["ek_cert"][..]),
        (
            "vendors = [\"STM\", \"IFX\", \"STM\"]",
            &["vendors IFX STM"],
        ),
        (
            "tpm_kinds = [\"virtual\", \"discrete\", \"firmware\"]",
            &["tpm_kinds discrete firmware virtual"],
        ),
        (
            "firmware \"IFX\" { from = \"7.85\" to = \"7.99\" }\nfirmware \"any\" { from = \"9\" }\n\
             firmware \"IFX\" { to = \"3.1.2.4\" }",
            &[
                "firmware IFX:7.85.0.0-7.99.65535.65535 any:9.0.0.0-65535.65535.65535.65535 \
               IFX:0.0.0.0-3.1.2.4",
            ],
        ),
        ("clock_safe = true", &["clock_safe"]),
        (
            "pcr \"7\" { values = [\"B\", \"A\", \"B\"] }\npcr \"0\" { values = [\"A\"] }\n\
             pcr \"17\" { values = [\"A\"] }\npcr \"11\" { values = [\"B\"] }",
            &["pcr 0 aa", "pcr 7 aa bb", "pcr 11 bb", "pcr 17 aa"],
        ),
        ("event_log = true", &["event_log"]),
        ("secure_boot = true", &["secure_boot"]),
        ("db = [\"A\", \"B\"]", &["db aa bb"]),
        ("dbx = [\"A\"]", &["dbx aa"]),
        ("authorities = [\"B\"]", &["authorities bb"]),
        ("boot_images = [\"B\"]", &["boot_images bb"]),
        (
            "pcr \"9\" { values = [\"A\"] }\ncommand_line {\nallow = [\"quiet init=/bin/\\\"\"]\n\
             require = [\"ro\", \"lockdown=integrity\"]\nforbid = [\"init=*\", \"debug\"]\n}",
            &[
                "command_line {\"quiet init=/bin/\\\\u{22}\"}{\"lockdown=integrity\", \"ro\"}{\"debug\", \"init=*\"}",
                "pcr 9 aa",
            ],
        ),
        (
            "pcr \"4\" { values = [\"A\"] }\ncommand_line { forbid = [\"x\"] }",
            &["command_line {}{}{\"x\"}", "pcr 4 aa"],
        ),
        (
            "pcr \"4\" { values = [\"A\"] }\ncommand_line { require = [\"x\"] }",
            &["command_line {}{\"x\"}{}", "pcr 4 aa"],
        ),
        ("option_roms = \"deny\"", &["option_roms"]),
        ("dma_protection = true", &["dma_protection"]),
        ("legacy_agents = \"deny\"", &[]),
        // What is allowed or false requires nothing.
        (
            "clock_safe = true\nek_cert = false\nevent_log = false\nsecure_boot = false\n\
             option_roms = \"allow\"\ndma_protection = false",
            &["clock_safe"],
        ),
    ] {
        assert_eq!(required(body), expect, "{body}");
    }
}

#[test]
fn agents_without_a_quote_match_where_they_may() {
    let text = "profile \"old\" {\nlegacy_agents = \"allow\"\nek_cert = true\nvendors = [\"IFX\"]\n\
                tpm_kinds = [\"discrete\"]\n}";
    let profiles = read(text, GIVEN).unwrap();
    let names: Vec<_> = profiles[0]
        .requirements
        .iter()
        .map(Requirement::name)
        .collect();
    assert_eq!(names, ["ek_cert", "vendors", "tpm_kinds"]);
    for (body, key) in [
        ("clock_safe = true", "clock_safe"),
        ("firmware \"any\" { from = \"7\" }", "firmware"),
        ("pcr \"7\" { values = [\"A\"] }", "pcr"),
        ("event_log = true", "event_log"),
        ("secure_boot = true", "secure_boot"),
        ("db = [\"A\"]", "db"),
        ("dbx = [\"A\"]", "dbx"),
        ("authorities = [\"A\"]", "authorities"),
        ("boot_images = [\"A\"]", "boot_images"),
        ("option_roms = \"deny\"", "option_roms"),
        ("dma_protection = true", "dma_protection"),
    ] {
        let text =
            format!("profile \"p\" {{\nlegacy_agents = \"allow\"\nek_cert = true\n{body}\n}}");
        let expect = format!(
            "2:17: legacy_agents = \"allow\" cannot go with {key}: agents without a quote never meet it"
        );
        assert_eq!(read(&text, GIVEN).unwrap_err(), [expect], "{body}");
    }
}

#[test]
fn profiles_come_in_the_order_of_the_text() {
    let text = "profile \"z\" { ek_cert = true }\nprofile \"a-1.b_c\" { ek_cert = true }\n\
                profile \"m\" { ek_cert = true }";
    let names: Vec<_> = read(text, GIVEN)
        .unwrap()
        .into_iter()
        .map(|profile| profile.name)
        .collect();
    assert_eq!(names, ["z", "a-1.b_c", "m"]);
    let many = |count: usize| -> String {
        let block = |number| format!("profile \"p{number}\" {{ ek_cert = true }}\n");
        (0..count).map(block).collect()
    };
    assert_eq!(read(&many(64), GIVEN).unwrap().len(), 64);
    // Those that are too many are not read.
    let text = many(65).replace("\"p64\" { ek_cert = true }", "\"p64\" {}");
    let problems = read(&text, GIVEN).unwrap_err();
    assert_eq!(problems, ["65:15: there are more than 64 profiles"]);
}

/// JSON as Helm writes it, and what SPIRE's HCL prints for it.
const FORMS: &[(&str, &str)] = &[
    (
        r#"{"profile":{"a":{"pcr":{"7":{"values":["A"]}}}}}"#,
        "\"profile\" \"a\" \"pcr\" \"7\" {\n  \"values\" = [\"A\"]\n}",
    ),
    (
        r#"{"profile":{"a":{"pcr":{"7":{"values":["A"]},"0":{"values":["B"]}}}}}"#,
        "\"profile\" \"a\" \"pcr\" \"7\" {\n  \"values\" = [\"A\"]\n}\n\n\
         \"profile\" \"a\" \"pcr\" \"0\" {\n  \"values\" = [\"B\"]\n}",
    ),
    (
        r#"{"profile":{"a":{"ek_cert":true,"pcr":{"7":{"values":["A"]}}}}}"#,
        "\"profile\" \"a\" {\n  \"ek_cert\" = true\n\n  \"pcr\" \"7\" {\n    \"values\" = [\"A\"]\n  }\n}",
    ),
    (
        r#"{"profile":{"a":{"firmware":{"IFX":{"from":"7"},"any":{"to":"3"}}}}}"#,
        "\"profile\" \"a\" \"firmware\" \"IFX\" {\n  \"from\" = \"7\"\n}\n\n\
         \"profile\" \"a\" \"firmware\" \"any\" {\n  \"to\" = \"3\"\n}",
    ),
    (
        r#"{"profile":{"a":{"clock_safe":true,"firmware":{"IFX":[{"from":"7","to":"7"},{"from":"9"}]}}}}"#,
        "\"profile\" \"a\" {\n  \"clock_safe\" = true\n\n  \"firmware\" = {\n    \"IFX\" = {\n      \"from\" = \"7\"\n\n      \
         \"to\" = \"7\"\n    }\n\n    \"IFX\" = {\n      \"from\" = \"9\"\n    }\n  }\n}",
    ),
    (
        r#"{"profile":{"a":{"pcr":{"4":{"values":["A"]}},"command_line":{"forbid":["x"]}},"b":{"ek_cert":true}}}"#,
        "\"profile\" \"a\" {\n  \"pcr\" \"4\" {\n    \"values\" = [\"A\"]\n  }\n\n  \"command_line\" = {\n    \"forbid\" = [\"x\"]\n  }\n}\n\n\
         \"profile\" \"b\" {\n  \"ek_cert\" = true\n}",
    ),
    (
        r#"{"profile":[{"a":{"ek_cert":true}},{"b":{"clock_safe":true}}]}"#,
        "\"profile\" \"a\" {\n  \"ek_cert\" = true\n}\n\n\"profile\" \"b\" {\n  \"clock_safe\" = true\n}",
    ),
];

#[test]
fn every_form_means_the_same() {
    for (json, printed) in FORMS {
        let (from_json, from_hcl) = (read(json, GIVEN), read(printed, GIVEN));
        assert!(
            from_json
                .as_ref()
                .is_ok_and(|profiles| !profiles.is_empty()),
            "{json}: {from_json:?}"
        );
        assert_eq!(from_json, from_hcl, "{json}");
    }
    let firmware = read(FORMS[4].0, GIVEN).unwrap();
    let expect = "firmware IFX:7.0.0.0-7.65535.65535.65535 IFX:9.0.0.0-65535.65535.65535.65535";
    assert_eq!(shown(&firmware[0]), [expect, "clock_safe"]);
    let pcrs = read(FORMS[1].0, GIVEN).unwrap();
    assert_eq!(shown(&pcrs[0]), ["pcr 0 bb", "pcr 7 aa"]);
}
