//! What a schema reads from good texts, and its documentation.

use std::time::Duration;

use crate::{Key, Kind, Moved, Schema, Values};

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
    }
}

static TAGS: Schema = Schema {
    keys: &[key("colour", Kind::Text, "none", "A colour.")],
    moved: &[],
};

static RULE: Schema = Schema {
    keys: &[
        key(
            "mode",
            Kind::Choice(&["strict", "loose"]),
            "`strict`",
            "How: this | that.",
        ),
        key("limit", Kind::Integer { min: 1, max: 9 }, "3", "How many."),
        key("tags", Kind::Block(&TAGS), "", "Tags."),
    ],
    moved: &[],
};

pub(crate) static SERVICE: Schema = Schema {
    keys: &[
        key("name", Kind::Text, "required", "A name."),
        key("quiet", Kind::Flag, "`false`", "Says less."),
        key(
            "port",
            Kind::Integer {
                min: 1,
                max: 65_535,
            },
            "443",
            "A port.",
        ),
        key("ratio", Kind::Number, "0.5", "A ratio."),
        key("paths", Kind::TextList, "empty", "Paths."),
        key(
            "banks",
            Kind::IntegerList { min: 0, max: 23 },
            "0",
            "Banks.",
        ),
        key(
            "timeout",
            Kind::Duration,
            "`\"30s\"`",
            "How long\nit waits.",
        ),
        key("store", Kind::Block(&RULE), "none", "The store."),
        key("rules", Kind::Blocks(&RULE), "none", "The rules."),
        key("notes", Kind::RepeatedBlocks(&TAGS), "none", "Notes."),
    ],
    moved: &[Moved {
        name: "file",
        hint: "use \"paths\" | \"store\"",
    }],
};

fn accepted(text: &str) -> Values {
    let (values, problems) = SERVICE.read(text);
    assert_eq!(problems, [], "{text}");
    values
}

#[test]
fn every_kind_is_read_with_its_position() {
    let values = accepted(
        "name = \"n\"\nquiet = true\nport = 65535\nratio = 2\npaths = [\"a\", \"b\"]\nbanks = [0, 23]\n\
         timeout = \"1m\"\nstore {\n  mode = \"loose\"\n}\n",
    );
    let name = values.text("name").unwrap();
    assert_eq!(
        (name.value, name.position.to_string().as_str()),
        ("n", "1:8")
    );
    let quiet = values.flag("quiet").unwrap();
    assert_eq!(
        (quiet.value, quiet.position.to_string().as_str()),
        (true, "2:9")
    );
    let port = values.integer("port").unwrap();
    assert_eq!(
        (port.value, port.position.to_string().as_str()),
        (65_535, "3:8")
    );
    let ratio = values.number("ratio").unwrap();
    assert_eq!(
        (
            ratio.value.to_string().as_str(),
            ratio.position.to_string().as_str()
        ),
        ("2", "4:9")
    );
    let paths: Vec<(&str, String)> = values
        .texts("paths")
        .unwrap()
        .iter()
        .map(|item| (item.value.as_str(), item.position.to_string()))
        .collect();
    assert_eq!(paths, [("a", "5:10".to_owned()), ("b", "5:15".to_owned())]);
    let banks: Vec<(i64, String)> = values
        .integers("banks")
        .unwrap()
        .iter()
        .map(|item| (item.value, item.position.to_string()))
        .collect();
    assert_eq!(banks, [(0, "6:10".to_owned()), (23, "6:13".to_owned())]);
    let timeout = values.duration("timeout").unwrap();
    assert_eq!(
        (timeout.value, timeout.position.to_string().as_str()),
        (Duration::from_mins(1), "7:11")
    );
    let store = values.block("store").unwrap();
    let mode = store.choice("mode").unwrap();
    assert_eq!(
        (mode.value, mode.position.to_string().as_str()),
        ("loose", "9:10")
    );

    assert_eq!(
        values.problem("port", "is taken \u{7}").to_string(),
        r"3:8: is taken \u{7}"
    );
    assert_eq!(
        values.problem("rules", "is required").to_string(),
        "1:1: is required"
    );
    assert_eq!(
        store.problem("limit", "is required").to_string(),
        "8:7: is required"
    );
    assert_eq!(
        accepted("ratio = 0.25")
            .number("ratio")
            .unwrap()
            .value
            .to_string(),
        "0.25"
    );
}

