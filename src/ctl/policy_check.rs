//! `policy check`: what is wrong with a server's configuration, and what it comes to.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use verify::{Matching, Mode, OnChange, OnReset, Profile, SvidKeys};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Report, columns, fields};
use crate::policy_text::{Rules, Slip, store_of, text_of};
use crate::text::printable;

/// What a configuration comes to.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    file: String,
    problems: Vec<Slip>,
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<Summary>,
}

/// The rules about the state of machines, in brief.
#[derive(Debug, Serialize)]
struct Summary {
    mode: &'static str,
    profile_match: &'static str,
    /// The PCRs of a quote; those of the boot event log come with it.
    bank: &'static str,
    pcrs: Vec<u8>,
    asks_for_log: bool,
    advisories: usize,
    /// Where machines are kept, without the password.
    store: Option<String>,
    svid_keys: &'static str,
    tpm_clear: &'static str,
    ak_change: &'static str,
    unexpected_reset: &'static str,
    profiles: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    profile: String,
    requires: Vec<&'static str>,
}

/// Reads a configuration.
pub(crate) fn check(path: &Path) -> Result<Checked, Failure> {
    let file = printable(&path.display().to_string());
    let text = text_of(path)?;
    Ok(match (Rules::of(&text), store_of(&text)) {
        (Ok(rules), Ok(store)) => Checked {
            file,
            problems: Vec::new(),
            warnings: rules.warnings(),
            rules: Some(Summary::of(&rules, store)),
        },
        (outcome, store) => {
            let mut problems = outcome.err().unwrap_or_default();
            problems.extend(store.err());
            problems.sort();
            Checked {
                file,
                problems,
                warnings: Vec::new(),
                rules: None,
            }
        }
    })
}

impl Summary {
    fn of(rules: &Rules, store: Option<String>) -> Self {
        let policy = rules.policy();
        let state = &policy.state;
        let first = policy.pcrs.first();
        let row = |profile: &Profile| Row {
            profile: profile.name.clone(),
            requires: profile
                .requirements
                .iter()
                .map(verify::Requirement::name)
                .collect(),
        };
        Self {
            mode: match state.mode {
                Mode::Enforce => "enforce",
                Mode::Monitor => "monitor",
            },
            profile_match: match state.matching {
                Matching::First => "first",
                Matching::All => "all",
            },
            bank: first.map_or("", |(hash, _)| hash.name()),
            pcrs: first.map(|(_, pcrs)| pcrs.clone()).unwrap_or_default(),
            asks_for_log: state.ask_for_log,
            advisories: state.advisories.len(),
            store,
            svid_keys: match policy.svid_keys {
                SvidKeys::Observe => "observe",
                SvidKeys::Require => "require",
            },
            tpm_clear: on_change(policy.tpm_clear),
            ak_change: on_change(policy.ak_change),
            unexpected_reset: match policy.unexpected_reset {
                OnReset::Warn => "warn",
                OnReset::Refuse => "refuse",
            },
            profiles: state.profiles.iter().map(row).collect(),
        }
    }

    fn table(&self) -> String {
        let pcrs: Vec<_> = self.pcrs.iter().map(ToString::to_string).collect();
        let log = if self.asks_for_log {
            "asked of agents that have it"
        } else {
            "not asked for"
        };
        let head = fields(vec![
            ("mode", Some(self.mode.to_owned())),
            ("profile_match", Some(self.profile_match.to_owned())),
            (
                "quoted",
                Some(format!("{} PCRs {}", self.bank, pcrs.join(", "))),
            ),
            ("event log", Some(log.to_owned())),
            ("advisories", Some(self.advisories.to_string())),
            ("store", Some(self.store_text())),
            ("svid_keys", Some(self.svid_keys_text())),
            ("tpm_clear", self.if_kept(self.tpm_clear)),
            ("ak_change", self.if_kept(self.ak_change)),
            ("unexpected_reset", self.if_kept(self.unexpected_reset)),
        ]);
        if self.profiles.is_empty() {
            return head + "\nno profiles: every state is accepted\n";
        }
        let row = |row: &Row| [row.profile.clone(), row.requires.join(", ")];
        let rows = self.profiles.iter().map(row).collect();
        format!("{head}\n{}", columns(["PROFILE", "REQUIRES"], rows))
    }

    fn store_text(&self) -> String {
        let store = self.store.clone();
        store.unwrap_or_else(|| "none: nothing is kept of machines".to_owned())
    }

    fn svid_keys_text(&self) -> String {
        if self.svid_keys == "require" {
            "require: the CredentialComposer of the same SPIRE Server needs this store, too"
                .to_owned()
        } else {
            self.svid_keys.to_owned()
        }
    }

    /// What hangs on what is kept of machines.
    fn if_kept(&self, choice: &str) -> Option<String> {
        self.store.as_ref().map(|_store| choice.to_owned())
    }
}

fn on_change(choice: OnChange) -> &'static str {
    match choice {
        OnChange::Accept => "accept",
        OnChange::Quarantine => "quarantine",
    }
}

impl Report for Checked {
    /// Problems are one a line with the file before them, as editors understand it.
    fn table(&self) -> String {
        let mut out = String::new();
        for problem in &self.problems {
            writeln!(out, "{}:{}", self.file, problem.text()).ok();
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}").ok();
        }
        match &self.rules {
            Some(rules) if out.is_empty() => rules.table(),
            Some(rules) => format!("{out}\n{}", rules.table()),
            None => out,
        }
    }

    fn exit(&self) -> Exit {
        if self.problems.is_empty() {
            Exit::Good
        } else {
            Exit::Negative
        }
    }
}
