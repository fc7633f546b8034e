//! Which kernel command lines a profile allows, read as Linux reads them.

use std::collections::BTreeSet;

use crate::printable::printable;

/// Which kernel command lines are allowed. Lines are compared as claims write them: printable, the rest escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandLineRule {
    /// The whole line, letter for letter; none listed stands for any.
    pub allow: BTreeSet<String>,
    /// Words that must be there, such as `lockdown=integrity`.
    pub require: BTreeSet<String>,
    /// Words that must not be there, such as `single`; one that ends in `*` forbids every word that begins so.
    pub forbid: BTreeSet<String>,
}

/// A line or word as claims write it: what an operator writes as it is, and what is escaped already stays.
pub fn as_claimed(text: &str) -> String {
    if text.contains("\\u{") {
        text.to_owned()
    } else {
        printable(text, usize::MAX)
    }
}

impl CommandLineRule {
    /// What is wrong with a line.
    ///
    /// Linux, kernel/params.c: what isspace() knows separates words, quotation marks join them and are taken off, and `-`
    /// and `_` are one in names. A word counts as there only outside of quotation marks, and as forbidden also within.
    pub(crate) fn check(&self, line: &str) -> Result<(), String> {
        let line = line.trim();
        if !self.allow.is_empty() && !self.allow.contains(line) {
            return Err(format!("it is not one of those allowed: {line}"));
        }
        let line = spaced(line);
        let unquoted: BTreeSet<_> = line.split(QUOTE).step_by(2).flat_map(words).collect();
        let required = self.require.iter();
        if let Some(absent) = required
            .clone()
            .find(|word| !unquoted.contains(&named(word)))
        {
            return Err(format!("it lacks {absent}"));
        }
        let everywhere = line.split(QUOTE).flat_map(words);
        match everywhere.into_iter().find(|word| self.forbids(word)) {
            Some(word) => Err(format!("it has {word}")),
            None => Ok(()),
        }
    }

    fn forbids(&self, word: &str) -> bool {
        self.forbid.iter().any(|pattern| {
            let pattern = named(pattern);
            match pattern.strip_suffix('*') {
                Some(start) => word.starts_with(start),
                None => word == pattern,
            }
        })
    }
}

/// With a space for each escape that stands for white space.
fn spaced(line: &str) -> String {
    WHITE_SPACE
        .iter()
        .fold(line.to_owned(), |line, escape| line.replace(escape, " "))
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_ascii_whitespace().map(named)
}

/// With `_` for each `-` in the name.
fn named(word: &str) -> String {
    match word.split_once('=') {
        Some((name, value)) => format!("{}={value}", name.replace('-', "_")),
        None => word.replace('-', "_"),
    }
}

/// How claims write a quotation mark.
const QUOTE: &str = "\\u{22}";
/// How they write what isspace() of Linux knows, but for the space: 9 to 13, and 160.
const WHITE_SPACE: [&str; 6] = ["\\u{9}", "\\u{a}", "\\u{b}", "\\u{c}", "\\u{d}", "\\u{a0}"];

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn words_are_those_of_linux() {
        let require = |line: &str, word: &str| {
            let rule = CommandLineRule {
                require: set(&[word]),
                ..CommandLineRule::default()
            };
            rule.check(line).is_ok()
        };
        let forbid = |line: &str, word: &str| {
            let rule = CommandLineRule {
                forbid: set(&[word]),
                ..CommandLineRule::default()
            };
            rule.check(line).is_err()
        };
        for (line, word, required, forbidden) in [
            ("ro quiet", "quiet", true, true),
            ("ro quiets", "quiet", false, false),
            ("ro quiets", "quiet*", false, true),
            ("ro\\u{9}quiet", "quiet", true, true),
            ("ro\\u{a0}quiet", "quiet", true, true),
            ("ro\\u{8}quiet", "quiet", false, false),
            ("\\u{22}quiet\\u{22}", "quiet", false, true),
            ("a=\\u{22}b quiet c\\u{22}", "quiet", false, true),
            ("a=\\u{22}b\\u{22} quiet", "quiet", true, true),
            ("a=\\u{22}b quiet", "quiet", false, true),
            ("a-b=c-d", "a_b=c-d", true, true),
            ("a_b=c-d", "a-b=c-d", true, true),
            ("a-b=c-d", "a-b=c_d", false, false),
            ("a-b", "a_*", false, true),
            ("init=/bin/sh", "init=*", false, true),
            ("rdinit=/bin/sh", "init=*", false, false),
        ] {
            assert_eq!(require(line, word), required, "{line} requires {word}");
            assert_eq!(forbid(line, word), forbidden, "{line} forbids {word}");
        }
    }

    #[test]
    fn whole_lines_are_compared_letter_for_letter() {
        let rule = CommandLineRule {
            allow: set(&["ro  quiet"]),
            ..CommandLineRule::default()
        };
        assert_eq!(rule.check(" ro  quiet "), Ok(()));
        let refused = rule.check("ro quiet").unwrap_err();
        assert_eq!(refused, "it is not one of those allowed: ro quiet");
    }

    #[test]
    fn texts_are_written_as_they_are_or_as_reports_show_them() {
        for (text, claimed) in [
            ("ro quiet", "ro quiet"),
            (
                "initrd=\\initrd a=\"b\"",
                "initrd=\\u{5c}initrd a=\\u{22}b\\u{22}",
            ),
            ("initrd=\\u{5c}initrd", "initrd=\\u{5c}initrd"),
            ("é\t", "\\u{e9}\\u{9}"),
        ] {
            assert_eq!(as_claimed(text), claimed);
        }
    }
}
