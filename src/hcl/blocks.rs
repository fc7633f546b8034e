//! Reads the kinds of key that are blocks, labelled or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::flatten::repeated;
use crate::read::{Member, Problems, inside, members, read_members};
use crate::single::wrong_type;
use crate::values::Values;
use crate::{Entry, Key, Kind, Object, Position, Problem, Schema, Spanned, Value, shown};

/// One block. Its labels, which HCL 1 makes out of objects that hold nothing but objects, are keys inside it.
pub(crate) fn read_block(
    key: &Key,
    schema: &Schema,
    found: &[Member<'_>],
    problems: &mut Problems,
) -> Option<Values> {
    let mut block: Option<Group<'_>> = None;
    for member in found {
        match (inside(member), &member.value.value) {
            (Some(inner), _) => block
                .get_or_insert_with(|| Group::at(member))
                .members
                .push(inner),
            (None, Value::Object(object)) => block
                .get_or_insert_with(|| Group::at(member))
                .add(member, object, problems),
            (None, _) => problems.add(wrong_type(key, member.value)),
        }
    }
    block.map(|block| read_members(schema, &block.members, block.position, problems))
}

pub(crate) fn read_blocks(
    key: &Key,
    schema: &Schema,
    found: &[Member<'_>],
    problems: &mut Problems,
) -> Vec<Values> {
    let mut groups = Vec::new();
    let mut labels = BTreeMap::new();
    for member in found {
        match (inside(member), &member.value.value) {
            (Some(inner), _) => {
                add_labelled(key, schema, inner, &mut groups, &mut labels, problems);
            }
            (None, Value::Object(object)) if names_only(schema, object) => {
                for inner in members(object) {
                    add_labelled(key, schema, inner, &mut groups, &mut labels, problems);
                }
            }
            (None, Value::Object(object)) => {
                let mut group = Group::at(member);
                group.add(member, object, problems);
                groups.push(group);
            }
            // A JSON list of no objects.
            (None, Value::List(items)) if items.is_empty() => {}
            (None, _) => problems.add(wrong_type(key, member.value)),
        }
    }
    let read = |group: Group<'_>| {
        let mut values = read_members(schema, &group.members, group.position, problems);
        values.label = group.label.map(|label| Spanned {
            value: label.value.to_string(),
            position: label.position,
        });
        values
    };
    groups.into_iter().map(read).collect()
}

/// What belongs to one block, from one or several entries.
struct Group<'a> {
    label: Option<&'a Spanned<Arc<str>>>,
    position: Position,
    /// The key of the entry that is this block's body, if there is one yet.
    body: Option<Position>,
    members: Vec<Member<'a>>,
}

impl<'a> Group<'a> {
    fn at(member: &Member<'a>) -> Self {
        Self {
            label: None,
            position: member.value.position,
            body: None,
            members: Vec::new(),
        }
    }

    fn add(&mut self, member: &Member<'a>, object: &'a Object, problems: &mut Problems) {
        if let Some(first) = self.body {
            problems.add(repeated(&member.key.value, member.key.position, first));
        } else {
            self.body = Some(member.key.position);
            self.members.extend(members(object));
        }
    }
}

/// Whether a block of [`Kind::Blocks`] is a list of labels: `policies { first { … } second { … } }`.
fn names_only(schema: &Schema, object: &Object) -> bool {
    let is_name = |entry: &Entry| {
        let known = schema.keys.iter().any(|key| key.name == &*entry.key.value);
        matches!(entry.value.value, Value::Object(_)) && !known
    };
    !object.entries.is_empty() && object.entries.iter().all(is_name)
}

/// Adds a block whose label is the key of `member`.
fn add_labelled<'a>(
    key: &Key,
    schema: &Schema,
    member: Member<'a>,
    groups: &mut Vec<Group<'a>>,
    labels: &mut BTreeMap<&'a str, usize>,
    problems: &mut Problems,
) {
    let label = &*member.key.value;
    // HCL 1 prints an unlabelled block that holds one block in the same way: there is no telling which is meant.
    if is_block_of(schema, label) {
        let message = format!(
            "{} cannot be a label of \"{}\": it is a block inside it",
            shown(label),
            key.name
        );
        problems.add(Problem::new(member.key.position, message));
        return;
    }
    if begins_another(
        key,
        &member,
        labels.get(label).and_then(|at| groups.get(*at)),
    ) {
        labels.remove(label);
    }
    let index = *labels.entry(label).or_insert(groups.len());
    if index == groups.len() {
        groups.push(Group {
            label: Some(member.key),
            ..Group::at(&member)
        });
    }
    let Some(group) = groups.get_mut(index) else {
        return;
    };
    match (inside(&member), &member.value.value) {
        (Some(inner), _) => group.members.push(inner),
        (None, Value::Object(object)) => group.add(&member, object, problems),
        // Entries with a label have an object as their value.
        (None, _) => problems.add(wrong_type(key, member.value)),
    }
}

fn is_block_of(schema: &Schema, name: &str) -> bool {
    let is_block = |kind: Kind| {
        matches!(
            kind,
            Kind::Block(_) | Kind::Blocks(_) | Kind::RepeatedBlocks(_)
        )
    };
    let mut keys = schema.keys.iter();
    keys.any(|known| known.name == name && is_block(known.kind))
}

/// Whether a block is one more of its label, and not the same one written twice.
fn begins_another(key: &Key, member: &Member<'_>, last: Option<&Group<'_>>) -> bool {
    matches!(key.kind, Kind::RepeatedBlocks(_))
        && inside(member).is_none()
        && last.is_some_and(|group| group.body.is_some())
}
