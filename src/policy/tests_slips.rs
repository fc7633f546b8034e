//! What is wrong with profiles is told at its place, in words, all at once.

use evidence::Hash;

use crate::SCHEMA;
use crate::requirements::Given;
use crate::tests_profiles::{A, GIVEN, read};

/// A body, where its problem is (the body begins at 2:1), and how the message begins or ends.
const SLIPS: &[(&str, &str, &str)] = &[
    (
        "",
        "1:13: ",
        "a profile without requirements would match every machine",
    ),
    (
        "secure_boot = false",
        "1:13: ",
        "a profile without requirements would match every machine",
    ),
    (
        "legacy_agents = \"allow\"",
        "1:13: ",
        "a profile without requirements would match every machine",
    ),
    (
        "option_roms = \"allow\"",
        "1:13: ",
        "a profile without requirements would match every machine",
    ),
    (
        "secure_bot = true",
        "2:1: ",
        "unknown key \"secure_bot\"; did you mean \"secure_boot\"?",
    ),
    (
        "pcrs = [7]",
        "2:1: ",
        "unknown key \"pcrs\"; write a block for each: `pcr \"7\" { values = [\"...\"] }`",
    ),
    (
        "mode = \"monitor\"",
        "2:1: ",
        "unknown key \"mode\"; it stands outside of profiles, for all of them",
    ),
    (
        "secure_boot = \"on\"",
        "2:15: ",
        "\"secure_boot\" must be true or false, not a string; write it without quotes",
    ),
    ("vendors = []", "2:11: ", "vendors must not be empty"),
    (
        "vendors = [\"IFXX\"]",
        "2:12: ",
        "unknown TPM vendor \"IFXX\"; did you mean \"IFX\"?",
    ),
    ("tpm_kinds = []", "2:13: ", "tpm_kinds must not be empty"),
    (
        "tpm_kinds = [\"discreet\"]",
        "2:14: ",
        "unknown kind of TPM \"discreet\"; did you mean \"discrete\"?",
    ),
    (
        "tpm_kinds = [\"chip\"]",
        "2:14: ",
        "unknown kind of TPM \"chip\"; one of discrete, firmware, virtual",
    ),
    (
        "firmware { from = \"7\" }",
        "2:10: ",
        "a firmware block needs a label: a TPM vendor, or \"any\"",
    ),
    (
        "firmware \"ifx\" { from = \"7\" }",
        "2:10: ",
        "unknown TPM vendor \"ifx\"; write \"IFX\": upper and lower case matter",
    ),
    (
        "firmware \"IFX\" {}",
        "2:16: ",
        "from or to is required: without them every version is meant",
    ),
    (
        "firmware \"IFX\" { from = \"v7\" }",
        "2:25: ",
        "a firmware version is one to four numbers such as \"7.85\", not \"v7\"",
    ),
    (
        "firmware \"IFX\" { to = \"7.65536\" }",
        "2:23: ",
        "a firmware version is one to four numbers such as \"7.85\", not \"7.65536\"",
    ),
    (
        "firmware \"IFX\" { from = \"7.9\" to = \"7.8\" }",
        "2:25: ",
        "from is a higher version than to",
    ),
    (
        "pcr { values = [\"A\"] }",
        "2:5: ",
        "a pcr block needs a label: the number of the PCR",
    ),
    ("pcr \"7\" {}", "2:9: ", "a pcr block needs values"),
    (
        "pcr \"7\" { values = [] }",
        "2:20: ",
        "values must not be empty",
    ),
    (
        "pcr \"7\" { value = [\"A\"] }",
        "2:11: ",
        "unknown key \"value\"; write `values`, a list",
    ),
    (
        "pcr \"07\" { values = [\"A\"] }",
        "2:5: ",
        "the label of a pcr block is a number from 0 to 23, not \"07\"",
    ),
    (
        "pcr \"24\" { values = [\"A\"] }",
        "2:5: ",
        "the label of a pcr block is a number from 0 to 23, not \"24\"",
    ),
    (
        "pcr \"+7\" { values = [\"A\"] }",
        "2:5: ",
        "the label of a pcr block is a number from 0 to 23, not \"+7\"",
    ),
    (
        "pcr \"seven\" { values = [\"A\"] }",
        "2:5: ",
        "the label of a pcr block is a number from 0 to 23, not \"seven\"",
    ),
    (
        "pcr \"7\" { values = [\"A\"] }\npcr \"7\" { values = [\"B\"] }",
        "3:5: ",
        "\"7\" is set twice; first at 2:5",
    ),
    (
        "firmware \"IFX\" { form = \"7\" }",
        "2:18: ",
        "unknown key \"form\"; did you mean \"from\"?",
    ),
    (
        "pcr \"9\" { values = [\"A\"] }\ncommand_line { forbit = [\"x\"] }",
        "3:16: ",
        "unknown key \"forbit\"; did you mean \"forbid\"?",
    ),
    (
        "pcr \"7\" { values = [\"A\", \"abc\"] }",
        "2:89: ",
        "an item of values must be a SHA-256 in 64 hex digits, not \"abc\"",
    ),
    ("db = []", "2:6: ", "db must not be empty"),
    (
        "db = [\"x\"]",
        "2:7: ",
        "an item of db must be a SHA-256 in 64 hex digits, not \"x\"",
    ),
    (
        "dbx = [\"ab\"]",
        "2:8: ",
        "an item of dbx must be a SHA-256 in 64 hex digits, not \"ab\"",
    ),
    (
        "authorities = [\"\"]",
        "2:16: ",
        "an item of authorities must be a SHA-256 in 64 hex digits, not \"\"",
    ),
    (
        "boot_images = [\"ab\"]",
        "2:16: ",
        "an item of boot_images must be a SHA-256 in 64 hex digits, not \"ab\"",
    ),
    (
        "pcr \"9\" { values = [\"A\"] }\ncommand_line {}",
        "3:14: ",
        "command_line needs allow, require or forbid",
    ),
    (
        "pcr \"9\" { values = [\"A\"] }\ncommand_line { allow = [] }",
        "3:24: ",
        "allow must not be empty",
    ),
    (
        "pcr \"9\" { values = [\"A\"] }\ncommand_line { require = [\"a b\"] }",
        "3:27: ",
        "require has \"a b\": words are not empty and have no spaces in them",
    ),
    (
        "pcr \"9\" { values = [\"A\"] }\ncommand_line { require = [\"\"] }",
        "3:27: ",
        "require has \"\": words are not empty and have no spaces in them",
    ),
    (
        "pcr \"9\" { values = [\"A\"] }\ncommand_line { forbid = [\"*\"] }",
        "3:26: ",
        "forbid has \"*\": that is every word",
    ),
    (
        "pcr \"9\" { values = [\"A\"] }\ncommand_line { forbid = [\"a b*\"] }",
        "3:26: ",
        "forbid has \"a b*\": words are not empty and have no spaces in them",
    ),
    (
        "pcr \"9\" { values = [\"A\"] }\ncommand_line { allow = [\" quiet\"] }",
        "3:25: ",
        "allow has \" quiet\": no line has spaces around it",
    ),
    (
        "pcr \"9\" { values = [\"A\"] }\ncommand_line { require = [\"a=\\\"b\\\"\"] }",
        "3:27: ",
        "words are compared without quotation marks",
    ),
    (
        "pcr \"9\" { values = [\"A\"] }\ncommand_line { forbid = [\"a\\\\u{22}*\"] }",
        "3:26: ",
        "words are compared without quotation marks",
    ),
    (
        "command_line { forbid = [\"x\"] }",
        "2:14: ",
        "command_line needs pcr \"4\" or pcr \"9\" in the same profile: else a kernel that was started without its loader shows no line",
    ),
    (
        "secure_boot = true\npcr \"7\" { values = [\"A\"] }\nboot_images = [\"A\"]\ncommand_line { forbid = [\"x\"] }",
        "5:14: ",
        "command_line needs pcr \"4\" or pcr \"9\" in the same profile: else a kernel that was started without its loader shows no line",
    ),
    (
        "option_roms = \"refuse\"",
        "2:15: ",
        "\"option_roms\" must be one of \"allow\", \"deny\", not \"refuse\"",
    ),
];

