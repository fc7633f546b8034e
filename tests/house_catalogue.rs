//! The catalogue of attacks holds: every case stands in it, with tests that name the case and the reason it gets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use syn::spanned::Spanned as _;
use syn::{ImplItem, Item};
use verify::Reason;

use crate::house_documents::{is_test, named_tests, rows_of};
use crate::house_sources::flatten;
use crate::{none_of, read, root};

/// The groups, and the number of their last case.
const GROUPS: [(char, usize); 10] = [
    ('A', 21),
    ('B', 59),
    ('C', 30),
    ('D', 10),
    ('E', 34),
    ('F', 32),
    ('G', 11),
    ('H', 9),
    ('I', 14),
    ('J', 12),
];

/// Cases without a test, and the subject that brings them.
const LEFT_OUT: [(&str, &str); 5] = [
    ("tpm/C01", "the EK's public area on the wire"),
    ("tpm/C02", "the EK's public area on the wire"),
    ("tpm/C03", "the EK's public area on the wire"),
    ("tpm/G09", "certificates of device identities (DevID)"),
    ("tpm/G10", "certificates of device identities (DevID)"),
];

/// One row: the case, what is expected, and the tests.
struct Row {
    case: String,
    expected: String,
    tests: Vec<String>,
}

fn rows() -> Vec<Row> {
    let text = read("docs/catalogue.md");
    let row = |row: &str| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [case, _, expected, tests] = cells.as_slice() else {
            panic!("a row has four cells: {row}")
        };
        Row {
            case: (*case).to_owned(),
            expected: (*expected).to_owned(),
            tests: named_tests(tests).map(str::to_owned).collect(),
        }
    };
    rows_of(&text, "| Case | What is tried | What comes of it |")
        .map(row)
        .collect()
}

#[test]
fn every_case_is_in_the_catalogue() {
    let number =
        |group: char, last: usize| (1..=last).map(move |number| format!("tpm/{group}{number:02}"));
    let all: Vec<_> = GROUPS
        .iter()
        .flat_map(|(group, last)| number(*group, *last))
        .collect();
    let left_out: BTreeSet<_> = LEFT_OUT
        .iter()
        .map(|(case, _)| (*case).to_owned())
        .collect();
    let expected: Vec<_> = all
        .into_iter()
        .filter(|case| !left_out.contains(case))
        .collect();
    let found: Vec<_> = rows().into_iter().map(|row| row.case).collect();
    assert_eq!(found, expected);

    let text = read("docs/catalogue.md");
    let told: Vec<_> = rows_of(&text, "| Case | What it needs |")
        .map(|row| {
            row.trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(": ")
        })
        .collect();
    let expected: Vec<_> = LEFT_OUT
        .iter()
        .map(|(case, needs)| format!("{case}: {needs}"))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn every_case_has_tests_that_name_it_and_its_reason() {
    let (variants, of_the_log) = (variants(), log_variants());
    let mut wrong = Vec::new();
    for row in rows() {
        if row.tests.is_empty() {
            wrong.push(format!("{}: no test", row.case));
        }
        let mut texts = String::new();
        for test in &row.tests {
            if !is_test(test) {
                wrong.push(format!("{}: {test} is no test", row.case));
                continue;
            }
            let source = Reached::by(test);
            if !names(&source.items, &row.case) {
                wrong.push(format!("{}: {test} does not name it", row.case));
            }
            texts.push_str(&source.items);
            texts.push_str(&source.files);
        }
        for code in row.expected.split('`').skip(1).step_by(2) {
            match variants.get(code) {
                None => wrong.push(format!("{}: `{code}` is no reason", row.case)),
                Some(variant)
                    if !words(&texts).contains(variant.as_str())
                        && !texts.contains(code)
                        && !of_the_log
                            .get(code)
                            .is_some_and(|variant| knows_of_log(&texts, variant)) =>
                {
                    wrong.push(format!("{}: no test of it knows {code}", row.case));
                }
                Some(_) => {}
            }
        }
    }
    none_of("cases that no test holds", &wrong);
}

/// Codes of reasons and the names of their variants.
fn variants() -> BTreeMap<String, String> {
    let text = read("src/verify/rejection.rs");
    let found: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| {
            let (variant, rest) = line.trim().split_once(", \"")?;
            let (code, _) = rest.split_once('"')?;
            Some((code.to_owned(), variant.to_owned()))
        })
        .collect();
    for reason in Reason::ALL {
        assert!(found.contains_key(reason.code()), "{reason:?}");
    }
    found
}

/// Codes of reasons that the judge of event logs has names of its own for, from the line above each.
fn log_variants() -> BTreeMap<String, String> {
    let text = read("src/eventlog/refusal.rs");
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let found: BTreeMap<_, _> = lines
        .windows(2)
        .filter_map(|pair| {
            let (code, _) = pair[0].strip_prefix("/// `")?.split_once("`: ")?;
            Some((code.to_owned(), pair[1].trim_end_matches(',').to_owned()))
        })
        .collect();
    assert!(found.len() > 8, "{found:?}");
    found
}

fn knows_of_log(text: &str, variant: &str) -> bool {
    let words = words(text);
    words.contains("LogReason") && words.contains(variant)
}

