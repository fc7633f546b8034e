//! A copy of the workspace in which production holds its mutants; files that stay the same keep their times, so that
//! cargo builds again only what has changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Makes `to` hold what `from` holds, but for what `changed` says of a path.
pub(crate) fn copy(from: &Path, to: &Path, changed: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let mut kept = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        fs::create_dir_all(to.join(&directory))?;
        for entry in fs::read_dir(from.join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(path.clone());
            } else if kind.is_file() {
                let bytes = match changed(&path.to_string_lossy()) {
                    Some(text) => text.into_bytes(),
                    None => fs::read(entry.path())?,
                };
                write_if_new(&to.join(&path), &bytes, &entry.path())?;
            }
            kept.insert(path);
        }
    }
    remove_others(to, &kept)
}

/// Writes a file that another one may have changed.
pub(crate) fn write_if_new(path: &Path, bytes: &[u8], like: &Path) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))?;
    if like.exists() {
        fs::set_permissions(path, fs::metadata(like)?.permissions())?;
    }
    Ok(())
}

fn remove_others(to: &Path, kept: &BTreeSet<PathBuf>) -> Result<()> {
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(to.join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            let is_directory = entry.file_type()?.is_dir();
            if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            if kept.contains(&path) {
                if is_directory {
                    open.push(path);
                }
            } else if is_directory {
                fs::remove_dir_all(entry.path())?;
            } else if entry.file_name() != SWITCH {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

/// The module that a mutated crate gets.
pub(crate) const SWITCH: &str = "mutants.rs";

/// What is no source.
const LEFT_OUT: [&str; 4] = [".git", "target", "dist", "proptest-regressions"];
