//! The grammar of HCL version 1: entries, blocks and lists, by recursive descent.

use std::sync::Arc;

use crate::lexer::{Lexer, Token};
use crate::{Entry, Object, Position, Problem, Spanned, Value, limits, shown};

/// The whole text.
pub(crate) fn document(text: &str) -> Result<Object, Problem> {
    let mut lexer = Lexer::new(text);
    let current = lexer.next()?;
    let mut parser = Parser {
        lexer,
        current,
        depth: 0,
        entries: 0,
    };
    parser.entries(None)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    current: Spanned<Token>,
    depth: usize,
    entries: usize,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<Spanned<Token>, Problem> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.current, next))
    }

    fn fail<T>(&self, message: impl AsRef<str>) -> Result<T, Problem> {
        Err(Problem::new(self.current.position, message))
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, Problem> {
        self.fail(format!(
            "unexpected {}; expected {wanted}",
            described(&self.current.value)
        ))
    }

    /// Entries up to the end of the text, or up to the brace that closes the block opened at `opened`.
    fn entries(&mut self, opened: Option<Position>) -> Result<Object, Problem> {
        let mut entries = Vec::new();
        loop {
            match (&self.current.value, opened) {
                (Token::End, None) => break,
                (Token::End, Some(opened)) => {
                    return Err(Problem::new(opened, "block is not closed with }"));
                }
                (Token::CloseBrace, Some(_)) => {
                    self.advance()?;
                    break;
                }
                _ => self.entry(&mut entries)?,
            }
            if self.current.value == Token::Comma {
                self.advance()?;
            }
        }
        Ok(Object { entries })
    }

    fn entry(&mut self, entries: &mut Vec<Entry>) -> Result<(), Problem> {
        self.count()?;
        let Some(key) = self.name()? else {
            return self.unexpected("a key");
        };
        let mut labels = Vec::new();
        while let Some(label) = self.name()? {
            labels.push(label);
        }
        match self.current.value {
            Token::Assign if labels.is_empty() => self.assignment(key, entries),
            Token::OpenBrace => {
                let inside = labels.len();
                let value = self.nested(inside, Self::block)?;
                entries.push(Entry { key, labels, value });
                Ok(())
            }
            Token::Assign => self.unexpected("{ after the labels of a block"),
            _ => self.unexpected(&format!("= or {{ after the key {}", shown(&key.value))),
        }
    }

    /// A bare or quoted key or label, if one is next.
    fn name(&mut self) -> Result<Option<Spanned<Arc<str>>>, Problem> {
        let position = self.current.position;
        let value: Arc<str> = match &self.current.value {
            // HCL 1 has no bare key `true` or `false`: more likely an = is missing.
            Token::Word(word) if !matches!(&**word, "true" | "false") => Arc::clone(word),
            Token::Quoted(text) => text.as_str().into(),
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some(Spanned { value, position }))
    }

    fn assignment(
        &mut self,
        key: Spanned<Arc<str>>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Problem> {
        let assign = self.advance()?;
        if self.value_is_missing(assign.position.line) {
            return Err(Problem::new(
                key.position,
                format!("{} has no value (null or empty)", shown(&key.value)),
            ));
        }
        let value = self.value()?;
        match value {
            // HCL 1 prints a JSON list of objects as the key repeated; written as a list it means the same.
            Spanned {
                value: Value::List(items),
                ..
            } if all_objects(&items) => {
                entries.extend(items.into_iter().map(|value| Entry {
                    key: key.clone(),
                    labels: Vec::new(),
                    value,
                }));
            }
            value => entries.push(Entry {
                key,
                labels: Vec::new(),
                value,
            }),
        }
        Ok(())
    }

    /// Whether nothing, or already the next entry, follows an `=` on `line`: what HCL 1 prints for a JSON null.
    fn value_is_missing(&self, line: u32) -> bool {
        let later = self.current.position.line > line;
        match &self.current.value {
            Token::End | Token::CloseBrace | Token::Comma => true,
            Token::Word(word) => {
                &**word == "null" || (later && !matches!(&**word, "true" | "false"))
            }
            Token::Quoted(_) if later => match self.lexer.clone().next() {
                Ok(Spanned {
                    value: Token::Assign | Token::OpenBrace,
                    ..
                }) => true,
                Ok(Spanned {
                    value: Token::Word(_) | Token::Quoted(_),
                    position,
                }) => position.line == self.current.position.line,
                _ => false,
            },
            _ => false,
        }
    }

    fn value(&mut self) -> Result<Spanned<Value>, Problem> {
        let position = self.current.position;
        let value = match &mut self.current.value {
            Token::OpenBrace => return self.nested(0, Self::block),
            Token::OpenBracket => return self.nested(0, Self::list),
            Token::Quoted(text) | Token::Heredoc(text) => Value::Text(std::mem::take(text)),
            Token::Number(number) => number.clone(),
            Token::Word(word) => match &**word {
                "true" => Value::Flag(true),
                "false" => Value::Flag(false),
                "null" => return self.fail("null cannot be an item of a list"),
                other => {
                    let message = format!(
                        "{} is neither a number nor true or false; write text in quotes",
                        shown(other)
                    );
                    return self.fail(message);
                }
            },
            _ => return self.unexpected("a value"),
        };
        self.advance()?;
        Ok(Spanned { value, position })
    }

    /// What is inside one more bracket, and `labels` more levels for the labels before it.
    fn nested(
        &mut self,
        labels: usize,
        inside: fn(&mut Self) -> Result<Spanned<Value>, Problem>,
    ) -> Result<Spanned<Value>, Problem> {
        let outside = self.depth;
        self.depth = outside.saturating_add(labels).saturating_add(1);
        if self.depth > limits::NESTING {
            return self.fail(format!("nested deeper than {} levels", limits::NESTING));
        }
        let value = inside(self)?;
        self.depth = outside;
        Ok(value)
    }

    fn block(&mut self) -> Result<Spanned<Value>, Problem> {
        let position = self.advance()?.position;
        let object = self.entries(Some(position))?;
        Ok(Spanned {
            value: Value::Object(object),
            position,
        })
    }

    fn list(&mut self) -> Result<Spanned<Value>, Problem> {
        let position = self.advance()?.position;
        let mut items = Vec::new();
        while self.current.value != Token::CloseBracket {
            match self.current.value {
                Token::End => return Err(Problem::new(position, "list is not closed with ]")),
                Token::Comma => {
                    return self.fail("list has an item without a value (null or empty)");
                }
                Token::OpenBrace => self.count()?,
                _ => {}
            }
            items.push(self.value()?);
            match self.current.value {
                Token::Comma => drop(self.advance()?),
                Token::CloseBracket | Token::End => {}
                _ => return self.unexpected(", or ] in a list"),
            }
        }
        self.advance()?;
        Ok(Spanned {
            value: Value::List(items),
            position,
        })
    }

    fn count(&mut self) -> Result<(), Problem> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > limits::ENTRIES {
            return self.fail(format!("more than {} entries", limits::ENTRIES));
        }
        Ok(())
    }
}

/// Whether a list is one block after another rather than a list of values.
pub(crate) fn all_objects(items: &[Spanned<Value>]) -> bool {
    !items.is_empty()
        && items
            .iter()
            .all(|item| matches!(item.value, Value::Object(_)))
}

fn described(token: &Token) -> String {
    let words = match token {
        Token::Word(word) => return shown(word),
        Token::Quoted(_) => "string",
        Token::Heredoc(_) => "heredoc",
        Token::Number(_) => "number",
        Token::Assign => "=",
        Token::Comma => ",",
        Token::OpenBrace => "{",
        Token::CloseBrace => "}",
        Token::OpenBracket => "[",
        Token::CloseBracket => "]",
        Token::End => "end of the text",
    };
    words.to_owned()
}
