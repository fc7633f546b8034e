//! The rules about the state of machines: defaults, every key, what it leads to, and every slip.

use std::path::Path;

use eventlog::Quirk;
use evidence::Hash;
use hcl::Problem;
use tempfile::TempDir;
use verify::{Matching, Mode, OptionalSelector, Policy, StatePolicy, VulnerableTpms};

use crate::state::state;
use crate::{Configuration, SCHEMA, published};

fn read(text: &str) -> Result<StatePolicy, Vec<String>> {
    let (values, mut problems) = SCHEMA.read(text);
    let state = state(&values, true, Hash::Sha256, &mut problems);
    problems.sort();
    if problems.is_empty() {
        Ok(state)
    } else {
        Err(problems.iter().map(Problem::to_string).collect())
    }
}

/// The policy of a whole text, with `CA` for a directory.
fn policy(text: &str) -> Policy {
    let directory = TempDir::new().unwrap();
    let text = text.replace("CA", &format!("\"{}\"", directory.path().display()));
    let (values, mut problems) = SCHEMA.read(&text);
    let absent = Path::new("/does/not/exist");
    let read = Configuration::read(&values, "example.org", [absent, absent], &mut problems);
    assert_eq!(problems, [], "{text}");
    read.policy
}

#[test]
fn defaults_accept_and_report_everything() {
    let state = read("").unwrap();
    assert!(state.ask_for_log && state.profiles.is_empty());
    assert_eq!(
        (state.mode, state.matching),
        (Mode::Enforce, Matching::First)
    );
    assert_eq!(state.vulnerable_tpms, VulnerableTpms::Warn);
    assert_eq!(state.advisories, published());
    assert!(state.selectors.kinds.is_empty() && state.selectors.pcrs.is_empty());
    let tolerated: Vec<_> = state.tolerated.iter().map(|quirk| quirk.name()).collect();
    assert_eq!(
        tolerated,
        ["shim_extra_byte", "shim_variables", "empty_secure_boot"]
    );
}

#[test]
fn every_key_takes_effect() {
    let state = read(
        "mode = \"monitor\"\nprofile_match = \"all\"\nevent_log = \"never\"\nvulnerable_tpms = \"reject\"\n\
         tolerate = [\"missing_exit_boot_services\"]\nextra_selectors = [\"ek_ca\", \"model\", \"ek_ca\"]\n\
         pcr_selectors = [11, 7, 11]\nadvisory \"site\" { to = \"1\" }\nprofile \"p\" { ek_cert = true }",
    )
    .unwrap();
    assert_eq!((state.mode, state.matching), (Mode::Monitor, Matching::All));
    assert!(!state.ask_for_log);
    assert_eq!(state.vulnerable_tpms, VulnerableTpms::Reject);
    assert_eq!(
        state.tolerated.into_iter().collect::<Vec<_>>(),
        [Quirk::MissingExitBootServices]
    );
    assert_eq!(
        state.selectors.kinds,
        [OptionalSelector::Model, OptionalSelector::EkCa]
    );
    assert_eq!(state.selectors.pcrs, [7, 11]);
    assert_eq!(state.advisories.len(), published().len() + 1);
    assert_eq!(state.profiles.len(), 1);
    let none = read("tolerate = []\nextra_selectors = []\npcr_selectors = []").unwrap();
    assert!(none.tolerated.is_empty() && none.selectors.kinds.is_empty());
    assert!(none.selectors.pcrs.is_empty());
    let said =
        read("mode = \"enforce\"\nprofile_match = \"first\"\nvulnerable_tpms = \"warn\"").unwrap();
    assert_eq!(said, read("").unwrap());
}

#[test]
fn the_log_is_asked_for_where_it_is_wanted() {
    let log = "profile \"p\" { secure_boot = true }";
    let no_log = "profile \"p\" { clock_safe = true }";
    let chain = "extra_selectors = [\"model\", \"boot_chain\"]";
    for (mode, rest, expect) in [
        ("ask", "", Some(true)),
        ("ask", no_log, Some(true)),
        ("policy", "", Some(false)),
        ("policy", no_log, Some(false)),
        ("policy", log, Some(true)),
        ("policy", chain, Some(true)),
        ("never", "", Some(false)),
        ("never", no_log, Some(false)),
        ("never", log, None),
        ("never", chain, None),
    ] {
        let state = read(&format!("event_log = \"{mode}\"\n{rest}"));
        assert_eq!(
            state.ok().map(|state| state.ask_for_log),
            expect,
            "{mode} {rest}"
        );
    }
    for (rest, who) in [
        (log, "profile \"p\""),
        (chain, "boot_chain in extra_selectors"),
    ] {
        let problems = read(&format!("event_log = \"never\"\n{rest}")).unwrap_err();
        let expect = format!("1:13: event_log = \"never\", but {who} needs the boot event log");
        assert_eq!(problems, [expect]);
    }
}

#[test]
fn pcrs_that_are_asked_about_are_quoted() {
    let value = |size: usize| format!("\"{}\"", "ab".repeat(size));
    for (text, expect) in [
        ("", (Hash::Sha256, (0..8).collect::<Vec<_>>())),
        ("pcrs = [7]", (Hash::Sha256, vec![7])),
        (
            "pcrs = [7]\npcr_selectors = [11, 7, 2]",
            (Hash::Sha256, vec![2, 7, 11]),
        ),
        (
            "pcrs = [7]\npcr_bank = \"sha384\"\nprofile \"p\" { pcr \"14\" { values = [V] } }\n\
             profile \"q\" { pcr \"9\" { values = [V] } }",
            (Hash::Sha384, vec![0, 7, 9, 14]),
        ),
        (
            "profile \"p\" { pcr \"4\" { values = [V] } }",
            (Hash::Sha256, (0..8).collect()),
        ),
    ] {
        let text = text.replace('V', &value(expect.0.size()));
        assert_eq!(
            policy(&format!("ca_path = CA\n{text}")).pcrs,
            [expect],
            "{text}"
        );
    }
}

