//! Everything that is tested with a TPM in software.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod activation;
mod attestation;
#[cfg(feature = "tss")]
mod back_ends;
mod certification;
mod commands;
mod connections;
mod emulator;
mod endorsement;
mod keyring;
mod raw;
mod recovery;
mod signatures;
