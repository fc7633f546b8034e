//! Configuration texts: read the same in both syntaxes, and refused in words that fool nobody.

use std::fmt::Write as _;

use hcl::{Entry, Kind, Object, Problem, Schema, Spanned, Value, Values, limits};

use crate::server_schema;
use crate::shown::assert_shown;

/// A text of either syntax.
pub(crate) fn hcl(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let outcome = hcl::parse(text);
    assert_eq!(outcome, hcl::parse(text), "the same twice");
    let object = match outcome {
        Ok(object) => object,
        Err(problem) => return presentable(&problem, text),
    };
    let json = text.trim_start_matches('\u{FEFF}');
    if json
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with('{')
    {
        let read: Result<serde_json::Value, _> = serde_json::from_str(json);
        assert!(read.is_ok(), "no JSON: {read:?}");
        let kept = json.trim_end().len() - 1;
        if json.is_char_boundary(kept) {
            assert!(
                hcl::parse(&json[..kept]).is_err(),
                "the beginning of a document"
            );
        }
    }
    within(&object, text, 0);
    let mut printed = String::new();
    print(&object, &mut printed);
    if printed.len() <= limits::TEXT_BYTES {
        let again = hcl::parse(&printed).unwrap_or_else(|problem| panic!("{problem}:\n{printed}"));
        assert_eq!(plain(&again), plain(&object), "{printed}");
    }
}

/// A text as the server plugin gets it.
pub(crate) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (values, problems) = server_schema::SCHEMA.read(text);
    let (again, problems_again) = server_schema::SCHEMA.read(text);
    assert_eq!(problems, problems_again, "the same twice");
    assert_eq!(format!("{values:?}"), format!("{again:?}"));
    assert!(problems.is_sorted());
    assert!(problems.len() <= limits::PROBLEMS + 1);
    for problem in &problems {
        presentable(problem, text);
    }
    let parsed = hcl::parse(text);
    assert!(
        parsed.is_ok() || !problems.is_empty(),
        "accepted, and no configuration"
    );
    promised(&values, &server_schema::SCHEMA);
    if let (Ok(object), true) = (&parsed, problems.is_empty()) {
        known(object, &server_schema::SCHEMA);
    }
}

/// What was read is of its kind and in its range.
fn promised(values: &Values, schema: &Schema) {
    for key in schema.keys {
        match key.kind {
            Kind::Text => drop(values.text(key.name)),
            Kind::Flag => drop(values.flag(key.name)),
            Kind::Number => assert!(
                values
                    .number(key.name)
                    .is_none_or(|number| number.value.is_finite())
            ),
            Kind::TextList => drop(values.texts(key.name)),
            Kind::Duration => drop(values.duration(key.name)),
            Kind::Integer { min, max } => {
                let found = values.integer(key.name);
                assert!(found.is_none_or(|integer| (min..=max).contains(&integer.value)));
            }
            Kind::IntegerList { min, max } => {
                let found = values.integers(key.name).unwrap_or_default();
                assert!(
                    found
                        .iter()
                        .all(|integer| (min..=max).contains(&integer.value))
                );
            }
            Kind::Choice(choices) => {
                let found = values.choice(key.name);
                assert!(found.is_none_or(|choice| choices.contains(&choice.value)));
            }
            Kind::Block(inner) => values
                .block(key.name)
                .into_iter()
                .for_each(|block| promised(block, inner)),
            Kind::Blocks(inner) => values
                .blocks(key.name)
                .iter()
                .for_each(|block| promised(block, inner)),
        }
    }
}

/// A key that nobody reads may have been meant for something: it is a problem.
fn known(object: &Object, schema: &Schema) {
    for entry in &object.entries {
        let known = schema.keys.iter().find(|key| key.name == &*entry.key.value);
        let key = known.unwrap_or_else(|| panic!("{:?} is read by nobody", entry.key.value));
        if let (Kind::Block(inner) | Kind::Blocks(inner), Value::Object(block)) =
            (key.kind, &entry.value.value)
        {
            known_block(block, inner);
        }
    }
}

fn known_block(block: &Object, schema: &'static Schema) {
    known(block, schema);
}

