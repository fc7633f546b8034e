//! What a configuration text says, with the position of every key and value.

use std::sync::Arc;

use crate::Position;

/// A value and where it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its first character.
    pub position: Position,
}

/// A block, or the whole text: entries in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// The entries; a key stands here once, or several times if each value is an [`Object`].
    pub entries: Vec<Entry>,
}

/// `key = value`, or `key "label" { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key, without quotes.
    pub key: Spanned<Arc<str>>,
    /// The labels of a block. An entry with labels has an [`Object`] as its value.
    pub labels: Vec<Spanned<Arc<str>>>,
    /// The value.
    pub value: Spanned<Value>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string or heredoc, escapes decoded, `${…}` as written.
    Text(String),
    /// `true` or `false`.
    Flag(bool),
    /// A number without fraction or exponent.
    Integer(i64),
    /// Any other number; finite.
    Float(f64),
    /// A list. Never a non-empty list of nothing but objects: these are repeated entries.
    List(Vec<Spanned<Value>>),
    /// A block.
    Object(Object),
}

impl Value {
    /// What it is, in an operator's words, with its article.
    pub(crate) fn described(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Flag(_) => "true or false",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a number with a fraction or exponent",
            Self::List(_) => "a list",
            Self::Object(_) => "a block",
        }
    }
}
