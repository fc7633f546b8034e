//! Configuration texts: read the same in both syntaxes, and refused in words that fool nobody.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use hcl::{Entry, Kind, Object, Problem, Schema, Spanned, Value, Values, limits};
use policy::{Configuration, SCHEMA};

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

/// A text as the plugins get it: each of them reads it, and the server's attestor makes something of it.
pub(crate) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let others = [
        &server::composer_config::SCHEMA,
        &agent::config::SCHEMA,
        &agent::config::KEY_MANAGER_SCHEMA,
    ];
    for schema in others {
        read(text, schema);
    }
    judged(&read(text, &SCHEMA), text);
}

/// What the keys of a plugin are, by a text.
fn read(text: &str, schema: &Schema) -> Values {
    let (values, problems) = schema.read(text);
    let (again, problems_again) = schema.read(text);
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
    promised(&values, schema);
    if let (Ok(object), true) = (&parsed, problems.is_empty()) {
        object.entries.iter().for_each(|entry| known(entry, schema));
    }
    values
}

/// What is made of it without a file that it names: the same twice, and nothing that says everything.
fn judged(values: &Values, text: &str) {
    let paths = [
        "ca_path",
        "intermediates_path",
        "crl_path",
        "hash_path",
        "ek_deny_path",
    ];
    if paths.iter().any(|path| values.text(path).is_some()) {
        return;
    }
    let read = || {
        let mut problems = Vec::new();
        // No CAs, and an allow-list that is there everywhere.
        let defaults = [Path::new("/nonexistent"), Path::new("/proc/self/fdinfo")];
        let read = Configuration::read(values, "example.org", defaults, &mut problems);
        (read.policy, problems)
    };
    let (policy, problems) = read();
    assert_eq!(
        (&policy, &problems),
        (&read().0, &read().1),
        "the same twice"
    );
    for problem in &problems {
        presentable(problem, text);
    }
    if problems.is_empty() && values.is_sound() {
        for profile in &policy.state.profiles {
            let name = profile.name.bytes();
            let plain = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
            };
            assert!((1..=32).contains(&profile.name.len()) && name.into_iter().all(plain));
            assert!(!profile.requirements.is_empty(), "it matches everything");
        }
        for advisory in &policy.state.advisories {
            assert!(advisory.affected.iter().all(|range| range.from <= range.to));
        }
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
            Kind::Blocks(inner) | Kind::RepeatedBlocks(inner) => values
                .blocks(key.name)
                .iter()
                .for_each(|block| promised(block, inner)),
        }
    }
}

/// A key that nobody reads may have been meant for something: it is a problem.
fn known(entry: &Entry, schema: &Schema) {
    known_inside(&entry.key, &entry.labels, &entry.value, schema);
}

/// HCL 1 writes blocks that hold one block as labels: those that name none are keys.
fn known_inside(
    key: &Spanned<Arc<str>>,
    labels: &[Spanned<Arc<str>>],
    value: &Spanned<Value>,
    schema: &Schema,
) {
    let found = schema.keys.iter().find(|known| known.name == &*key.value);
    let found = found.unwrap_or_else(|| panic!("{:?} is read by nobody", key.value));
    match (found.kind, labels) {
        (Kind::Block(inner), _) => known_block(labels, value, inner),
        (Kind::Blocks(inner) | Kind::RepeatedBlocks(inner), [_label, rest @ ..]) => {
            known_block(rest, value, inner);
        }
        (Kind::Blocks(inner) | Kind::RepeatedBlocks(inner), []) => match &value.value {
            Value::Object(object) if names_only(object, inner) => {
                for entry in &object.entries {
                    known_block(&entry.labels, &entry.value, inner);
                }
            }
            _ => known_block(&[], value, inner),
        },
        _ => {}
    }
}

fn known_block(labels: &[Spanned<Arc<str>>], value: &Spanned<Value>, schema: &Schema) {
    match (labels, &value.value) {
        ([key, rest @ ..], _) => known_inside(key, rest, value, schema),
        ([], Value::Object(object)) => object.entries.iter().for_each(|entry| known(entry, schema)),
        ([], _) => {}
    }
}

