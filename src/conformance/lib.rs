//! The host's side of SPIRE's plugin contract, as a library: it loads a plugin binary as SPIRE does, and records all it says.
//!
//! A [`Subject`] is a binary; a [`Host`] loads it and gives a [`Loaded`] plugin, on which the exchanges are held and, of a
//! key manager or a composer, the calls made by SPIRE's rules for the answers; unloading gives an [`Unloaded`], with
//! everything that can only be known at the end.

mod agent;
mod composer;
mod handshake;
mod host;
mod host_services;
mod key_manager;
mod loaded;
mod log;
mod pinned;
mod process;
mod server;
mod subject;

pub use agent::AidExchange;
pub use composer::LoadedComposer;
pub use handshake::{BadHandshake, Handshake};
pub use host::{Broker, Host, NotLoaded};
pub use host_services::{Measured, Recorded};
pub use key_manager::LoadedKeyManager;
pub use loaded::{Loaded, Unloaded};
pub use log::{Entry, LogLine};
pub use pinned::Pinned;
pub use process::{Process, START_LIMIT};
pub use server::{AttestExchange, Reply};
pub use subject::{Side, Subject};
