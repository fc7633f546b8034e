//! A JSON document (RFC 8259) with positions: no duplicate keys, no null.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cursor::Cursor;
use crate::lexer::number;
use crate::{Entry, Object, Problem, Spanned, Value, limits, shown};

/// The whole text, which must be one object.
pub(crate) fn document(text: &str) -> Result<Object, Problem> {
    let mut parser = Parser {
        cursor: Cursor::new(text),
        depth: 0,
        entries: 0,
    };
    parser.cursor.skip_white_space();
    let object = parser.object()?;
    parser.cursor.skip_white_space();
    if parser.cursor.peek().is_some() {
        return parser
            .cursor
            .unexpected("the end of the text after the JSON document");
    }
    Ok(object)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    depth: usize,
    entries: usize,
}

impl Parser<'_> {
    fn value(&mut self) -> Result<Spanned<Value>, Problem> {
        let position = self.cursor.position();
        let value = match self.cursor.peek() {
            Some('{') => Value::Object(self.object()?),
            Some('[') => Value::List(self.list()?),
            Some('"') => Value::Text(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            _ => self.literal()?,
        };
        Ok(Spanned { value, position })
    }

    fn object(&mut self) -> Result<Object, Problem> {
        self.enter()?;
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        let mut more = !self.opens_empty('}');
        while more {
            let key = self.key()?;
            if !seen.insert(Arc::clone(&key.value)) {
                return Err(Problem::new(
                    key.position,
                    format!("duplicate key {}", shown(&key.value)),
                ));
            }
            let value = self.member(&key)?;
            entries.push(Entry {
                key,
                labels: Vec::new(),
                value,
            });
            more = self.goes_on('}')?;
        }
        self.leave();
        Ok(Object { entries })
    }

    fn key(&mut self) -> Result<Spanned<Arc<str>>, Problem> {
        self.count()?;
        let position = self.cursor.position();
        if self.cursor.peek() != Some('"') {
            return self.cursor.unexpected("a key in quotes");
        }
        Ok(Spanned {
            value: self.string()?.into(),
            position,
        })
    }

    fn member(&mut self, key: &Spanned<Arc<str>>) -> Result<Spanned<Value>, Problem> {
        self.cursor.skip_white_space();
        if !self.cursor.eat(':') {
            return self.cursor.unexpected(": after a key");
        }
        self.cursor.skip_white_space();
        if self.cursor.rest().starts_with("null") {
            return Err(Problem::new(
                key.position,
                format!("{} has no value (null or empty)", shown(&key.value)),
            ));
        }
        self.value()
    }

    fn list(&mut self) -> Result<Vec<Spanned<Value>>, Problem> {
        self.enter()?;
        let mut items = Vec::new();
        let mut more = !self.opens_empty(']');
        while more {
            if self.cursor.peek() == Some('{') {
                self.count()?;
            }
            items.push(self.value()?);
            more = self.goes_on(']')?;
        }
        self.leave();
        Ok(items)
    }

    /// Moves past an opening bracket, and past `close` if nothing is between them.
    fn opens_empty(&mut self, close: char) -> bool {
        self.cursor.bump();
        self.cursor.skip_white_space();
        self.cursor.eat(close)
    }

    /// Moves past a comma (true) or `close` (false).
    fn goes_on(&mut self, close: char) -> Result<bool, Problem> {
        self.cursor.skip_white_space();
        if self.cursor.eat(close) {
            return Ok(false);
        }
        if !self.cursor.eat(',') {
            return self.cursor.unexpected(&format!(", or {close}"));
        }
        self.cursor.skip_white_space();
        Ok(true)
    }

    fn string(&mut self) -> Result<String, Problem> {
        let start = self.cursor.position();
        self.cursor.bump();
        let mut text = String::new();
        loop {
            match self.cursor.peek() {
                None => return Err(Problem::new(start, "string is not closed")),
                Some('\0'..='\x1f') => {
                    return self
                        .cursor
                        .fail("control character in a string; write it as an escape");
                }
                Some('\\') => text.push(self.escape()?),
                Some(c) => {
                    self.cursor.bump();
                    if c == '"' {
                        return Ok(text);
                    }
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Problem> {
        let start = self.cursor.position();
        self.cursor.bump();
        match self.cursor.bump() {
            Some(c @ ('"' | '\\' | '/')) => Ok(c),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') => self.cursor.utf16_escape(),
            _ => Err(Problem::new(
                start,
                "unknown escape in a string; write \\\\ for a backslash",
            )),
        }
    }

    fn number(&mut self) -> Result<Value, Problem> {
        let position = self.cursor.position();
        let text = self
            .cursor
            .take_while(|c| matches!(c, '+' | '-' | '.') || c.is_ascii_alphanumeric());
        if is_json_number(text) {
            number(text, position)
        } else {
            Err(Problem::new(
                position,
                format!("{} is not a JSON number", shown(text)),
            ))
        }
    }

    fn literal(&mut self) -> Result<Value, Problem> {
        let mut ahead = self.cursor.clone();
        let value = match ahead.take_while(|c| c.is_ascii_alphanumeric()) {
            "true" => Value::Flag(true),
            "false" => Value::Flag(false),
            "null" => return self.cursor.fail("null cannot be an item of a list"),
            _ => return self.cursor.unexpected("a value"),
        };
        self.cursor = ahead;
        Ok(value)
    }

    fn enter(&mut self) -> Result<(), Problem> {
        self.depth = self.depth.saturating_add(1);
        // The braces of the document itself are not a level: the same text in HCL has none.
        if self.depth > limits::NESTING.saturating_add(1) {
            return self
                .cursor
                .fail(format!("nested deeper than {} levels", limits::NESTING));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn count(&mut self) -> Result<(), Problem> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > limits::ENTRIES {
            return self
                .cursor
                .fail(format!("more than {} entries", limits::ENTRIES));
        }
        Ok(())
    }
}

/// RFC 8259 §6: an integer without leading zero, then perhaps a fraction, then perhaps an exponent.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        ),
        None => (unsigned, None),
    };
    let (integer, fraction) = match mantissa.split_once('.') {
        Some((integer, fraction)) => (integer, Some(fraction)),
        None => (mantissa, None),
    };
    let no_leading_zero = integer == "0" || !integer.starts_with('0');
    digits(integer) && no_leading_zero && fraction.is_none_or(digits) && exponent.is_none_or(digits)
}
