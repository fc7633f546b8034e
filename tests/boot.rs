//! A real machine that measures its boot: firmware, Secure Boot, TPM, kernel, SPIRE's agent with our plugin in the initramfs.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod boot_machine;
mod boot_replay;
mod boot_states;
mod boot_tool;
