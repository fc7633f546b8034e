//! The settings of the server plugin, made of the text that SPIRE passes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hcl::{Problem, Values};
use plugin::Purpose;
use policy::{Configuration, DEFAULT_PATHS};
use store::{AnchorStore, DenialStore, HashDirectory, RecordDirectory};
use verify::{Anchors, Denials, Policy, Profile};

pub use policy::SCHEMA;

use crate::keeping::Keeping;

/// Unfinished attestations that any configuration may allow.
pub const MAX_STREAMS: u32 = 4096;

/// Bytes of a message, in memory as a whole before anything looks at it: the largest response in its envelope.
pub const MAX_MESSAGE: usize = evidence::limits::RESPONSE + 64;

/// The settings of the server plugin.
#[derive(Debug)]
pub struct Settings {
    pub(crate) policy: Policy,
    pub(crate) hashes: Option<HashDirectory>,
    pub(crate) records: Option<RecordDirectory>,
    /// The store, if one is kept; absent from what is only validated.
    pub(crate) keeping: Option<Keeping>,
    pub(crate) challenge_timeout: Duration,
    pub(crate) attestation_timeout: Duration,
    pub(crate) max_streams: usize,
    pub(crate) max_streams_per_client: usize,
    pub(crate) anchor_store: Option<AnchorStore>,
    pub(crate) denial_store: Option<DenialStore>,
    pub(crate) reload_interval: Duration,
    no_anchors: Arc<Anchors>,
    nobody: Arc<Denials>,
    warnings: Vec<String>,
}

impl Settings {
    /// Builds settings from the text that SPIRE passes on, or lists everything wrong with it.
    pub fn build(trust_domain: &str, text: &str, purpose: Purpose) -> Result<Self, Vec<Problem>> {
        let defaults = DEFAULT_PATHS.map(Path::new);
        Self::with_defaults(trust_domain, text, purpose, defaults)
    }

    pub(crate) fn with_defaults(
        trust_domain: &str,
        text: &str,
        purpose: Purpose,
        defaults: [&Path; 2],
    ) -> Result<Self, Vec<Problem>> {
        let (values, mut problems) = SCHEMA.read(text);
        let configured = Configuration::read(&values, trust_domain, defaults, &mut problems);
        let mut settings = Self {
            policy: configured.policy,
            hashes: configured.hashes,
            records: records(&values, &mut problems),
            keeping: None,
            challenge_timeout: duration(&values, "challenge_timeout", 30, &mut problems),
            attestation_timeout: duration(&values, "attestation_timeout", 60, &mut problems),
            max_streams: count(&values, "max_streams", 4096),
            max_streams_per_client: count(&values, "max_streams_per_client", 16),
            anchor_store: configured.anchors,
            denial_store: configured.denials,
            reload_interval: duration(&values, "reload_interval", 5, &mut problems),
            no_anchors: Arc::default(),
            nobody: Arc::default(),
            warnings: configured.warnings,
        };
        settings.keeping = Keeping::open(&values, purpose, &mut problems);
        problems.sort();
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(problems)
        }
    }

    /// The anchors in force, with the revocation lists in force.
    pub(crate) fn anchors(&self) -> Arc<Anchors> {
        match &self.anchor_store {
            Some(store) => store.current(),
            None => Arc::clone(&self.no_anchors),
        }
    }

    /// The deny list in force.
    pub(crate) fn denials(&self) -> Arc<Denials> {
        match &self.denial_store {
            Some(store) => store.current(),
            None => Arc::clone(&self.nobody),
        }
    }

    /// Says what is in force.
    pub(crate) fn announce(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        let anchors = self.anchors();
        tracing::info!(
            anchors = anchors.len(),
            crls = anchors.crls(),
            crl_policy = ?self.policy.crl_policy,
            denied = self.denials().len(),
            allow_list = self.hashes.is_some(),
            ek_trust = ?self.policy.ek_trust,
            legacy_agents = ?self.policy.legacy_agents,
            mode = ?self.policy.state.mode,
            profiles = names(&self.policy.state.profiles),
            asks_for_log = self.policy.state.ask_for_log,
            store = self.keeping.is_some(),
            svid_keys = ?self.policy.svid_keys,
            "configured"
        );
    }
}

