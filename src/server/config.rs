//! The settings of the server plugin, made of the text that SPIRE passes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hcl::Problem;
use plugin::Purpose;
use store::{AnchorStore, DenialStore, HashDirectory};
use verify::{Anchors, CrlPolicy, Denials, LegacyAgents, Policy};

use crate::rules;
pub use crate::schema::SCHEMA;
use crate::trust::{self, Paths};

/// Unfinished attestations that any configuration may allow.
pub const MAX_STREAMS: u32 = 4096;

/// Bytes of a message, in memory as a whole before anything looks at it: the largest response in its envelope.
pub const MAX_MESSAGE: usize = evidence::limits::RESPONSE + 64;

/// The settings of the server plugin.
#[derive(Debug)]
pub struct Settings {
    pub(crate) policy: Policy,
    pub(crate) hashes: Option<HashDirectory>,
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
    pub fn build(trust_domain: &str, text: &str, _purpose: Purpose) -> Result<Self, Vec<Problem>> {
        let defaults = [Path::new(DEFAULT_CA_PATH), Path::new(DEFAULT_HASH_PATH)];
        Self::with_defaults(trust_domain, text, defaults)
    }

    pub(crate) fn with_defaults(
        trust_domain: &str,
        text: &str,
        defaults: [&Path; 2],
    ) -> Result<Self, Vec<Problem>> {
        let (values, mut problems) = SCHEMA.read(text);
        let mut warnings = Vec::new();
        let paths = Paths::of(&values, defaults, &mut problems);
        let anchor_store = trust::anchors(&paths, &values, &mut problems, &mut warnings);
        let hashes = trust::hashes(&paths, &values, &mut problems, &mut warnings);
        let denial_store = trust::denials(&values, &mut problems);
        let policy = Policy {
            trust_domain: trust_domain.to_owned(),
            ek_trust: trust::ek_trust(&values, &paths, &mut problems),
            ek_kinds: rules::ek_kinds(&values, &mut problems),
            accept_expired_ek: values
                .flag("accept_expired_ek")
                .is_some_and(|flag| flag.value),
            vendors: rules::vendors(&values, &mut problems),
            crl_policy: match values.choice("crl_policy").map(|choice| choice.value) {
                Some("require") => CrlPolicy::Require,
                _ => CrlPolicy::Use,
            },
            legacy_agents: match values.choice("legacy_agents").map(|choice| choice.value) {
                Some("deny") => LegacyAgents::Deny,
                _ => LegacyAgents::Allow,
            },
            pcrs: rules::pcrs(&values, &mut problems),
        };
        let settings = Self {
            policy,
            hashes,
            challenge_timeout: rules::duration(&values, "challenge_timeout", 30, &mut problems),
            attestation_timeout: rules::duration(&values, "attestation_timeout", 60, &mut problems),
            max_streams: rules::count(&values, "max_streams", 4096),
            max_streams_per_client: rules::count(&values, "max_streams_per_client", 16),
            anchor_store,
            denial_store,
            reload_interval: rules::duration(&values, "reload_interval", 5, &mut problems),
            no_anchors: Arc::default(),
            nobody: Arc::default(),
            warnings,
        };
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
            "configured"
        );
    }
}

