//! Every message of the reader, each provoked by a text.

use crate::reading::SERVICE;
use crate::{limits, parse};

/// Texts that cannot be parsed.
const SYNTAX: &[(&str, &str)] = &[
    ("a = $", r#"1:5: unexpected "$"; expected a key or a value"#),
    (
        "a = \0",
        r#"1:5: unexpected "\u{0}"; expected a key or a value"#,
    ),
    (
        "a = +1",
        r#"1:5: unexpected "+"; expected a key or a value"#,
    ),
    ("/ x", r#"1:1: unexpected "/"; expected a key or a value"#),
    ("a = 1 /* x", "1:7: comment is not closed with */"),
    ("a = /*/", "1:5: comment is not closed with */"),
    (
        "a = 30s",
        r#"1:5: "30s" is not a number; write text in quotes"#,
    ),
    (
        "a = 0x",
        r#"1:5: "0x" is not a number; write text in quotes"#,
    ),
    (
        "a = 089",
        r#"1:5: "089" is not a number; write text in quotes"#,
    ),
    (
        "a = 1_0",
        r#"1:5: "1_0" is not a number; write text in quotes"#,
    ),
    ("a = 0x1e-5", "1:9: unexpected number; expected a key"),
    (
        "a = 9223372036854775808",
        r#"1:5: number "9223372036854775808" does not fit 64 bits"#,
    ),
    ("a = 1e999", r#"1:5: number "1e999" is too large"#),
    ("a = \"x\nb = 1", "1:5: string is not closed on its line"),
    ("a = \"x", "1:5: string is not closed on its line"),
    (r#"a = "b${c""#, "1:7: ${ in a string is not closed with }"),
    (
        r#"a = "b\/""#,
        r"1:7: unknown escape in a string; write \\ for a backslash",
    ),
    (
        r#"a = "\"#,
        r"1:6: unknown escape in a string; write \\ for a backslash",
    ),
    (r#"a = "\x4""#, "1:9: escape needs 2 digits in base 16"),
    (r#"a = "\u004""#, "1:11: escape needs 4 digits in base 16"),
    (
        r#"a = "\U0000004""#,
        "1:15: escape needs 8 digits in base 16",
    ),
    (r#"a = "\18""#, "1:8: escape needs 3 digits in base 8"),
    (r#"a = "\777""#, "1:6: octal escape is larger than one byte"),
    (
        r#"a = "\U00110000""#,
        "1:6: escape is not a Unicode character",
    ),
    (r#"a = "\ud83d""#, "1:8: escape is half of a surrogate pair"),
    (
        r#"a = "\ud83d\u0041""#,
        "1:8: escape is half of a surrogate pair",
    ),
    (
        r#"a = "\ude00\ud83d""#,
        "1:8: escape is half of a surrogate pair",
    ),
    (
        r#"a = "\xff""#,
        "1:5: escapes in the string do not make UTF-8",
    ),
    (
        "a = <x",
        r#"1:6: unexpected "x"; expected a second < of a heredoc"#,
    ),
    (
        "a = <<\nx",
        r#"1:7: unexpected "\n"; expected a heredoc name and the end of the line"#,
    ),
    (
        "a = <<EOT x",
        r#"1:10: unexpected " "; expected a heredoc name and the end of the line"#,
    ),
    (
        "a = <<EOT",
        "1:10: unexpected end of the text; expected a heredoc name and the end of the line",
    ),
    (
        "a = <<EOT\nx\nEOTX",
        r#"1:5: heredoc is not closed with a line "EOT""#,
    ),
    ("a {\n b {}", "1:3: block is not closed with }"),
    ("a = [1,\n2", "1:5: list is not closed with ]"),
    (
        "a = [1 2]",
        "1:8: unexpected number; expected , or ] in a list",
    ),
    (
        "a = [,]",
        "1:6: list has an item without a value (null or empty)",
    ),
    (
        "a = [1,,2]",
        "1:8: list has an item without a value (null or empty)",
    ),
    ("a = [null]", "1:6: null cannot be an item of a list"),
    (
        "a = [b]",
        r#"1:6: "b" is neither a number nor true or false; write text in quotes"#,
    ),
    (
        "a = b",
        r#"1:5: "b" is neither a number nor true or false; write text in quotes"#,
    ),
    ("a = null", r#"1:1: "a" has no value (null or empty)"#),
    ("a =\nb = 1", r#"1:1: "a" has no value (null or empty)"#),
    ("a =\n\"b\" {}", r#"1:1: "a" has no value (null or empty)"#),
    ("a = , b = 1", r#"1:1: "a" has no value (null or empty)"#),
    ("a = = 1", "1:5: unexpected =; expected a value"),
    ("a = ]", "1:5: unexpected ]; expected a value"),
    (
        "a",
        "1:2: unexpected end of the text; expected = or { after the key \"a\"",
    ),
    (
        "\"text\"",
        "1:7: unexpected end of the text; expected = or { after the key \"text\"",
    ),
    (
        "a [1]",
        r#"1:3: unexpected [; expected = or { after the key "a""#,
    ),
    (
        "a }",
        r#"1:3: unexpected }; expected = or { after the key "a""#,
    ),
    (
        "a <<E\nE\n",
        r#"1:3: unexpected heredoc; expected = or { after the key "a""#,
    ),
    (
        "a false\nb {}",
        r#"1:3: unexpected "false"; expected = or { after the key "a""#,
    ),
    (
        "a b = 1",
        "1:5: unexpected =; expected { after the labels of a block",
    ),
    ("a = 1,, b = 1", "1:7: unexpected ,; expected a key"),
    ("a = 1 \"x\" = = 1", "1:13: unexpected =; expected a value"),
    ("a = 1 }", "1:7: unexpected }; expected a key"),
    ("1 = 1", "1:1: unexpected number; expected a key"),
    ("true = 1", r#"1:1: unexpected "true"; expected a key"#),
    (
        "a = 1\nb = 2\na = 3",
        r#"3:1: "a" is set twice; first at 1:1"#,
    ),
    ("a = [1]\na = [1]", r#"2:1: "a" is set twice; first at 1:1"#),
    ("a {}\na = 3", r#"2:1: "a" is set twice; first at 1:1"#),
    ("a = 3\na {}", r#"2:1: "a" is set twice; first at 1:1"#),
    (
        "a {\n b = 1\n b = 1 }",
        r#"3:2: "b" is set twice; first at 2:2"#,
    ),
    (
        "a = [1, { b = 1, b = 1 }]",
        r#"1:18: "b" is set twice; first at 1:11"#,
    ),
    // JSON.
    (
        "{",
        "1:2: unexpected end of the text; expected a key in quotes",
    ),
    (
        "{a = 1}",
        r#"1:2: unexpected "a"; expected a key in quotes"#,
    ),
    (
        r#"{"a":1,}"#,
        r#"1:8: unexpected "}"; expected a key in quotes"#,
    ),
    (
        r#"{"a" 1}"#,
        r#"1:6: unexpected "1"; expected : after a key"#,
    ),
    (
        r#"{"a":1 "b":2}"#,
        r#"1:8: unexpected "\""; expected , or }"#,
    ),
    (r#"{"a":[1 2]}"#, r#"1:9: unexpected "2"; expected , or ]"#),
    (r#"{"a":[1,]}"#, r#"1:9: unexpected "]"; expected a value"#),
    (
        r#"{"a":truely}"#,
        r#"1:6: unexpected "t"; expected a value"#,
    ),
    (r#"{"a":}"#, r#"1:6: unexpected "}"; expected a value"#),
    (r#"{"a":[null]}"#, "1:7: null cannot be an item of a list"),
    (r#"{"a":1,"a":1}"#, r#"1:8: duplicate key "a""#),
    (r#"{"a":{},"a":{}}"#, r#"1:9: duplicate key "a""#),
    (r#"{"a":"x"#, "1:6: string is not closed"),
    (
        "{\"a\":\"\n\"}",
        "1:7: control character in a string; write it as an escape",
    ),
    (
        r#"{"a":"\a"}"#,
        r"1:7: unknown escape in a string; write \\ for a backslash",
    ),
    (r#"{"a":01}"#, r#"1:6: "01" is not a JSON number"#),
    (r#"{"a":1.}"#, r#"1:6: "1." is not a JSON number"#),
    (r#"{"a":0x1}"#, r#"1:6: "0x1" is not a JSON number"#),
    (r#"{"a":1e}"#, r#"1:6: "1e" is not a JSON number"#),
    (r#"{"a":-}"#, r#"1:6: "-" is not a JSON number"#),
    (
        "{} x",
        r#"1:4: unexpected "x"; expected the end of the text after the JSON document"#,
    ),
];

#[test]
fn syntax_messages() {
    for (text, message) in SYNTAX {
        assert_eq!(parse(text).expect_err(text).to_string(), *message, "{text}");
    }
}

/// Texts that the schema refuses, with all their messages.
const REFUSED: &[(&str, &[&str])] = &[
    ("name = ", &[r#"1:1: "name" has no value (null or empty)"#]),
    (
        "name = 3",
        &[r#"1:8: "name" must be a string, not a number; write it in quotes"#],
    ),
    (
        "name = 1.5",
        &[
            r#"1:8: "name" must be a string, not a number with a fraction or exponent; write it in quotes"#,
        ],
    ),
    (
        "name = true",
        &[r#"1:8: "name" must be a string, not true or false; write it in quotes"#],
    ),
    (
        "name = [\"a\"]",
        &[r#"1:8: "name" must be a string, not a list"#],
    ),
    (
        "name { x = 1 }",
        &[r#"1:6: "name" must be a string, not a block"#],
    ),
    (
        "name \"l\" {}",
        &[r#"1:10: "name" must be a string, not a block"#],
    ),
    (
        "quiet = \"true\"",
        &[r#"1:9: "quiet" must be true or false, not a string; write it without quotes"#],
    ),
    (
        "quiet = 1",
        &[r#"1:9: "quiet" must be true or false, not a number"#],
    ),
    (
        "port = \"80\"",
        &[
            r#"1:8: "port" must be a whole number from 1 to 65535, not a string; write it without quotes"#,
        ],
    ),
    (
        "port = 80.0",
        &[
            r#"1:8: "port" must be a whole number from 1 to 65535, not a number with a fraction or exponent"#,
        ],
    ),
    (
        "port = 0",
        &[r#"1:8: "port" is 0; it must be from 1 to 65535"#],
    ),
    (
        "port = 65536",
        &[r#"1:8: "port" is 65536; it must be from 1 to 65535"#],
    ),
    (
        "ratio = \"1\"",
        &[r#"1:9: "ratio" must be a number, not a string; write it without quotes"#],
    ),
    (
        "paths = \"a\"",
        &[r#"1:9: "paths" must be a list of strings, not a string; write it in [ ]"#],
    ),
    (
        "paths = [\"a\", 1, {}]",
        &[
            r#"1:15: an item of "paths" must be a string, not a number"#,
            r#"1:18: an item of "paths" must be a string, not a block"#,
        ],
    ),
    (
        "banks = 7",
        &[
            r#"1:9: "banks" must be a list of whole numbers from 0 to 23, not a number; write it in [ ]"#,
        ],
    ),
    (
        "banks = [24, \"a\", -1]",
        &[
            r#"1:10: "banks" is 24; it must be from 0 to 23"#,
            r#"1:14: an item of "banks" must be a whole number, not a string"#,
            r#"1:19: "banks" is -1; it must be from 0 to 23"#,
        ],
    ),
    (
        "timeout = \"30\"",
        &[r#"1:11: "timeout" must be a duration such as "30s", "500ms" or "5m", not "30""#],
    ),
    (
        "timeout = 30",
        &[
            r#"1:11: "timeout" must be a duration such as "30s", "500ms" or "5m", not a number; write it in quotes"#,
        ],
    ),
    (
        "store { mode = \"strct\" }",
        &[r#"1:16: "mode" must be one of "strict", "loose", not "strct"; did you mean "strict"?"#],
    ),
    (
        "store { mode = \"Loose\" }",
        &[
            r#"1:16: "mode" must be one of "strict", "loose", not "Loose"; write "loose": upper and lower case matter"#,
        ],
    ),
    (
        "store { mode = \"\u{1b}\" }",
        &[r#"1:16: "mode" must be one of "strict", "loose", not "\u{1b}""#],
    ),
    (
        "store { mode = 1 }",
        &[r#"1:16: "mode" must be one of "strict", "loose", not a number; write it in quotes"#],
    ),
    (
        "store = 1",
        &[r#"1:9: "store" must be a block { ... }, not a number"#],
    ),
    (
        "store {}\nstore {}",
        &[r#"2:1: "store" is set twice; first at 1:1"#],
    ),
    (
        "store tags {}\nstore tags {}",
        &[r#"2:7: "tags" is set twice; first at 1:7"#],
    ),
    (
        "rules = 1",
        &[r#"1:9: "rules" must be one or more blocks { ... }, not a number"#],
    ),
    (
        "rules p {}\nrules p {}",
        &[r#"2:7: "p" is set twice; first at 1:7"#],
    ),
    (
        "rules tags {}",
        &[r#"1:7: "tags" cannot be a label of "rules": it is a block inside it"#],
    ),
    (
        "rules p { limit = 10 }\nrules { x = 1 }",
        &[
            r#"1:19: "limit" is 10; it must be from 1 to 9"#,
            r#"2:9: unknown key "x""#,
        ],
    ),
    (
        "name = \"a\"\nname = 3",
        &[r#"2:1: "name" is set twice; first at 1:1"#],
    ),
    (
        "file = 1",
        &[r#"1:1: unknown key "file"; use "paths" | "store""#],
    ),
    (
        "Name = \"a\"",
        &[r#"1:1: unknown key "Name"; write "name": upper and lower case matter"#],
    ),
    (
        "nam = \"a\"",
        &[r#"1:1: unknown key "nam"; did you mean "name"?"#],
    ),
    (
        "\"\u{e9}\u{1b}zzzzzz\" = 1",
        &[r#"1:1: unknown key "\u{e9}\u{1b}zzzzzz""#],
    ),
    ("zzzzzz = 1\nzzzzzz = 1", &[r#"1:1: unknown key "zzzzzz""#]),
    (
        "port = 0\nquite = true\nstore { limit = 0 }\nname = 1",
        &[
            r#"1:8: "port" is 0; it must be from 1 to 65535"#,
            r#"2:1: unknown key "quite"; did you mean "quiet"?"#,
            r#"3:17: "limit" is 0; it must be from 1 to 9"#,
            r#"4:8: "name" must be a string, not a number; write it in quotes"#,
        ],
    ),
];

#[test]
fn schema_messages() {
    for (text, messages) in REFUSED {
        let (_, problems) = SERVICE.read(text);
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, *messages, "{text}");
    }
}

#[test]
fn problems_are_limited_and_the_rest_counted() {
    let unknown = |count| -> String {
        let line = |n| {
            format!(
                "zzzzzz{n} = 1
"
            )
        };
        (0..count).map(line).collect::<Vec<_>>().concat()
    };
    assert_eq!(
        SERVICE.read(&unknown(limits::PROBLEMS)).1.len(),
        limits::PROBLEMS
    );
    let (_, problems) = SERVICE.read(&unknown(limits::PROBLEMS + 5));
    assert_eq!(problems.len(), limits::PROBLEMS + 1);
    assert_eq!(
        problems[limits::PROBLEMS].to_string(),
        "100:1: 5 more problems are not shown"
    );
}
