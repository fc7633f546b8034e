//! The KeyManager's configuration: where its keys are, and what becomes of them after a reboot.

use std::path::PathBuf;
use std::time::Duration;

use plugin::{Problem, Purpose};
use tpm::Auth;

use crate::config::{Files, KEY_MANAGER_SCHEMA, device, tpm_timeout};

/// The settings of the KeyManager.
#[derive(Debug)]
pub struct KeySettings {
    pub(crate) keys_path: PathBuf,
    pub(crate) after_reboot: AfterReboot,
    pub(crate) tpm_timeout: Duration,
    pub(crate) tpm: RingSettings,
}

/// What decides which TPM is opened and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RingSettings {
    pub(crate) device: String,
    pub(crate) owner_auth: Auth,
}

/// What becomes of keys that were made before the TPM was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterReboot {
    /// They are not there, so that the agent attests.
    Reattest,
    /// They stay in use.
    Keep,
}

impl KeySettings {
    /// Builds settings from the text that SPIRE passes on, or lists everything wrong with it.
    /// Validate touches neither files nor the directory.
    pub fn build(text: &str, purpose: Purpose) -> Result<Self, Vec<Problem>> {
        let (values, mut problems) = KEY_MANAGER_SCHEMA.read(text);
        if values.text("keys_path").is_none() && problems.is_empty() {
            let message = "keys_path is required: the attestor's block names the same directory";
            problems.push(values.problem("keys_path", message));
        }
        let device = device(&values, &mut problems);
        let mut files = Files {
            values: &values,
            purpose,
            problems: &mut problems,
        };
        let keys_path = files.path("keys_path");
        let owner_auth = files.auth("owner_auth_path");
        let after_reboot = match values.choice("after_reboot").map(|choice| choice.value) {
            Some("keep") => AfterReboot::Keep,
            _ => AfterReboot::Reattest,
        };
        let tpm_timeout = tpm_timeout(&values, &mut problems);
        problems.sort();
        match keys_path {
            Some(keys_path) if problems.is_empty() => Ok(Self {
                keys_path,
                after_reboot,
                tpm_timeout,
                tpm: RingSettings { device, owner_auth },
            }),
            _ => Err(problems),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    fn build(text: &str) -> Result<KeySettings, Vec<String>> {
        KeySettings::build(text, Purpose::Configure)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_directory_is_enough() {
        let settings = build("keys_path = \"/does/not/exist\"").unwrap();
        assert_eq!(settings.keys_path, PathBuf::from("/does/not/exist"));
        assert_eq!(settings.after_reboot, AfterReboot::Reattest);
        assert_eq!(settings.tpm_timeout, Duration::from_secs(25));
        assert_eq!(settings.tpm.device, "/dev/tpmrm0");
        assert!(settings.tpm.owner_auth.is_empty());
    }

    #[test]
    fn every_key_takes_effect() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("owner");
        fs::write(&path, "secret\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "\"keys_path\" = \"/keys\"\n\"device\" = \"unix:/run/tpm\"\n\"after_reboot\" = \"keep\"\n\
             \"tpm_timeout\" = \"5s\"\n\"owner_auth_path\" = \"{}\"",
            path.display()
        );
        let settings = build(&text).unwrap();
        assert_eq!(settings.keys_path, PathBuf::from("/keys"));
        assert_eq!(settings.after_reboot, AfterReboot::Keep);
        assert_eq!(settings.tpm_timeout, Duration::from_secs(5));
        assert_eq!(settings.tpm.device, "unix:/run/tpm");
        assert_eq!(settings.tpm.owner_auth.expose(), b"secret");
        let shown = format!("{settings:?}");
        assert!(!shown.contains("secret"), "{shown}");
        let explicit = build("keys_path = \"/keys\"\nafter_reboot = \"reattest\"").unwrap();
        assert_eq!(explicit.after_reboot, AfterReboot::Reattest);
    }

    #[test]
    fn every_problem_has_its_place_and_its_words() {
        for (text, expect) in [
            ("", "1:1: keys_path is required"),
            (
                "keys_path = \"keys\"",
                "1:13: keys_path must be an absolute path",
            ),
            ("keys_path = 7", "1:13: "),
            (
                "keys_path = \"/keys\"\ndevice = \"tpm0\"",
                "2:10: device is no TPM address",
            ),
            (
                "keys_path = \"/keys\"\nafter_reboot = \"forget\"",
                "2:16: \"after_reboot\" must be one of \"reattest\", \"keep\"",
            ),
            (
                "keys_path = \"/keys\"\ntpm_timeout = \"1ms\"",
                "2:15: tpm_timeout must be between 100ms and 10m",
            ),
            (
                "keys_path = \"/keys\"\nowner_auth_path = \"/does/not/exist\"",
                "2:19: unable to read owner_auth_path",
            ),
            (
                "directory = \"/keys\"",
                "1:1: unknown key \"directory\"; write `keys_path`",
            ),
            (
                "keys_path = \"/keys\"\nak = \"ecc\"",
                "2:1: unknown key \"ak\"",
            ),
        ] {
            let problems = build(text).unwrap_err();
            assert!(problems[0].starts_with(expect), "{text}: {problems:?}");
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        }
    }

    #[test]
    fn validate_reads_no_file() {
        let text = "keys_path = \"/does/not/exist\"\nowner_auth_path = \"/does/not/exist\"";
        assert!(KeySettings::build(text, Purpose::Validate).is_ok());
        assert!(KeySettings::build("", Purpose::Validate).is_err());
    }
}
