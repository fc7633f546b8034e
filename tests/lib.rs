//! Starts and stops the real parts that the tests run on: software TPMs, a resource manager, PostgreSQL, SPIRE.
//!
//! Everything lives in temporary directories and on loopback, is started by the test that needs it, and ends with it:
//! on drop, and by the kernel's parent-death signal if the test process is killed. What cannot be started, or does not
//! get ready before its deadline, fails the test with the log of the part that is to blame.
#![expect(
    clippy::missing_panics_doc,
    reason = "a test harness reports every failure by failing the test"
)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test harness reports every failure by failing the test"
)]

mod binary;
mod go_peer;
mod guest;
mod guest_agent;
mod guest_disk;
mod manufacturer;
mod plugin_process;
mod port;
mod postgres;
mod process;
mod pty;
mod released;
mod resource_manager;
mod secrets;
mod space;
mod spire;
mod spire_agent;
mod spire_server;
mod stp;
mod swtpm;
mod tpm_bus;
mod tpm_socket;
mod wait;
mod workload_api;
mod x509_signer;

pub use binary::binary;
pub use guest::{Answer, Guest, SecureBoot};
pub use guest_agent::Attestation;
pub use guest_disk::{Disk, Kernel, Software};
pub use manufacturer::{EkCertificate, Manufacturer, Model};
pub use plugin_process::plugin_process;
pub use postgres::Postgres;
pub use process::{Process, Tool, run};
pub use released::released;
pub use resource_manager::{RC_OBJECT_MEMORY, RC_REFERENCE_H0, ResourceManager};
pub use rustix::process::Signal;
pub use secrets::Secrets;
pub use spire::{Plugin, PluginData, Spire, checksum};
pub use spire_agent::{Agent, AgentOptions};
pub use spire_server::{AttestedAgent, Server, ServerOptions};
pub use stp::StpPeer;
pub use swtpm::{Channel, Swtpm};
pub use tpm_socket::TpmSocket;
pub use wait::{until, until_some};
pub use workload_api::WorkloadApi;
pub use x509_signer::{ToSign, X509Signer};
