//! The rules about what changes on a machine: their choices, what they need, and the store's address.

use std::path::Path;

use tempfile::TempDir;
use verify::{OnChange, OnReset, SvidKeys};

use crate::continuity::{Continuity, continuity};
use crate::{Configuration, SCHEMA, store_address};

/// With `FILE` for a database file that can be.
fn read(text: &str) -> Result<Continuity, Vec<String>> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("state.db");
    let text = text.replace("FILE", &format!("\"{}\"", file.display()));
    let (values, mut problems) = SCHEMA.read(&text);
    let read = continuity(&values, &mut problems);
    store_address(&values, |_name| None, &mut problems);
    if problems.is_empty() {
        return Ok(read);
    }
    problems.sort();
    Err(problems.iter().map(ToString::to_string).collect())
}

const DEFAULT: Continuity = Continuity {
    svid_keys: SvidKeys::Observe,
    tpm_clear: OnChange::Accept,
    ak_change: OnChange::Accept,
    unexpected_reset: OnReset::Warn,
};

#[test]
fn each_choice_takes_effect_and_the_first_is_the_default() {
    for (text, expect) in [
        ("", DEFAULT),
        ("svid_keys = \"observe\"", DEFAULT),
        ("store = FILE", DEFAULT),
        (
            "store = FILE\nsvid_keys = \"observe\"\ntpm_clear = \"accept\"\nak_change = \"accept\"\n\
             unexpected_reset = \"warn\"",
            DEFAULT,
        ),
        (
            "store = FILE\nsvid_keys = \"require\"",
            Continuity {
                svid_keys: SvidKeys::Require,
                ..DEFAULT
            },
        ),
        (
            "store = FILE\ntpm_clear = \"quarantine\"",
            Continuity {
                tpm_clear: OnChange::Quarantine,
                ..DEFAULT
            },
        ),
        (
            "store = FILE\nak_change = \"quarantine\"",
            Continuity {
                ak_change: OnChange::Quarantine,
                ..DEFAULT
            },
        ),
        (
            "store = FILE\nunexpected_reset = \"refuse\"",
            Continuity {
                unexpected_reset: OnReset::Refuse,
                ..DEFAULT
            },
        ),
        (
            "{\"store\": FILE, \"tpm_clear\": \"quarantine\", \"svid_keys\": \"require\"}",
            Continuity {
                svid_keys: SvidKeys::Require,
                tpm_clear: OnChange::Quarantine,
                ..DEFAULT
            },
        ),
    ] {
        assert_eq!(read(text), Ok(expect), "{text}");
    }
}

#[test]
fn the_whole_policy_has_them() {
    let directory = TempDir::new().unwrap();
    let text = "store = \"/x\"\nsvid_keys = \"require\"\ntpm_clear = \"quarantine\"\n\
                ak_change = \"quarantine\"\nunexpected_reset = \"refuse\"";
    let (values, mut problems) = SCHEMA.read(text);
    let defaults = [directory.path(), Path::new("/does/not/exist")];
    let policy = Configuration::read(&values, "example.org", defaults, &mut problems).policy;
    assert_eq!(problems, []);
    assert_eq!(policy.svid_keys, SvidKeys::Require);
    assert_eq!(policy.tpm_clear, OnChange::Quarantine);
    assert_eq!(policy.ak_change, OnChange::Quarantine);
    assert_eq!(policy.unexpected_reset, OnReset::Refuse);
}

#[test]
fn what_needs_a_store_says_so_at_its_place() {
    for (text, expect) in [
        (
            "\nsvid_keys = \"require\"",
            "2:13: svid_keys = \"require\" needs store",
        ),
        ("tpm_clear = \"accept\"", "1:13: tpm_clear needs store"),
        ("ak_change = \"quarantine\"", "1:13: ak_change needs store"),
        (
            "unexpected_reset = \"warn\"",
            "1:20: unexpected_reset needs store",
        ),
        (
            "{\"tpm_clear\": \"quarantine\"}",
            "1:15: tpm_clear needs store",
        ),
    ] {
        assert_eq!(read(text), Err(vec![expect.to_owned()]), "{text}");
    }
    for (text, place) in [
        ("svid_keys = \"observed\"", "1:13: "),
        ("store = FILE\ntpm_clear = \"refuse\"", "2:13: "),
        ("store = FILE\nunexpected_reset = \"quarantine\"", "2:20: "),
        ("stores = FILE", "1:1: "),
        ("store = [FILE]", "1:9: "),
        ("store = \"\"", "1:9: store "),
        ("store = \"state.db\"", "1:9: store "),
        ("store = \"mysql://a/b\"", "1:9: store "),
        ("store = \"postgres://a:${ABSENT}@b/c\"", "1:9: store "),
    ] {
        let problems = read(text).unwrap_err();
        assert!(
            problems.len() == 1 && problems[0].starts_with(place),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn variables_are_put_in_and_shown_nowhere() {
    let text = "store = \"postgres://user:${DB_PASSWORD}@host/name\"";
    let (values, mut problems) = SCHEMA.read(text);
    let variable = |name: &str| (name == "DB_PASSWORD").then(|| "hunter2".to_owned());
    let address = store_address(&values, variable, &mut problems).unwrap();
    assert_eq!(problems, []);
    let shown = format!("{address:?} {address}");
    assert!(
        !shown.contains("hunter2") && shown.contains("host"),
        "{shown}"
    );
    for (text, hidden) in [
        (
            "store = \"postgres://user:hunter2@ho st:x/name\"",
            "hunter2",
        ),
        (
            "store = \"postgres://user:${DB_PASSWORD}@host:port/name\"",
            "hunter2",
        ),
        ("store = \"mysql://user:hunter2@host/name\"", "hunter2"),
    ] {
        let (values, mut problems) = SCHEMA.read(text);
        assert!(
            store_address(&values, variable, &mut problems).is_none(),
            "{text}"
        );
        let told = format!("{problems:?}");
        assert!(
            problems.len() == 1 && !told.contains(hidden),
            "{text}: {told}"
        );
    }
}