/// Whether a string literal begins with the case, or has it in it, and not a longer one.
fn names(text: &str, case: &str) -> bool {
    text.split(case)
        .skip(1)
        .any(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect()
}

/// What a test is made of.
struct Reached {
    /// Its own text, and that of the functions and constants that it names in its file or imports from its neighbours.
    items: String,
    /// The whole text of these files.
    files: String,
}

impl Reached {
    fn by(test: &str) -> Self {
        let (path, function) = test.split_once("::").unwrap();
        let path = [path.to_owned(), format!("src/{path}")]
            .into_iter()
            .find(|path| root().join(path).exists())
            .unwrap();
        let mut reached = Self {
            items: String::new(),
            files: String::new(),
        };
        reached.follow(&path, [function.to_owned()].into(), true);
        reached
    }

    fn follow(&mut self, path: &str, mut left: BTreeSet<String>, is_first: bool) {
        let text = read(path);
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut items = Vec::new();
        collect(&syntax.items, &text, &mut items);
        let mut imports = Vec::new();
        imported(&syntax.items, &mut imports);
        let mut done = BTreeSet::new();
        let mut elsewhere: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        while let Some(name) = left.pop_first() {
            if !done.insert(name.clone()) {
                continue;
            }
            for (_, text) in items.iter().filter(|(own, _)| *own == name) {
                self.items.push_str(text);
                left.extend(words(text).into_iter().map(str::to_owned));
            }
            for import in imports
                .iter()
                .filter(|import| import.ends_with(&format!("::{name}")))
            {
                if let Some(file) = file_of(path, import) {
                    elsewhere.entry(file).or_default().insert(name.clone());
                }
            }
        }
        self.files.push_str(&text);
        if is_first {
            for (file, names) in elsewhere {
                self.follow(&file, names, false);
            }
        }
    }
}

/// The neighbouring file that an import is from.
fn file_of(path: &str, import: &str) -> Option<String> {
    let (directory, _) = path.rsplit_once('/')?;
    let module = import.rsplit("::").nth(1)?;
    let file = format!("{directory}/{module}.rs");
    root().join(&file).exists().then_some(file)
}

/// Names and texts of functions, constants and the like, those of modules, too; a macro's by all functions in it.
fn collect(all: &[Item], text: &str, found: &mut Vec<(String, String)>) {
    for item in all {
        let own = || excerpt(text, item.span());
        match item {
            Item::Fn(function) => found.push((function.sig.ident.to_string(), own())),
            Item::Const(constant) => found.push((constant.ident.to_string(), own())),
            Item::Static(constant) => found.push((constant.ident.to_string(), own())),
            Item::Mod(module) => {
                let inner = module.content.iter().flat_map(|(_, items)| items);
                collect(&inner.cloned().collect::<Vec<_>>(), text, found);
            }
            Item::Impl(block) => {
                for inner in &block.items {
                    if let ImplItem::Fn(function) = inner {
                        found.push((
                            function.sig.ident.to_string(),
                            excerpt(text, function.span()),
                        ));
                    }
                }
            }
            Item::Macro(_) => {
                let own = own();
                let functions = own
                    .split("fn ")
                    .skip(1)
                    .filter_map(|rest| rest.split('(').next());
                found.extend(functions.map(|name| (name.to_owned(), own.clone())));
            }
            _ => {}
        }
    }
}

fn imported(all: &[Item], found: &mut Vec<String>) {
    for item in all {
        match item {
            Item::Use(item) => flatten(&item.tree, "", found),
            Item::Mod(module) => {
                if let Some((_, items)) = &module.content {
                    imported(items, found);
                }
            }
            _ => {}
        }
    }
}

fn excerpt(text: &str, span: proc_macro2::Span) -> String {
    let (first, last) = (span.start().line, span.end().line);
    let lines = text.lines().skip(first - 1).take(last + 1 - first);
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Every case that a source names is one of the catalogue.
#[test]
fn no_source_names_a_case_that_is_not_there() {
    let known: BTreeSet<_> = rows().into_iter().map(|row| row.case).collect();
    let mut strange = Vec::new();
    for file in crate::sources() {
        for rest in file.text.split("tpm/").skip(1) {
            let case: String = rest.chars().take(3).collect();
            let is_case = case.strip_prefix(|c: char| c.is_ascii_uppercase());
            let is_case = is_case.is_some_and(|rest| rest.parse::<u8>().is_ok());
            if is_case
                && !known.contains(&format!("tpm/{case}"))
                && !file.path.ends_with("house_catalogue.rs")
            {
                strange.push(format!("{}: tpm/{case}", file.path));
            }
        }
    }
    none_of("cases that are not in the catalogue", &strange);
}

#[test]
fn a_case_is_looked_for_whole() {
    assert!(names("(\"tpm/A01\", 1)", "tpm/A01"));
    assert!(names("\"tpm/A01: more\"", "tpm/A01"));
    assert!(!names("\"tpm/A012\"", "tpm/A01"));
    let reached = Reached::by("tests/house_catalogue.rs::a_case_is_looked_for_whole");
    assert!(reached.items.contains("fn by(test: &str)") && reached.files.contains("fn is_test("));
    assert!(fs::exists(root().join("docs/catalogue.md")).unwrap());
}
