//! What an operator, a literal or a constant can become without a change of type.

use syn::{BinOp, ExprLit, Lit};

use crate::site::Change;

/// Which of its two values a condition may be fixed to: the other says what another mutant says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed {
    pub(crate) to_true: bool,
    pub(crate) to_false: bool,
}

impl Fixed {
    pub(crate) const BOTH: Self = Self {
        to_true: true,
        to_false: true,
    };
    pub(crate) const TRUE: Self = Self {
        to_true: true,
        to_false: false,
    };
    pub(crate) const FALSE: Self = Self {
        to_true: false,
        to_false: true,
    };
    pub(crate) const NEITHER: Self = Self {
        to_true: false,
        to_false: false,
    };

    pub(crate) fn changes(self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.to_true {
            changes.push(Change::new("true", "true"));
        }
        if self.to_false {
            changes.push(Change::new("false", "false"));
        }
        changes
    }
}

/// A comparison becomes the one that differs at the boundary. `==` and `!=` change places only
/// where the condition is not fixed both ways, which says more.
pub(crate) fn compared(operator: &BinOp, fixed: Fixed) -> Option<(&'static str, &'static str)> {
    let both = fixed.to_true && fixed.to_false;
    match operator {
        BinOp::Lt(_) => Some(("< to <=", "<=")),
        BinOp::Le(_) => Some(("<= to <", "<")),
        BinOp::Gt(_) => Some(("> to >=", ">=")),
        BinOp::Ge(_) => Some((">= to >", ">")),
        BinOp::Eq(_) if !both => Some(("== to !=", "!=")),
        BinOp::Ne(_) if !both => Some(("!= to ==", "==")),
        _ => None,
    }
}

pub(crate) fn is_comparison(operator: &BinOp) -> bool {
    matches!(
        operator,
        BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) | BinOp::Eq(_) | BinOp::Ne(_)
    )
}

/// The step of a bound on the right that says the same as the comparison's own mutant.
pub(crate) fn said_by_comparison(operator: &BinOp) -> Option<i8> {
    match operator {
        BinOp::Lt(_) | BinOp::Ge(_) => Some(1),
        BinOp::Le(_) | BinOp::Gt(_) => Some(-1),
        _ => None,
    }
}

/// Arithmetic and bits, plain or assigned.
pub(crate) fn computed(operator: &BinOp) -> Option<(&'static str, &'static str)> {
    match operator {
        BinOp::Add(_) => Some(("+ to -", "-")),
        BinOp::Sub(_) => Some(("- to +", "+")),
        BinOp::Mul(_) => Some(("* to /", "/")),
        BinOp::Div(_) => Some(("/ to *", "*")),
        BinOp::Rem(_) => Some(("% to /", "/")),
        BinOp::BitAnd(_) => Some(("& to |", "|")),
        BinOp::BitOr(_) => Some(("| to &", "&")),
        BinOp::BitXor(_) => Some(("^ to |", "|")),
        BinOp::Shl(_) => Some(("<< to >>", ">>")),
        BinOp::Shr(_) => Some((">> to <<", "<<")),
        BinOp::AddAssign(_) => Some(("+= to -=", "-=")),
        BinOp::SubAssign(_) => Some(("-= to +=", "+=")),
        BinOp::BitAndAssign(_) => Some(("&= to |=", "|=")),
        BinOp::BitOrAssign(_) => Some(("|= to &=", "&=")),
        _ => None,
    }
}

/// An integer becomes its neighbours, `true` becomes `false` and the reverse.
pub(crate) fn literal(literal: &ExprLit) -> Vec<Change> {
    match &literal.lit {
        Lit::Bool(flag) if flag.value => Fixed::FALSE.changes(),
        Lit::Bool(_) => Fixed::TRUE.changes(),
        Lit::Int(number) => {
            let Ok(value) = number.base10_parse::<u64>() else {
                return Vec::new();
            };
            let suffix = number.suffix();
            let neighbour = |operator, value: Option<u64>| {
                value.map(|value| Change::new(operator, format!("{value}{suffix}")))
            };
            [
                neighbour("+ 1", value.checked_add(1)),
                neighbour("- 1", value.checked_sub(1)),
            ]
            .into_iter()
            .flatten()
            .collect()
        }
        _ => Vec::new(),
    }
}

/// A constant becomes its neighbours where it is used; where it is defined, it cannot change at run time.
pub(crate) fn constant(text: &str) -> Vec<Change> {
    vec![
        Change::new("+ 1", format!("({text} + 1)")),
        Change::new("- 1", format!("({text} - 1)")),
    ]
}

/// Methods whose closure says yes or no.
pub(crate) const PREDICATES: [&str; 14] = [
    "all",
    "any",
    "filter",
    "find",
    "is_err_and",
    "is_none_or",
    "is_ok_and",
    "is_some_and",
    "partition",
    "position",
    "retain",
    "rposition",
    "skip_while",
    "take_while",
];
