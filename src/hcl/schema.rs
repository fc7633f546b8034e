//! A configuration described as data: its keys, their kinds and what they are for.

/// The keys of a block, or of the whole text. A schema must not contain itself.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The keys, in the order of the documentation.
    pub keys: &'static [Key],
    /// Keys that readers may expect here from elsewhere.
    pub moved: &'static [Moved],
}

/// One key. Names are matched in their exact case.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As written in the text.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What holds without it, in words for the documentation; the reader does not use it.
    pub default: &'static str,
    /// What it does, for the documentation.
    pub doc: &'static str,
}

/// What values a key takes. Ranges are inclusive.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number in a range.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// Any number.
    Number,
    /// A list of strings.
    TextList,
    /// A list of whole numbers in a range.
    IntegerList {
        /// Smallest item.
        min: i64,
        /// Largest item.
        max: i64,
    },
    /// A string such as `"30s"`, `"500ms"` or `"1m30s"`.
    Duration,
    /// A string out of a set.
    Choice(&'static [&'static str]),
    /// One block.
    Block(&'static Schema),
    /// Any number of blocks, each with or without a label.
    Blocks(&'static Schema),
    /// The same, of which several may have one label. They should hold no blocks: an entry that is a block inside one
    /// of them, as HCL 1 prints it, belongs to the last of its label.
    RepeatedBlocks(&'static Schema),
}

/// A key that another program, or an older version, has or had.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// As written in the text.
    pub name: &'static str,
    /// What to write instead: the end of a sentence after "unknown key".
    pub hint: &'static str,
}

impl Kind {
    /// A name for the documentation and for messages.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Text => "a string".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number => "a number".to_owned(),
            Self::TextList => "a list of strings".to_owned(),
            Self::IntegerList { min, max } => {
                format!("a list of whole numbers from {min} to {max}")
            }
            Self::Duration => "a duration such as \"30s\", \"500ms\" or \"5m\"".to_owned(),
            Self::Choice(choices) => format!("one of {}", quoted(choices)),
            Self::Block(_) => "a block { ... }".to_owned(),
            Self::Blocks(_) | Self::RepeatedBlocks(_) => "one or more blocks { ... }".to_owned(),
        }
    }
}

fn quoted(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices
        .iter()
        .map(|choice| format!("\"{choice}\""))
        .collect();
    quoted.join(", ")
}
