//! The store as the settings of both plugins open it, or do not.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use hcl::Problem;
use plugin::Purpose;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use verify::SvidKeys;

use crate::composer_config;
use crate::config::Settings;

/// Runs as the plugins do: on one thread, which the threads for blocking work wait for.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

/// A directory with an allow-list, and a place for a store.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("hashes")).unwrap();
        Self(directory)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    /// The attestor's settings; `STORE` in the text is the store.
    pub(crate) async fn attestor(
        &self,
        text: &str,
        purpose: Purpose,
    ) -> Result<Settings, Vec<Problem>> {
        let (text, hashes) = (self.fill(text), self.0.path().join("hashes"));
        let build = move || {
            let defaults = [Path::new("/does/not/exist"), hashes.as_path()];
            Settings::with_defaults("example.org", &text, purpose, defaults)
        };
        spawn_blocking(build).await.unwrap()
    }

    /// The composer's settings.
    pub(crate) async fn composer(
        &self,
        text: &str,
        purpose: Purpose,
    ) -> Result<composer_config::Settings, Vec<Problem>> {
        let text = self.fill(text);
        let build = move || composer_config::Settings::build("example.org", &text, purpose);
        spawn_blocking(build).await.unwrap()
    }

    /// Makes the store unreadable while it is open: the file, its log, and the index of that, which makes all who have the
    /// file open look at it again (sqlite.org/walformat.html).
    pub(crate) fn damage(&self) {
        for end in ["", "-wal", "-shm"] {
            let path = format!("{}{end}", self.store().display());
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(&[0xa5; 136], 0).unwrap();
        }
    }

    /// What SQLite's own tool says to this.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let mut tool = Command::new("sqlite3");
        let said = tool.arg(self.store()).arg(sql).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    fn fill(&self, text: &str) -> String {
        text.replace("STORE", &format!("\"{}\"", self.store().display()))
    }
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_store_is_opened_when_it_is_to_be_used_and_not_when_it_is_validated() {
    run(async {
        let place = Place::new();
        for purpose in [Purpose::Validate, Purpose::Configure] {
            let is_used = purpose == Purpose::Configure;
            let settings = place.attestor("", purpose).await.unwrap();
            assert!(settings.keeping.is_none(), "no store is configured");
            let text = "store = STORE\nsvid_keys = \"require\"";
            let settings = place.attestor(text, purpose).await.unwrap();
            assert_eq!(settings.policy.svid_keys, SvidKeys::Require);
            assert_eq!(settings.keeping.is_some(), is_used);
            let settings = place.composer("store = STORE", purpose).await.unwrap();
            assert!(settings.enforces);
            assert_eq!(settings.keeping.is_some(), is_used);
            assert_eq!(place.store().exists(), is_used);
        }
        let json = "{\"store\": STORE, \"svid_keys\": \"observe\"}";
        let settings = place.composer(json, Purpose::Configure).await.unwrap();
        assert!(!settings.enforces);
    });
}

#[test]
fn nothing_is_opened_for_settings_that_are_refused() {
    run(async {
        let place = Place::new();
        let text = "store = STORE\npcrs = []";
        let problems = place.attestor(text, Purpose::Configure).await.unwrap_err();
        assert_eq!(told(&problems), ["2:8: pcrs must not be empty"]);
        let text = "store = STORE\nsvid_key = 1";
        let problems = place.composer(text, Purpose::Configure).await.unwrap_err();
        assert!(
            told(&problems)[0].starts_with("2:1: unknown key"),
            "{problems:?}"
        );
        assert!(!place.store().exists());
    });
}

#[test]
fn a_store_that_cannot_be_opened_is_told_at_its_place() {
    run(async {
        let place = Place::new();
        fs::write(place.store(), [0xa5; 4096]).unwrap();
        let expect = "2:9: unable to open store: ";
        let problems = place.attestor("\nstore = STORE", Purpose::Configure).await;
        let problems = told(&problems.unwrap_err());
        assert!(
            problems.len() == 1 && problems[0].starts_with(expect),
            "{problems:?}"
        );
        let problems = place.composer("\nstore = STORE", Purpose::Configure).await;
        let problems = told(&problems.unwrap_err());
        assert!(
            problems.len() == 1 && problems[0].starts_with(expect),
            "{problems:?}"
        );
    });
}

#[test]
fn a_password_is_neither_read_in_vain_nor_told() {
    run(async {
        let place = Place::new();
        let absent =
            "store = \"postgres://user:${TPM_ATTESTOR_NO_SUCH_VARIABLE}@127.0.0.1:1/name\"";
        assert!(place.attestor(absent, Purpose::Validate).await.is_ok());
        assert!(place.composer(absent, Purpose::Validate).await.is_ok());
        let port = "store = \"postgres://user@127.0.0.1:${TPM_ATTESTOR_NO_SUCH_VARIABLE}/name\"";
        assert!(place.attestor(port, Purpose::Validate).await.is_ok());
        for (text, expect) in [
            (absent, "TPM_ATTESTOR_NO_SUCH_VARIABLE"),
            // Nobody listens there.
            (
                "store = \"postgres://user:hunter2@127.0.0.1:1/name\"",
                "unable to open store",
            ),
        ] {
            let attestor = place.attestor(text, Purpose::Configure).await.unwrap_err();
            let composer = place.composer(text, Purpose::Configure).await.unwrap_err();
            for problems in [told(&attestor), told(&composer)] {
                let problem = &problems[0];
                let is_at_its_place = problem.starts_with("1:9: ") && problem.contains(expect);
                assert!(problems.len() == 1 && is_at_its_place, "{problems:?}");
                assert!(!problem.contains("hunter2"), "{problem}");
            }
        }
    });
}

#[test]
fn the_composer_needs_a_store() {
    run(async {
        let place = Place::new();
        for purpose in [Purpose::Validate, Purpose::Configure] {
            for (text, expect) in [
                (
                    "",
                    "1:1: store is required: the one that the attestor names",
                ),
                (
                    "store = \"store.db\"",
                    "1:9: store is neither an absolute path",
                ),
                (
                    "stor = STORE",
                    "1:1: unknown key \"stor\"; did you mean \"store\"",
                ),
                ("store = STORE\nsvid_keys = \"enforce\"", "2:13: "),
                (
                    "store = STORE\nca_path = \"/x\"",
                    "2:1: unknown key \"ca_path\"",
                ),
            ] {
                let problems = told(&place.composer(text, purpose).await.unwrap_err());
                assert!(
                    problems.len() == 1 && problems[0].starts_with(expect),
                    "{problems:?}"
                );
            }
        }
    });
}
