//! What SPIRE Agent logs when an attestation fails on this side.

use evidence::Malformed;
use plugin::{Code, Status};

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
    /// The thread that owns the TPM is gone.
    NoWorker,
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
            Failure::NoWorker => {
                Self::internal("tpm_failed: the TPM thread has ended; restart the agent")
            }
        }
    }
}