#[test]
fn absent_keys_have_no_value() {
    for text in ["", "{}", "# nothing"] {
        let values = accepted(text);
        assert!(
            values.text("name").is_none()
                && values.flag("quiet").is_none()
                && values.integer("port").is_none()
        );
        assert!(values.number("ratio").is_none() && values.texts("paths").is_none());
        assert!(values.integers("banks").is_none() && values.duration("timeout").is_none());
        assert!(
            values.block("store").is_none()
                && values.blocks("rules").is_empty()
                && values.label().is_none()
        );
    }
    assert_eq!(accepted("paths = []").texts("paths"), Some(&[][..]));
    assert!(accepted("rules = []").blocks("rules").is_empty());
    assert!(SERVICE.read("name = 1\nstore = 1").0.text("name").is_none());
    assert!(SERVICE.read("name = ").0.text("name").is_none());
}

/// The blocks of `rules` as `label:limit:colour`.
fn rules(text: &str) -> Vec<String> {
    let values = accepted(text);
    let rule = |rule: &Values| {
        let limit = rule.integer("limit").map_or(0, |limit| limit.value);
        let colour = rule
            .block("tags")
            .and_then(|tags| tags.text("colour"))
            .map_or("", |colour| colour.value);
        format!(
            "{}:{limit}:{colour}",
            rule.label().map_or("", |label| label.value)
        )
    };
    values.blocks("rules").iter().map(rule).collect()
}

