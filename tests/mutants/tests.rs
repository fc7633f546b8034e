//! Small sources, and the mutants they have; lists of survivors, and what is wrong with them.

use std::fs;

use crate::finder::find;
use crate::mutant::{Mutant, Name};
use crate::rewrite::rewrite;
use crate::site::Site;
use crate::survivors::Survivors;
use crate::syntax::integer_constants;
use crate::trial::Outcome;

fn sites(source: &str) -> Vec<Site> {
    let file = syn::parse_file(source).unwrap();
    find(source, &file, &integer_constants(&file))
}

/// Each mutant as `operator: what it changes`.
fn mutants(source: &str) -> Vec<String> {
    let mut sites = sites(source);
    sites.sort_by_key(|site| (site.range.start, usize::MAX - site.range.end));
    sites
        .iter()
        .flat_map(|site| {
            let text = source.get(site.range.clone()).unwrap();
            site.changes
                .iter()
                .map(move |change| format!("{}: {text}", change.operator))
        })
        .collect()
}

#[test]
fn every_kind_of_check_has_its_mutants() {
    for (source, expect) in [
        (
            "fn f() -> R { if a { return Err(E); } ok }",
            &["true: a", "false: a"][..],
        ),
        (
            "fn f() { if a > b {} }",
            &["true: a > b", "false: a > b", "> to >=: a > b"],
        ),
        (
            "const L: usize = 9; fn f() { if n > L {} }",
            &["true: n > L", "false: n > L", "> to >=: n > L", "+ 1: L"],
        ),
        (
            "fn f() { if a && b {} }",
            &[
                "true: a && b",
                "false: a && b",
                "&& to ||: a && b",
                "true: a",
                "true: b",
            ],
        ),
        (
            "fn f() { if a || b {} }",
            &[
                "true: a || b",
                "false: a || b",
                "|| to &&: a || b",
                "false: a",
                "false: b",
            ],
        ),
        (
            "fn f() { if let Some(x) = y && x == z {} }",
            &[
                "no match: let Some(x) = y",
                "true: x == z",
                "== to !=: x == z",
            ],
        ),
        (
            "fn f() { if !a {} }",
            &["true: !a", "false: !a", "no !: !a"],
        ),
        ("fn f() -> R { check(x)?; rest }", &["skip: check(x)?;"]),
        (
            "fn f() -> Result<(), E> { check(x) }",
            &["Ok(()): check(x)"],
        ),
        ("fn f() -> Result<(), E> { Ok(()) }", &[]),
        (
            "fn f() -> bool { known(x) }",
            &["true: known(x)", "false: known(x)"],
        ),
        (
            "fn f() { match x { 1 if g => a, 2 => b, _ => c } }",
            &["true: g", "false: g", "no arm: 2"],
        ),
        ("fn f() { match x { A => a, B => b } }", &[]),
        (
            "fn f() { all.iter().any(|one| one.ok) }",
            &["true: one.ok", "false: one.ok"],
        ),
        ("fn f() { g(a + b) }", &["+ to -: a + b"]),
        (
            "fn f() { g(a & 1) }",
            &["& to |: a & 1", "+ 1: 1", "- 1: 1"],
        ),
        ("fn f() { a += b; }", &["skip: a += b;", "+= to -=: a += b"]),
        ("fn f() { g(S { yes: true }) }", &["false: true"]),
        (
            "fn f() { g(matches!(a, B)) }",
            &["true: matches!(a, B)", "false: matches!(a, B)"],
        ),
    ] {
        assert_eq!(mutants(source), expect, "{source}");
    }
}

#[test]
fn what_is_no_production_or_fixed_when_compiled_has_none() {
    for source in [
        "#[cfg(test)] mod tests { fn f() { if a {} } }",
        "#[test] fn f() { if a {} }",
        "const fn f() { if a {} }",
        "const N: usize = 1 + 2; static S: u8 = 3; enum E { A = 4 }",
        "fn f() { let a: [u8; 5] = [x; 6]; }",
        "fn f() { g::<7>(&[8, 9]) }",
        "fn f() { println!(\"{}\", 1 > 2) }",
    ] {
        assert_eq!(mutants(source), [""; 0], "{source}");
    }
}

