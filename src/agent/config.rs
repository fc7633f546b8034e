//! The attestor's configuration: none is needed on a machine with /dev/tpmrm0 and an EK certificate.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::AkTemplate;
use hcl::{Problem, Values};
use plugin::Purpose;
use tpm::{Address, Auth, BadAddress, EkChoice};

use crate::event_log::EventLog;
pub use crate::schema::{KEY_MANAGER_SCHEMA, SCHEMA};

/// The settings of the attestor.
#[derive(Debug)]
pub struct Settings {
    pub(crate) trust_domain: String,
    pub(crate) legacy_servers: LegacyServers,
    pub(crate) tpm_timeout: Duration,
    pub(crate) event_log: Option<EventLog>,
    /// The directory of the keys that are offered.
    pub(crate) keys_path: Option<PathBuf>,
    pub(crate) tpm: TpmSettings,
}

/// What decides which TPM is opened and which keys it makes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TpmSettings {
    pub(crate) device: String,
    pub(crate) ek: EkChoice,
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) ak: AkTemplate,
    pub(crate) endorsement_auth: Auth,
    pub(crate) owner_auth: Auth,
}

/// What becomes of servers that do not speak our extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LegacyServers {
    Allow,
    UntilSeen,
    Deny,
}

impl Settings {
    /// Builds settings from the text that SPIRE passes on, or lists everything wrong with it.
    /// Validate reads no file.
    pub fn build(trust_domain: &str, text: &str, purpose: Purpose) -> Result<Self, Vec<Problem>> {
        let (values, mut problems) = SCHEMA.read(text);
        let device = device(&values, &mut problems);
        let mut files = Files {
            values: &values,
            purpose,
            problems: &mut problems,
        };
        let certificate = files.bytes("ek_cert_path", MAX_CERTIFICATE);
        let endorsement_auth = files.auth("endorsement_auth_path");
        let owner_auth = files.auth("owner_auth_path");
        let event_log = files.event_log(&device);
        let keys_path = files.path("keys_path");
        let choice = |key, default| values.choice(key).map_or(default, |choice| choice.value);
        let settings = Self {
            trust_domain: trust_domain.to_owned(),
            legacy_servers: match choice("legacy_servers", "allow") {
                "until_seen" => LegacyServers::UntilSeen,
                "deny" => LegacyServers::Deny,
                _ => LegacyServers::Allow,
            },
            tpm_timeout: tpm_timeout(&values, &mut problems),
            event_log,
            keys_path,
            tpm: TpmSettings {
                device,
                ek: EkChoice::from_name(choice("ek", "auto")).unwrap_or_default(),
                certificate,
                ak: if choice("ak", "ecc") == "rsa" {
                    AkTemplate::Rsa2048
                } else {
                    AkTemplate::EccP256
                },
                endorsement_auth,
                owner_auth,
            },
        };
        problems.sort();
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(problems)
        }
    }
}

impl std::fmt::Debug for TpmSettings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TpmSettings")
            .field("device", &self.device)
            .field("ek", &self.ek)
            .field("ak", &self.ak)
            .finish_non_exhaustive()
    }
}

/// The files that a configuration names.
pub(crate) struct Files<'a> {
    pub(crate) values: &'a Values,
    pub(crate) purpose: Purpose,
    pub(crate) problems: &'a mut Vec<Problem>,
}

