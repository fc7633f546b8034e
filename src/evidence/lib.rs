//! The vocabulary of a TPM attestation: messages, TPM structures, key derivation
