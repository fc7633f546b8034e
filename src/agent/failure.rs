//! What SPIRE Agent logs when an attestation, or the work of a key, fails on this side.

use std::path::PathBuf;

use evidence::Malformed;
use plugin::{Code, Status};

use crate::event_log::NoLog;
use crate::key_directory::Unusable;

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
    /// The server asks for certifications, and this agent has offered no key.
    KeysNotOffered,
    /// The attestor cannot read the keys that it should offer.
    SvidKeys(Unusable),
    /// The KeyManager's own.
    Key(KeyFailure),
    /// Too many are waiting for the TPM.
    Busy,
    /// The thread that owns the TPM is gone.
    NoWorker,
}

/// Why the KeyManager could not do what it was asked for.
#[derive(Debug)]
pub(crate) enum KeyFailure {
    /// Its directory cannot be used.
    Directory(Unusable),
    /// A new key could not be written down; the old one stays.
    NotKept(Unusable),
    /// There is no key of this id.
    Unknown(String),
    /// An id that makes no name of a file.
    Id,
    /// More keys than an agent has.
    TooMany,
    /// A key that this TPM cannot make.
    UnsupportedType(&'static str),
    /// A signature that this key, or this TPM, cannot make.
    UnsupportedSignature,
}

impl From<KeyFailure> for Failure {
    fn from(failure: KeyFailure) -> Self {
        Self::Key(failure)
    }
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
            Failure::Tpm(error) => of_tpm(&error),
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
            Failure::KeysNotOffered => Self::invalid_argument(
                "keys_not_offered: the server asks for certifications of keys, and this agent offered none",
            ),
            Failure::EventLog { path, error } => Self::failed_precondition(format!(
                "event_log_failed: unable to read {}: {error}; {}",
                path.to_string_lossy().escape_debug(),
                error.remedy()
            )),
            Failure::SvidKeys(unusable) => Self::failed_precondition(format!(
                "svid_keys_failed: unable to read the keys to certify: {unusable}"
            )),
            Failure::Busy => {
                Self::resource_exhausted("tpm_busy: too many requests wait for the TPM")
            }
            Failure::NoWorker => {
                Self::internal("tpm_failed: the TPM thread has ended; restart the agent")
            }
            Failure::Key(failure) => failure.into(),
        }
    }
}

fn of_tpm(error: &tpm::Error) -> Status {
    let hint = error
        .hint()
        .map(|hint| format!("; {hint}"))
        .unwrap_or_default();
    let code = match error {
        tpm::Error::Deadline { .. } => Code::DeadlineExceeded,
        tpm::Error::Open { .. } => Code::FailedPrecondition,
        _ => Code::Internal,
    };
    Status::new(code, format!("tpm_failed: {error}{hint}"))
}

impl From<KeyFailure> for Status {
    fn from(failure: KeyFailure) -> Self {
        match failure {
            KeyFailure::Directory(unusable) => Self::failed_precondition(format!(
                "key_directory_failed: unable to use keys_path: {unusable}"
            )),
            KeyFailure::NotKept(unusable) => Self::internal(format!(
                "key_not_kept: unable to write the new key, and the old one stays in use: {unusable}"
            )),
            // In SPIRE's words.
            KeyFailure::Unknown(id) => Self::not_found(format!("no such key {id:?}")),
            KeyFailure::Id => Self::invalid_argument(
                "key_id_unsuitable: the key id is too long for the name of a file",
            ),
            KeyFailure::TooMany => {
                Self::resource_exhausted("too_many_keys: there are as many keys as are kept")
            }
            KeyFailure::UnsupportedType(kind) => {
                Self::invalid_argument(format!("key_type_unsupported: the TPM makes no {kind} key"))
            }
            KeyFailure::UnsupportedSignature => Self::invalid_argument(
                "signature_unsupported: this key in this TPM makes no signature of that kind",
            ),
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
