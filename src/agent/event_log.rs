//! The boot event log of this machine, as the firmware wrote it and the kernel shows it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use evidence::{Hash, limits};

use crate::failure::Failure;

/// A file that may hold the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventLog {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Whether an operator has named it, and means it to be there.
    is_named: bool,
}

/// What an offer says of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Nothing: it cannot be read.
    Nothing,
    /// That there is one, with this SHA-256.
    Log([u8; 32]),
    /// That there is one. It cannot be sent: who asks for it is told.
    TooLong,
}

/// Why there is no log to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLog {
    /// The operating system does not give it.
    #[error("{0}")]
    Unreadable(io::Error),
    /// A directory, a device, a pipe.
    #[error("it is no regular file")]
    Irregular,
    /// There are no events in it.
    #[error("it is empty")]
    Empty,
    /// It does not fit the response.
    #[error("it is longer than {} bytes, the most that can be sent", limits::LOG)]
    TooLong,
}

impl EventLog {
    /// The file that an operator has named.
    pub(crate) fn named(path: PathBuf) -> Self {
        Self {
            path,
            is_named: true,
        }
    }

    /// Where Linux shows the log that goes with a device it knows by `tpm` or `tpmrm` and a number.
    /// The firmware has not measured anything into a TPM behind a socket.
    pub(crate) fn of_device(device: &str) -> Option<Self> {
        let device = device.strip_prefix("tss:").unwrap_or(device);
        let device = device.strip_prefix("device:").unwrap_or(device);
        let name = device.strip_prefix("/dev/tpm")?;
        let number: u16 = name.strip_prefix("rm").unwrap_or(name).parse().ok()?;
        Some(Self {
            path: format!("/sys/kernel/security/tpm{number}/binary_bios_measurements").into(),
            is_named: false,
        })
    }

    /// What goes into the offer. Fails where it cannot be read and should.
    pub(crate) fn offered(&self) -> Result<Offered, NoLog> {
        match self.read() {
            Ok(log) => Ok(Offered::Log(sha256(&log))),
            Err(NoLog::TooLong) => Ok(Offered::TooLong),
            Err(error) if self.is_named => Err(error),
            Err(_kept_back) => Ok(Offered::Nothing),
        }
    }

    /// The whole log, at most [`limits::LOG`] bytes.
    pub(crate) fn read(&self) -> Result<Vec<u8>, NoLog> {
        let bytes = self.read_at_most(limits::LOG + 1)?;
        if bytes.len() > limits::LOG {
            return Err(NoLog::TooLong);
        }
        Ok(bytes)
    }

    /// Says what will not be offered, and what to do about it.
    pub(crate) fn announce(&self) {
        let path = self.path.display();
        match self.read_at_most(1) {
            Ok(_first) => tracing::debug!(%path, "the boot event log can be read"),
            // Refused where it was configured.
            Err(_refused) if self.is_named => {}
            Err(error) if error.is_absence() => {
                tracing::info!(%path, "this machine shows no boot event log: none is offered");
            }
            Err(error) => {
                let hint = error.remedy();
                tracing::warn!(%path, %error, hint, "the boot event log cannot be read: none is offered");
            }
        }
    }

    /// What comes of it in an attestation.
    pub(crate) fn failure(&self, error: NoLog) -> Failure {
        Failure::EventLog {
            path: self.path.clone(),
            error,
        }
    }

    /// The first bytes. The kernel gives the size of its file as zero, and opening a pipe would wait.
    fn read_at_most(&self, limit: usize) -> Result<Vec<u8>, NoLog> {
        if !fs::metadata(&self.path)?.is_file() {
            return Err(NoLog::Irregular);
        }
        let end = u64::try_from(limit).unwrap_or(u64::MAX);
        // All the room at once: growing would take up to twice as much.
        let mut bytes = Vec::with_capacity(limit);
        File::open(&self.path)?.take(end).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Err(NoLog::Empty);
        }
        bytes.shrink_to_fit();
        Ok(bytes)
    }
}