impl Files<'_> {
    pub(crate) fn path(&mut self, key: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.values.text(key)?.value);
        if !path.is_absolute() {
            let message = format!("{key} must be an absolute path");
            self.problems.push(self.values.problem(key, message));
            return None;
        }
        Some(path)
    }

    fn bytes(&mut self, key: &str, limit: u64) -> Option<Vec<u8>> {
        let path = self.path(key)?;
        if self.purpose == Purpose::Validate {
            return None;
        }
        match read(&path, limit) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let message = format!("unable to read {key}: {error}");
                self.problems.push(self.values.problem(key, message));
                None
            }
        }
    }

    pub(crate) fn auth(&mut self, key: &str) -> Auth {
        let auth = Auth::of_file(self.bytes(key, MAX_AUTH).unwrap_or_default());
        if !auth.is_empty() && self.is_open_to_others(key) {
            let message = format!("the file of {key} is readable by everybody: chmod o-rwx");
            self.problems.push(self.values.problem(key, message));
        }
        auth
    }

    fn event_log(&mut self, device: &str) -> Option<EventLog> {
        let key = "event_log_path";
        if self.values.text(key).is_none() {
            return EventLog::of_device(device);
        }
        let log = EventLog::named(self.path(key)?);
        if self.purpose == Purpose::Configure
            && let Err(error) = log.read()
        {
            let message = format!("unable to read {key}: {error}; {}", error.remedy());
            self.problems.push(self.values.problem(key, message));
        }
        Some(log)
    }

    fn is_open_to_others(&self, key: &str) -> bool {
        let path = self.values.text(key).map(|text| Path::new(text.value));
        let metadata = path.and_then(|path| fs::metadata(path).ok());
        metadata.is_none_or(|metadata| metadata.permissions().mode() & 0o007 != 0)
    }
}

fn read(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    // Room for an authorisation, so that growing leaves no copy of one behind.
    let mut bytes = Vec::with_capacity(128);
    let read = fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > limit {
        return Err(std::io::Error::other(format!("longer than {limit} bytes")));
    }
    Ok(bytes)
}

pub(crate) fn device(values: &Values, problems: &mut Vec<Problem>) -> String {
    let Some(device) = values.text("device") else {
        return Address::DEFAULT.to_owned();
    };
    let checked = match device.value.strip_prefix("tss:") {
        Some(_tcti) if cfg!(feature = "tss") => Ok(()),
        Some(_tcti) => Err(BadAddress::NoTss),
        None => device.value.parse::<Address>().map(drop),
    };
    if let Err(error) = checked {
        problems.push(values.problem("device", format!("device is no TPM address: {error}")));
    }
    device.value.to_owned()
}

pub(crate) fn tpm_timeout(values: &Values, problems: &mut Vec<Problem>) -> Duration {
    let Some(timeout) = values.duration("tpm_timeout") else {
        return Duration::from_secs(25);
    };
    if !(Duration::from_millis(100)..=Duration::from_mins(10)).contains(&timeout.value) {
        problems.push(values.problem("tpm_timeout", "tpm_timeout must be between 100ms and 10m"));
    }
    timeout.value
}

