//! A place in a source where production can be changed, and what it can be changed to.

use std::ops::Range;

/// A place in a source that has mutants.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The bytes of the source that the place is.
    pub(crate) range: Range<usize>,
    /// How the change is made.
    pub(crate) shape: Shape,
    /// The function that it is in, as in `Type::function`.
    pub(crate) function: String,
    /// Whether the place decides over a refusal.
    pub(crate) is_check: bool,
    /// What the place can become.
    pub(crate) changes: Vec<Change>,
}

/// How a change is made when it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// An expression becomes another.
    Expression,
    /// A statement is left out.
    Statement,
    /// `let` in a condition never matches.
    Let,
    /// An arm of a `match`, which has a pattern only, never matches.
    Arm,
}

/// One change of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The kind of change, as in `true` or `skip`.
    pub(crate) operator: &'static str,
    /// The expression that stands there instead; empty where the shape says all.
    pub(crate) instead: String,
}

impl Change {
    pub(crate) fn new(operator: &'static str, instead: impl Into<String>) -> Self {
        Self {
            operator,
            instead: instead.into(),
        }
    }
}

impl Site {
    /// What stands before the place when its mutants are numbered from `first`.
    pub(crate) fn before(&self, first: u32) -> String {
        match self.shape {
            Shape::Expression => {
                let arms: Vec<_> = (first..)
                    .zip(&self.changes)
                    .map(|(number, change)| format!("{number} => {}, ", change.instead))
                    .collect();
                let arms = arms.concat();
                format!("(match crate::mutants::at({first}) {{ {arms}_ => ")
            }
            Shape::Statement => format!("if crate::mutants::at({first}) != {first} {{ "),
            Shape::Let | Shape::Arm => String::new(),
        }
    }

    /// What stands after it.
    pub(crate) fn after(&self, first: u32) -> String {
        match self.shape {
            Shape::Expression => " })".to_owned(),
            Shape::Statement => " }".to_owned(),
            Shape::Let => format!(" && crate::mutants::at({first}) != {first}"),
            Shape::Arm => format!(" if crate::mutants::at({first}) != {first}"),
        }
    }
}