impl NoLog {
    /// What an operator can do about it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "run SPIRE Agent as root, or give its user read access to the file"
            }
            Self::Unreadable(_) => {
                "is securityfs mounted and does the firmware hand over a log? event_log_path names another file"
            }
            Self::Irregular => "name the file that holds the log in event_log_path",
            Self::Empty => "the firmware handed over no events: look for an update of it",
            Self::TooLong => {
                "look for an update of the firmware, or let the server's policy ask for no log"
            }
        }
    }

    fn is_absence(&self) -> bool {
        matches!(self, Self::Unreadable(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<io::Error> for NoLog {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

fn sha256(log: &[u8]) -> [u8; 32] {
    Hash::Sha256.digest(&[log]).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::tests_log::logged;

    /// A file with this content, as the kernel's and as one that an operator named.
    fn logs(directory: &TempDir, content: &[u8]) -> [EventLog; 2] {
        let path = directory.path().join("log");
        fs::write(&path, content).unwrap();
        both(&path)
    }

    fn both(path: &Path) -> [EventLog; 2] {
        let named = EventLog::named(path.to_owned());
        let kernels = EventLog {
            is_named: false,
            ..named.clone()
        };
        [kernels, named]
    }

    #[test]
    fn a_log_is_read_whole_up_to_its_limit() {
        let directory = TempDir::new().unwrap();
        for size in [1, 100_000, limits::LOG] {
            let content: Vec<u8> = (0..=250).cycle().take(size).collect();
            for log in logs(&directory, &content) {
                let digest = Offered::Log(sha256(&content));
                assert_eq!(log.offered().unwrap(), digest, "{size}");
                assert_eq!(log.read().unwrap(), content, "{size}");
            }
        }
        for size in [limits::LOG + 1, 2 * limits::LOG] {
            for log in logs(&directory, &vec![1; size]) {
                let offered = log.offered().unwrap();
                assert_eq!(offered, Offered::TooLong, "the answer will tell");
                let error = log.read().unwrap_err();
                assert!(matches!(error, NoLog::TooLong), "{size}: {error}");
                assert!(error.to_string().contains("720896 bytes"), "{error}");
            }
        }
    }

    #[test]
    fn no_more_is_read_than_can_be_judged() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("endless");
        // A terabyte of which nothing is on the disk.
        let endless = File::create(&path).unwrap();
        endless.set_len(1 << 40).unwrap();
        for log in both(&path) {
            assert_eq!(
                log.read_at_most(limits::LOG + 1).unwrap().len(),
                limits::LOG + 1
            );
            assert!(matches!(log.read(), Err(NoLog::TooLong)));
        }
    }

    #[test]
    fn files_of_the_kernel_have_no_size_and_are_read_all_the_same() {
        let [log, _] = both(Path::new("/proc/self/status"));
        assert_eq!(fs::metadata(&log.path).unwrap().len(), 0);
        assert!(matches!(log.offered().unwrap(), Offered::Log(_)));
        assert!(log.read().unwrap().starts_with(b"Name:"));
    }

    #[test]
    fn what_is_no_log_is_not_offered_and_an_error_where_it_was_named() {
        let directory = TempDir::new().unwrap();
        let empty = directory.path().join("empty");
        fs::write(&empty, "").unwrap();
        let absent = directory.path().join("absent");
        let below = empty.join("log");
        for (path, is_absence, text, remedy) in [
            (absent.as_path(), true, "No such file", "securityfs"),
            (&below, false, "Not a directory", "securityfs"),
            (directory.path(), false, "no regular file", "event_log_path"),
            (
                Path::new("/dev/zero"),
                false,
                "no regular file",
                "event_log_path",
            ),
            (&empty, false, "empty", "firmware"),
        ] {
            let [kernels, named] = both(path);
            assert_eq!(
                kernels.offered().unwrap(),
                Offered::Nothing,
                "{}",
                path.display()
            );
            kernels.read().unwrap_err();
            for error in [named.offered().unwrap_err(), named.read().unwrap_err()] {
                assert_eq!(error.is_absence(), is_absence, "{error}");
                assert!(error.to_string().contains(text), "{error}");
                assert!(error.remedy().contains(remedy), "{error}");
            }
        }
        let denied = NoLog::from(io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(!denied.is_absence() && denied.remedy().contains("as root"));
    }

    #[test]
    fn what_is_not_offered_is_said_with_the_remedy_where_there_is_a_fault() {
        let directory = TempDir::new().unwrap();
        let [present, _] = logs(&directory, b"events");
        let absent = directory.path().join("absent");
        let [kernels, named] = both(&absent);
        let [fault, named_fault] = both(directory.path());
        for (log, expect) in [
            (present, &["DEBUG", "can be read"][..]),
            (kernels, &["INFO", "none is offered", "/absent"]),
            (
                fault,
                &[
                    "WARN",
                    "none is offered",
                    "error=it is no regular file",
                    "hint=\"name the file",
                ],
            ),
            (named, &[]),
            (named_fault, &[]),
        ] {
            let lines = logged(|| log.announce());
            assert_eq!(lines.len(), usize::from(!expect.is_empty()), "{lines:?}");
            for part in expect {
                assert!(lines[0].contains(part), "{part} in {lines:?}");
            }
        }
    }

    #[test]
    fn a_log_belongs_to_a_device_of_the_kernel() {
        for (device, number) in [
            ("/dev/tpmrm0", Some(0)),
            ("/dev/tpm0", Some(0)),
            ("device:/dev/tpmrm12", Some(12)),
            ("tss:device:/dev/tpm1", Some(1)),
            ("/dev/tpm", None),
            ("/dev/tpmrm", None),
            ("/dev/tpm0/../../x", None),
            ("/dev/mapper/tpm0", None),
            ("unix:/dev/tpmrm0", None),
            ("tcp:127.0.0.1:2321", None),
            ("tss:swtpm:host=127.0.0.1", None),
        ] {
            let path = number
                .map(|number| format!("/sys/kernel/security/tpm{number}/binary_bios_measurements"));
            let log = EventLog::of_device(device);
            let found = log.as_ref().map(|log| log.path.to_str().unwrap());
            assert_eq!(found, path.as_deref(), "{device}");
            assert!(log.is_none_or(|log| !log.is_named), "{device}");
        }
    }
}
