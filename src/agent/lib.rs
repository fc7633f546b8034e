//! The agent-side plugin: answers with the machine's own TPM.

mod attestor;
pub mod config;
mod event_log;
mod failure;
mod schema;
mod worker;

pub use attestor::Attestor;
