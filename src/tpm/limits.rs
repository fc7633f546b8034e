//! Every bound on what a TPM or its connection may send, with the reason for its value.

use std::time::Duration;

/// Bytes of a command or a response: the buffer of Linux's resource manager and of PC Client TPMs.
pub const MESSAGE: usize = 4096;

/// Bytes of an NV index: a certificate with the padding that some vendors leave behind it.
pub const NV: usize = 16 * 1024;

/// Bytes that one TPM2_NV_Read asks for until the TPM has said what it gives at once.
pub const NV_BUFFER: u16 = 1024;

/// NV indices of a certificate chain that are read, from 0x01C00100 on.
pub const CHAIN_INDICES: usize = 8;

/// PCR values that a TPM returns at once (TPM library part 2, section 10.9.7).
pub const PCRS_AT_ONCE: usize = 8;

/// Reads of the PCRs until they must agree with the quote.
pub const PCR_READS: u32 = 5;

/// Bytes of a TPM2B_PRIVATE: an RSA-4096 key with its primes, a digest and an IV needs below 1,500.
pub const PRIVATE: usize = 1536;

/// SVID keys that a keyring keeps loaded: Linux's resource manager has three places for each open file, and
/// one more is needed to make or load a key.
pub const LOADED_KEYS: usize = 2;

/// The first pause before a command is sent again; it doubles up to [`LAST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause before a command is sent again.
pub const LAST_PAUSE: Duration = Duration::from_millis(1600);

/// Pause between attempts to connect to a socket whose queue is full.
pub const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a name or path in an address.
pub const ADDRESS: usize = 256;
