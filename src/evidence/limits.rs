//! Every bound on what a peer may send, with the reason for its value.

/// Bytes of the first message: a certificate of 8 KiB with four intermediates, twice in base64, and public areas.
pub const PAYLOAD: usize = 64 * 1024;

/// Bytes of a challenge: a credential for the largest key, a nonce and a selection.
pub const CHALLENGE: usize = 16 * 1024;

/// Bytes of a response: the largest boot event log in base64, and evidence.
pub const RESPONSE: usize = 1024 * 1024;

/// Bytes of a boot event log: the largest seen of a firmware is below 73 KiB, and what Linux keeps may be ten times that.
pub const LOG: usize = 704 * 1024;

/// Bytes of a record: the three messages in base64, and some text.
pub const RECORD: usize = 1536 * 1024;

/// Characters of a trust domain's name (SPIFFE ID, section 2.1).
pub const TRUST_DOMAIN: usize = 255;

/// Bytes of one certificate: the largest seen in the field is below 2 KiB.
pub const CERTIFICATE: usize = 8 * 1024;

/// Intermediate certificates that an agent may send along.
pub const INTERMEDIATES: usize = 4;

/// Bytes of a TPMT_PUBLIC: an RSA-4096 key with a SHA-512 policy needs below 700.
pub const PUBLIC: usize = 1024;

/// Bytes of a TPMS_ATTEST.
pub const ATTEST: usize = 1024;

/// Bytes of a TPMT_SIGNATURE: RSA-4096 needs 518.
pub const SIGNATURE: usize = 1024;

/// Bytes of a TPMS_CREATION_DATA.
pub const CREATION_DATA: usize = 1024;

/// PCR banks in one selection.
pub const BANKS: usize = 4;

/// PCRs in one bank, the number a PC Client TPM has.
pub const PCRS: usize = 24;

/// Bytes of an RSA modulus: 4,096 bits.
pub const RSA_MODULUS: usize = 512;

/// Bytes of a nonce.
pub const NONCE: usize = 32;

/// Capabilities that an agent may name.
pub const CAPABILITIES: usize = 16;

/// SVID keys that an agent may offer: two are in use at a time.
pub const SVID_KEYS: usize = 4;

/// Characters of any short text in a message: a capability, a boot id.
pub const TEXT: usize = 64;
