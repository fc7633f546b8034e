//! What SPIRE Agent logs when an attestation fails on this side.

use std::path::PathBuf;

use evidence::Malformed;
use plugin::{Code, Status};

use crate::event_log::NoLog;

/// Why this agent could not answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The TPM failed.
    Tpm(tpm::Error),
    /// The challenge is none.
    MalformedChallenge(Malformed),
    /// The server chose a version that this agent does not speak.
    UnsupportedVersion,
    /// The server asks as the first generation does, and that is not allowed here.
    LegacyServer,
    /// The server asks for the boot event log, and this agent has not offered it.
    LogNotOffered,
    /// The boot event log cannot be read.
    EventLog {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        error: NoLog,
    },
    /// The thread that owns the TPM is gone.
    NoWorker,
}

impl From<tpm::Error> for Failure {
    fn from(error: tpm::Error) -> Self {
        Self::Tpm(error)
    }
}

impl From<Failure> for Status {
    /// SPIRE Agent tries again after anything but PERMISSION_DENIED, and a failure of this machine
    /// may pass.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Tpm(error) => {
                let hint = error
                    .hint()
                    .map(|hint| format!("; {hint}"))
                    .unwrap_or_default();
                let code = match error {
                    tpm::Error::Deadline { .. } => Code::DeadlineExceeded,
                    tpm::Error::Open { .. } => Code::FailedPrecondition,
                    _ => Code::Internal,
                };
                Self::new(code, format!("tpm_failed: {error}{hint}"))
            }
            Failure::MalformedChallenge(malformed) => Self::invalid_argument(format!(
                "malformed_challenge: the server's challenge {malformed}"
            )),
            Failure::UnsupportedVersion => Self::invalid_argument(
                "unsupported_version: the server chose a protocol version that this agent does not speak",
            ),
            Failure::LegacyServer => Self::failed_precondition(
                "legacy_server: the server asks without a quote, and legacy_servers forbids the answer",
            ),
            Failure::LogNotOffered => Self::invalid_argument(
                "log_not_offered: the server asks for a boot event log that this agent did not offer",
            ),
            Failure::EventLog { path, error } => Self::failed_precondition(format!(
                "event_log_failed: unable to read {}: {error}; {}",
                path.to_string_lossy().escape_debug(),
                error.remedy()
            )),
            Failure::NoWorker => {
                Self::internal("tpm_failed: the TPM thread has ended; restart the agent")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_on_one_line() {
        let failure = Failure::EventLog {
            path: "/boot/\n[ERROR] \u{1b}[31m\u{202e}".into(),
            error: NoLog::Empty,
        };
        let status = Status::from(failure);
        assert_eq!(
            status.message(),
            "event_log_failed: unable to read /boot/\\n[ERROR] \\u{1b}[31m\\u{202e}: it is empty; \
             the firmware handed over no events: look for an update of it"
        );
    }
}
