//! A place in a text that moves forward one character at a time and knows its line and column.

use std::str::Chars;

use crate::{Position, Problem, shown};

#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    chars: Chars<'a>,
    position: Position,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            chars: text.chars(),
            position: Position::START,
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn rest(&self) -> &'a str {
        self.chars.as_str()
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.chars.clone().next()
    }

    pub(crate) fn peek_second(&self) -> Option<char> {
        self.chars.clone().nth(1)
    }

    pub(crate) fn bump(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.position.line = self.position.line.saturating_add(1);
            self.position.column = 1;
        } else {
            self.position.column = self.position.column.saturating_add(1);
        }
        Some(c)
    }

    /// Moves past `expected` if it is next.
    pub(crate) fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.bump();
        }
        found
    }

    pub(crate) fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) -> &'a str {
        let whole = self.rest();
        while self.peek().is_some_and(&mut wanted) {
            self.bump();
        }
        let length = whole.len().saturating_sub(self.rest().len());
        whole.get(..length).unwrap_or_default()
    }

    pub(crate) fn skip_white_space(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
    }

    pub(crate) fn fail<T>(&self, message: impl AsRef<str>) -> Result<T, Problem> {
        Err(Problem::new(self.position, message))
    }

    /// "unexpected …" for the next character or the end of the text, and what was wanted instead.
    pub(crate) fn unexpected<T>(&self, wanted: &str) -> Result<T, Problem> {
        match self.peek() {
            Some(c) => self.fail(format!(
                "unexpected {}; expected {wanted}",
                shown(c.encode_utf8(&mut [0; 4]))
            )),
            None => self.fail(format!("unexpected end of the text; expected {wanted}")),
        }
    }

    /// Exactly `count` digits in `radix`, as a number.
    pub(crate) fn digits(&mut self, radix: u32, count: u32) -> Result<u32, Problem> {
        let mut number: u32 = 0;
        for _ in 0..count {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)) else {
                return self.fail(format!("escape needs {count} digits in base {radix}"));
            };
            self.bump();
            number = number.wrapping_mul(radix).wrapping_add(digit);
        }
        Ok(number)
    }

    /// What follows `\u`: one code point, or the two halves of a surrogate pair, as JSON writes it.
    pub(crate) fn utf16_escape(&mut self) -> Result<char, Problem> {
        let start = self.position;
        let incomplete = || Problem::new(start, "escape is half of a surrogate pair");
        let first = self.digits(16, 4)?;
        if let Some(c) = char::from_u32(first) {
            return Ok(c);
        }
        if !(self.eat('\\') && self.eat('u')) {
            return Err(incomplete());
        }
        let second = self.digits(16, 4)?;
        // RFC 8259 §7: a high half, then a low half.
        let half = |number: u32| u16::try_from(number).unwrap_or_default();
        char::decode_utf16([half(first), half(second)])
            .next()
            .and_then(Result::ok)
            .ok_or_else(incomplete)
    }
}
