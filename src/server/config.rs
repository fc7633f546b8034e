//! The settings of the server plugin, made of the text that SPIRE passes on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use evidence::Hash;
use hcl::{Problem, Values};
use plugin::{Metrics, Purpose};
use store::{AnchorStore, HashDirectory, Refresh, Skipped};
use verify::{Anchors, EkKind, EkTrust, LegacyAgents, Policy};

pub use crate::schema::SCHEMA;

/// Unfinished attestations that any configuration may allow.
pub const MAX_STREAMS: u32 = 4096;

/// The settings of the server plugin.
#[derive(Debug)]
pub struct Settings {
    pub(crate) policy: Policy,
    pub(crate) hashes: Option<HashDirectory>,
    pub(crate) challenge_timeout: Duration,
    pub(crate) attestation_timeout: Duration,
    pub(crate) max_streams: usize,
    pub(crate) max_streams_per_client: usize,
    store: Option<AnchorStore>,
    no_anchors: Arc<Anchors>,
    reload_interval: Duration,
    warnings: Vec<String>,
}

impl Settings {
    /// Builds settings from the text that SPIRE passes on, or lists everything wrong with it.
    pub fn build(trust_domain: &str, text: &str, _purpose: Purpose) -> Result<Self, Vec<Problem>> {
        let defaults = [Path::new(DEFAULT_CA_PATH), Path::new(DEFAULT_HASH_PATH)];
        Self::with_defaults(trust_domain, text, defaults)
    }

    fn with_defaults(
        trust_domain: &str,
        text: &str,
        defaults: [&Path; 2],
    ) -> Result<Self, Vec<Problem>> {
        let (values, mut problems) = SCHEMA.read(text);
        let mut warnings = Vec::new();
        let paths = Paths::of(&values, defaults, &mut problems);
        let store = paths.open_anchors(&values, &mut problems, &mut warnings);
        let hashes = paths.open_hashes(&values, &mut problems, &mut warnings);
        let policy = Policy {
            trust_domain: trust_domain.to_owned(),
            ek_trust: ek_trust(&values, &paths, &mut problems),
            ek_kinds: ek_kinds(&values, &mut problems),
            accept_expired_ek: values
                .flag("accept_expired_ek")
                .is_some_and(|flag| flag.value),
            legacy_agents: match values.choice("legacy_agents").map(|choice| choice.value) {
                Some("deny") => LegacyAgents::Deny,
                _ => LegacyAgents::Allow,
            },
            pcrs: pcrs(&values, &mut problems),
        };
        let settings = Self {
            policy,
            hashes,
            challenge_timeout: duration(&values, "challenge_timeout", 30, &mut problems),
            attestation_timeout: duration(&values, "attestation_timeout", 60, &mut problems),
            max_streams: count(&values, "max_streams", 4096),
            max_streams_per_client: count(&values, "max_streams_per_client", 16),
            store,
            no_anchors: Arc::new(Anchors::default()),
            reload_interval: duration(&values, "reload_interval", 5, &mut problems),
            warnings,
        };
        problems.sort();
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(problems)
        }
    }

    pub(crate) fn anchors(&self) -> Arc<Anchors> {
        match &self.store {
            Some(store) => store.current(),
            None => Arc::clone(&self.no_anchors),
        }
    }

    /// Says what is in force.
    pub(crate) fn announce(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        tracing::info!(
            anchors = self.anchors().len(),
            allow_list = self.hashes.is_some(),
            ek_trust = ?self.policy.ek_trust,
            legacy_agents = ?self.policy.legacy_agents,
            "configured"
        );
    }

    /// Takes over changed files until the settings are replaced.
    pub(crate) fn follow_files(settings: &Arc<Self>, metrics: Metrics) {
        if settings.store.is_none() {
            return;
        }
        let settings = Arc::downgrade(settings);
        tokio::spawn(async move {
            while let Some(interval) = settings.upgrade().map(|settings| settings.reload_interval) {
                tokio::time::sleep(interval).await;
                let settings = Weak::clone(&settings);
                let refresh = move || settings.upgrade().map(|settings| settings.refresh());
                let outcome = tokio::task::spawn_blocking(refresh).await;
                if let Ok(Some(Some(status))) = outcome {
                    let key = ["node_attestor", "tpm", "anchors_reload"];
                    metrics.increment(&key, 1.0, &[("status", status)]);
                }
            }
        });
    }

    /// The outcome of a look at the files, if there is something to tell.
    fn refresh(&self) -> Option<&'static str> {
        match self.store.as_ref()?.refresh() {
            Ok(Refresh::Unchanged) => None,
            Ok(Refresh::Reloaded { anchors, skipped }) => {
                for warning in skipped.iter().map(skipped_warning) {
                    tracing::warn!("{warning}");
                }
                tracing::info!(anchors, "took over changed CA certificates");
                Some("ok")
            }
            Err(error) => {
                tracing::error!(%error, "cannot take over CA certificates, keeping the last good ones");
                Some("failed")
            }
        }
    }
}

struct Paths {
    ca: Option<PathBuf>,
    hash: Option<PathBuf>,
}

impl Paths {
    /// A path that is not configured is the default one if that exists, each by itself, as STP has
    /// it. One that cannot be looked at counts as there, and fails when it is opened.
    fn of(values: &Values, defaults: [&Path; 2], problems: &mut Vec<Problem>) -> Self {
        for key in ["ca_path", "intermediates_path", "hash_path"] {
            if values.text(key).is_some_and(|text| text.value.is_empty()) {
                problems.push(values.problem(key, format!("{key} is empty")));
            }
        }
        let path = |key, default: &Path| match values.text(key) {
            Some(text) => Some(PathBuf::from(text.value)),
            None if matches!(default.try_exists(), Ok(false)) => None,
            None => Some(default.to_owned()),
        };
        let [ca, hash] = defaults;
        let paths = Self {
            ca: path("ca_path", ca),
            hash: path("hash_path", hash),
        };
        // Where something else is wrong, this may be only its consequence.
        if paths.ca.is_none() && paths.hash.is_none() && problems.is_empty() {
            let message =
                "ca_path or hash_path is required: without either no machine can be trusted";
            problems.push(values.problem("ca_path", message));
        }
        paths
    }