/// Bytes of a certificate in PEM, with the chain some tools append.
const MAX_CERTIFICATE: u64 = 64 * 1024;
/// Bytes of an authorisation: the largest digest, and a newline.
const MAX_AUTH: u64 = 65;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn build(text: &str) -> Result<Settings, Vec<String>> {
        Settings::build("example.org", text, Purpose::Configure)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_need_be_configured() {
        let settings = build("").unwrap();
        assert_eq!(settings.tpm.device, "/dev/tpmrm0");
        assert_eq!(
            (settings.tpm.ek, settings.tpm.ak),
            (EkChoice::Auto, AkTemplate::EccP256)
        );
        assert_eq!(settings.legacy_servers, LegacyServers::Allow);
        assert_eq!(settings.tpm_timeout, Duration::from_secs(25));
        let kernels = "/sys/kernel/security/tpm0/binary_bios_measurements";
        assert_eq!(settings.event_log.unwrap().path, Path::new(kernels));
        assert!(settings.tpm.certificate.is_none() && settings.keys_path.is_none());
        assert!(settings.tpm.endorsement_auth.is_empty() && settings.tpm.owner_auth.is_empty());
    }

    #[test]
    fn every_key_takes_effect() {
        let dir = TempDir::new().unwrap();
        let file = |name: &str, contents: &str| {
            let path = dir.path().join(name);
            fs::write(&path, contents).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            dir.path().join(name).display().to_string()
        };
        let settings = build(&format!(
            "\"device\" = \"unix:/run/tpm\"\n\"ek\" = \"H-3\"\n\"ak\" = \"rsa\"\n\"legacy_servers\" = \"deny\"\n\
             \"tpm_timeout\" = \"5s\"\n\"ek_cert_path\" = \"{}\"\n\"endorsement_auth_path\" = \"{}\"\n\
             \"owner_auth_path\" = \"{}\"\n\"event_log_path\" = \"{}\"\n\"keys_path\" = \"/does/not/exist\"",
            file("ek.der", "certificate"),
            file("endorsement", "secret\n"),
            file("owner", "two\n\n"),
            file("log", "events"),
        ))
        .unwrap();
        assert_eq!(settings.tpm.device, "unix:/run/tpm");
        assert_eq!(settings.tpm.ek, EkChoice::from_name("H-3").unwrap());
        assert_eq!(settings.tpm.ak, AkTemplate::Rsa2048);
        assert_eq!(settings.legacy_servers, LegacyServers::Deny);
        assert_eq!(settings.tpm_timeout, Duration::from_secs(5));
        assert_eq!(
            settings.tpm.certificate.as_deref(),
            Some(&b"certificate"[..])
        );
        assert_eq!(settings.tpm.endorsement_auth.expose(), b"secret");
        assert_eq!(
            settings.tpm.owner_auth.expose(),
            b"two\n",
            "one newline is cut"
        );
        assert_eq!(settings.keys_path, Some("/does/not/exist".into()));
        let log = settings.event_log.as_ref().unwrap();
        assert_eq!(log.read().unwrap(), b"events");
        let shown = format!("{settings:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("115, 101"),
            "{shown}"
        );
    }

    #[test]
    fn every_problem_has_its_place_and_its_words() {
        for (text, place, part) in [
            ("device = \"tpm0\"", "1:10: ", "device is no TPM address"),
            (
                "device = \"tss:device:/dev/tpmrm0\"",
                "1:10: ",
                "no tss back end",
            ),
            ("ek = \"dsa\"", "1:6: ", "\"auto\""),
            ("ak = \"dsa\"", "1:6: ", "\"ecc\""),
            (
                "ek_cert_path = \"ek.pem\"",
                "1:16: ",
                "must be an absolute path",
            ),
            (
                "ek_cert_path = \"/does/not/exist\"",
                "1:16: ",
                "unable to read ek_cert_path",
            ),
            (
                "endorsement_auth_path = \"/does/not/exist\"",
                "1:25: ",
                "unable to read",
            ),
            (
                "owner_auth_path = \"/dev/zero\"",
                "1:19: ",
                "longer than 65 bytes",
            ),
            (
                "event_log_path = \"log\"",
                "1:18: ",
                "event_log_path must be an absolute path",
            ),
            (
                "event_log_path = \"/does/not/exist\"",
                "1:18: ",
                "unable to read event_log_path: No such file",
            ),
            (
                "ak = \"rsa\"\n  event_log_path = \"/dev/zero\"",
                "2:20: ",
                "unable to read event_log_path: it is no regular file; name ",
            ),
            (
                "keys_path = \"keys\"",
                "1:13: ",
                "keys_path must be an absolute path",
            ),
            ("tpm_timeout = \"1ms\"", "1:15: ", "between 100ms and 10m"),
            ("tpm_path = \"/dev/tpm0\"", "1:1: ", "`device`"),
            ("devise = \"/dev/tpm0\"", "1:1: ", "did you mean \"device\""),
        ] {
            if cfg!(feature = "tss") && text.contains("tss:") {
                continue;
            }
            let problems = build(text).unwrap_err();
            let found = problems
                .iter()
                .any(|problem| problem.starts_with(place) && problem.contains(part));
            assert!(found, "{text}: {problems:?}");
        }
    }

    #[test]
    fn an_authorisation_is_not_for_everybody() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("auth");
        fs::write(&path, "secret").unwrap();
        for (mode, expect) in [(0o600, true), (0o440, true), (0o604, false), (0o642, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            for key in ["endorsement_auth_path", "owner_auth_path"] {
                let built = build(&format!("{key} = \"{}\"", path.display()));
                assert_eq!(built.is_ok(), expect, "{key} {mode:o}: {built:?}");
            }
        }
    }

    #[test]
    fn validate_reads_no_file() {
        for key in ["ek_cert_path", "endorsement_auth_path", "event_log_path"] {
            let text = format!("{key} = \"/does/not/exist\"");
            assert!(Settings::build("example.org", &text, Purpose::Validate).is_ok());
            let relative = format!("{key} = \"file\"");
            assert!(Settings::build("example.org", &relative, Purpose::Validate).is_err());
        }
    }
}
