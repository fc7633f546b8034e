//! Profiles: what a subject of a kind has to do, case by case, as data with a version.

use serde::{Deserialize, Serialize};

use crate::role::{Capability, Role};

/// A profile of one version.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Profile {
    /// As in `node-attestor-server`.
    pub name: String,
    /// As in `v1`: cases of a version are never taken away nor made stricter.
    pub version: String,
    /// In a few words.
    pub title: String,
    /// What it is about and for whom.
    pub about: String,
    /// Runs without being asked for by name, with every subject that has a role in it.
    #[serde(default)]
    pub by_default: bool,
    /// In order.
    #[serde(rename = "case", default)]
    pub cases: Vec<Described>,
}

/// The words about a case.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Described {
    /// Unique among all profiles.
    pub id: String,
    /// How much it matters.
    pub level: Level,
    /// What the host does.
    pub does: String,
    /// Why it matters, with the source.
    pub why: String,
    /// What is right.
    pub expect: String,
    /// It runs once with each of these that the subject has.
    pub on: Vec<Role>,
    /// It runs only if the subject and the machine can do all of this.
    #[serde(default)]
    pub needs: Vec<Capability>,
    /// Nothing else runs beside it: it measures.
    #[serde(default)]
    pub alone: bool,
}

/// How much a case matters, by RFC 2119.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "UPPERCASE")]
#[derive(schemars::JsonSchema)]
pub enum Level {
    /// Falling short fails the run.
    Must,
    /// Falling short is a finding; with `--strict` it fails the run.
    Should,
    /// Falling short is told.
    May,
}

/// Why the data of a profile cannot be used; only a damaged build has one.
#[derive(Debug, thiserror::Error)]
#[error("profile {name}: {problem}")]
pub struct BadProfile {
    name: &'static str,
    problem: String,
}

const DATA: [(&str, &str); 7] = [
    (
        "go-plugin-core",
        include_str!("profiles/v1/go-plugin-core.toml"),
    ),
    (
        "spire-plugin-core",
        include_str!("profiles/v1/spire-plugin-core.toml"),
    ),
    (
        "node-attestor-server",
        include_str!("profiles/v1/node-attestor-server.toml"),
    ),
    (
        "node-attestor-agent",
        include_str!("profiles/v1/node-attestor-agent.toml"),
    ),
    (
        "key-manager-agent",
        include_str!("profiles/v1/key-manager-agent.toml"),
    ),
    (
        "credential-composer",
        include_str!("profiles/v1/credential-composer.toml"),
    ),
    (
        "tpm-attestor",
        include_str!("profiles/v1/tpm-attestor.toml"),
    ),
];

impl Profile {
    /// All versions of all profiles.
    pub fn all() -> Result<Vec<Self>, BadProfile> {
        let read = |(name, text)| {
            toml::from_str(text).map_err(|error: toml::de::Error| BadProfile {
                name,
                problem: error.to_string(),
            })
        };
        DATA.into_iter().map(read).collect()
    }
}
