//! The operator's configuration of the server: whom to trust, and what state machines must be in.
//!
//! The server judges by it what it is sent, and the command line what was stored: both read the same text.

mod address;
mod advisories;
mod command_line;
mod configuration;
mod continuity;
mod firmware;
mod profiles;
mod requirements;
mod rules;
mod schema;
mod schema_profile;
mod state;
#[cfg(test)]
mod tests_configuration;
#[cfg(test)]
mod tests_continuity;
#[cfg(test)]
mod tests_profiles;
#[cfg(test)]
mod tests_slips;
#[cfg(test)]
mod tests_state;
mod trust;

pub use address::store_address;
pub use advisories::published;
pub use configuration::{Configuration, DEFAULT_PATHS};
pub use schema::{SCHEMA, STORE};
pub use trust::loaded_warnings;
