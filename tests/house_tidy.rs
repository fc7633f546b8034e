//! Tidiness of every file: its first line, its length, and what no file may hold.

use crate::{Text, none_of, sources, texts};

/// Lines of a source.
const MOST_LINES: usize = 600;

#[test]
fn sources_say_first_what_they_are() {
    let silent = sources().into_iter().filter(|file| {
        let first = file.text.lines().next().unwrap_or_default();
        first
            .strip_prefix("//! ")
            .is_none_or(|sentence| sentence.len() <= 10)
    });
    none_of(
        "sources without a first sentence",
        &silent.map(|file| file.path).collect::<Vec<_>>(),
    );
}

#[test]
fn sources_are_not_long() {
    let long = sources().into_iter().filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > MOST_LINES).then(|| format!("{}: {lines} lines", file.path))
    });
    none_of("sources that are too long", &long.collect::<Vec<_>>());
}

#[test]
fn nothing_is_silenced_unfinished_or_left_out() {
    // In two pieces, so that this file does not hold them.
    let words = [
        ["#[al", "low("],
        ["#![al", "low("],
        ["to", "do!("],
        ["unimple", "mented!("],
        ["#[ig", "nore"],
        ["dbg", "!("],
    ];
    let words = words.map(|word| word.concat());
    let found: Vec<_> = sources()
        .iter()
        .flat_map(|file| lines_with(file, &words))
        .collect();
    none_of("what no source may hold", &found);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let places = [
        ["/wo", "rk/"],
        ["../sha", "red"],
        ["/home", "/"],
        ["/tmp/br", "ief"],
        ["/ro", "ot/"],
    ]
    .map(|word| word.concat());
    let found: Vec<_> = texts()
        .iter()
        .flat_map(|file| lines_with(file, &places))
        .collect();
    none_of("paths of one machine", &found);
}

#[test]
fn the_plugin_runtime_knows_no_tpm() {
    let word = ["t", "pm"].concat();
    let mut found = Vec::new();
    for file in texts()
        .iter()
        .filter(|file| file.path.starts_with("src/plugin/"))
    {
        let lower = Text {
            path: file.path.clone(),
            text: file.text.to_lowercase(),
        };
        found.extend(lines_with(&lower, std::slice::from_ref(&word)));
    }
    none_of("words of a TPM", &found);
}

#[test]
fn texts_end_their_lines_plainly() {
    let mut found = Vec::new();
    for file in texts()
        .into_iter()
        .filter(|file| !file.is_generated() && !file.has_extension("snap"))
    {
        for (index, line) in file.text.lines().enumerate() {
            if line != line.trim_end() {
                found.push(format!(
                    "{}:{}: white space at the end",
                    file.path,
                    index + 1
                ));
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            found.push(format!("{}: no newline at the end", file.path));
        }
    }
    none_of("untidy lines", &found);
}

fn lines_with(file: &Text, words: &[String]) -> Vec<String> {
    let lines = file.text.lines().enumerate();
    lines
        .filter(|(_, line)| words.iter().any(|word| line.contains(word.as_str())))
        .map(|(index, line)| format!("{}:{}: {}", file.path, index + 1, line.trim()))
        .collect()
}
