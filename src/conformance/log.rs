//! What a plugin writes on stderr, read by the host's rules.

use serde_json::{Map, Value};

/// The host reads stderr in pieces of this size; a longer line is split and never parsed.
pub(crate) const PIECE: usize = 64 << 10;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum LogLine {
    /// A line the host logs at its level with its fields.
    Entry(Entry),
    /// A line the host takes for text, and hides below info.
    Text(String),
}

/// A line in hclog's form.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// `@message`.
    pub message: String,
    /// `@module`, if there is one.
    pub module: Option<String>,
    /// `@timestamp`.
    pub timestamp: String,
    /// All other keys.
    pub fields: Map<String, Value>,
}

impl LogLine {
    /// Reads one line without its end.
    pub fn parse(line: &[u8]) -> Self {
        let entry = if line.len() < PIECE {
            entry(line)
        } else {
            None
        };
        entry.map_or_else(
            || Self::Text(String::from_utf8_lossy(line).into_owned()),
            Self::Entry,
        )
    }

    /// The entry, if it is one.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Entry(entry) => Some(entry),
            Self::Text(_) => None,
        }
    }
}

fn entry(line: &[u8]) -> Option<Entry> {
    let Value::Object(mut fields) = serde_json::from_slice(line).ok()? else {
        return None;
    };
    let mut text = |key| match fields.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let message = text("@message")?;
    let level = text("@level")?.to_ascii_lowercase();
    let timestamp = text("@timestamp")?;
    let module = text("@module");
    let scalars = fields
        .values()
        .all(|value| !value.is_object() && !value.is_array());
    let accepted = LEVELS.contains(&level.as_str()) && is_timestamp(&timestamp) && scalars;
    accepted.then_some(Entry {
        level,
        message,
        module,
        timestamp,
        fields,
    })
}

const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// `2006-01-02T15:04:05.000000Z07:00`: six fractional digits, then `Z` or an offset.
fn is_timestamp(text: &str) -> bool {
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(found, due)| match due {
                    b'0' => found.is_ascii_digit(),
                    b'+' => matches!(found, b'+' | b'-'),
                    _ => found == due,
                })
    };
    shape(text, "0000-00-00T00:00:00.000000Z") || shape(text, "0000-00-00T00:00:00.000000+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> bool {
        LogLine::parse(line.as_bytes()).entry().is_some()
    }

    #[test]
    fn entries() {
        let line = r#"{"@level":"Warn","@message":"m","@module":"a","@timestamp":"2026-11-24T07:00:00.000001Z","k":1}"#;
        let read = LogLine::parse(line.as_bytes());
        let entry = read.entry().unwrap();
        assert_eq!(
            (entry.level.as_str(), entry.message.as_str()),
            ("warn", "m")
        );
        assert_eq!(entry.fields["k"], 1);
        assert!(parsed(&line.replace('Z', "+01:00")));
    }

    #[test]
    fn text() {
        let line =
            r#"{"@level":"info","@message":"m","@timestamp":"2026-11-24T07:00:00.000001Z","k":1}"#;
        assert!(parsed(line));
        for (from, to) in [
            ("info", "warning"),
            (".000001", ".001"),
            (".000001", ""),
            ("\"m\"", "1"),
            ("@message", "message"),
            ("@timestamp", "time"),
            ("\"k\":1", "\"k\":{}"),
            ("\"k\":1", "\"k\":[1]"),
            ("}", ""),
        ] {
            assert!(!parsed(&line.replace(from, to)), "{from} -> {to}");
        }
        assert!(!parsed(
            &line.replace("\"m\"", &format!("\"{}\"", "m".repeat(PIECE)))
        ));
        assert!(!parsed("[ERROR] m"));
    }
}