    fn open_anchors(
        &self,
        values: &Values,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<String>,
    ) -> Option<AnchorStore> {
        let intermediates = values
            .text("intermediates_path")
            .map(|text| Path::new(text.value));
        let Some(ca) = self.ca.as_deref() else {
            if intermediates.is_some() {
                problems
                    .push(values.problem("intermediates_path", "intermediates_path needs ca_path"));
            }
            return None;
        };
        match AnchorStore::open(ca, intermediates) {
            Ok((store, skipped)) => {
                warnings.extend(skipped.iter().map(skipped_warning));
                if store.current().is_empty() {
                    warnings.push(format!("{} holds no certificate yet", ca.display()));
                }
                Some(store)
            }
            Err(error) => {
                problems
                    .push(values.problem("ca_path", format!("unable to load ca_path: {error}")));
                None
            }
        }
    }

    fn open_hashes(
        &self,
        values: &Values,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<String>,
    ) -> Option<HashDirectory> {
        match HashDirectory::open(self.hash.as_deref()?) {
            Ok((hashes, odd)) => {
                let warning = |name| format!("hash_path: {} is no EK's hash", hcl::shown(name));
                warnings.extend(odd.iter().map(String::as_str).map(warning));
                Some(hashes)
            }
            Err(error) => {
                problems.push(
                    values.problem("hash_path", format!("unable to read hash_path: {error}")),
                );
                None
            }
        }
    }
}

fn ek_trust(values: &Values, paths: &Paths, problems: &mut Vec<Problem>) -> EkTrust {
    let both = values
        .choice("ek_trust")
        .is_some_and(|choice| choice.value == "both");
    match (&paths.ca, &paths.hash) {
        (Some(_), Some(_)) if both => EkTrust::Both,
        (Some(_), Some(_)) => EkTrust::Either,
        (_, hash) => {
            if both {
                let message = "ek_trust = \"both\" needs ca_path and hash_path";
                problems.push(values.problem("ek_trust", message));
            }
            if hash.is_some() {
                EkTrust::Enrolment
            } else {
                EkTrust::Certificate
            }
        }
    }
}

fn ek_kinds(values: &Values, problems: &mut Vec<Problem>) -> Vec<EkKind> {
    let Some(names) = values.texts("ek_profiles") else {
        return EkKind::ALL.to_vec();
    };
    if names.is_empty() {
        problems.push(values.problem("ek_profiles", "ek_profiles must not be empty"));
    }
    let mut kinds = Vec::new();
    for name in names {
        let known = EkKind::ALL
            .into_iter()
            .find(|kind| kind.name() == name.value);
        if known.is_none() {
            let names: Vec<_> = EkKind::ALL.iter().map(|kind| kind.name()).collect();
            let shown = hcl::shown(&name.value);
            let message = format!("unknown EK profile {shown}; one of {}", names.join(", "));
            problems.push(Problem::new(name.position, message));
        }
        kinds.extend(known);
    }
    kinds
}

fn pcrs(values: &Values, problems: &mut Vec<Problem>) -> Vec<(Hash, Vec<u8>)> {
    let bank = values
        .choice("pcr_bank")
        .and_then(|choice| Hash::from_name(choice.value));
    let mut pcrs: Vec<u8> = match values.integers("pcrs") {
        None => (0..8).collect(),
        Some(pcrs) => pcrs
            .iter()
            .filter_map(|pcr| u8::try_from(pcr.value).ok())
            .collect(),
    };
    pcrs.sort_unstable();
    pcrs.dedup();
    if pcrs.is_empty() {
        problems.push(values.problem("pcrs", "pcrs must not be empty"));
    }
    vec![(bank.unwrap_or(Hash::Sha256), pcrs)]
}

fn duration(values: &Values, key: &str, default: u64, problems: &mut Vec<Problem>) -> Duration {
    let Some(duration) = values.duration(key) else {
        return Duration::from_secs(default);
    };
    if !(MIN_DURATION..=MAX_DURATION).contains(&duration.value) {
        problems.push(values.problem(key, format!("{key} must be between 100ms and 10m")));
    }
    duration.value
}

fn count(values: &Values, key: &str, default: usize) -> usize {
    let configured = values
        .integer(key)
        .and_then(|integer| usize::try_from(integer.value).ok());
    configured.unwrap_or(default)
}

fn skipped_warning(skipped: &Skipped) -> String {
    format!(
        "skipped {}: {}",
        hcl::shown(&skipped.file.to_string_lossy()),
        skipped.why
    )
}

const DEFAULT_CA_PATH: &str = "/opt/spire/.data/certs";
const DEFAULT_HASH_PATH: &str = "/opt/spire/.data/hashes";
const MIN_DURATION: Duration = Duration::from_millis(100);
const MAX_DURATION: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

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
                "1:11: ",
                "unable to load ca_path",
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
        assert_eq!(settings.refresh(), None, "nothing changed");
        fs::write(ca.join("README.too"), "").unwrap();
        assert_eq!(settings.refresh(), Some("ok"));
        fs::remove_dir_all(&ca).unwrap();
        assert_eq!(settings.refresh(), Some("failed"));
    }
}
