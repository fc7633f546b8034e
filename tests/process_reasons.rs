//! No reason code without a test that names it.

use std::fs;
use std::path::{Path, PathBuf};

use verify::Reason;

/// All Rust sources below a directory of the workspace, by their paths inside it.
fn sources(root: &Path, directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = directory.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            sources(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What of a source is compiled for tests alone: all of it, or what follows its first `#[cfg(test)]`.
fn test_text(root: &Path, path: &Path) -> String {
    let text = fs::read_to_string(root.join(path)).unwrap();
    let of_tests = |part: &str| part.starts_with("tests") || part == "verdicts";
    if path.iter().any(|part| of_tests(&part.to_string_lossy())) {
        return text;
    }
    let tests = text.split_once("#[cfg(test)]").map(|(_, tests)| tests);
    tests.unwrap_or_default().to_owned()
}

fn names(text: &str, variant: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == variant)
}

#[test]
fn every_reason_is_named_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut paths = Vec::new();
    for directory in ["src/verify", "src/server", "tests"] {
        sources(root, Path::new(directory), &mut paths);
    }
    // Other parts of the harness use words like `Timeout` for other things.
    paths.retain(|path| path.starts_with("src") || path.to_string_lossy().contains("process_"));
    let tests: Vec<_> = paths.iter().map(|path| test_text(root, path)).collect();
    let unnamed: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| {
            let variant = format!("{reason:?}");
            !tests.iter().any(|text| names(text, &variant))
        })
        .collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}