fn presentable(problem: &Problem, text: &str) {
    assert_shown(&problem.message, limits::MESSAGE_BYTES);
    let lines = u32::try_from(text.split('\n').count()).expect("a short text");
    assert!(
        (1..=lines).contains(&problem.line) && problem.column >= 1,
        "{problem}"
    );
}

/// Every position is in the text, and nothing is nested deeper than the limit.
fn within(object: &Object, text: &str, depth: usize) {
    assert!(depth <= limits::NESTING);
    for entry in &object.entries {
        let lines = u32::try_from(text.split('\n').count()).expect("a short text");
        assert!((1..=lines).contains(&entry.value.position.line));
        assert!(entry.key.position <= entry.value.position);
        assert!(entry.labels.is_empty() || matches!(entry.value.value, Value::Object(_)));
        match &entry.value.value {
            Value::Float(number) => assert!(number.is_finite()),
            Value::Object(inner) => within(inner, text, depth + 1),
            _ => {}
        }
    }
}

/// The object as HCL.
fn print(object: &Object, out: &mut String) {
    for entry in &object.entries {
        out.push_str(&quoted(&entry.key.value));
        for label in &entry.labels {
            out.push(' ');
            out.push_str(&quoted(&label.value));
        }
        if !matches!(entry.value.value, Value::Object(_)) {
            out.push_str(" =");
        }
        out.push(' ');
        print_value(&entry.value.value, out);
        out.push('\n');
    }
}

fn print_value(value: &Value, out: &mut String) {
    match value {
        Value::Text(text) => out.push_str(&quoted(text)),
        Value::Flag(flag) => write!(out, "{flag}").expect("a text grows"),
        Value::Integer(integer) => write!(out, "{integer}").expect("a text grows"),
        Value::Float(float) => write!(out, "{float:e}").expect("a text grows"),
        Value::List(items) => {
            out.push('[');
            for Spanned { value, .. } in items {
                print_value(value, out);
                out.push_str(", ");
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push_str("{\n");
            print(object, out);
            out.push('}');
        }
    }
}

/// With every `$` escaped: inside `${…}` HCL decodes no escapes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('$', "\\u0024")
}

/// Without positions.
fn plain(object: &Object) -> String {
    let entry = |entry: &Entry| {
        let labels: Vec<_> = entry.labels.iter().map(|label| &*label.value).collect();
        format!(
            "{:?} {labels:?} {}",
            entry.key.value,
            plain_value(&entry.value.value)
        )
    };
    let entries: Vec<_> = object.entries.iter().map(entry).collect();
    format!("{{{}}}", entries.join("; "))
}

fn plain_value(value: &Value) -> String {
    match value {
        Value::Object(object) => plain(object),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(|item| plain_value(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// Texts in both syntaxes.
pub(crate) mod seeds {
    const TEXTS: [&str; 7] = [
        "ca_path = \"/certs\"\nhash_path = \"/hashes\" # a comment\npcrs = [0, 7]\nlegacy_agents = \"deny\"\n",
        "\"ca_path\" = \"/certs\"\n\n\"challenge_timeout\" = \"1m30s\"\n\"accept_expired_ek\" = true\n\"max_streams\" = 0x10\n",
        "{\"ca_path\": \"/certs\", \"ek_profiles\": [\"p-256\"], \"max_streams\": 7, \"x\": null}",
        "{\"anchor\": [{\"00\": {\"vendors\": [\"IFX\"]}}, {\"01\": [{\"waive\": [\"sha1\"]}]}], \"f\": -1.5e3}",
        "anchor \"00\" {\n  vendors = [\"IFX\", \"STM\"]\n}\nanchor 01 { waive = [] }\n/* c */ // d\n",
        "a = <<EOT\nline ${x}\nEOT\nb = <<-E\n  c\n  E\nd = \"\\u00e9\\x41\\101 ${\"e\"}\"\n",
        "a \"b\" c { d = [1, -2.5, true, [\"x\"], { e = 1 }] }\nf = { g { } }\n",
    ];

    pub(crate) fn hcl() -> Vec<Vec<u8>> {
        TEXTS.map(|text| text.as_bytes().to_vec()).to_vec()
    }

    pub(crate) fn configuration() -> Vec<Vec<u8>> {
        hcl()
    }
}
