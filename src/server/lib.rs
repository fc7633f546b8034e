//! The server-side plugin: decides which machines get an identity, and holds their agents' SVIDs to certified keys.

mod admission;
mod agent_id;
mod attestor;
mod clock;
mod composer;
pub mod composer_config;
mod composer_decision;
mod composer_registration;
mod composer_watch;
pub mod config;
mod decision;
mod entropy;
mod following;
mod instance;
mod keeping;
mod recording;
mod room;
pub mod status;
#[cfg(test)]
mod tests_admission;
#[cfg(test)]
mod tests_composer;
#[cfg(test)]
mod tests_store;

pub use attestor::Attestor;
pub use composer::Composer;