#[test]
fn json_of_helm_means_the_same() {
    let hcl = "ca_path = CA\nmode = \"monitor\"\nadvisory \"site\" { to = \"1\" }\nadvisory \"site\" { from = \"9\" }\n\
               profile \"a\" { ek_cert = true pcr \"7\" { values = [V] } }\nprofile \"b\" { pcr \"0\" { values = [V] } }";
    let json = r#"{"ca_path": CA, "mode": "monitor", "advisory": {"site": [{"to": "1"}, {"from": "9"}]},
                   "profile": {"a": {"ek_cert": true, "pcr": {"7": {"values": [V]}}}, "b": {"pcr": {"0": {"values": [V]}}}}}"#;
    // What SPIRE prints for it.
    let printed = "\"ca_path\" = CA\n\n\"mode\" = \"monitor\"\n\n\"advisory\" = {\n  \"site\" = {\n    \"to\" = \"1\"\n  }\n\n  \
                   \"site\" = {\n    \"from\" = \"9\"\n  }\n}\n\n\"profile\" \"a\" {\n  \"ek_cert\" = true\n\n  \"pcr\" \"7\" {\n    \
                   \"values\" = [V]\n  }\n}\n\n\"profile\" \"b\" \"pcr\" \"0\" {\n  \"values\" = [V]\n}";
    let value = format!("\"{}\"", "cd".repeat(32));
    let [hcl, json, printed] = [hcl, json, printed].map(|text| policy(&text.replace('V', &value)));
    assert_eq!(hcl.state.profiles.len(), 2);
    assert_eq!(hcl.state.advisories.last().unwrap().affected.len(), 2);
    assert_eq!(hcl, json);
    assert_eq!(hcl, printed);
}

#[test]
fn every_slip_has_its_place_and_its_words() {
    let long = format!("advisory \"{}\" {{ to = \"1\" }}", "x".repeat(65));
    for (text, expect) in [
        (
            "mode = \"warn\"",
            "1:8: \"mode\" must be one of \"enforce\", \"monitor\", not \"warn\"",
        ),
        (
            "profile_match = \"any\"",
            "1:17: \"profile_match\" must be one of \"first\", \"all\", not \"any\"",
        ),
        (
            "event_log = \"nevr\"",
            "1:13: \"event_log\" must be one of \"ask\", \"policy\", \"never\", not \"nevr\"; did you mean \"never\"?",
        ),
        (
            "vulnerable_tpms = \"deny\"",
            "1:19: \"vulnerable_tpms\" must be one of \"warn\", \"reject\", not \"deny\"",
        ),
        (
            "tolerate = [\"shim_variable\"]",
            "1:13: unknown departure \"shim_variable\"; did you mean \"shim_variables\"?",
        ),
        (
            "extra_selectors = [\"chain\"]",
            "1:20: unknown selector \"chain\"; one of model, firmware, ek_ca, boot_chain",
        ),
        (
            "extra_selectors = [\"vendor\"]",
            "1:20: unknown selector \"vendor\"; one of model, firmware, ek_ca, boot_chain",
        ),
        (
            "pcr_selectors = [24]",
            "1:18: \"pcr_selectors\" is 24; it must be from 0 to 23",
        ),
        (
            "advisory { to = \"1\" }",
            "1:10: an advisory block needs a label: its name",
        ),
        (
            "advisory \"a b\" { to = \"1\" }",
            "1:10: the name of an advisory is 1 to 64 of A-Z a-z 0-9 . _ -, not \"a b\"",
        ),
        (
            "advisory \"\" { to = \"1\" }",
            "1:10: the name of an advisory is 1 to 64 of A-Z a-z 0-9 . _ -, not \"\"",
        ),
        (
            long.as_str(),
            "1:10: the name of an advisory is 1 to 64 of A-Z a-z 0-9 . _ -, not \"xxx",
        ),
        (
            "advisory \"a\" {}",
            "1:14: from or to is required: without them every version is meant",
        ),
        (
            "advisory \"a\" { vendor = \"IFY\" to = \"1\" }",
            "1:25: unknown TPM vendor \"IFY\"; did you mean \"IFX\"?",
        ),
        (
            "advisory \"a\" { to = \"1.x\" }",
            "1:21: a firmware version is one to four numbers such as \"7.85\", not \"1.x\"",
        ),
        (
            "advisory \"a\" { from = \"2\" to = \"1\" }",
            "1:23: from is a higher version than to",
        ),
        (
            "advisory \"a\" { form = \"2\" to = \"3\" }",
            "1:16: unknown key \"form\"; did you mean \"from\"?",
        ),
        (
            "profiles {}",
            "1:1: unknown key \"profiles\"; did you mean \"profile\"?",
        ),
        (
            "pcr \"7\" {}",
            "1:1: unknown key \"pcr\"; every quote covers the PCRs in `pcrs`, and good values are required in a `profile`",
        ),
    ] {
        let problems = read(text).expect_err(text);
        assert!(
            problems.len() == 1 && problems[0].starts_with(expect),
            "{text}: {problems:?}"
        );
    }
    assert!(read(&long.replace("xx\"", "x\"")).is_ok());
}
