//! The list of mutants that survive: each entry stands for source that is there, and docs/testing.md shows it.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::{none_of, read, root};

const LIST: &str = "tests/mutants/survivors.toml";
const DOCUMENT: &str = "docs/testing.md";
const BEGIN: &str = "<!-- Made from tests/mutants/survivors.toml: UPDATE_DOCS=1 cargo test -p tests --test house. -->\n";
const END: &str = "<!-- End of the list. -->\n";

/// The entries of the list.
fn survivors() -> Vec<Value> {
    let list: Value = toml::from_str(&read(LIST)).unwrap();
    list["survivor"].as_array().unwrap().clone()
}

fn text<'a>(survivor: &'a Value, key: &str) -> &'a str {
    survivor[key]
        .as_str()
        .unwrap_or_else(|| panic!("{survivor} has no {key}"))
}

/// A text with single spaces, as it stands in the list.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn survivors_are_of_source_that_is_there() {
    let mut gone = Vec::new();
    for survivor in survivors() {
        let (file, source) = (text(&survivor, "file"), text(&survivor, "source"));
        let function = text(&survivor, "function").rsplit("::").next().unwrap();
        let there = fs::read_to_string(root().join(file)).unwrap_or_default();
        if !plain(&there).contains(source) || !there.contains(&format!("fn {function}")) {
            gone.push(format!("{file}: {function}: {source}"));
        }
    }
    none_of("listed mutants of source that is gone", &gone);
}

#[test]
fn survivors_are_documented() {
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let survivors = survivors();
    for survivor in &survivors {
        let shown = format!(
            "`{}` {}: {} of `{}`",
            text(survivor, "file").trim_start_matches("src/"),
            text(survivor, "function"),
            in_words(text(survivor, "operator")),
            text(survivor, "source").replace('|', "\\|"),
        );
        by_reason
            .entry(text(survivor, "reason"))
            .or_default()
            .push(shown);
    }
    let mut table = String::from("| Why no test can notice | Mutants |\n|---|---|\n");
    for (reason, mutants) in by_reason {
        writeln!(table, "| {reason} | {} |", mutants.join("<br>")).unwrap();
    }
    let document = read(DOCUMENT);
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        fs::write(
            root().join(DOCUMENT),
            [before, BEGIN, &table, END, after].concat(),
        )
        .unwrap();
        return;
    }
    assert!(
        written == table,
        "{DOCUMENT} is not what {LIST} says: UPDATE_DOCS=1 cargo test -p tests --test house"
    );
}

/// What a mutant's operator does.
fn in_words(operator: &str) -> String {
    match operator {
        "true" | "false" | "Ok(())" => format!("`{operator}` in place"),
        "skip" => "leaving out".to_owned(),
        "no arm" => "no match".to_owned(),
        _ => format!("`{}`", operator.replace('|', "\\|")),
    }
}
