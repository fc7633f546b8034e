//! Questions about syntax: what is for tests only, what a function gives, what an arm takes.

use std::collections::BTreeSet;

use syn::{Arm, Attribute, BinOp, Expr, Pat, ReturnType, Type};

/// The names of the integer constants that `file` defines.
pub(crate) fn integer_constants(file: &syn::File) -> BTreeSet<String> {
    constants(file, true)
}

/// The names of its other constants.
pub(crate) fn other_constants(file: &syn::File) -> BTreeSet<String> {
    constants(file, false)
}

fn constants(file: &syn::File, of_integers: bool) -> BTreeSet<String> {
    let constants = file.items.iter().filter_map(|item| match item {
        syn::Item::Const(item) if is_integer(&item.ty) == of_integers => {
            Some(item.ident.to_string())
        }
        _ => None,
    });
    constants.collect()
}

/// Whether an item is for tests only.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Ident>()
                    .is_ok_and(|condition| condition == "test")
    })
}

/// What a function gives, as far as it matters to what its last expression can become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    Truth,
    UnitResult,
    Other,
}

impl Gives {
    pub(crate) fn of(output: &ReturnType) -> Self {
        let ReturnType::Type(_, of) = output else {
            return Self::Other;
        };
        let Type::Path(path) = &**of else {
            return Self::Other;
        };
        let Some(last) = path.path.segments.last() else {
            return Self::Other;
        };
        if last.ident == "bool" {
            return Self::Truth;
        }
        let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return Self::Other;
        };
        let is_unit = arguments.args.first().is_some_and(|first| {
            matches!(first, syn::GenericArgument::Type(Type::Tuple(tuple)) if tuple.elems.is_empty())
        });
        if last.ident == "Result" && is_unit {
            Self::UnitResult
        } else {
            Self::Other
        }
    }
}

/// A last arm that takes whatever the arms before it leave.
pub(crate) fn catches_all(arm: &Arm) -> bool {
    let takes_all = match &arm.pat {
        Pat::Wild(_) => true,
        Pat::Ident(name) => {
            name.subpat.is_none()
                && name
                    .ident
                    .to_string()
                    .starts_with(|first: char| first.is_lowercase() || first == '_')
        }
        _ => false,
    };
    takes_all && arm.guard.is_none()
}

pub(crate) fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
            has_let(&binary.left) || has_let(&binary.right)
        }
        _ => false,
    }
}

fn is_integer(of: &Type) -> bool {
    let Type::Path(path) = of else { return false };
    path.path
        .get_ident()
        .is_some_and(|name| INTEGERS.iter().any(|integer| name == integer))
}

const INTEGERS: [&str; 7] = ["u8", "u16", "u32", "u64", "usize", "i32", "i64"];
