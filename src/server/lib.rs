//! The server-side plugin: decides which machines get an identity.

mod attestor;
pub mod config;
mod decision;
mod entropy;
mod room;
mod schema;
pub mod status;

pub use attestor::Attestor;
