//! Brings a JSON document into the shape that HCL 1 prints for it, and finds keys that are set twice.

use std::collections::BTreeMap;

use crate::hcl::all_objects;
use crate::{Entry, Object, Position, Problem, Spanned, Value, shown};

/// Lists of objects become repeated entries; an object of nothing but objects becomes labelled entries.
pub(crate) fn flatten(object: Object) -> Object {
    let mut entries = Vec::with_capacity(object.entries.len());
    for entry in object.entries {
        spread(entry, &mut entries);
    }
    Object { entries }
}

fn spread(entry: Entry, out: &mut Vec<Entry>) {
    let Entry {
        key,
        labels,
        value: Spanned { value, position },
    } = entry;
    match value {
        Value::List(items) if all_objects(&items) => {
            for value in items {
                spread(
                    Entry {
                        key: key.clone(),
                        labels: labels.clone(),
                        value,
                    },
                    out,
                );
            }
        }
        Value::Object(object) if only_objects(&object) => {
            for member in object.entries {
                let mut labels = labels.clone();
                labels.push(member.key);
                spread(
                    Entry {
                        key: key.clone(),
                        labels,
                        value: member.value,
                    },
                    out,
                );
            }
        }
        Value::Object(object) => {
            let value = Spanned {
                value: Value::Object(flatten(object)),
                position,
            };
            out.push(Entry { key, labels, value });
        }
        scalar => out.push(Entry {
            key,
            labels,
            value: Spanned {
                value: scalar,
                position,
            },
        }),
    }
}

fn only_objects(object: &Object) -> bool {
    !object.entries.is_empty()
        && object
            .entries
            .iter()
            .all(|entry| matches!(entry.value.value, Value::Object(_)))
}

/// The first key that is repeated although not every occurrence is a block.
pub(crate) fn repeated_key(object: &Object) -> Option<Problem> {
    let mut first: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in &object.entries {
        let is_block = |entry: &Entry| matches!(entry.value.value, Value::Object(_));
        let earlier = *first.entry(&entry.key.value).or_insert(entry);
        let fine = std::ptr::eq(earlier, entry) || is_block(earlier) && is_block(entry);
        if !fine {
            return Some(repeated(
                &entry.key.value,
                entry.key.position,
                earlier.key.position,
            ));
        }
        let inside = repeated_inside(&entry.value.value);
        if inside.is_some() {
            return inside;
        }
    }
    None
}

fn repeated_inside(value: &Value) -> Option<Problem> {
    match value {
        Value::Object(object) => repeated_key(object),
        Value::List(items) => items.iter().find_map(|item| repeated_inside(&item.value)),
        _ => None,
    }
}

pub(crate) fn repeated(key: &str, again: Position, first: Position) -> Problem {
    Problem::new(
        again,
        format!("{} is set twice; first at {first}", shown(key)),
    )
}