/// Whether an object holds blocks by their labels.
fn names_only(object: &Object, schema: &Schema) -> bool {
    let is_label = |entry: &Entry| {
        let is_key = schema.keys.iter().any(|key| key.name == &*entry.key.value);
        matches!(entry.value.value, Value::Object(_)) && !is_key
    };
    !object.entries.is_empty() && object.entries.iter().all(is_label)
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
    const TEXTS: [&str; 13] = [
        "ca_path = \"/certs\"\nhash_path = \"/hashes\" # a comment\npcrs = [0, 7]\nlegacy_agents = \"deny\"\n",
        "\"ca_path\" = \"/certs\"\n\n\"challenge_timeout\" = \"1m30s\"\n\"accept_expired_ek\" = true\n\"max_streams\" = 0x10\n",
        "{\"ca_path\": \"/certs\", \"ek_profiles\": [\"p-256\"], \"max_streams\": 7, \"x\": null}",
        "{\"anchor\": [{\"00\": {\"vendors\": [\"IFX\"]}}, {\"01\": [{\"waive\": [\"sha1\"]}]}], \"f\": -1.5e3}",
        "anchor \"00\" {\n  vendors = [\"IFX\", \"STM\"]\n}\nanchor 01 { waive = [] }\n/* c */ // d\n",
        "mode = \"monitor\"\nadvisory \"a\" { to = \"7.84\" }\nadvisory \"a\" { from = \"9\" }\nprofile \"p\" {\n\
         firmware \"any\" { from = \"7.1\" to = \"7.9\" }\n  option_roms = \"deny\"\n  secure_boot = true\n\
         pcr \"9\" { values = [\"00000000000000000000000000000000000000000000000000000000000000aa\"] }\n\
         command_line { forbid = [\"init=*\"] }\n}\n",
        "{\"profile\": {\"p\": {\"pcr\": {\"7\": {\"values\": [\"00000000000000000000000000000000000000000000000000000000000000aa\"]}}}}, \
         \"pcr_selectors\": [11], \"extra_selectors\": [\"model\"], \"tolerate\": []}",
        "store = \"/var/lib/tpm-attestor/store\"\nsvid_keys = \"require\"\ntpm_clear = \"quarantine\"\n\
         ak_change = \"accept\"\nunexpected_reset = \"refuse\"\n",
        "{\"store\": \"postgres://u:${PASSWORD}@db/x\", \"svid_keys\": \"observe\"}",
        "device = \"unix:/run/tpm\"\nkeys_path = \"/var/lib/keys\"\nafter_reboot = \"keep\"\ntpm_timeout = \"9s\"\n\
         owner_auth_path = \"/etc/auth\"\n",
        "{\"device\": \"/dev/tpmrm0\", \"keys_path\": \"/k\", \"ek\": \"L-2\", \"ak\": \"rsa\", \"legacy_servers\": \"until_seen\"}",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_get_as_far_as_profiles() {
        let profiles = seeds::configuration().into_iter().filter_map(|seed| {
            let (values, mut problems) = SCHEMA.read(&String::from_utf8(seed).unwrap());
            let defaults = [Path::new("/nonexistent"), Path::new("/proc/self/fdinfo")];
            let read = Configuration::read(&values, "example.org", defaults, &mut problems);
            problems
                .is_empty()
                .then_some(read.policy.state.profiles.len())
        });
        assert_eq!(profiles.sum::<usize>(), 2);
    }

    #[test]
    fn every_schema_has_seeds_that_it_reads() {
        let schemas = [
            ("composer", &server::composer_config::SCHEMA, "store"),
            ("agent", &agent::config::SCHEMA, "keys_path"),
            ("keys", &agent::config::KEY_MANAGER_SCHEMA, "keys_path"),
            ("server", &SCHEMA, "store"),
        ];
        for (name, schema, key) in schemas {
            let read = seeds::configuration().into_iter().filter(|seed| {
                let text = std::str::from_utf8(seed).unwrap();
                let (values, problems) = schema.read(text);
                problems.is_empty() && values.text(key).is_some()
            });
            assert!(read.count() > 0, "{name}");
        }
    }
}
