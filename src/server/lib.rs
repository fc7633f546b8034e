//! The server-side plugin: decides which machines get an identity.

mod attestor;
pub mod config;
mod decision;
mod entropy;
mod following;
mod room;
mod rules;
mod schema;
pub mod status;
mod trust;

pub use attestor::Attestor;