/// Where exchanges are kept, if they are.
fn records(values: &Values, problems: &mut Vec<Problem>) -> Option<RecordDirectory> {
    let path = values.text("evidence_path")?;
    match RecordDirectory::open(Path::new(path.value)) {
        Ok(records) => Some(records),
        Err(error) => {
            let message = format!("unable to write to evidence_path: {error}");
            problems.push(values.problem("evidence_path", message));
            None
        }
    }
}

/// The names of profiles, in their order.
fn names(profiles: &[Profile]) -> String {
    let names: Vec<_> = profiles
        .iter()
        .map(|profile| profile.name.as_str())
        .collect();
    names.join(" ")
}

/// A duration; the default is in seconds.
fn duration(values: &Values, key: &str, default: u64, problems: &mut Vec<Problem>) -> Duration {
    let Some(duration) = values.duration(key) else {
        return Duration::from_secs(default);
    };
    if !(MIN_DURATION..=MAX_DURATION).contains(&duration.value) {
        problems.push(values.problem(key, format!("{key} must be between 100ms and 10m")));
    }
    duration.value
}

/// A number of things.
fn count(values: &Values, key: &str, default: usize) -> usize {
    let configured = values
        .integer(key)
        .and_then(|integer| usize::try_from(integer.value).ok());
    configured.unwrap_or(default)
}

