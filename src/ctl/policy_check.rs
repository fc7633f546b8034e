//! `policy check`: what is wrong with a server's configuration, and what it comes to.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use verify::{Matching, Mode, Profile};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Report, columns, fields};
use crate::policy_text::{Rules, Slip};
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
    Ok(match Rules::read(path)? {
        Ok(rules) => Checked {
            file,
            problems: Vec::new(),
            warnings: rules.warnings(),
            rules: Some(Summary::of(&rules)),
        },
        Err(problems) => Checked {
            file,
            problems,
            warnings: Vec::new(),
            rules: None,
        },
    })
}

impl Summary {
    fn of(rules: &Rules) -> Self {
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
        ]);
        if self.profiles.is_empty() {
            return head + "\nno profiles: every state is accepted\n";
        }
        let row = |row: &Row| [row.profile.clone(), row.requires.join(", ")];
        let rows = self.profiles.iter().map(row).collect();
        format!("{head}\n{}", columns(["PROFILE", "REQUIRES"], rows))
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
