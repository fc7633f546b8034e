//! Builds the tests of the copy, and leaves out the sites whose mutants are of no type.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::mutant::{Mutated, mutate};

/// A program of tests.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The crate that it tests.
    pub(crate) package: String,
    /// The file to run.
    pub(crate) path: PathBuf,
    /// The directory to run it in.
    pub(crate) directory: PathBuf,
}

/// Builds until everything that is not left out compiles.
pub(crate) fn compile(
    root: &Path,
    copy: &Path,
    target: &Path,
    arguments: &[&str],
    left_out: &mut BTreeSet<(String, usize)>,
) -> Result<(Mutated, Vec<Program>)> {
    for _round in 0..MOST_ROUNDS {
        let mutated = mutate(root, left_out)?;
        mutated.write(root, copy)?;
        let (programs, errors) = build(copy, target, arguments)?;
        if errors.is_empty() {
            return Ok((mutated, programs));
        }
        for error in errors {
            let site = error
                .places
                .iter()
                .find_map(|(path, byte)| mutated.site_at(path, *byte));
            match site {
                Some(site) => left_out.insert(site),
                None => bail!("the copy does not compile:\n{}", error.message),
            };
        }
    }
    bail!("the copy does not compile after {MOST_ROUNDS} rounds")
}

struct BuildError {
    message: String,
    places: Vec<(String, usize)>,
}

fn build(
    copy: &Path,
    target: &Path,
    arguments: &[&str],
) -> Result<(Vec<Program>, Vec<BuildError>)> {
    let output = Command::new("cargo")
        .args(arguments)
        .args(["--message-format=json", "--quiet"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    let (mut programs, mut errors) = (Vec::new(), Vec::new());
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<Value>(line) else {
            continue;
        };
        programs.extend(program(&message));
        errors.extend(error(&message));
    }
    if !output.status.success() && errors.is_empty() {
        bail!("cargo failed to build the copy");
    }
    Ok((programs, errors))
}

fn program(message: &Value) -> Option<Program> {
    let is_test = message.pointer("/profile/test") == Some(&Value::Bool(true));
    if message["reason"] != "compiler-artifact" || !is_test {
        return None;
    }
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let directory = manifest.parent()?;
    Some(Program {
        package: directory.file_name()?.to_str()?.to_owned(),
        path: message["executable"].as_str()?.into(),
        directory: directory.to_owned(),
    })
}

fn error(message: &Value) -> Option<BuildError> {
    let message = &message["message"];
    if message["level"] != "error" {
        return None;
    }
    let spans = message["spans"].as_array()?;
    let places = spans
        .iter()
        .filter(|span| span["is_primary"] == true)
        .filter_map(|span| {
            let byte = usize::try_from(span["byte_start"].as_u64()?).ok()?;
            Some((span["file_name"].as_str()?.to_owned(), byte))
        });
    let places: Vec<_> = places.collect();
    if places.is_empty() {
        return None;
    }
    Some(BuildError {
        message: message["rendered"].as_str().unwrap_or_default().to_owned(),
        places,
    })
}

/// Each round finds the errors of one pass of the compiler.
const MOST_ROUNDS: usize = 8;
