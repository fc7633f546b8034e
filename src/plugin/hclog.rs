//! One hclog JSON line: text in, bytes that a host parses out, whatever the text holds.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::limits::{LOG_LINE, LOG_MESSAGE, LOG_VALUE};

/// A message and its fields, as collected.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) message: String,
    pub(crate) fields: Vec<(&'static str, Scalar)>,
}

/// What a field may hold. The host flattens nothing else.
#[derive(Clone, Debug)]
pub(crate) enum Scalar {
    Text(String),
    /// Digits that survive the host's 64-bit floats.
    Number(i64),
    Bool(bool),
}

impl Scalar {
    pub(crate) fn signed(value: i64) -> Self {
        if value.unsigned_abs() <= EXACT {
            Self::Number(value)
        } else {
            Self::Text(value.to_string())
        }
    }

    pub(crate) fn unsigned(value: u64) -> Self {
        i64::try_from(value).map_or_else(|_large| Self::Text(value.to_string()), Self::signed)
    }
}

/// The largest integer up to which a 64-bit float is exact.
const EXACT: u64 = 1 << 53;

/// Keys that the host or its log adds itself; ours get a `_` at the end.
const RESERVED: [&str; 9] = [
    "external",
    "file",
    "func",
    "level",
    "msg",
    "plugin_name",
    "plugin_type",
    "subsystem_name",
    "time",
];

/// The keys that hclog adds, which would only be mistaken for its own.
const ALSO_RESERVED: [&str; 2] = ["timestamp", "truncated"];

/// Writes one line, newline included, of at most [`LOG_LINE`] bytes. A later field replaces an earlier one of the same key.
pub(crate) fn line(
    now: SystemTime,
    level: &str,
    module: &str,
    message: &str,
    fields: &[(&str, Scalar)],
) -> String {
    let mut out = String::with_capacity(USUAL_LINE);
    out.push_str("{\"@level\":");
    push_text(&mut out, level, LOG_VALUE);
    out.push_str(",\"@message\":");
    push_text(&mut out, message, LOG_MESSAGE);
    out.push_str(",\"@module\":");
    push_text(&mut out, module, LOG_VALUE);
    out.push_str(",\"@timestamp\":");
    push_timestamp(&mut out, now);
    for (at, (key, value)) in fields.iter().enumerate() {
        let mut later = fields.iter().skip(at.saturating_add(1));
        if later.any(|(later, _)| later == key) {
            continue;
        }
        let before = out.len();
        push_field(&mut out, key, value);
        if out.len().saturating_add(TAIL.len()) > LOG_LINE {
            out.truncate(before);
            out.push_str(",\"truncated\":true");
            break;
        }
    }
    out.push_str("}\n");
    out
}

const TAIL: &str = ",\"truncated\":true}\n";

/// Room for a line about an attestation.
const USUAL_LINE: usize = 640;

/// `text` in printable ASCII, at most `limit` bytes of it: nothing in it can forge a line or reorder a terminal.
pub(crate) fn visible(text: &str, limit: usize) -> String {
    let mut out = String::new();
    show(text, limit, |character| out.push(character));
    out
}

fn show(text: &str, limit: usize, mut push: impl FnMut(char)) {
    let mut length: usize = 0;
    for character in text.chars() {
        let is_plain = matches!(character, ' '..='~');
        let width = if is_plain {
            1
        } else {
            character.escape_default().len()
        };
        length = length.saturating_add(width);
        if length > limit {
            "...".chars().for_each(push);
            return;
        }
        if is_plain {
            push(character);
        } else {
            character.escape_default().for_each(&mut push);
        }
    }
}

fn push_field(out: &mut String, key: &str, value: &Scalar) {
    out.push(',');
    push_key(out, key);
    out.push(':');
    match value {
        Scalar::Text(text) => push_text(out, text, LOG_VALUE),
        // Writing to a string does not fail.
        Scalar::Number(number) => write!(out, "{number}").unwrap_or_default(),
        Scalar::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
    }
}

/// A key that shadows none of the host's.
fn push_key(out: &mut String, key: &str) {
    out.push('"');
    let begin = out.len();
    out.extend(key.chars().take(64).map(|character| {
        let is_word = character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-');
        if is_word { character } else { '_' }
    }));
    let own = out.get(begin..).unwrap_or_default();
    if RESERVED.contains(&own) || ALSO_RESERVED.contains(&own) {
        out.push('_');
    }
    out.push('"');
}

