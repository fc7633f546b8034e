//! What was read with a schema: typed values by key, with positions.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Key, Kind, Position, Problem, Spanned};

/// The values of one block, or of the whole text. A key that is absent, or whose value was a problem, has none.
///
/// # Panics
/// In debug builds, asking for a key that the schema does not have, or has with another kind: it would silently stay unset.
#[derive(Clone, Debug)]
pub struct Values {
    pub(crate) keys: &'static [Key],
    pub(crate) position: Position,
    pub(crate) label: Option<Spanned<String>>,
    pub(crate) is_sound: bool,
    pub(crate) read: BTreeMap<&'static str, Spanned<Read>>,
}

/// One value, checked against its kind.
#[derive(Clone, Debug)]
pub(crate) enum Read {
    Text(String),
    Flag(bool),
    Integer(i64),
    Number(f64),
    Texts(Vec<Spanned<String>>),
    Integers(Vec<Spanned<i64>>),
    Duration(Duration),
    Choice(&'static str),
    Block(Values),
    Blocks(Vec<Values>),
}

impl Values {
    pub(crate) fn new(keys: &'static [Key], position: Position) -> Self {
        Self {
            keys,
            position,
            label: None,
            is_sound: true,
            read: BTreeMap::new(),
        }
    }

    /// A [`Kind::Text`].
    pub fn text(&self, key: &str) -> Option<Spanned<&str>> {
        match self.find(key, |kind| matches!(kind, Kind::Text))? {
            Spanned {
                value: Read::Text(text),
                position,
            } => Some(Spanned {
                value: text,
                position: *position,
            }),
            _ => None,
        }
    }

    /// A [`Kind::Flag`].
    pub fn flag(&self, key: &str) -> Option<Spanned<bool>> {
        match *self.find(key, |kind| matches!(kind, Kind::Flag))? {
            Spanned {
                value: Read::Flag(value),
                position,
            } => Some(Spanned { value, position }),
            _ => None,
        }
    }

    /// A [`Kind::Integer`], inside its range.
    pub fn integer(&self, key: &str) -> Option<Spanned<i64>> {
        match *self.find(key, |kind| matches!(kind, Kind::Integer { .. }))? {
            Spanned {
                value: Read::Integer(value),
                position,
            } => Some(Spanned { value, position }),
            _ => None,
        }
    }

    /// A [`Kind::Number`]; finite.
    pub fn number(&self, key: &str) -> Option<Spanned<f64>> {
        match *self.find(key, |kind| matches!(kind, Kind::Number))? {
            Spanned {
                value: Read::Number(value),
                position,
            } => Some(Spanned { value, position }),
            _ => None,
        }
    }

    /// A [`Kind::TextList`]; `None` is absent, an empty slice an empty list.
    pub fn texts(&self, key: &str) -> Option<&[Spanned<String>]> {
        match &self.find(key, |kind| matches!(kind, Kind::TextList))?.value {
            Read::Texts(items) => Some(items),
            _ => None,
        }
    }

    /// A [`Kind::IntegerList`], each item inside the range; `None` is absent, an empty slice an empty list.
    pub fn integers(&self, key: &str) -> Option<&[Spanned<i64>]> {
        match &self
            .find(key, |kind| matches!(kind, Kind::IntegerList { .. }))?
            .value
        {
            Read::Integers(items) => Some(items),
            _ => None,
        }
    }

    /// A [`Kind::Duration`]; zero is possible.
    pub fn duration(&self, key: &str) -> Option<Spanned<Duration>> {
        match *self.find(key, |kind| matches!(kind, Kind::Duration))? {
            Spanned {
                value: Read::Duration(value),
                position,
            } => Some(Spanned { value, position }),
            _ => None,
        }
    }

    /// A [`Kind::Choice`]: the very string of the schema.
    pub fn choice(&self, key: &str) -> Option<Spanned<&'static str>> {
        match *self.find(key, |kind| matches!(kind, Kind::Choice(_)))? {
            Spanned {
                value: Read::Choice(value),
                position,
            } => Some(Spanned { value, position }),
            _ => None,
        }
    }

    /// A [`Kind::Block`].
    pub fn block(&self, key: &str) -> Option<&Self> {
        match &self.find(key, |kind| matches!(kind, Kind::Block(_)))?.value {
            Read::Block(values) => Some(values),
            _ => None,
        }
    }

    /// [`Kind::Blocks`] and [`Kind::RepeatedBlocks`] in the order of the text; empty when absent.
    pub fn blocks(&self, key: &str) -> &[Self] {
        let are_blocks = |kind: &Kind| matches!(kind, Kind::Blocks(_) | Kind::RepeatedBlocks(_));
        match self.find(key, are_blocks).map(|found| &found.value) {
            Some(Read::Blocks(blocks)) => blocks,
            _ => &[],
        }
    }

    /// The label of this block, if it is one of several blocks and has one.
    pub fn label(&self) -> Option<Spanned<&str>> {
        let label = self.label.as_ref()?;
        Some(Spanned {
            value: &label.value,
            position: label.position,
        })
    }

    /// Whether nothing in this block was a problem. In one that is not sound, a key that has no value may have been
    /// written all the same.
    pub fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// Where this block begins.
    pub fn start(&self) -> Position {
        self.position
    }

    /// Where the value of `key` stands; where this block begins if the key is absent.
    pub fn position(&self, key: &str) -> Position {
        self.find(key, |_| true)
            .map_or(self.position, |found| found.position)
    }

    /// A problem of the reader's user at [`Values::position`] of `key`.
    pub fn problem(&self, key: &str, message: impl AsRef<str>) -> Problem {
        Problem::new(self.position(key), message)
    }

    fn find(&self, key: &str, kind: fn(&Kind) -> bool) -> Option<&Spanned<Read>> {
        let declared = self
            .keys
            .iter()
            .any(|known| known.name == key && kind(&known.kind));
        debug_assert!(declared, "the schema has no key {key:?} of this kind");
        self.read.get(key)
    }
}
