//! What holds for the house as a whole: its arrows, its tidiness, its documents.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod house_arrows;
mod house_catalogue;
mod house_documents;
mod house_generated;
mod house_mutants;
mod house_secrets;
mod house_sources;
mod house_tidy;

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A text file of the workspace.
pub(crate) struct Text {
    /// Its path from [`root`].
    pub(crate) path: String,
    /// What it holds.
    pub(crate) text: String,
}

impl Text {
    /// Whether another program wrote it.
    pub(crate) fn is_generated(&self) -> bool {
        self.text.starts_with("// @generated")
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }
}

/// Every text file of the workspace that is not made by building it, in the order of their paths.
pub(crate) fn texts() -> Vec<Text> {
    let mut found = Vec::new();
    collect(root(), &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(
        found.len() > 100,
        "the workspace has more files than {}",
        found.len()
    );
    found
}

/// Those of [`texts`] that are Rust sources and written by hand.
pub(crate) fn sources() -> Vec<Text> {
    let by_hand = |file: &Text| file.has_extension("rs") && !file.is_generated();
    texts().into_iter().filter(by_hand).collect()
}

/// The text of one file.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with every finding at once.
pub(crate) fn none_of(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n{}", findings.join("\n"));
}

fn collect(directory: &Path, found: &mut Vec<Text>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if BUILT.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).unwrap().display().to_string();
            found.push(Text { path, text });
        }
    }
}

/// What holds nothing of ours.
const BUILT: [&str; 3] = [".git", "target", "dist"];
