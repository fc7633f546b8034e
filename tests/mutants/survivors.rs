//! The list of mutants that no test can notice, each with its reason; what is on it must be true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::mutant::{Mutant, Name};
use crate::trial::Outcome;

/// The mutants that are expected to survive.
#[derive(Debug, Default)]
pub(crate) struct Survivors(BTreeSet<Name>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    survivor: Vec<Survivor>,
}

#[derive(Deserialize)]
struct Survivor {
    reason: String,
    #[serde(flatten)]
    name: Name,
}

impl Survivors {
    /// Reads the list.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let list: List = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let mut names = BTreeSet::new();
        for survivor in list.survivor {
            if survivor.reason.trim().is_empty() {
                bail!("{:?} has no reason", survivor.name);
            }
            if let Some(twice) = names.replace(survivor.name) {
                bail!("{twice:?} is listed twice");
            }
        }
        Ok(Self(names))
    }

    /// What is wrong with the outcomes, or with the list. Entries are only known to be stale where
    /// every mutant was tried.
    pub(crate) fn compare(&self, outcomes: &[(&Mutant, Outcome)], all: &[Mutant]) -> Vec<String> {
        let mut wrong = Vec::new();
        let tried: BTreeMap<&Name, Outcome> = outcomes
            .iter()
            .map(|(mutant, outcome)| (&mutant.name, *outcome))
            .collect();
        for (mutant, outcome) in outcomes {
            if self.0.contains(&mutant.name) {
                continue;
            }
            match outcome {
                Outcome::Survived => wrong.push(format!("survived: {mutant}")),
                Outcome::Unreached => wrong.push(format!("no test comes by: {mutant}")),
                Outcome::Killed | Outcome::Hung => {}
            }
        }
        let existing: BTreeSet<&Name> = all.iter().map(|mutant| &mutant.name).collect();
        for name in &self.0 {
            let Name {
                file,
                function,
                operator,
                source,
                occurrence,
            } = name;
            let shown =
                format!("{file}: {function}: {operator}: {source} (occurrence {occurrence})");
            if !existing.contains(name) {
                wrong.push(format!("listed, but there is no such mutant: {shown}"));
            } else if matches!(tried.get(name), Some(Outcome::Killed | Outcome::Hung)) {
                wrong.push(format!(
                    "listed as surviving, but a test notices it: {shown}"
                ));
            }
        }
        wrong
    }
}