const MIN_DURATION: Duration = Duration::from_millis(100);
const MAX_DURATION: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;
    use verify::EkKind;

    use super::*;

    /// Replaces `CA` and `HASH` by directories that exist.
    fn build(text: &str) -> Result<Settings, Vec<String>> {
        let dir = TempDir::new().unwrap();
        for name in ["ca", "hash"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let path = |name: &str| format!("\"{}\"", dir.path().join(name).display());
        let text = text
            .replace("CA", &path("ca"))
            .replace("HASH", &path("hash"));
        let defaults = [dir.path().join("no-ca"), dir.path().join("no-hash")];
        Settings::with_defaults(
            "example.org",
            &text,
            Purpose::Configure,
            defaults.each_ref().map(PathBuf::as_path),
        )
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let settings = build("ca_path = CA").unwrap();
        assert_eq!(settings.policy.trust_domain, "example.org");
        assert!(settings.records.is_none());
        assert_eq!(settings.challenge_timeout, Duration::from_secs(30));
        assert_eq!(settings.attestation_timeout, Duration::from_mins(1));
        assert_eq!(settings.reload_interval, Duration::from_secs(5));
        assert_eq!(
            (settings.max_streams, settings.max_streams_per_client),
            (4096, 16)
        );
    }

    #[test]
    fn every_key_takes_effect() {
        let settings = build(
            "\"hash_path\" = HASH\n\n\"ek_profiles\" = [\"p-256\"]\n\"challenge_timeout\" = \"2s\"\n\
             \"attestation_timeout\" = \"4s\"\n\"max_streams\" = 8\n\"max_streams_per_client\" = 0\n\
             \"reload_interval\" = \"1s\"\n\"evidence_path\" = HASH",
        )
        .unwrap();
        assert_eq!(settings.policy.ek_kinds, [EkKind::P256]);
        assert!(settings.hashes.is_some());
        assert!(settings.records.is_some());
        assert_eq!(settings.challenge_timeout, Duration::from_secs(2));
        assert_eq!(settings.attestation_timeout, Duration::from_secs(4));
        assert_eq!(
            (settings.max_streams, settings.max_streams_per_client),
            (8, 0)
        );
        assert_eq!(settings.reload_interval, Duration::from_secs(1));
    }

    #[test]
    fn every_problem_has_its_place_and_its_words() {
        for (text, expect) in [
            (
                "hash_path = HASH\nchallenge_timeout = \"1h\"",
                "2:21: challenge_timeout must be between 100ms and 10m",
            ),
            (
                "hash_path = HASH\nattestation_timeout = \"99ms\"",
                "2:23: attestation_timeout must be between 100ms and 10m",
            ),
            (
                "hash_path = HASH\nreload_interval = \"601s\"",
                "2:19: reload_interval must be between 100ms and 10m",
            ),
            (
                "hash_path = HASH\nevidence_path = \"/does/not/exist\"",
                "2:17: unable to write to evidence_path: /does/not/exist: ",
            ),
            (
                "hash_path = HASH\nmax_streams = 0",
                "2:15: \"max_streams\" is 0; it must be from 1 to 4096",
            ),
            ("hash_path = HASH\npcrs = []", "2:8: pcrs must not be empty"),
        ] {
            let problems = build(text).unwrap_err();
            assert!(
                problems.len() == 1 && problems[0].starts_with(expect),
                "{text}: {problems:?}"
            );
        }
        for text in ["100ms", "10m"] {
            let text = format!("hash_path = HASH\nreload_interval = \"{text}\"");
            assert!(build(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once_in_the_order_of_the_text() {
        let problems =
            build("pcrs = []\nhash_path = HASH\nek_profiles = []\nunknown = 1").unwrap_err();
        let lines = problems
            .iter()
            .filter_map(|problem| problem.split(':').next());
        assert_eq!(lines.collect::<Vec<_>>(), ["1", "3", "4"]);
    }

    #[test]
    fn what_the_directories_hold_is_told_and_followed() {
        let dir = TempDir::new().unwrap();
        let (ca, hash) = (dir.path().join("ca"), dir.path().join("hash"));
        fs::create_dir(&ca).unwrap();
        fs::create_dir(&hash).unwrap();
        fs::write(ca.join("README"), "no certificate").unwrap();
        fs::write(hash.join("notes"), "").unwrap();
        let settings =
            Settings::with_defaults("example.org", "", Purpose::Configure, [&ca, &hash]).unwrap();
        assert_eq!(
            settings.warnings,
            [
                "skipped \"README\": neither PEM nor DER".to_owned(),
                format!("{} holds no certificate yet", ca.display()),
                "hash_path: \"notes\" is no EK's hash".to_owned(),
            ]
        );
        assert_eq!(settings.refresh(), (None, None), "nothing changed");
        fs::write(ca.join("README.too"), "").unwrap();
        assert_eq!(settings.refresh(), (Some("ok"), None));
        fs::remove_dir_all(&ca).unwrap();
        assert_eq!(settings.refresh(), (Some("failed"), None));
        assert_eq!(settings.refresh(), (None, None), "told once");
    }

    #[test]
    fn the_deny_list_is_followed_and_the_last_good_one_kept() {
        let dir = TempDir::new().unwrap();
        let (deny, entry) = (dir.path().join("deny"), format!("ek:{}\n", "ab".repeat(32)));
        fs::write(&deny, &entry).unwrap();
        let text = format!("ek_deny_path = \"{}\"", deny.display());
        let absent = dir.path().join("absent");
        let defaults = [dir.path(), &absent];
        let settings = Settings::with_defaults("example.org", &text, Purpose::Configure, defaults);
        let settings = settings.unwrap();
        assert_eq!(settings.denials().len(), 1);
        // The list lies in the directory of CAs, which changes with it.
        assert_eq!(settings.refresh().1, None);
        fs::write(&deny, "half").unwrap();
        assert_eq!(settings.refresh().1, Some("failed"));
        assert_eq!(settings.refresh().1, None, "told once");
        assert_eq!(settings.denials().len(), 1, "last good kept");
        fs::write(&deny, entry.repeat(2)).unwrap();
        assert_eq!(settings.refresh().1, Some("ok"));
    }
}
