//! SVID keys in TPMs under real SPIRE: an agent's whole life with them, the attacks they are for, and what breaks.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod keys_clones;
mod keys_life;
mod keys_machine;
mod keys_outages;
mod keys_software;
mod keys_stolen;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tests::{
    Agent, AttestedAgent, Manufacturer, Model, Plugin, Server, ServerOptions, Spire, binary, until,
    until_some,
};

use crate::keys_machine::Machine;

/// Longer than anything takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// A maker of TPMs, and a server that trusts it and wants every agent's key in a TPM.
pub(crate) struct Site {
    pub(crate) spire: Spire,
    manufacturer: Manufacturer,
    files: TempDir,
}

impl Site {
    pub(crate) fn new(version: &str) -> Self {
        let files = TempDir::new().unwrap();
        fs::create_dir(files.path().join("cas")).unwrap();
        Self {
            spire: Spire::version(version),
            manufacturer: Manufacturer::new(),
            files,
        }
    }

    /// A machine whose TPM the server trusts.
    pub(crate) fn machine(&self) -> Machine {
        let machine = Machine::new(self.manufacturer.make(&Model::default()));
        self.trust(&self.manufacturer, "maker");
        machine
    }

    /// The manufacturer's certificates become anchors.
    pub(crate) fn trust(&self, manufacturer: &Manufacturer, name: &str) {
        for (kind, path) in [
            ("root", manufacturer.root()),
            ("issuer", manufacturer.issuer()),
        ] {
            let file = format!("cas/{name}-{kind}.pem");
            fs::copy(path, self.files.path().join(file)).unwrap();
        }
    }

    /// The SQLite file of both plugins.
    pub(crate) fn store(&self) -> PathBuf {
        self.files.path().join("store.sqlite3")
    }

    /// A server with both plugins on the SQLite file.
    pub(crate) fn server(&self, agent_ttl: &str, more: &str) -> Server {
        let store = self.store().display().to_string();
        let plugins = vec![self.attestor(&store, more), composer(&store)];
        self.server_with(agent_ttl, plugins)
    }

    /// A server with these plugins.
    pub(crate) fn server_with(&self, agent_ttl: &str, plugins: Vec<Plugin>) -> Server {
        Server::start(&self.spire, server_options(agent_ttl, plugins))
    }

    /// The server's attestor, which requires keys in TPMs.
    pub(crate) fn attestor(&self, store: &str, more: &str) -> Plugin {
        let data = format!(
            "ca_path = \"{}\"\nreload_interval = \"200ms\"\nstore = \"{store}\"\n\
             svid_keys = \"require\"\n{more}",
            self.files.path().join("cas").display(),
        );
        Plugin::external("NodeAttestor", "tpm", &binary("tpm-attestor-server"), &data)
    }

    /// An agent with its key in the machine's TPM.
    pub(crate) fn agent(&self, server: &Server, machine: &Machine) -> Agent {
        Agent::start(&self.spire, server, &machine.options(""))
    }
}

/// Agents and workloads get SVIDs of the same life.
pub(crate) fn server_options(ttl: &str, plugins: Vec<Plugin>) -> ServerOptions {
    ServerOptions {
        agent_ttl: ttl.to_owned(),
        svid_ttl: ttl.to_owned(),
        plugins,
        ..ServerOptions::default()
    }
}

/// The server's composer, on the attestor's store.
pub(crate) fn composer(store: &str) -> Plugin {
    let data = format!("store = \"{store}\"");
    let program = binary("tpm-attestor-server");
    Plugin::external("CredentialComposer", "tpm", &program, &data)
}

/// The one agent that the server knows.
pub(crate) fn only_agent(server: &Server) -> AttestedAgent {
    let agents = server.agents();
    assert_eq!(agents.len(), 1, "{agents:?}");
    agents[0].clone()
}

/// Waits for another serial number of the agent: it has attested again.
pub(crate) fn attested_again(server: &Server, before: &AttestedAgent) -> AttestedAgent {
    until_some("another serial number", LIMIT, || {
        server
            .agent(&before.id)
            .filter(|now| now.serial != before.serial)
    })
}

/// Registers this process's user as a workload on every machine whose agent's key is in a TPM.
pub(crate) fn register_workload(server: &Server) {
    let alias = "spiffe://example.org/hardware";
    let user = format!("unix:uid:{}", rustix::process::getuid().as_raw());
    server.create_node_entry(alias, &["tpm:svid_key:certified"]);
    server.create_entry(alias, WORKLOAD, &[&user]);
}

/// The SPIFFE ID of that workload.
pub(crate) const WORKLOAD: &str = "spiffe://example.org/workload";

/// The reasons of the server's refusals so far.
pub(crate) fn refusals(server: &Server) -> Vec<String> {
    let records = server.process.log_records().into_iter();
    records
        .filter(|record| record["msg"] == "attestation refused")
        .map(|record| record["reason"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until the server has refused somebody for this reason.
pub(crate) fn refused_for(server: &Server, reason: &str) {
    until(&format!("a refusal for {reason}"), LIMIT, || {
        refusals(server).iter().any(|one| one == reason)
    });
}
