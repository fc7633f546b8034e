//! Reads the rule over kernel command lines.

use std::collections::BTreeSet;

use hcl::{Problem, Spanned, Values};
use verify::{CommandLineRule, as_claimed};

use crate::rules::texts;

/// The rule in a `command_line` block.
pub(crate) fn command_line(block: &Values, problems: &mut Vec<Problem>) -> CommandLineRule {
    let lists = ["allow", "require", "forbid"];
    if block.is_sound() && lists.iter().all(|key| block.texts(key).is_none()) {
        let message = "command_line needs allow, require or forbid";
        problems.push(Problem::new(block.start(), message));
    }
    CommandLineRule {
        allow: each(block, "allow", problem_of_a_line, problems),
        require: each(block, "require", problem_of_a_word, problems),
        forbid: each(block, "forbid", problem_of_a_pattern, problems),
    }
}

fn each(
    block: &Values,
    key: &str,
    problem: fn(&str) -> Option<&'static str>,
    problems: &mut Vec<Problem>,
) -> BTreeSet<String> {
    let mut texts = texts(block, key, problems).unwrap_or_default().iter();
    let mut read = |text: &Spanned<String>| {
        if let Some(problem) = problem(&text.value) {
            let shown = hcl::shown(&text.value);
            let message = format!("{key} has {shown}: {problem}");
            problems.push(Problem::new(text.position, message));
        }
        as_claimed(&text.value)
    };
    texts.by_ref().map(&mut read).collect()
}

/// Lines are compared as claims hold them: without spaces around them.
fn problem_of_a_line(line: &str) -> Option<&'static str> {
    if line.trim() != line {
        return Some("no line has spaces around it");
    }
    None
}

fn problem_of_a_word(word: &str) -> Option<&'static str> {
    if word.is_empty() || word.contains(|char: char| char.is_ascii_whitespace()) {
        return Some("words are not empty and have no spaces in them");
    }
    // Quotation marks join words, and no word that is compared has one.
    let is_quoted = word.contains('"') || word.contains("\\u{22}");
    is_quoted.then_some("words are compared without quotation marks")
}

fn problem_of_a_pattern(pattern: &str) -> Option<&'static str> {
    match pattern.strip_suffix('*') {
        Some("") => Some("that is every word"),
        _ => problem_of_a_word(pattern),
    }
}
