//! What can go wrong between this code and a TPM, grouped by who must act.

use std::io;

use evidence::{Algorithm, BadCredential, Malformed};

use crate::address::BadAddress;
use crate::{CertificateOrigin, CommandCode, ResponseCode};

/// A failure; it holds no secret and no bytes that a peer sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The TPM refused a command.
    #[error("{command}: {code}")]
    Tpm {
        /// The command.
        command: CommandCode,
        /// The answer.
        code: ResponseCode,
    },
    /// The TPM answered TPM_RC_FAILURE and was asked for its self-test.
    #[error("{command}: {code}; the self-test of the TPM {}", if *.broken { "failed" } else { "has passed" })]
    Failure {
        /// The command.
        command: CommandCode,
        /// The answer.
        code: ResponseCode,
        /// Whether the TPM reports that its self-test failed.
        broken: bool,
    },
    /// The TPM could not be opened.
    #[error("cannot open the TPM at {address}: {source}")]
    Open {
        /// Where it should be.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The connection failed during a command.
    #[error("{command}: {source}")]
    Exchange {
        /// The command.
        command: CommandCode,
        /// Why.
        source: io::Error,
    },
    /// No answer by the deadline.
    #[error("{command}: no answer from the TPM in time")]
    Deadline {
        /// The command.
        command: CommandCode,
    },
    /// A response is not what the TPM library says.
    #[error("{command}: malformed response: {problem}")]
    Response {
        /// The command.
        command: CommandCode,
        /// What is wrong.
        problem: Malformed,
    },
    /// The response to a command in a salted session does not come from the TPM that has the EK.
    #[error("{command}: the response is not authentic")]
    NotAuthentic {
        /// The command.
        command: CommandCode,
    },
    /// A command that is longer than a TPM takes.
    #[error("{command}: the command is too long")]
    CommandTooLong {
        /// The command.
        command: CommandCode,
    },
    /// The device answers as a TPM 1.2.
    #[error("this is a TPM 1.2")]
    Tpm12,
    /// An address that no back end understands.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// An NV index that neither its own empty password nor the owner may read.
    #[error("NV index {index:#010x} is there, but may not be read")]
    NvUnreadable {
        /// The index.
        index: u32,
    },
    /// An NV index that is larger than a certificate can be.
    #[error("NV index {index:#010x} is too long")]
    NvTooLong {
        /// The index.
        index: u32,
    },
    /// A certificate that cannot be read.
    #[error("the EK certificate {from}: {problem}")]
    BadCertificate {
        /// Where it came from.
        from: CertificateOrigin,
        /// What is wrong.
        problem: &'static str,
    },
    /// An NV index that should hold a template or a nonce for the EK, and does not.
    #[error("NV index {index:#010x} holds no template for the EK")]
    BadTemplate {
        /// The index.
        index: u32,
    },
    /// No template gives the key of the certificate.
    #[error("the EK certificate {from} is for another key than this TPM makes")]
    OtherKey {
        /// Where it came from.
        from: CertificateOrigin,
    },
    /// A key's Name uses a hash that this project does not compute.
    #[error("a key with name algorithm {:#06x}", .0.0)]
    UnsupportedNameAlgorithm(Algorithm),
    /// An EK with another policy than the EK Credential Profile has.
    #[error("the EK has an unknown policy")]
    UnsupportedPolicy,
    /// A public key that nothing can be encrypted to.
    #[error(transparent)]
    Encryption(#[from] BadCredential),
    /// The operating system gave no random bytes.
    #[error("no random bytes")]
    Random,
    /// A PCR that the TPM does not have.
    #[error("the TPM has no value for PCR {pcr} of bank {:#06x}", .bank.0)]
    PcrAbsent {
        /// The bank.
        bank: Algorithm,
        /// The PCR.
        pcr: u8,
    },
    /// The PCRs changed between every quote and reading.
    #[error("the PCRs keep changing")]
    PcrsChanging,
    /// After handles were lost, the same template gave another key.
    #[error("the TPM now makes other keys than before")]
    KeysChanged,
    /// The owner hierarchy's password is another one than is given.
    #[error("the storage root key: {code}")]
    OwnerAuth {
        /// The answer.
        code: ResponseCode,
    },
    /// A wrapped key that this TPM cannot unwrap.
    #[error(
        "the key was made by another TPM, or before this one was cleared, or its file was changed"
    )]
    ForeignKey,
    /// A signature that the key's type does not make.
    #[error("a key of this type does not sign by this scheme")]
    UnsuitableScheme,
    /// A digest that is not of the hash it should be of.
    #[error("the digest is not as long as those of its hash")]
    DigestSize,
    /// A context that another back end has saved.
    #[error("the context is another back end's")]
    OtherContext,
    /// libtss2 could not open the TPM.
    #[error("cannot open the TPM at tss:{tcti}: libtss2 failed with {code:#010x}")]
    TssOpen {
        /// The TCTI.
        tcti: String,
        /// TSS2_RC.
        code: u32,
    },
    /// libtss2 failed outside the TPM.
    #[error("{command}: libtss2 failed with {code:#010x}")]
    Tss {
        /// The command.
        command: CommandCode,
        /// TSS2_RC.
        code: u32,
    },
    /// tss-esapi refused a value before it reached the TPM.
    #[error("{command}: tss-esapi cannot express it")]
    TssWrapper {
        /// The command.
        command: CommandCode,
    },
}

impl Error {
    /// The TPM's answer, if that is what failed.
    pub fn code(&self) -> Option<ResponseCode> {
        match self {
            Self::Tpm { code, .. } | Self::Failure { code, .. } | Self::OwnerAuth { code } => {
                Some(*code)
            }
            _ => None,
        }
    }

    /// Whether the objects that were made are gone: the TPM was reset, the machine resumed, or the
    /// connection was lost.
    pub(crate) fn lost_handles(&self) -> bool {
        match self {
            Self::Tpm { code, .. } => code.is_lost_handle(),
            Self::Exchange { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::BrokenPipe
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::NotConnected
                        | io::ErrorKind::UnexpectedEof
                ) || source
                    .raw_os_error()
                    .is_some_and(|code| LOST.contains(&code))
            }
            _ => false,
        }
    }

    /// Whether the TPM says that a parameter is wrong.
    pub(crate) fn is_of_parameter(&self) -> bool {
        self.code().is_some_and(ResponseCode::is_of_parameter)
    }

    /// Whether the TPM has no room for another object or session.
    pub(crate) fn exhausted(&self) -> bool {
        self.code().is_some_and(ResponseCode::is_exhaustion)
    }
}

/// What Linux's resource manager returns for a handle that it cannot map or load any more.
const LOST: [i32; 3] = [
    rustix::io::Errno::INVAL.raw_os_error(),
    rustix::io::Errno::FAULT.raw_os_error(),
    rustix::io::Errno::NOENT.raw_os_error(),
];