#[test]
fn every_way_to_write_blocks_gives_the_same_blocks() {
    for (text, expect) in [
        (
            "rules p { limit = 1 }\nrules q { limit = 2 }",
            &["p:1:", "q:2:"][..],
        ),
        (
            "\"rules\" \"p\" {\n \"limit\" = 1\n}\n\n\"rules\" \"q\" {\n \"limit\" = 2\n}",
            &["p:1:", "q:2:"],
        ),
        (
            "rules = { p = { limit = 1 }, q { limit = 2 } }",
            &["p:1:", "q:2:"],
        ),
        (
            "rules { p { limit = 1 } }\nrules { q { limit = 2 } }",
            &["p:1:", "q:2:"],
        ),
        (
            r#"{"rules":{"p":{"limit":1},"q":{"limit":2}}}"#,
            &["p:1:", "q:2:"],
        ),
        (
            r#"{"rules":[{"p":{"limit":1}},{"q":{"limit":2}}]}"#,
            &["p:1:", "q:2:"],
        ),
        ("rules { limit = 1 }\nrules { limit = 2 }", &[":1:", ":2:"]),
        ("rules = [{ limit = 1 }, { limit = 2 }]", &[":1:", ":2:"]),
        (r#"{"rules":[{"limit":1},{"limit":2}]}"#, &[":1:", ":2:"]),
        (
            r#"{"rules":{"limit":1,"tags":{"colour":"red"}}}"#,
            &[":1:red"],
        ),
        ("rules { tags { colour = \"red\" } }", &[":0:red"]),
        (
            "rules p { limit = 1, tags { colour = \"red\" } }",
            &["p:1:red"],
        ),
        (
            r#"{"rules":{"p":{"limit":1,"tags":{"colour":"red"}}}}"#,
            &["p:1:red"],
        ),
        (r#"{"rules":{"p":{"tags":{"colour":"red"}}}}"#, &["p:0:red"]),
        (
            "rules p tags { colour = \"red\" }\nrules p { limit = 1 }",
            &["p:1:red"],
        ),
        (r#"{"rules":{"p":{},"q":{}}}"#, &["p:0:", "q:0:"]),
        (
            "rules p { limit = 1 }\nrules { limit = 2 }",
            &["p:1:", ":2:"],
        ),
    ] {
        assert_eq!(rules(text), expect, "{text}");
    }
    let values = accepted("rules {\n}\nrules \"p\" { }");
    let label = values.blocks("rules")[1].label().unwrap();
    assert_eq!(label.position.to_string(), "3:7");
}

/// The blocks of `notes` as `label:colour`.
fn notes(text: &str) -> Vec<String> {
    let note = |note: &Values| {
        let colour = note.text("colour").map_or("", |colour| colour.value);
        format!("{}:{colour}", note.label().map_or("", |label| label.value))
    };
    accepted(text).blocks("notes").iter().map(note).collect()
}

#[test]
fn repeated_blocks_may_share_a_label() {
    for (text, expect) in [
        (
            "notes a { colour = \"x\" }\nnotes b {}\nnotes a { colour = \"y\" }\nnotes a {}",
            &["a:x", "b:", "a:y", "a:"][..],
        ),
        (
            r#"{"notes":{"a":[{"colour":"x"},{"colour":"y"}],"b":{}}}"#,
            &["a:x", "a:y", "b:"],
        ),
        // What HCL 1 prints for it.
        (
            "\"notes\" = {\n  \"a\" = {\n    \"colour\" = \"x\"\n  }\n\n  \"a\" = {\n    \"colour\" = \"y\"\n  }\n\n  \"b\" = {}\n}",
            &["a:x", "a:y", "b:"],
        ),
        (
            "notes { colour = \"x\" }\nnotes { colour = \"y\" }",
            &[":x", ":y"],
        ),
    ] {
        assert_eq!(notes(text), expect, "{text}");
    }
    let (values, problems) = SERVICE.read("notes a { colour = 1 }\nnotes a { color = \"x\" }");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(values.blocks("notes").len(), 2);
}

#[test]
fn a_block_is_sound_if_nothing_in_it_is_a_problem() {
    let (values, problems) = SERVICE.read(
        "rules a { limit = 10 }\nrules b {}\nrules c { tags { color = \"red\" } }\nrules d { x = 1 }",
    );
    assert_eq!(problems.len(), 3, "{problems:?}");
    let sound = values.blocks("rules").iter().map(Values::is_sound);
    assert_eq!(sound.collect::<Vec<_>>(), [false, true, false, false]);
    assert!(!values.is_sound());
    assert!(accepted("rules b {}").is_sound());
    assert!(!SERVICE.read("name = ").0.is_sound(), "no text at all");
}

#[test]
fn a_block_that_holds_only_a_block_is_read_in_every_form() {
    for text in [
        "store { tags { colour = \"red\" } }",
        "store tags { colour = \"red\" }",
        "\"store\" = {\n \"tags\" = { \"colour\" = \"red\" }\n}",
        r#"{"store":{"tags":{"colour":"red"}}}"#,
        r#"{"store":[{"tags":{"colour":"red"}}]}"#,
        "store { limit = 1 }\nstore tags { colour = \"red\" }",
    ] {
        let values = accepted(text);
        let tags = values.block("store").and_then(|store| store.block("tags"));
        assert_eq!(
            tags.and_then(|tags| tags.text("colour"))
                .map(|colour| colour.value),
            Some("red"),
            "{text}"
        );
    }
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "the schema has no key \"nmae\" of this kind")]
fn asking_for_an_undeclared_key_is_caught_in_debug_builds() {
    assert!(accepted("").text("nmae").is_none());
}

#[test]
fn markdown_lists_every_key_and_block() {
    let expect = r#"| Key | Type | Default | What it does |
|---|---|---|---|
| `name` | a string | required | A name. |
| `quiet` | true or false | `false` | Says less. |
| `port` | a whole number from 1 to 65535 | 443 | A port. |
| `ratio` | a number | 0.5 | A ratio. |
| `paths` | a list of strings | empty | Paths. |
| `banks` | a list of whole numbers from 0 to 23 | 0 | Banks. |
| `timeout` | a duration: `"30s"`, `"500ms"`, `"5m"` | `"30s"` | How long it waits. |
| `store` | a block, see below | none | The store. |
| `rules` | blocks, with or without a label, see below | none | The rules. |
| `notes` | blocks, several with the same label too, see below | none | Notes. |

| Not a key here | Instead |
|---|---|
| `file` | use "paths" \| "store" |

### `store`

| Key | Type | Default | What it does |
|---|---|---|---|
| `mode` | one of `"strict"`, `"loose"` | `strict` | How: this \| that. |
| `limit` | a whole number from 1 to 9 | 3 | How many. |
| `tags` | a block, see below |  | Tags. |

### `store.tags`

| Key | Type | Default | What it does |
|---|---|---|---|
| `colour` | a string | none | A colour. |
"#;
    let markdown = SERVICE.markdown();
    assert_eq!(
        markdown
            .split_once("\n### `rules`\n")
            .map(|(before, _)| before),
        Some(expect)
    );
    assert!(
        markdown.contains("\n### `rules.tags`\n\n| Key |")
            && markdown.contains("\n### `notes`\n\n| Key |"),
        "{markdown}"
    );
}
