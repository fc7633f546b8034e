//! A profile as text to paste into a server's configuration, each value with where it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A profile in the making.
#[derive(Debug, Default)]
pub(crate) struct Block {
    text: String,
}

/// Values of a list, each with the boots that had it, counted from 1, and what else is known of it.
pub(crate) type Sourced = BTreeMap<String, Source>;

/// Where a value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) boots: BTreeSet<usize>,
    pub(crate) about: String,
}

impl Block {
    /// A block that has these comments before it.
    pub(crate) fn new(name: &str, head: &[String]) -> Self {
        let mut text = String::new();
        for line in head {
            writeln!(text, "# {}", comment(line)).ok();
        }
        writeln!(text, "profile {} {{", quoted(name)).ok();
        Self { text }
    }

    /// A line of explanation.
    pub(crate) fn note(&mut self, line: &str) {
        writeln!(self.text, "    # {}", comment(line)).ok();
    }

    /// A key that is switched on.
    pub(crate) fn flag(&mut self, key: &str, note: &str) {
        self.note(note);
        writeln!(self.text, "    {key} = true").ok();
    }

    /// A key with a list; of `boots` boots in all.
    pub(crate) fn list(&mut self, key: &str, values: &Sourced, boots: usize, note: &str) {
        self.note(note);
        self.items("    ", key, values, boots);
    }

    /// A block with one list in it, such as `pcr "7" { values = […] }`.
    pub(crate) fn block(
        &mut self,
        head: &str,
        key: &str,
        values: &Sourced,
        boots: usize,
        note: &str,
    ) {
        self.note(note);
        writeln!(self.text, "    {head} {{").ok();
        self.items("        ", key, values, boots);
        self.text.push_str("    }\n");
    }

    /// The text, with a newline at its end.
    pub(crate) fn finish(self) -> String {
        self.text + "}\n"
    }

    fn items(&mut self, indent: &str, key: &str, values: &Sourced, boots: usize) {
        writeln!(self.text, "{indent}{key} = [").ok();
        for (value, source) in values {
            let says = source.text(boots);
            let says = if says.is_empty() {
                String::new()
            } else {
                format!(" # {}", comment(&says))
            };
            writeln!(self.text, "{indent}    {},{says}", quoted(value)).ok();
        }
        writeln!(self.text, "{indent}]").ok();
    }
}

impl Source {
    /// Which boots had it is told where not all had it.
    fn text(&self, boots: usize) -> String {
        let mut parts = Vec::new();
        if !self.about.is_empty() {
            parts.push(self.about.clone());
        }
        if self.boots.len() < boots {
            let numbers: Vec<_> = self.boots.iter().map(ToString::to_string).collect();
            parts.push(format!("boot {}", numbers.join(", ")));
        }
        parts.join("; ")
    }
}

/// A text in quotation marks that HCL reads as this text.
pub(crate) fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    // What follows would be an expression.
    format!("\"{}\"", escaped.replace("${", "\\u0024{"))
}

/// What ends no line.
fn comment(text: &str) -> String {
    crate::text::printable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_quotes_are_read_as_they_are() {
        for text in [
            "root=/dev/vda2 ro",
            "a=\\u{22}b\\u{22}",
            "x\"y\\z",
            "${not} an $expression ${",
            "$${",
            "# no comment",
        ] {
            let object = hcl::parse(&format!("key = {}", quoted(text))).unwrap();
            let value = &object.entries[0].value.value;
            assert_eq!(*value, hcl::Value::Text(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn comments_say_which_boots_had_a_value_and_end_no_line() {
        let source = |boots: &[usize], about: &str| Source {
            boots: boots.iter().copied().collect(),
            about: about.to_owned(),
        };
        let values: Sourced = [
            ("aa".to_owned(), source(&[1, 2], "")),
            ("bb".to_owned(), source(&[2], "CN=x\ny = true")),
        ]
        .into();
        let mut block = Block::new("web", &["of\nme".to_owned()]);
        block.flag("secure_boot", "It was on.");
        block.list("db", &values, 2, "Keys.");
        block.block("pcr \"7\"", "values", &values, 2, "Values.");
        let text = block.finish();
        assert_eq!(
            text,
            "# of\\u{a}me\nprofile \"web\" {\n    # It was on.\n    secure_boot = true\n    # Keys.\n    db = [\n        \
             \"aa\",\n        \"bb\", # CN=x\\u{a}y = true; boot 2\n    ]\n    # Values.\n    pcr \"7\" {\n        \
             values = [\n            \"aa\",\n            \"bb\", # CN=x\\u{a}y = true; boot 2\n        ]\n    }\n}\n"
        );
        let object = hcl::parse(&text).unwrap();
        assert_eq!(object.entries.len(), 1);
    }
}
