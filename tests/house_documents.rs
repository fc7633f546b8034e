//! The documents hold for the code: links and tests they name exist, and what an operator sees is described.

use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

use crate::{Text, none_of, read, root, texts};

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    let mut count = 0;
    for document in documents() {
        let directory = root().join(&document.path).parent().unwrap().to_owned();
        for link in links(&document.text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                root().join(&document.path)
            } else {
                directory.join(file)
            };
            if !leads(&target, heading) {
                dead.push(format!("{}: {link}", document.path));
            }
        }
    }
    assert!(count > 40, "the documents have more links than {count}");
    none_of("links that lead nowhere", &dead);
}

#[test]
fn tests_that_documents_name_exist() {
    let mut absent = Vec::new();
    let mut count = 0;
    for document in documents() {
        for name in named_tests(&document.text) {
            count += 1;
            if !is_test(name) {
                absent.push(format!("{}: {name}", document.path));
            }
        }
    }
    assert!(count > 50, "the documents name more tests than {count}");
    none_of("tests that do not exist", &absent);
}

#[test]
fn every_invariant_and_every_claim_names_its_test() {
    for (document, table) in [
        ("ARCHITECTURE.md", "| Invariant |"),
        ("docs/threat-model.md", "| Claim |"),
    ] {
        let text = read(document);
        let rows: Vec<_> = rows_of(&text, table).collect();
        assert!(
            rows.len() > 10,
            "{document} has more rows than {}",
            rows.len()
        );
        for row in rows {
            assert!(
                named_tests(row).next().is_some(),
                "{document}: no test in {row}"
            );
        }
    }
}

#[test]
fn every_crate_is_on_the_map() {
    let text = read("ARCHITECTURE.md");
    let mapped: BTreeSet<_> = rows_of(&text, "| Crate |")
        .filter_map(|row| row.split('`').nth(1))
        .collect();
    let directories = fs::read_dir(root().join("src")).unwrap();
    let names: Vec<_> = directories
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(mapped, names.iter().map(String::as_str).collect());
    assert!(
        text.lines().count() <= 200,
        "ARCHITECTURE.md is a map, not a book"
    );
}

#[test]
fn every_field_of_a_decision_is_described() {
    let text = read("docs/operations.md");
    for (source, table, least) in [
        ("src/server/decision.rs", "| Field |", 10),
        ("src/server/composer_decision.rs", "| Field of an SVID |", 5),
    ] {
        let source = read(source);
        let fields: BTreeSet<_> = source
            .split("tracing::")
            .skip(1)
            .flat_map(|call| call.split(");").next().unwrap_or_default().lines())
            .filter_map(|line| line.trim().split_once(" = "))
            .map(|(field, _)| field)
            .collect();
        assert!(fields.len() >= least, "{fields:?}");
        let described: BTreeSet<_> = rows_of(&text, table)
            .filter_map(|row| row.split('`').nth(1))
            .collect();
        assert_eq!(fields, described, "{table}");
    }
}

#[test]
fn every_measurement_is_described() {
    let text = read("docs/operations.md");
    let described: BTreeSet<_> = rows_of(&text, "| Key |")
        .filter_map(|row| row.split('`').nth(1))
        .map(str::to_owned)
        .collect();
    let mut measured = BTreeSet::new();
    for file in texts()
        .iter()
        .filter(|file| file.path.starts_with("src/server/"))
    {
        for part in ["node_attestor", "credential_composer"] {
            for rest in file.text.split(&format!("[\"{part}\"")).skip(1) {
                let list = rest.split(']').next().unwrap();
                let words = list.split('"').skip(1).step_by(2);
                measured.insert(iter::once(part).chain(words).collect::<Vec<_>>().join("."));
            }
        }
    }
    assert!(measured.len() >= 3, "{measured:?}");
    assert_eq!(measured, described);
}

/// The page of selectors is made from the table; the table is of what is emitted.
#[test]
fn every_selector_is_described() {
    let key = |form: &str| form.split(':').next().unwrap_or_default().to_owned();
    let source = read("src/verify/selectors.rs");
    let emitted: BTreeSet<_> = source
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|literal| literal.contains(":{"))
        .chain(source.lines().filter_map(constant_selector))
        .map(key)
        .collect();
    let described: BTreeSet<_> = verify::SELECTORS
        .iter()
        .map(|selector| key(selector.form))
        .collect();
    assert_eq!(emitted, described);
    let asked_for: BTreeSet<_> = verify::SELECTORS
        .iter()
        .filter(|selector| selector.when.contains("`extra_selectors`"))
        .map(|selector| key(selector.form))
        .collect();
    let optional = verify::OptionalSelector::ALL.map(verify::OptionalSelector::name);
    assert_eq!(asked_for, optional.map(str::to_owned).into());
}

/// A selector that has no part of its own, as a constant's value.
fn constant_selector(line: &str) -> Option<&str> {
    let (_, value) = line.split_once(": &str = \"")?;
    value.strip_suffix("\";")
}

fn documents() -> Vec<Text> {
    let found: Vec<_> = texts()
        .into_iter()
        .filter(|file| file.has_extension("md"))
        .collect();
    for needed in [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "docs/threat-model.md",
    ] {
        assert!(found.iter().any(|file| file.path == needed), "no {needed}");
    }
    found
}

/// The targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
}

fn leads(target: &Path, heading: &str) -> bool {
    if heading.is_empty() {
        return target.exists();
    }
    let is_it = |line: &str| {
        line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == heading
    };
    fs::read_to_string(target).is_ok_and(|text| text.lines().any(is_it))
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// `path.rs::name` in backticks.
pub(crate) fn named_tests(text: &str) -> impl Iterator<Item = &str> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains(".rs::"))
}

/// Paths are from the root or from `src`.
pub(crate) fn is_test(name: &str) -> bool {
    let (path, function) = name.split_once("::").unwrap();
    let places: [PathBuf; 2] = [root().join(path), root().join("src").join(path)];
    let Some(text) = places
        .iter()
        .find_map(|place| fs::read_to_string(place).ok())
    else {
        return false;
    };
    let Some((before, _)) = text.split_once(&format!("fn {function}(")) else {
        return false;
    };
    let attributes = before.lines().rev().take(4).collect::<Vec<_>>();
    attributes
        .iter()
        .any(|line| line.contains("#[test]") || line.contains("::test"))
}

/// The rows below each table head that starts with `head`, without the line of dashes.
pub(crate) fn rows_of<'a>(text: &'a str, head: &'a str) -> impl Iterator<Item = &'a str> {
    let mut is_inside = false;
    text.lines().filter(move |line| {
        let was_inside = is_inside;
        is_inside = line.starts_with(head) || (is_inside && line.starts_with('|'));
        was_inside && is_inside && !line.starts_with("|--") && !line.starts_with(head)
    })
}
