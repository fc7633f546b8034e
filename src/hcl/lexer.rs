//! The tokens of HCL version 1.

use std::sync::Arc;

use crate::cursor::Cursor;
use crate::{Position, Problem, Spanned, Value, shown};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A bare word.
    Word(Arc<str>),
    /// A quoted string, decoded.
    Quoted(String),
    /// A heredoc, decoded. Unlike a quoted string it cannot be a key.
    Heredoc(String),
    /// An integer or a float.
    Number(Value),
    Assign,
    Comma,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    End,
}

#[derive(Clone)]
pub(crate) struct Lexer<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            cursor: Cursor::new(text),
        }
    }

    pub(crate) fn next(&mut self) -> Result<Spanned<Token>, Problem> {
        self.skip_blanks()?;
        let position = self.cursor.position();
        let value = match self.cursor.peek() {
            None => Token::End,
            Some('"') => Token::Quoted(self.quoted()?),
            Some('<') => Token::Heredoc(self.heredoc()?),
            Some(c) if starts_word(c) => Token::Word(self.cursor.take_while(continues_word).into()),
            Some(c) if starts_number(c, self.cursor.peek_second()) => Token::Number(self.number()?),
            Some(_) => self.punctuation()?,
        };
        Ok(Spanned { value, position })
    }

    fn punctuation(&mut self) -> Result<Token, Problem> {
        let token = match self.cursor.peek() {
            Some('=') => Token::Assign,
            Some(',') => Token::Comma,
            Some('{') => Token::OpenBrace,
            Some('}') => Token::CloseBrace,
            Some('[') => Token::OpenBracket,
            Some(']') => Token::CloseBracket,
            _ => return self.cursor.unexpected("a key or a value"),
        };
        self.cursor.bump();
        Ok(token)
    }

    /// White space and the three kinds of comment.
    fn skip_blanks(&mut self) -> Result<(), Problem> {
        loop {
            self.cursor.skip_white_space();
            match (self.cursor.peek(), self.cursor.peek_second()) {
                (Some('#'), _) | (Some('/'), Some('/')) => {
                    self.cursor.take_while(|c| c != '\n');
                }
                (Some('/'), Some('*')) => self.skip_block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_block_comment(&mut self) -> Result<(), Problem> {
        let start = self.cursor.position();
        self.cursor.bump();
        self.cursor.bump();
        while let Some(c) = self.cursor.bump() {
            if c == '*' && self.cursor.eat('/') {
                return Ok(());
            }
        }
        Err(Problem::new(start, "comment is not closed with */"))
    }

    fn number(&mut self) -> Result<Value, Problem> {
        let position = self.cursor.position();
        let mut previous = ' ';
        let mut hexadecimal = false;
        let text = self.cursor.take_while(|c| {
            let exponent_sign =
                matches!(c, '+' | '-') && matches!(previous, 'e' | 'E') && !hexadecimal;
            let leading_sign = c == '-' && previous == ' ';
            hexadecimal |= matches!(c, 'x' | 'X');
            previous = c;
            exponent_sign || leading_sign || c == '.' || continues_word(c) && c != '-'
        });
        number(text, position)
    }

    fn quoted(&mut self) -> Result<String, Problem> {
        let start = self.cursor.position();
        self.cursor.bump();
        // `\x` and octal escapes stand for bytes, several of which may make one character.
        let mut bytes = Vec::new();
        loop {
            match self.cursor.peek() {
                None | Some('\n') => {
                    return Err(Problem::new(start, "string is not closed on its line"));
                }
                Some('\\') => self.escape(&mut bytes)?,
                Some('$') if self.cursor.peek_second() == Some('{') => {
                    self.interpolation(&mut bytes)?;
                }
                Some(c) => {
                    self.cursor.bump();
                    if c == '"' {
                        break;
                    }
                    push(&mut bytes, c);
                }
            }
        }
        String::from_utf8(bytes).or(Err(Problem::new(
            start,
            "escapes in the string do not make UTF-8",
        )))
    }

    /// `${…}` up to its matching brace: kept as written, quotes, escapes and line ends included.
    fn interpolation(&mut self, bytes: &mut Vec<u8>) -> Result<(), Problem> {
        let start = self.cursor.position();
        let mut open = 0_u32;
        while let Some(c) = self.cursor.bump() {
            push(bytes, c);
            match c {
                '{' => open = open.saturating_add(1),
                '}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open == 0 && c == '}' {
                return Ok(());
            }
        }
        Err(Problem::new(start, "${ in a string is not closed with }"))
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), Problem> {
        let start = self.cursor.position();
        self.cursor.bump();
        let kind = self.cursor.peek();
        if !matches!(kind, Some('0'..='7') | None) {
            self.cursor.bump();
        }
        let c = match kind {
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(c @ ('\\' | '"')) => c,
            Some('u') => self.cursor.utf16_escape()?,
            Some('U') => char::from_u32(self.cursor.digits(16, 8)?)
                .ok_or_else(|| Problem::new(start, "escape is not a Unicode character"))?,
            Some('x') => return push_byte(bytes, self.cursor.digits(16, 2)?, start),
            Some('0'..='7') => return push_byte(bytes, self.cursor.digits(8, 3)?, start),
            _ => {
                return Err(Problem::new(
                    start,
                    "unknown escape in a string; write \\\\ for a backslash",
                ));
            }
        };
        push(bytes, c);
        Ok(())
    }

    /// `<<NAME` or `<<-NAME`, lines, and a line that holds only the name, which may be indented.
    fn heredoc(&mut self) -> Result<String, Problem> {
        let start = self.cursor.position();
        self.cursor.bump();
        if !self.cursor.eat('<') {
            return self.cursor.unexpected("a second < of a heredoc");
        }
        let indented = self.cursor.eat('-');
        let name = self
            .cursor
            .take_while(|c| continues_word(c) && !matches!(c, '-' | '.'));
        if name.is_empty() || !self.cursor.eat('\n') {
            return self
                .cursor
                .unexpected("a heredoc name and the end of the line");
        }
        let mut lines = Vec::new();
        loop {
            let line = self.cursor.take_while(|c| c != '\n');
            if line.trim_start().trim_end_matches('\r') == name {
                let margin = line
                    .strip_suffix('\r')
                    .unwrap_or(line)
                    .strip_suffix(name)
                    .unwrap_or_default();
                return Ok(heredoc_text(&lines, margin, indented));
            }
            lines.push(line);
            if !self.cursor.eat('\n') {
                return Err(Problem::new(
                    start,
                    format!("heredoc is not closed with a line {}", shown(name)),
                ));
            }
        }
    }
}

/// The lines of a heredoc; the margin of `<<-` is what stands before the closing name, taken off if every line has it.
fn heredoc_text(lines: &[&str], margin: &str, indented: bool) -> String {
    let strip = indented && lines.iter().all(|line| line.starts_with(margin));
    let mut text = String::new();
    for line in lines {
        let line = if strip {
            line.strip_prefix(margin).unwrap_or(line)
        } else {
            line
        };
        text.push_str(line);
        text.push('\n');
    }
    // HCL 1 leaves the white space before the closing name of a plain heredoc in the value.
    if !indented {
        text.push_str(margin);
    }
    text
}

/// Decimal, hexadecimal and octal integers and decimal floats.
pub(crate) fn number(text: &str, position: Position) -> Result<Value, Problem> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let prefixed = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
    let (radix, digits) = match prefixed {
        Some(hexadecimal) => (16, hexadecimal),
        None if digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    if !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)) {
        let too_large = Problem::new(
            position,
            format!("number {} does not fit 64 bits", shown(text)),
        );
        return i64::from_str_radix(&format!("{sign}{digits}"), radix)
            .map(Value::Integer)
            .or(Err(too_large));
    }
    let octal_digits_only = !digits.contains(['.', 'e', 'E']);
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() && !(radix == 8 && octal_digits_only) => {
            Ok(Value::Float(float))
        }
        Ok(float) if float.is_infinite() => Err(Problem::new(
            position,
            format!("number {} is too large", shown(text)),
        )),
        _ => Err(Problem::new(
            position,
            format!("{} is not a number; write text in quotes", shown(text)),
        )),
    }
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn push_byte(bytes: &mut Vec<u8>, number: u32, start: Position) -> Result<(), Problem> {
    let byte = u8::try_from(number).or(Err(Problem::new(
        start,
        "octal escape is larger than one byte",
    )))?;
    bytes.push(byte);
    Ok(())
}

fn starts_word(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn continues_word(c: char) -> bool {
    matches!(c, '_' | '-' | '.') || c.is_alphanumeric()
}

fn starts_number(first: char, second: Option<char>) -> bool {
    first.is_ascii_digit()
        || matches!(first, '-' | '.') && second.is_some_and(|c| c.is_ascii_digit())
}