#[test]
fn places_that_refuse_are_checks() {
    let is_check = |source: &str| sites(source).iter().any(|site| site.is_check);
    assert!(is_check("fn f() -> R { if a { return Err(E); } ok }"));
    assert!(is_check("fn f() -> R { check()?; ok }"));
    assert!(!is_check("fn f() { if a { b } else { c } }"));
}

#[test]
fn everything_is_written_at_once_and_found_again() {
    let source = "fn f() -> bool { if a && !b { g(1)?; } match c { 2 => d, _ => e > 3 } }";
    let mut number = 1;
    let numbered: Vec<_> = sites(source)
        .into_iter()
        .map(|site| {
            let first = number;
            number += u32::try_from(site.changes.len()).unwrap();
            (site, first)
        })
        .collect();
    let rewritten = rewrite(source, &numbered);
    syn::parse_file(&rewritten.text).unwrap();
    for (index, (_, first)) in numbered.iter().enumerate() {
        let byte = rewritten.text.find(&format!("at({first})")).unwrap();
        assert_eq!(rewritten.site_at(byte), Some(index), "{first}");
    }
    assert_eq!(rewritten.site_at(0), None);
}

#[test]
fn the_mutated_text_is_the_plain_one_where_none_is_on() {
    let source = "fn f() { if a { g(); } }";
    let numbered: Vec<_> = sites(source).into_iter().zip([1, 3]).collect();
    let expect = "fn f() { if (match crate::mutants::at(1) { 1 => true, 2 => false, _ => a }) \
                  { if crate::mutants::at(3) != 3 { g(); } } }";
    assert_eq!(rewrite(source, &numbered).text, expect);
}

fn mutant(source: &str) -> Mutant {
    let name = Name {
        file: "src/verify/x.rs".into(),
        function: "f".into(),
        operator: "true".into(),
        source: source.into(),
        occurrence: 1,
    };
    Mutant {
        number: 1,
        site: 1,
        line: 1,
        is_check: true,
        name,
    }
}

fn listed(entries: &[(&str, &str)]) -> anyhow::Result<Survivors> {
    let path = std::env::temp_dir().join(format!(
        "survivors-{}-{}",
        std::process::id(),
        entries.len()
    ));
    let entry = |(source, reason): &(&str, &str)| {
        format!(
            "[[survivor]]\nfile = \"src/verify/x.rs\"\nfunction = \"f\"\noperator = \"true\"\n\
             source = \"{source}\"\nreason = \"{reason}\"\n"
        )
    };
    fs::write(&path, entries.iter().map(entry).collect::<String>())?;
    let read = Survivors::read(&path);
    fs::remove_file(&path)?;
    read
}

#[test]
fn the_list_must_be_true() {
    let all = [mutant("a"), mutant("b")];
    let survivors = listed(&[("b", "why")]).unwrap();
    let judge = |a, b| survivors.compare(&[(&all[0], a), (&all[1], b)], &all);
    assert_eq!(judge(Outcome::Killed, Outcome::Survived), [""; 0]);
    assert_eq!(judge(Outcome::Hung, Outcome::Unreached), [""; 0]);
    for (a, b, expect) in [
        (Outcome::Survived, Outcome::Survived, "survived: "),
        (Outcome::Unreached, Outcome::Survived, "no test comes by: "),
        (
            Outcome::Killed,
            Outcome::Killed,
            "listed as surviving, but a test notices it: ",
        ),
        (
            Outcome::Killed,
            Outcome::Hung,
            "listed as surviving, but a test notices it: ",
        ),
    ] {
        let wrong = judge(a, b);
        assert!(
            wrong.len() == 1 && wrong[0].starts_with(expect),
            "{wrong:?}"
        );
    }
    // What was not tried is not known to be stale; what is gone is.
    assert_eq!(survivors.compare(&[], &all), [""; 0]);
    let wrong = survivors.compare(&[], &all[..1]);
    assert!(wrong.len() == 1 && wrong[0].starts_with("listed, but there is no such mutant"));
}

#[test]
fn a_survivor_has_a_reason_and_is_listed_once() {
    assert!(listed(&[]).is_ok());
    assert!(listed(&[("a", " ")]).is_err());
    assert!(listed(&[("a", "one"), ("a", "two"), ("b", "three")]).is_err());
}
