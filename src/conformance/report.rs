//! What a run found, before it takes the form of any file.

use serde::{Deserialize, Serialize};

use crate::{
    candidate::Implementation,
    case::Stop,
    profile::{Level, Profile},
    role::Role,
    transcript::{Event, Transcript},
};

/// The report of a run.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Report {
    /// The version of this form, as in `attestor-conformance/v1`.
    pub api_version: String,
    /// `ConformanceReport`.
    pub kind: String,
    /// Who made what.
    pub implementation: Implementation,
    /// The kit's version.
    pub kit_version: String,
    /// When the run began, as in `2026-11-24T20:34:22Z`.
    pub date: String,
    /// Seconds that it took.
    pub took_seconds: f64,
    /// The largest resident set of the runner itself, in bytes.
    pub peak_memory_bytes: u64,
    /// What random bytes were made from.
    pub seed: u64,
    /// SHA-256 of each plugin's file, in hex.
    pub subjects: Vec<SubjectFile>,
    /// Profile by profile.
    pub profiles: Vec<ProfileResult>,
    /// Allowances of known failures that did not hold: out of date, or the case passed.
    pub broken_allowances: Vec<String>,
}

/// A file that was tried.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SubjectFile {
    /// What it was tried as.
    pub role: Role,
    /// The file's name without its directory.
    pub file: String,
    /// In hex.
    pub sha256: String,
}

/// The results of a profile.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ProfileResult {
    /// As in `node-attestor-server`.
    pub name: String,
    /// As in `v1`.
    pub version: String,
    /// In a few words.
    pub title: String,
    /// In the order of the profile, each by role.
    pub cases: Vec<CaseResult>,
}

/// The result of a case with one plugin.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CaseResult {
    /// As in `NAS-014`.
    pub id: String,
    /// The plugin that it was tried with.
    pub role: Role,
    /// How much it matters.
    pub level: Level,
    /// What the host does.
    pub does: String,
    /// Why it matters.
    pub why: String,
    /// What is right.
    pub expect: String,
    /// How it went.
    pub verdict: Verdict,
    /// Milliseconds.
    pub took_ms: u64,
    /// What passed.
    pub transcript: Vec<Event>,
    /// Why a failure is allowed, from the file of known failures.
    pub allowance: Option<String>,
}

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Verdict {
    /// Right.
    Passed,
    /// The subject fell short.
    Failed {
        /// What came.
        came: String,
        /// What would be right.
        right: String,
    },
    /// Not tried.
    Skipped {
        /// For what reason.
        why: String,
    },
    /// What the kit itself needs failed.
    Errored {
        /// What.
        what: String,
    },
}

impl Verdict {
    pub(crate) fn of(ended: Result<(), Stop>, transcript: &Transcript) -> Self {
        match ended {
            Ok(()) => Self::Passed,
            Err(Stop::Failed(failure)) => Self::Failed {
                came: transcript.redacted(&failure.came),
                right: transcript.redacted(&failure.right),
            },
            Err(Stop::Skipped(why)) => Self::Skipped { why },
            Err(Stop::Environment(what)) => Self::Errored {
                what: transcript.redacted(&what),
            },
        }
    }
}

impl ProfileResult {
    pub(crate) fn of(profile: &Profile) -> Self {
        Self {
            name: profile.name.clone(),
            version: profile.version.clone(),
            title: profile.title.clone(),
            cases: Vec::new(),
        }
    }
}