#[test]
fn every_slip_has_its_place_and_its_words() {
    for (body, place, words) in SLIPS {
        let problems = read(&format!("profile \"p\" {{\n{body}\n}}"), GIVEN).expect_err(body);
        assert_eq!(problems.len(), 1, "{body}: {problems:?}");
        assert!(
            problems[0].starts_with(place) && problems[0].ends_with(words),
            "{body}: {problems:?}"
        );
    }
}

#[test]
fn names_are_short_and_plain() {
    let long = "x".repeat(33);
    for name in ["", "Ab", "a b", "\u{e9}", "a/b", long.as_str()] {
        let text = format!("profile \"{name}\" {{ ek_cert = true }}");
        let problems = read(&text, GIVEN).unwrap_err();
        let expect = format!(
            "1:9: the name of a profile is 1 to 32 of a-z 0-9 . _ -, not {}",
            hcl::shown(name)
        );
        assert_eq!(problems, [expect]);
    }
    assert!(
        read(
            &format!("profile \"{}\" {{ ek_cert = true }}", "x".repeat(32)),
            GIVEN
        )
        .is_ok()
    );
    for (text, expect) in [
        (
            "profile { ek_cert = true }",
            "1:9: a profile block needs a label: its name",
        ),
        (
            "profile \"p\" { ek_cert = true }\nprofile \"p\" { ek_cert = true }",
            "2:9: \"p\" is set twice; first at 1:9",
        ),
        (
            "profile \"pcr\" { ek_cert = true }",
            "1:9: \"pcr\" cannot be a label of \"profile\": it is a block inside it",
        ),
    ] {
        assert_eq!(read(text, GIVEN).unwrap_err(), [expect], "{text}");
    }
}

