//! Why this TPM does not do what it was asked.

use evidence::Malformed;

/// What a TPM would answer with a response code, and what only software can get wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TpmError {
    /// The key is of a type or size that no template here has.
    #[error("the key is none that this TPM holds")]
    Key,
    /// The key cannot sign by this scheme and hash.
    #[error("the key does not sign by this scheme")]
    Scheme,
    /// TPM_RC_VALUE: the seed does not open, or is too long.
    #[error("the seed does not open")]
    Value,
    /// TPM_RC_INTEGRITY: the credential is for another object, or damaged.
    #[error("the credential fails its integrity check")]
    Integrity,
    /// TPM_RC_SIZE and its like: a structure or a message is malformed.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// The public area has a nameAlg that this TPM does not compute.
    #[error("the object has no Name")]
    Unnamed,
}
