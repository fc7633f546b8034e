//! What is wrong with a configuration, and where.

use std::fmt::Write as _;

use crate::limits;

/// A place in a text: line and column count characters from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// The first character.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing wrong with a configuration. Shown as `line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{line}:{column}: {message}")]
#[non_exhaustive]
pub struct Problem {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// One sentence in printable ASCII, at most [`limits::MESSAGE_BYTES`] long.
    pub message: String,
}

impl Problem {
    /// A problem at `position`. Anything in `message` that is not printable ASCII is escaped, and what is too long cut off.
    pub fn new(position: Position, message: impl AsRef<str>) -> Self {
        let mut kept = String::new();
        for c in message.as_ref().chars() {
            let before = kept.len();
            push_printable(&mut kept, c);
            if kept.len() > limits::MESSAGE_BYTES.saturating_sub(CUT.len()) {
                kept.truncate(before);
                kept.push_str(CUT);
                break;
            }
        }
        Self {
            line: position.line,
            column: position.column,
            message: kept,
        }
    }
}

/// `text` in quotes for a message: printable ASCII, at most [`limits::SHOWN_CHARS`] characters of it.
pub fn shown(text: &str) -> String {
    let mut out = String::from("\"");
    let mut chars = text.chars();
    for c in chars.by_ref().take(limits::SHOWN_CHARS) {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            _ => push_printable(&mut out, c),
        }
    }
    if chars.next().is_some() {
        out.push_str(CUT);
    }
    out.push('"');
    out
}

/// Stands for what was left out.
const CUT: &str = "...";

fn push_printable(out: &mut String, c: char) {
    match c {
        ' '..='~' => out.push(c),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        // Writing to a String does not fail.
        _ => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_text_is_quoted_escaped_and_cut() {
        for (text, expect) in [
            ("ca_path", r#""ca_path""#.to_owned()),
            ("a\"b\\c", r#""a\"b\\c""#.to_owned()),
            (
                "\n\r\t\0\u{1b}[31m\u{e9}",
                r#""\n\r\t\u{0}\u{1b}[31m\u{e9}""#.to_owned(),
            ),
            (&"x".repeat(64), format!("\"{}\"", "x".repeat(64))),
            (&"x".repeat(65), format!("\"{}...\"", "x".repeat(64))),
        ] {
            assert_eq!(shown(text), expect);
        }
    }

    #[test]
    fn message_is_escaped_and_bounded() {
        let at = Position { line: 3, column: 9 };
        assert_eq!(
            Problem::new(at, "bad\nline \u{e9}").to_string(),
            r"3:9: bad\nline \u{e9}"
        );
        assert_eq!(Problem::new(at, "x".repeat(1021)).message, "x".repeat(1021));
        for text in ["x".repeat(5000), "\u{e9}".repeat(5000)] {
            let message = Problem::new(at, text).message;
            assert!(
                message.len() <= limits::MESSAGE_BYTES && message.ends_with("..."),
                "{message}"
            );
        }
    }
}
