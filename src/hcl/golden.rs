//! What HCL 1 (v1.0.1-vault-7) prints for JSON configuration, and what people write by hand: text against meaning.

use crate::{Entry, Object, Value, limits, parse};

/// The meaning of a text without positions: `key[label]=value;` for each entry.
pub(crate) fn plain(object: &Object) -> String {
    let entry = |entry: &Entry| {
        let mut words = vec![entry.key.value.to_string()];
        words.extend(
            entry
                .labels
                .iter()
                .map(|label| format!("[{}]", label.value)),
        );
        words.push(format!("={};", plain_value(&entry.value.value)));
        words.concat()
    };
    object.entries.iter().map(entry).collect()
}

fn plain_value(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Flag(flag) => flag.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| plain_value(&item.value)).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(object) => format!("{{{}}}", plain(object)),
    }
}

/// JSON, the text that HCL 1 prints for it, meaning.
const PRINTED: &[(&str, &str, &str)] = &[
    ("{}", "", ""),
    (
        r#"{"ca_path":"/a","n":3,"f":1.5,"b":true}"#,
        "\"ca_path\" = \"/a\"\n\n\"n\" = 3\n\n\"f\" = 1.5\n\n\"b\" = true",
        r#"ca_path="/a";n=3;f=1.5;b=true;"#,
    ),
    (
        r#"{"policy":{"mode":"x"}}"#,
        "\"policy\" = {\n  \"mode\" = \"x\"\n}",
        r#"policy={mode="x";};"#,
    ),
    (
        r#"{"policy":{"p1":{"mode":"x"},"p2":{"mode":"y"}}}"#,
        "\"policy\" \"p1\" {\n  \"mode\" = \"x\"\n}\n\n\"policy\" \"p2\" {\n  \"mode\" = \"y\"\n}",
        r#"policy[p1]={mode="x";};policy[p2]={mode="y";};"#,
    ),
    (
        r#"{"rules":[{"a":1},{"a":2}]}"#,
        "\"rules\" = {\n  \"a\" = 1\n}\n\n\"rules\" = {\n  \"a\" = 2\n}",
        "rules={a=1;};rules={a=2;};",
    ),
    (
        r#"{"pcrs":[0,7,11],"none":[]}"#,
        "\"pcrs\" = [0, 7, 11]\n\n\"none\" = []",
        "pcrs=[0,7,11];none=[];",
    ),
    (
        r#"{"s":"a\nb\"c ${x} \u003c"}"#,
        r#""s" = "a\nb\"c ${x} \u003c""#,
        r#"s="a\nb\"c ${x} <";"#,
    ),
    (r#"{"policy":{}}"#, "\"policy\" = {}", "policy={};"),
    (
        r#"{"policy":{"p1":{}}}"#,
        "\"policy\" \"p1\" {}",
        "policy[p1]={};",
    ),
    (
        r#"{"policy":{"limits":{"tags":{"a":1}}}}"#,
        "\"policy\" \"limits\" \"tags\" {\n  \"a\" = 1\n}",
        "policy[limits][tags]={a=1;};",
    ),
    (
        r#"{"rules":[{"p1":{"a":1}},{"p2":{"a":2}}]}"#,
        "\"rules\" \"p1\" {\n  \"a\" = 1\n}\n\n\"rules\" \"p2\" {\n  \"a\" = 2\n}",
        "rules[p1]={a=1;};rules[p2]={a=2;};",
    ),
    (
        r#"{"m":[1,{"a":1}]}"#,
        "\"m\" = [\n  1,\n  {\n    \"a\" = 1\n  },\n]",
        "m=[1,{a=1;}];",
    ),
    (
        r#"{"policy":{"p1":[{"a":1},{"a":2}]}}"#,
        "\"policy\" = {\n  \"p1\" = {\n    \"a\" = 1\n  }\n\n  \"p1\" = {\n    \"a\" = 2\n  }\n}",
        "policy={p1={a=1;};p1={a=2;};};",
    ),
    (
        r#"{"a":1e3,"b":-0.5,"c":-7}"#,
        "\"a\" = 1e3\n\n\"b\" = -0.5\n\n\"c\" = -7",
        "a=1000.0;b=-0.5;c=-7;",
    ),
    (
        r#"{"z":{"q":1,"r":[{"s":1}]}}"#,
        "\"z\" = {\n  \"q\" = 1\n\n  \"r\" = {\n    \"s\" = 1\n  }\n}",
        "z={q=1;r={s=1;};};",
    ),
];

#[test]
fn json_and_the_hcl_printed_for_it_mean_the_same() {
    for (json, printed, meaning) in PRINTED {
        for text in [json, printed] {
            let object = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(plain(&object), *meaning, "{text}");
        }
    }
}

/// JSON with null, and the text that HCL 1 prints for it, and where each says so.
const NULLS: &[(&str, &str, &str, &str)] = &[
    (r#"{"ca_path":null}"#, "1:2", "\"ca_path\" = ", "1:1"),
    (
        r#"{"ca_path":null,"n":3}"#,
        "1:2",
        "\"ca_path\" = \n\n\"n\" = 3",
        "1:1",
    ),
    (
        r#"{"ca_path":null,"t":true}"#,
        "1:2",
        "\"ca_path\" = \n\n\"t\" = true",
        "1:1",
    ),
    (
        r#"{"ca_path":null,"policy":{"p1":{"x":1}}}"#,
        "1:2",
        "\"ca_path\" = \n\n\"policy\" \"p1\" {\n  \"x\" = 1\n}",
        "1:1",
    ),
    (
        r#"{"policy":{"ca_path":null}}"#,
        "1:12",
        "\"policy\" = {\n  \"ca_path\" = \n}",
        "2:3",
    ),
];

#[test]
fn null_is_named_as_such_at_its_key() {
    for (json, json_at, printed, printed_at) in NULLS {
        for (text, at) in [(json, json_at), (printed, printed_at)] {
            let expect = format!("{at}: \"ca_path\" has no value (null or empty)");
            assert_eq!(parse(text).unwrap_err().to_string(), expect, "{text}");
        }
    }
}

/// Native HCL against its meaning.
const WRITTEN: &[(&str, &str)] = &[
    ("", ""),
    (" \t\r\n", ""),
    ("\u{feff}a = 1", "a=1;"),
    ("\u{feff}{\"a\": 1}", "a=1;"),
    ("a = 1, b = 2\nc = 3,\n", "a=1;b=2;c=3;"),
    ("a = \"x\" b = \"y\"", "a=\"x\";b=\"y\";"),
    ("a = <<EOT\n  one\n  EOT\n", "a=\"  one\\n  \";"),
    (r#"a = "${y{z}"}" b = 1"#, r#"a="${y{z}\"}";b=1;"#),
    ("a = 1 b = 2", "a=1;b=2;"),
    ("a-b.c_d = 1", "a-b.c_d=1;"),
    ("\"key with \\\" space\" = 1", "key with \" space=1;"),
    (
        "# one\n// two\na = 1 # three\n/* four\n * five **/ b /**/ = /* six */ 2 // seven",
        "a=1;b=2;",
    ),
    ("a = \"x # y // z /* w */\"", "a=\"x # y // z /* w */\";"),
    ("a { b { c = 1 } }", "a={b={c=1;};};"),
    ("a = { b = 1 }", "a={b=1;};"),
    ("a \"l\" m { }", "a[l][m]={};"),
    ("a { x = 1 }\na { x = 2 }", "a={x=1;};a={x=2;};"),
    (
        "a { x = 1 }\na = { x = 2 }\na \"l\" {}",
        "a={x=1;};a={x=2;};a[l]={};",
    ),
    ("a = [{ x = 1 }, { x = 2 }, ]", "a={x=1;};a={x=2;};"),
    ("a { x = 1, y = 2, }", "a={x=1;y=2;};"),
    (
        "a = [1, \"b\", true, 1.5, [2], ]",
        "a=[1,\"b\",true,1.5,[2]];",
    ),
    ("a = [ # none\n]", "a=[];"),
    ("a =\n\"x\"\nb = 1", "a=\"x\";b=1;"),
    ("a =\ntrue\nb =\nfalse", "a=true;b=false;"),
    ("a = 1\r\nb = 2\r\n", "a=1;b=2;"),
    // A native block as HCL 1 prints it again.
    (
        "# c\na = 1\n\nb = \"x\"\n\nh = <<EOT\n one\n  two\nEOT\n\npolicy \"p\" {\n  m = \"${x}\"\n}\n\nl = [1, 2]",
        "a=1;b=\"x\";h=\" one\\n  two\\n\";policy[p]={m=\"${x}\";};l=[1,2];",
    ),
    // Numbers.
    (
        "a = 0\nb = -12\nc = 0x1F\nd = 0Xff\ne = -0x10",
        "a=0;b=-12;c=31;d=255;e=-16;",
    ),
    ("a = 010\nb = 00\nc = -017", "a=8;b=0;c=-15;"),
    (
        "a = 1.5\nb = -2.5e3\nc = 1E+2\nd = 2e-1\ne = .5\nf = 0.0\ng = 09.5",
        "a=1.5;b=-2500.0;c=100.0;d=0.2;e=0.5;f=0.0;g=9.5;",
    ),
    (
        "a = 9223372036854775807\nb = -9223372036854775808",
        "a=9223372036854775807;b=-9223372036854775808;",
    ),
    // Strings.
    (
        r#"a = "\a\b\f\n\r\t\v\\\"""#,
        r#"a="\u{7}\u{8}\u{c}\n\r\t\u{b}\\\"";"#,
    ),
    (r#"a = "\101\x41\u0041\U00000041""#, "a=\"AAAA\";"),
    (r#"a = "\xc3\xa9\303\251\u00e9é""#, "a=\"éééé\";"),
    (r#"a = "\ud83d\ude00\U0001F600""#, "a=\"😀😀\";"),
    (r#"a = "${x}${y{z}}\n""#, r#"a="${x}${y{z}}\n";"#),
    (
        r#"a = "${f("q\n")}$$ $x {y}""#,
        r#"a="${f(\"q\\n\")}$$ $x {y}";"#,
    ),
    ("a = \"${\n}\"", "a=\"${\\n}\";"),
    (r#"a = "^[a-z]{2}$""#, r#"a="^[a-z]{2}$";"#),
    // Heredocs.
    (
        "a = <<EOT\none\n  two\nEOT\nb = 1",
        "a=\"one\\n  two\\n\";b=1;",
    ),
    ("a = <<EOT\nEOT", "a=\"\";"),
    ("a = <<EOT\n one\n  EOT\n", "a=\" one\\n  \";"),
    (
        "a = <<-EOT\n    one\n      two\n    EOT\n",
        "a=\"one\\n  two\\n\";",
    ),
    ("a = <<-EOT\n  one\n    EOT\n", "a=\"  one\\n\";"),
    (
        "a = <<E_1\nEOT\n\\n ${x} \"\nE_1\n",
        "a=\"EOT\\n\\\\n ${x} \\\"\\n\";",
    ),
    ("a = <<EOT\r\none\r\nEOT\r\n", "a=\"one\\n\";"),
    ("a = [<<EOT\none\nEOT\n, 2]", "a=[\"one\\n\",2];"),
];

#[test]
fn native_hcl_means_what_it_says() {
    for (text, meaning) in WRITTEN {
        let object = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        assert_eq!(plain(&object), *meaning, "{text}");
    }
}

#[test]
fn json_strings_follow_json() {
    for (text, meaning) in [
        (
            r#" {"a" : "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"} "#,
            r#"a="\"\\/\u{8}\u{c}\n\r\té😀";"#,
        ),
        (r#"{"a":"${f(\"q\")}","":1}"#, r#"a="${f(\"q\")}";=1;"#),
        (r#"{"a":[[1],["b",false]]}"#, r#"a=[[1],["b",false]];"#),
        (r#"{"a":-0,"b":0.5E-1}"#, "a=0;b=0.05;"),
    ] {
        let object = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        assert_eq!(plain(&object), meaning, "{text}");
    }
}

#[test]
fn keys_labels_and_values_have_their_positions() {
    let object = parse("é = \"é\" # x\n\tblock \"l\" {\n  k = [1,\n 22]\n}").unwrap();
    let places = |entry: &Entry| {
        (
            entry.key.position.to_string(),
            entry.value.position.to_string(),
        )
    };
    assert_eq!(
        places(&object.entries[0]),
        ("1:1".to_owned(), "1:5".to_owned())
    );
    assert_eq!(
        places(&object.entries[1]),
        ("2:2".to_owned(), "2:12".to_owned())
    );
    assert_eq!(object.entries[1].labels[0].position.to_string(), "2:8");
    let Value::Object(block) = &object.entries[1].value.value else {
        panic!("{object:?}")
    };
    let Value::List(items) = &block.entries[0].value.value else {
        panic!("{block:?}")
    };
    assert_eq!(items[1].position.to_string(), "4:2");

    let object = parse("{\n \"é\": 1, \"b\": {\"l\": {\"x\": 2}}}").unwrap();
    assert_eq!(
        places(&object.entries[0]),
        ("2:2".to_owned(), "2:7".to_owned())
    );
    assert_eq!(
        places(&object.entries[1]),
        ("2:10".to_owned(), "2:21".to_owned())
    );
    assert_eq!(object.entries[1].labels[0].position.to_string(), "2:16");
}

#[test]
fn limits_hold_exactly() {
    let blocks = |depth| format!("{}{}", "a {".repeat(depth), "}".repeat(depth));
    let lists = |depth| format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
    let labels = |depth: usize| format!("a {} {{}}", "b ".repeat(depth - 1));
    let json = |depth| {
        format!(
            "{{{}1{}}}",
            "\"a\":".to_owned() + &"[".repeat(depth),
            "]".repeat(depth)
        )
    };
    let json_blocks = |depth| format!("{}1{}", "{\"a\":".repeat(depth + 1), "}".repeat(depth + 1));
    let shapes: [fn(usize) -> String; 5] = [blocks, lists, labels, json, json_blocks];
    for nested in shapes {
        let (fits, too_deep) = (nested(limits::NESTING), nested(limits::NESTING + 1));
        parse(&fits).unwrap_or_else(|problem| panic!("{fits}: {problem}"));
        assert_eq!(
            parse(&too_deep).unwrap_err().message,
            "nested deeper than 64 levels",
            "{too_deep}"
        );
    }

    let entries = |count| "a{}".repeat(count);
    let list = |count: usize| format!("a=[{}]", "{},".repeat(count - 1));
    let json_list = |count: usize| format!("{{\"a\":[{}{{}}]}}", "{},".repeat(count - 2));
    let json_keys = |count: usize| {
        let keys: Vec<String> = (0..count).map(|n| format!("\"{n}\":1")).collect();
        format!("{{{}}}", keys.join(","))
    };
    let shapes: [fn(usize) -> String; 4] = [entries, list, json_list, json_keys];
    for many in shapes {
        assert!(parse(&many(limits::ENTRIES)).is_ok());
        assert_eq!(
            parse(&many(limits::ENTRIES + 1)).unwrap_err().message,
            "more than 16384 entries"
        );
    }

    assert!(parse(&" ".repeat(limits::TEXT_BYTES)).is_ok());
    let too_long = parse(&" ".repeat(limits::TEXT_BYTES + 1)).unwrap_err();
    assert_eq!(
        too_long.to_string(),
        "1:1: configuration is larger than 1048576 bytes"
    );
}
