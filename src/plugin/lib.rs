//! The go-plugin runtime and SPIRE's plugin services as traits.
//!
//! A binary implements [`Plugin`] and one of [`AgentAttestor`], [`ServerAttestor`]; its `main` reads a [`Launch`] from the
//! environment and hands both to a [`Service`]. Everything a host sees of the process is done here: the handshake, the
//! socket, the log lines, the broker, the end of the process.
//!
//! # Guarantees
//! - A panic in a handler ends one RPC with INTERNAL, never the process.
//! - stderr carries hclog JSON lines only, stdout one handshake line only.
//! - The settings a stream began with are the settings it ends with.
//! - The process does not outlive its host.

mod agent;
mod broker;
mod config;
mod connection;
mod environment;
mod exchange;
mod hclog;
mod infrastructure;
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
pub use config::{Core, Plugin, Purpose};
pub use environment::{Launch, Refusal, Role};
pub use exchange::Unexpected;
pub use hcl::{Position, Problem};
pub use limits::Limits;
pub use metrics::Metrics;
pub use proto::server_attestor::AgentAttributes;
pub use routes::{Routes, Servable};
pub use serve::Service;
pub use server::{ServerAttestor, ServerExchange};
pub use tonic::{Code, Status};
