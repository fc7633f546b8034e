//! The server-side plugin: decides which machines get an identity.

mod attestor;
pub mod config;
mod decision;
mod entropy;
mod following;
mod room;
pub mod status;

pub use attestor::Attestor;
