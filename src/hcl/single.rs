//! Reads the kinds of key that have one value.

use crate::flatten::repeated;
use crate::read::{Member, Problems};
use crate::values::Read;
use crate::{Key, Kind, Position, Problem, Spanned, Value, duration, shown, suggest};

pub(crate) fn read_single(
    key: &Key,
    found: &[Member<'_>],
    problems: &mut Problems,
) -> Option<Read> {
    let (first, again) = found.split_first()?;
    for member in again {
        problems.add(repeated(key.name, member.key.position, first.key.position));
    }
    match single(key, first.value) {
        Ok(read) => Some(read),
        Err(found) => {
            for problem in found {
                problems.add(problem);
            }
            None
        }
    }
}

fn single(key: &Key, value: &Spanned<Value>) -> Result<Read, Vec<Problem>> {
    let wrong = || vec![wrong_type(key, value)];
    match (key.kind, &value.value) {
        (Kind::Text, Value::Text(text)) => Ok(Read::Text(text.clone())),
        (Kind::Flag, Value::Flag(flag)) => Ok(Read::Flag(*flag)),
        (Kind::Integer { min, max }, Value::Integer(number)) => {
            in_range(key, *number, value.position, min, max)
                .map(Read::Integer)
                .map_err(|problem| vec![problem])
        }
        (Kind::Number, Value::Integer(number)) => Ok(Read::Number(nearest_float(*number))),
        (Kind::Number, Value::Float(number)) => Ok(Read::Number(*number)),
        (Kind::Duration, Value::Text(text)) => {
            duration::parse(text).map(Read::Duration).ok_or_else(|| {
                let message = format!(
                    "\"{}\" must be {}, not {}",
                    key.name,
                    key.kind.described(),
                    shown(text)
                );
                vec![Problem::new(value.position, message)]
            })
        }
        (Kind::Choice(choices), Value::Text(text)) => {
            choice(key, choices, text, value.position).map_err(|problem| vec![problem])
        }
        (Kind::TextList, Value::List(items)) => list(items, |item| match &item.value {
            Value::Text(text) => Ok(text.clone()),
            other => Err(wrong_item(key, "a string", other, item.position)),
        })
        .map(Read::Texts),
        (Kind::IntegerList { min, max }, Value::List(items)) => {
            list(items, |item| match &item.value {
                Value::Integer(number) => in_range(key, *number, item.position, min, max),
                other => Err(wrong_item(key, "a whole number", other, item.position)),
            })
            .map(Read::Integers)
        }
        _ => Err(wrong()),
    }
}

/// Every item, or the problems of all items that have one.
fn list<T>(
    items: &[Spanned<Value>],
    read: impl Fn(&Spanned<Value>) -> Result<T, Problem>,
) -> Result<Vec<Spanned<T>>, Vec<Problem>> {
    let mut values = Vec::new();
    let mut problems = Vec::new();
    for item in items {
        match read(item) {
            Ok(value) => values.push(Spanned {
                value,
                position: item.position,
            }),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(values)
    } else {
        Err(problems)
    }
}

fn in_range(
    key: &Key,
    number: i64,
    position: Position,
    min: i64,
    max: i64,
) -> Result<i64, Problem> {
    if (min..=max).contains(&number) {
        return Ok(number);
    }
    let message = format!(
        "\"{}\" is {number}; it must be from {min} to {max}",
        key.name
    );
    Err(Problem::new(position, message))
}

fn choice(
    key: &Key,
    choices: &'static [&'static str],
    text: &str,
    position: Position,
) -> Result<Read, Problem> {
    if let Some(choice) = choices.iter().find(|choice| **choice == text) {
        return Ok(Read::Choice(choice));
    }
    let mut message = format!(
        "\"{}\" must be {}, not {}",
        key.name,
        key.kind.described(),
        shown(text)
    );
    if let Some(hint) = suggest::hint(text, choices) {
        message.push_str("; ");
        message.push_str(&hint);
    }
    Err(Problem::new(position, message))
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a number with a fraction is wanted: the nearest one will do"
)]
fn nearest_float(number: i64) -> f64 {
    number as f64
}

pub(crate) fn wrong_type(key: &Key, value: &Spanned<Value>) -> Problem {
    let wanted = key.kind.described();
    let remedy = match (key.kind, &value.value) {
        (
            Kind::Text | Kind::Duration | Kind::Choice(_),
            Value::Flag(_) | Value::Integer(_) | Value::Float(_),
        ) => "; write it in quotes",
        (Kind::Flag | Kind::Integer { .. } | Kind::Number, Value::Text(_)) => {
            "; write it without quotes"
        }
        (Kind::TextList, Value::Text(_)) | (Kind::IntegerList { .. }, Value::Integer(_)) => {
            "; write it in [ ]"
        }
        _ => "",
    };
    let message = format!(
        "\"{}\" must be {wanted}, not {}{remedy}",
        key.name,
        value.value.described()
    );
    Problem::new(value.position, message)
}

fn wrong_item(key: &Key, wanted: &str, found: &Value, position: Position) -> Problem {
    Problem::new(
        position,
        format!(
            "an item of \"{}\" must be {wanted}, not {}",
            key.name,
            found.described()
        ),
    )
}