/// A JSON string of [`visible`] text.
fn push_text(out: &mut String, text: &str, limit: usize) {
    out.push('"');
    show(text, limit, |character| {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    });
    out.push('"');
}

/// `"2006-01-02T15:04:05.000000Z"`: six digits, or the host takes the whole line for text.
fn push_timestamp(out: &mut String, now: SystemTime) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let micros = since.subsec_micros();
    write!(
        out,
        "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z\""
    )
    .unwrap_or_default();
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Count from 0000-03-01, so that a leap day is the last of its year and 400 years are one period.
    let day = days.saturating_add(719_468);
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;

    fn parsed(message: &str, fields: &[(&str, Scalar)]) -> Value {
        let line = line(UNIX_EPOCH, "info", "agent", message, fields);
        assert!(line.len() <= LOG_LINE, "{}", line.len());
        assert!(
            line.trim_end_matches('\n')
                .bytes()
                .all(|b| (b' '..=b'~').contains(&b)),
            "{line}"
        );
        assert!(line.ends_with("}\n"));
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn timestamps() {
        let check = |seconds, micros, expect| {
            let at = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros);
            let mut text = String::new();
            push_timestamp(&mut text, at);
            assert_eq!(text, format!("\"{expect}\""));
        };
        check(0, 0, "1970-01-01T00:00:00.000000Z");
        check(951_782_399, 7, "2000-02-28T23:59:59.000007Z");
        check(951_782_400, 0, "2000-02-29T00:00:00.000000Z");
        check(1_709_251_199, 999_999, "2024-02-29T23:59:59.999999Z");
        check(4_107_542_400, 0, "2100-03-01T00:00:00.000000Z");
        check(1_795_478_400, 500_000, "2026-11-24T00:00:00.500000Z");
    }

    #[test]
    fn hostile_text_stays_inside_its_value() {
        let hostile = "a\n{\"@level\":\"error\"}\u{202e}\u{0}\u{1b}[31m\u{e9}\\";
        let line = parsed(hostile, &[("peer", Scalar::Text(hostile.into()))]);
        let expect = "a\\n{\"@level\":\"error\"}\\u{202e}\\u{0}\\u{1b}[31m\\u{e9}\\";
        assert_eq!(line["@message"], expect);
        assert_eq!(line["peer"], expect);
        assert_eq!(line["@level"], "info");
    }

    #[test]
    fn reserved_keys_are_renamed() {
        for key in RESERVED.iter().chain(&ALSO_RESERVED) {
            let line = parsed("m", &[(key, Scalar::Bool(true))]);
            assert_eq!(line[format!("{key}_")], true, "{key}");
            assert_eq!(line.get(*key), None);
        }
        let line = parsed(
            "m",
            &[("@level", Scalar::Bool(true)), ("a b", Scalar::Number(1))],
        );
        assert_eq!(line["@level"], "info");
        assert_eq!(line["_level"], true);
        assert_eq!(line["a_b"], 1);
    }

    #[test]
    fn a_later_field_wins() {
        let line = parsed("m", &[("k", Scalar::Number(1)), ("k", Scalar::Number(2))]);
        assert_eq!(line["k"], 2);
    }

    #[test]
    fn large_integers_are_text() {
        let line = parsed(
            "m",
            &[
                ("a", Scalar::unsigned(EXACT)),
                ("b", Scalar::unsigned(EXACT + 1)),
                ("c", Scalar::unsigned(u64::MAX)),
                ("d", Scalar::signed(i64::MIN)),
                ("e", Scalar::signed(-5)),
            ],
        );
        assert_eq!(line["a"], EXACT);
        assert_eq!(line["b"], "9007199254740993");
        assert_eq!(line["c"], "18446744073709551615");
        assert_eq!(line["d"], "-9223372036854775808");
        assert_eq!(line["e"], -5);
    }

    #[test]
    fn long_lines_are_cut() {
        let long = "\u{202e}\"\\".repeat(100_000);
        let value = Scalar::Text(long.clone());
        let keys: Vec<_> = (0..100).map(|n| format!("key{n}")).collect();
        let fields: Vec<_> = keys
            .iter()
            .map(|key| (key.as_str(), value.clone()))
            .collect();
        let line = parsed(&long, &fields);
        assert_eq!(line["truncated"], true);
        assert!(line["@message"].as_str().unwrap().ends_with("..."));
        assert!(line["key0"].as_str().unwrap().ends_with("..."));
        assert_eq!(line.get("key99"), None);
    }
}
