//! Reads a text with a schema and collects every problem in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::blocks::{read_block, read_blocks};
use crate::single::read_single;
use crate::values::{Read, Values};
use crate::{Entry, Kind, Object, Position, Problem, Schema, Spanned, Value};
use crate::{limits, shown, suggest, syntax};

impl Schema {
    /// The values of `text`, and all problems in the order of the text: not only the first. A text that cannot be parsed
    /// has one problem and no values. Values are to be used only if there is no problem.
    pub fn read(&self, text: &str) -> (Values, Vec<Problem>) {
        let mut problems = Problems::default();
        let values = match syntax(text) {
            Ok(object) => read_members(self, &members(&object), Position::START, &mut problems),
            Err(problem) => {
                problems.add(problem);
                let mut nothing = Values::new(self.keys, Position::START);
                nothing.is_sound = false;
                nothing
            }
        };
        (values, problems.sorted())
    }
}

/// The problems found so far, at most [`limits::PROBLEMS`] of them.
#[derive(Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        if self.is_full() {
            self.left_out = self.left_out.saturating_add(1);
        } else {
            self.found.push(problem);
        }
    }

    fn count(&self) -> usize {
        self.found.len().saturating_add(self.left_out)
    }

    fn is_full(&self) -> bool {
        self.found.len() >= limits::PROBLEMS
    }

    fn sorted(mut self) -> Vec<Problem> {
        self.found.sort();
        if self.left_out > 0 {
            let last = self.found.last();
            let position = last.map_or(Position::START, |p| Position {
                line: p.line,
                column: p.column,
            });
            self.found.push(Problem::new(
                position,
                format!("{} more problems are not shown", self.left_out),
            ));
        }
        self.found
    }
}

/// An entry seen from inside a block some of whose labels are spent: `a "b" "c" { }` is `"b" "c" { }` inside `a`.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) key: &'a Spanned<Arc<str>>,
    pub(crate) labels: &'a [Spanned<Arc<str>>],
    pub(crate) value: &'a Spanned<Value>,
}

pub(crate) fn members(object: &Object) -> Vec<Member<'_>> {
    let entries = object.entries.iter();
    entries
        .map(|Entry { key, labels, value }| Member { key, labels, value })
        .collect()
}

/// The member one label further in, if there is a label left.
pub(crate) fn inside<'a>(member: &Member<'a>) -> Option<Member<'a>> {
    let (key, labels) = member.labels.split_first()?;
    Some(Member {
        key,
        labels,
        value: member.value,
    })
}

pub(crate) fn read_members(
    schema: &Schema,
    members: &[Member<'_>],
    position: Position,
    problems: &mut Problems,
) -> Values {
    let before = problems.count();
    unknown_keys(schema, members, problems);
    let mut values = Values::new(schema.keys, position);
    for key in schema.keys {
        let found: Vec<Member<'_>> = members
            .iter()
            .copied()
            .filter(|member| &*member.key.value == key.name)
            .collect();
        let Some(first) = found.first() else { continue };
        let read = match key.kind {
            Kind::Block(inner) => read_block(key, inner, &found, problems).map(Read::Block),
            Kind::Blocks(inner) | Kind::RepeatedBlocks(inner) => {
                Some(Read::Blocks(read_blocks(key, inner, &found, problems)))
            }
            _ => read_single(key, &found, problems),
        };
        if let Some(value) = read {
            values.read.insert(
                key.name,
                Spanned {
                    value,
                    position: first.value.position,
                },
            );
        }
    }
    values.is_sound = problems.count() == before;
    values
}

fn unknown_keys(schema: &Schema, members: &[Member<'_>], problems: &mut Problems) {
    let names: Vec<&str> = schema.keys.iter().map(|key| key.name).collect();
    let mut reported = BTreeSet::new();
    for member in members {
        let written = &*member.key.value;
        if names.contains(&written) || !reported.insert(written) {
            continue;
        }
        if problems.is_full() {
            // Only counted: looking for the nearest name costs more than all the rest.
            problems.left_out = problems.left_out.saturating_add(1);
            continue;
        }
        let moved = schema.moved.iter().find(|moved| moved.name == written);
        let hint = match moved {
            Some(moved) => Some(moved.hint.to_owned()),
            None => suggest::hint(written, &names),
        };
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        let message = format!("unknown key {}{hint}", shown(written));
        problems.add(Problem::new(member.key.position, message));
    }
}
