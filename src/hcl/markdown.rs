//! The documentation of a schema, as Markdown tables.

use crate::{Key, Kind, Schema};

impl Schema {
    /// A table of key, type, default and effect, then a section for each block. Sections are headings of level three.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        write_schema(self, "", &mut out);
        out
    }
}

fn write_schema(schema: &Schema, path: &str, out: &mut String) {
    out.push_str("| Key | Type | Default | What it does |\n|---|---|---|---|\n");
    for key in schema.keys {
        let cells = [
            format!("`{}`", key.name),
            kind(key),
            cell(key.default),
            cell(key.doc),
        ];
        out.push_str(&format_row(&cells));
    }
    if !schema.moved.is_empty() {
        out.push_str("\n| Not a key here | Instead |\n|---|---|\n");
        for moved in schema.moved {
            out.push_str(&format_row(&[
                format!("`{}`", moved.name),
                cell(moved.hint),
            ]));
        }
    }
    for key in schema.keys {
        if let Kind::Block(inner) | Kind::Blocks(inner) | Kind::RepeatedBlocks(inner) = key.kind {
            let path = if path.is_empty() {
                key.name.to_owned()
            } else {
                format!("{path}.{}", key.name)
            };
            out.push_str(&["\n### `", &path, "`\n\n"].concat());
            write_schema(inner, &path, out);
        }
    }
}

fn format_row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn kind(key: &Key) -> String {
    match key.kind {
        Kind::Choice(choices) => {
            let choices: Vec<String> = choices
                .iter()
                .map(|choice| format!("`\"{choice}\"`"))
                .collect();
            cell(&format!("one of {}", choices.join(", ")))
        }
        Kind::Duration => "a duration: `\"30s\"`, `\"500ms\"`, `\"5m\"`".to_owned(),
        Kind::Block(_) => "a block, see below".to_owned(),
        Kind::Blocks(_) => "blocks, with or without a label, see below".to_owned(),
        Kind::RepeatedBlocks(_) => "blocks, several with the same label too, see below".to_owned(),
        other => other.described(),
    }
}

/// Text that cannot end its cell or its row.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