/// tpm/E33
#[test]
fn pcrs_that_prove_nothing_are_refused_with_the_reason() {
    for (pcr, why) in [
        (
            10,
            "it grows while the machine runs, with each file that IMA measures",
        ),
        (16, "software can reset it at any time"),
        (23, "software can reset it at any time"),
    ] {
        let text = format!("profile \"p\" {{\npcr \"{pcr}\" {{ values = [\"A\"] }}\n}}");
        let expect = format!("2:5: PCR {pcr} has no place in a profile: {why}");
        assert_eq!(read(&text, GIVEN).unwrap_err(), [expect], "tpm/E33");
        let (values, mut problems) = SCHEMA.read(&format!("pcr_selectors = [7, {pcr}]"));
        let _state = crate::state::state(&values, true, Hash::Sha256, &mut problems);
        let expect = format!("1:21: pcr_selectors must not have {pcr}: {why}");
        assert_eq!(problems[0].to_string(), expect, "tpm/E33");
    }
}

#[test]
fn digests_have_the_size_of_the_bank() {
    for (bank, name, digits) in [
        (Hash::Sha256, "SHA-256", 64),
        (Hash::Sha384, "SHA-384", 96),
        (Hash::Sha512, "SHA-512", 128),
    ] {
        let given = Given { bank, ..GIVEN };
        for size in [64, 96, 128] {
            let digest = "ab".repeat(size / 2);
            for (body, key) in [
                (format!("pcr \"7\" {{ values = [\"{digest}\"] }}"), "values"),
                (format!("boot_images = [\"{digest}\"]"), "boot_images"),
            ] {
                let read = read(&format!("profile \"p\" {{\n{body}\n}}"), given);
                if size == digits {
                    assert!(read.is_ok(), "{name}: {read:?}");
                    continue;
                }
                let expect =
                    format!("an item of {key} must be a {name} in {digits} hex digits, not ");
                assert!(read.unwrap_err()[0].contains(&expect), "{expect}");
            }
        }
        let text = format!(
            "profile \"p\" {{\ndb = [\"{A}\"]\ndbx = [\"{A}\"]\nauthorities = [\"{A}\"]\n}}"
        );
        assert!(
            read(&text, given).is_ok(),
            "fingerprints are SHA-256 whatever the bank"
        );
    }
}

#[test]
fn keys_about_certificates_need_anchors() {
    let without = Given {
        has_anchors: false,
        ..GIVEN
    };
    for (body, expect) in [
        ("ek_cert = true", "2:11: ek_cert needs ca_path"),
        ("vendors = [\"IFX\"]", "2:11: vendors needs ca_path"),
        (
            "tpm_kinds = [\"discrete\"]",
            "2:13: tpm_kinds needs ca_path",
        ),
        (
            "firmware \"IFX\" { from = \"7\" }",
            "2:10: firmware of a vendor needs ca_path: write \"any\"",
        ),
    ] {
        let text = format!("profile \"p\" {{\n{body}\n}}");
        assert_eq!(read(&text, without).unwrap_err(), [expect]);
        assert!(read(&text, GIVEN).is_ok(), "{body}");
    }
    for body in [
        "ek_cert = false\nclock_safe = true",
        "firmware \"any\" { from = \"7\" }",
    ] {
        assert!(
            read(&format!("profile \"p\" {{\n{body}\n}}"), without).is_ok(),
            "{body}"
        );
    }
}

#[test]
fn all_problems_of_all_profiles_are_told_in_the_order_of_the_text() {
    let problems = read(
        "profile \"P\" {\nvendors = []\npcr \"10\" {}\n}\nprofile \"q\" {\ndb = [\"x\", \"y\"]\n\
         firmware \"IFX\" {}\n}\nprofile \"r\" {}",
        GIVEN,
    )
    .unwrap_err();
    let places = problems
        .iter()
        .map(|problem| problem.splitn(3, ':').take(2).collect::<Vec<_>>().join(":"));
    let places = places.collect::<Vec<_>>();
    assert_eq!(
        places,
        ["1:9", "2:11", "3:5", "3:10", "6:7", "6:12", "7:16", "9:13"]
    );
}
