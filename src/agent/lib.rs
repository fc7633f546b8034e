//! The agent-side plugin: answers with the machine's own TPM.

mod attestor;
pub mod config;
mod failure;
mod worker;

pub use attestor::Attestor;
