//! The agent-side plugin: answers with the machine's own TPM, and keeps the agent's keys in it.

mod attestor;
pub mod config;
mod event_log;
mod failure;
mod fault;
mod keeper;
mod key_config;
mod key_directory;
mod key_file;
mod key_manager;
mod key_store;
mod schema;
mod signing;
mod svid_keys;
#[cfg(test)]
mod tests_certification;
#[cfg(test)]
mod tests_keeper;
#[cfg(test)]
mod tests_key_properties;
#[cfg(test)]
mod tests_keys;
#[cfg(test)]
mod tests_log;
mod tpm_thread;
mod worker;

pub use attestor::Attestor;
pub use key_manager::KeyManager;
