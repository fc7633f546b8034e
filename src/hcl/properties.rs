//! What holds for every text: no panic, the same answer twice, printable messages, JSON read as `serde_json` reads it.

use proptest::prelude::*;

use crate::golden::plain;
use crate::reading::SERVICE;
use crate::{Problem, limits, parse};

/// Pieces of configuration, so that random texts get past the first token.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            "name", "quiet", "port", "paths", "banks", "timeout", "store", "rules", "mode", "limit", "tags", "colour",
            "\"name\"", "\"store\"", "\"rules\"", "\"p\"", "true", "false", "null", "1", "-7", "0x1f", "1.5e3", "\"30s\"",
        ]),
        6 => prop::sample::select(vec![
            " ", "\n", " = ", "=", ",", "{", "}", " {", "}\n", "[", "]", ":", "<<EOT\n", "<<-EOT\n", "\nEOT\n", "\"", "\\",
            "\\u", "\\ud83d", "\\x4", "${", "#", "//", "/*", "*/", "-", ".", "<", "\r\n", "\u{feff}", "\0",
        ]),
        1 => Just("é"),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn json(depth: u32) -> BoxedStrategy<serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        (-1.0e9..1.0e9).prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(depth, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-c]|.{1,3}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}

fn document() -> impl Strategy<Value = serde_json::Value> {
    prop::collection::btree_map("[a-c]|.{1,3}", json(4), 0..5)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
}

/// Prints a JSON document as HCL 1 does: quoted keys, and blocks flattened by the rules of its JSON reader.
fn printed(labels: &str, value: &serde_json::Value, out: &mut String) {
    use serde_json::Value::{Array, Object};
    match value {
        Array(items) if !items.is_empty() && items.iter().all(serde_json::Value::is_object) => {
            for item in items {
                printed(labels, item, out);
            }
        }
        Object(map) if !map.is_empty() && map.values().all(serde_json::Value::is_object) => {
            for (key, value) in map {
                printed(&format!("{labels} {}", quoted(key)), value, out);
            }
        }
        Object(map) => {
            out.push_str(labels);
            out.push_str(" {\n");
            for (key, value) in map {
                printed(&quoted(key), value, out);
            }
            out.push_str("}\n");
        }
        other => out.push_str(&[labels, " = ", &inline(other), "\n"].concat()),
    }
}

/// A value inside a list: HCL 1 does not flatten there, but the objects of its own lists are braces as well.
fn inline(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        serde_json::Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{} = {}", quoted(key), inline(value)))
                .collect();
            format!("{{ {} }}", entries.join("\n"))
        }
        serde_json::Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A string with every `$` escaped: inside `${…}` HCL decodes no escapes, and JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('$', "\\u0024")
}

fn assert_presentable(problem: &Problem) {
    assert!(problem.line >= 1 && problem.column >= 1);
    assert!(problem.message.len() <= limits::MESSAGE_BYTES, "{problem}");
    assert!(
        problem
            .message
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte)),
        "{problem:?}"
    );
}

fn check_any(text: &str) {
    let first = parse(text);
    assert_eq!(first, parse(text));
    if let Err(problem) = &first {
        assert_presentable(problem);
    }
    let (values, problems) = SERVICE.read(text);
    let (again, problems_again) = SERVICE.read(text);
    assert_eq!(problems, problems_again);
    assert_eq!(format!("{values:?}"), format!("{again:?}"));
    assert!(problems.is_sorted());
    for problem in &problems {
        assert_presentable(problem);
    }
    if first.is_err() {
        assert!(
            !problems.is_empty(),
            "the schema accepts what cannot be parsed: {text:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_the_same_way_twice(text in any::<String>()) {
        check_any(&text);
    }

    #[test]
    fn any_soup_is_read_or_refused_the_same_way_twice(text in soup(), braces in any::<bool>()) {
        check_any(&if braces { format!("{{{text}") } else { text });
    }

    #[test]
    fn what_is_read_as_json_is_json(document in document(), at in any::<prop::sample::Index>(), piece in soup()) {
        let mut text = document.to_string();
        let places: Vec<usize> = text.char_indices().map(|(place, _)| place).filter(|place| *place > 0).collect();
        text.insert_str(*at.get(&places), piece.get(..1).unwrap_or_default());
        if parse(&text).is_ok() {
            let serde: Result<serde_json::Value, _> = serde_json::from_str(&text);
            prop_assert!(serde.is_ok(), "{text:?}");
        }
    }

    #[test]
    fn json_and_hcl_of_one_document_mean_the_same(document in document(), pretty in any::<bool>()) {
        let json = if pretty { serde_json::to_string_pretty(&document).unwrap() } else { document.to_string() };
        let mut hcl = String::new();
        for (key, value) in document.as_object().unwrap() {
            printed(&quoted(key), value, &mut hcl);
        }
        let from_json = parse(&json).unwrap_or_else(|problem| panic!("{json}: {problem}"));
        let from_hcl = parse(&hcl).unwrap_or_else(|problem| panic!("{hcl}: {problem}"));
        prop_assert_eq!(plain(&from_json), plain(&from_hcl));
    }
}
