//! The go-plugin runtime and SPIRE's plugin services as traits.
//!
//! A binary implements [`Plugin`] and one of [`AgentAttestor`], [`ServerAttestor`], [`KeyManager`], [`CredentialComposer`];
//! its `main` reads a [`Launch`] from the environment and hands both to a [`Service`]. Everything a host sees of the process is done here: the handshake, the
//! socket, the log lines, the broker, the end of the process.
//!
//! # Guarantees
//! - A panic in a handler ends one RPC with INTERNAL, never the process.
//! - stderr carries hclog JSON lines only, stdout one handshake line only.
//! - The settings a stream began with are the settings it ends with.
//! - The process does not outlive its host.
//! - A key manager talks to the process that started it, and to no other.
//! - A composer's refusal never reads as consent.

mod admission;
mod agent;
mod broker;
mod composer;
mod config;
mod connection;
mod environment;
mod exchange;
mod hclog;
mod infrastructure;
mod key_manager;
mod lifecycle;
pub mod limits;
pub mod log;
mod metrics;
mod panics;
pub mod proto;
mod routes;
mod serve;
mod server;
mod socket;
mod stale;
mod stderr;

pub use agent::{AgentAttestor, AgentExchange};
pub use broker::{HostServices, NoHostService};
pub use composer::CredentialComposer;
pub use config::{Core, Plugin, Purpose};
pub use environment::{Launch, Refusal, Role};
pub use exchange::Unexpected;
pub use hcl::{Position, Problem};
pub use key_manager::{HashAlgorithm, KeyManager, KeyType, PublicKey, SignedData, SignerOptions};
pub use limits::Limits;
pub use metrics::Metrics;
pub use proto::server_attestor::AgentAttributes;
pub use routes::{Routes, Servable};
pub use serve::Service;
pub use server::{ServerAttestor, ServerExchange};
pub use tonic::{Code, Status};