const DEFAULT_CA_PATH: &str = "/opt/spire/.data/certs";
const DEFAULT_HASH_PATH: &str = "/opt/spire/.data/hashes";

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use std::path::PathBuf;

    use evidence::Hash;
    use verify::{EkKind, EkTrust};

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
            defaults.each_ref().map(PathBuf::as_path),
        )
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let settings = build("ca_path = CA").unwrap();
        assert_eq!(settings.policy.ek_trust, EkTrust::Certificate);
        assert_eq!(settings.policy.ek_kinds, EkKind::ALL);
        assert_eq!(settings.policy.legacy_agents, LegacyAgents::Allow);
        assert_eq!(settings.policy.pcrs, [(Hash::Sha256, (0..8).collect())]);
        assert!(!settings.policy.accept_expired_ek);
        assert_eq!(settings.policy.vendors, None);
        assert_eq!(settings.policy.crl_policy, CrlPolicy::Use);
        assert_eq!(settings.challenge_timeout, Duration::from_secs(30));
        assert_eq!(settings.attestation_timeout, Duration::from_secs(60));
        assert_eq!(settings.reload_interval, Duration::from_secs(5));
        assert_eq!(
            (settings.max_streams, settings.max_streams_per_client),
            (4096, 16)
        );
    }

    #[test]
    fn default_directories_count_each_by_itself() {
        let dir = TempDir::new().unwrap();
        let (there, absent) = (dir.path(), dir.path().join("absent"));
        for (text, defaults, expect) in [
            ("", [there, there], Some(EkTrust::Either)),
            ("", [there, &absent], Some(EkTrust::Certificate)),
            ("", [&absent, there], Some(EkTrust::Enrolment)),
            ("", [&absent, &absent], None),
            ("ca_path = \"/\"", [&absent, there], Some(EkTrust::Either)),
        ] {
            let text = text.replace('/', &there.display().to_string());
            let built = Settings::with_defaults("example.org", &text, defaults);
            assert_eq!(
                built.ok().map(|settings| settings.policy.ek_trust),
                expect,
                "{text}"
            );
        }
    }

    #[test]
    fn trust_follows_from_what_is_configured() {
        for (text, expect) in [
            ("ca_path = CA", EkTrust::Certificate),
            ("hash_path = HASH", EkTrust::Enrolment),
            ("ca_path = CA\nhash_path = HASH", EkTrust::Either),
            (
                "ca_path = CA\nhash_path = HASH\nek_trust = \"both\"",
                EkTrust::Both,
            ),
        ] {
            assert_eq!(build(text).unwrap().policy.ek_trust, expect, "{text}");
        }
    }

    #[test]
    fn every_key_takes_effect() {
        let settings = build(
            "\"hash_path\" = HASH\n\n\"ek_profiles\" = [\"p-256\"]\n\"legacy_agents\" = \"deny\"\n\
             \"pcrs\" = [7, 0, 7]\n\"pcr_bank\" = \"sha384\"\n\"challenge_timeout\" = \"2s\"\n\
             \"attestation_timeout\" = \"4s\"\n\"max_streams\" = 8\n\"max_streams_per_client\" = 0\n\
             \"accept_expired_ek\" = true\n\"reload_interval\" = \"1s\"",
        )
        .unwrap();
        assert_eq!(settings.policy.ek_kinds, [EkKind::P256]);
        assert_eq!(settings.policy.legacy_agents, LegacyAgents::Deny);
        assert_eq!(settings.policy.pcrs, [(Hash::Sha384, vec![0, 7])]);
        assert!(settings.policy.accept_expired_ek);
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
                "",
                "1:1: ca_path or hash_path is required: without either no machine can be trusted",
            ),
            ("ca_path = \"\"", "1:11: ca_path is empty"),
            ("hash_path = \"\"", "1:13: hash_path is empty"),
            (
                "ca_path = CA\nintermediates_path = \"\"",
                "2:22: intermediates_path is empty",
            ),
            (
                "hash_path = HASH\nek_trust = \"both\"",
                "2:12: ek_trust = \"both\" needs ca_path and hash_path",
            ),
            (
                "hash_path = HASH\nintermediates_path = CA",
                "2:22: intermediates_path needs ca_path",
            ),
            (
                "hash_path = HASH\nek_profiles = []",
                "2:15: ek_profiles must not be empty",
            ),
            ("hash_path = HASH\npcrs = []", "2:8: pcrs must not be empty"),
            (
                "hash_path = HASH\nchallenge_timeout = \"1h\"",
                "2:21: challenge_timeout must be between 100ms and 10m",
            ),
            (
                "hash_path = HASH\nreload_interval = \"99ms\"",
                "2:19: reload_interval must be between 100ms and 10m",
            ),
        ] {
            let problems = build(text).unwrap_err();
            assert!(
                problems.contains(&expect.to_owned()),
                "{text}: {problems:?}"
            );
        }
        for (text, place, part) in [
            (
                "ca_pth = CA\nhash_path = HASH",
                "1:1: ",
                "did you mean \"ca_path\"",
            ),
            (
                "ca_path = \"/does/not/exist\"",
                "1:11: ",
                "unable to load ca_path",
            ),
            (
                "ca_path = CA\nintermediates_path = \"/does/not/exist\"",
                "2:22: ",
                "unable to load intermediates_path",
            ),
            (
                "hash_path = \"/does/not/exist\"",
                "1:13: ",
                "unable to read hash_path",
            ),
            ("hash_path = HASH\npcrs = [24]", "2:9: ", "24"),
            ("hash_path = HASH\npcr_bank = \"sha1\"", "2:12: ", "sha256"),
            (
                "hash_path = HASH\nek_profiles = [\"rsa\\n\"]",
                "2:16: ",
                "unknown EK profile \"rsa\\n\"",
            ),
            ("hash_path = HASH\ntpm_path = \"/x\"", "2:1: ", "`device`"),
            ("hash_path = HASH\naws = {}", "2:1: ", "hash_path"),
        ] {
            let problems = build(text).unwrap_err();
            let found = problems
                .iter()
                .any(|problem| problem.starts_with(place) && problem.contains(part));
            assert!(found, "{text}: {problems:?}");
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
        let settings = Settings::with_defaults("example.org", "", [&ca, &hash]).unwrap();
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
    fn what_is_said_at_length_is_what_is_meant_in_brief() {
        let settings = build(
            "ca_path = CA\nhash_path = HASH\nek_trust = \"either\"\naccept_expired_ek = false\n\
             legacy_agents = \"allow\"",
        )
        .unwrap();
        assert_eq!(settings.policy.ek_trust, EkTrust::Either);
        assert!(!settings.policy.accept_expired_ek);
        assert_eq!(settings.policy.vendors, None);
        assert_eq!(settings.policy.crl_policy, CrlPolicy::Use);
        assert_eq!(settings.policy.legacy_agents, LegacyAgents::Allow);
    }

    #[test]
    fn nothing_is_said_of_missing_directories_beside_another_problem() {
        let problems = build("ca_pth = CA").unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
