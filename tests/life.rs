//! The whole life of an agent under real SPIRE: our two plugins, a software TPM, a workload.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod life_changes;
mod life_failures;
mod life_first;
mod life_pairs;
mod life_secrets;

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tests::{
    Agent, AgentOptions, Channel, EkCertificate, Manufacturer, Model, Plugin, Server,
    ServerOptions, Spire, Swtpm, binary, until_some,
};

/// Longer than anything takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// A maker of TPMs, a server that trusts it, and what enrolls single machines.
pub(crate) struct Site {
    pub(crate) spire: Spire,
    pub(crate) manufacturer: Manufacturer,
    pub(crate) files: TempDir,
}

impl Site {
    pub(crate) fn new(version: &str) -> Self {
        let files = TempDir::new().unwrap();
        for directory in ["cas", "hashes"] {
            fs::create_dir(files.path().join(directory)).unwrap();
        }
        Self {
            spire: Spire::version(version),
            manufacturer: Manufacturer::new(),
            files,
        }
    }

    /// A machine with an RSA EK certificate.
    pub(crate) fn machine(&self) -> Swtpm {
        self.manufacturer.make(&Model::default())
    }

    /// The manufacturer's CA becomes an anchor.
    pub(crate) fn trust_manufacturer(&self) {
        trust(&self.manufacturer, &self.cas());
    }

    pub(crate) fn cas(&self) -> std::path::PathBuf {
        self.files.path().join("cas")
    }

    pub(crate) fn hashes(&self) -> std::path::PathBuf {
        self.files.path().join("hashes")
    }

    /// What the server plugin is told.
    pub(crate) fn server_data(&self, more: &str) -> String {
        format!(
            "ca_path = \"{}\"\nhash_path = \"{}\"\nreload_interval = \"200ms\"\n{more}",
            self.cas().display(),
            self.hashes().display()
        )
    }

    pub(crate) fn server(&self, agent_ttl: &str, more: &str) -> Server {
        Server::start(
            &self.spire,
            server_options(agent_ttl, &self.server_data(more)),
        )
    }

    /// A server under which agents and workloads get new SVIDs every few seconds.
    pub(crate) fn server_with_short_svids(&self) -> Server {
        let options = ServerOptions {
            svid_ttl: "15s".to_owned(),
            ..server_options("30s", &self.server_data(""))
        };
        Server::start(&self.spire, options)
    }

    pub(crate) fn agent(&self, server: &Server, tpm: &Swtpm, more: &str) -> Agent {
        Agent::start(&self.spire, server, &agent_options(tpm, more))
    }
}

pub(crate) fn trust(manufacturer: &Manufacturer, directory: &Path) {
    let name = manufacturer
        .root()
        .parent()
        .unwrap()
        .to_string_lossy()
        .replace('/', "-");
    for (kind, path) in [
        ("root", manufacturer.root()),
        ("issuer", manufacturer.issuer()),
    ] {
        fs::copy(path, directory.join(format!("{name}-{kind}.pem"))).unwrap();
    }
}

pub(crate) fn server_options(agent_ttl: &str, data: &str) -> ServerOptions {
    let plugin = Plugin::external("NodeAttestor", "tpm", &binary("tpm-attestor-server"), data);
    ServerOptions {
        agent_ttl: agent_ttl.to_owned(),
        plugins: vec![plugin],
        ..ServerOptions::default()
    }
}

pub(crate) fn agent_options(tpm: &Swtpm, more: &str) -> AgentOptions {
    agent_options_on(tpm.socket(), more)
}

/// With the TPM or resource manager behind a socket.
pub(crate) fn agent_options_on(socket: &Path, more: &str) -> AgentOptions {
    let data = format!("device = \"unix:{}\"\n{more}", socket.display());
    AgentOptions {
        node_attestor: Plugin::external(
            "NodeAttestor",
            "tpm",
            &binary("tpm-attestor-agent"),
            &data,
        ),
        ..AgentOptions::default()
    }
}

/// The one agent that the server knows.
pub(crate) fn only_agent(server: &Server) -> tests::AttestedAgent {
    let agents = server.agents();
    assert_eq!(agents.len(), 1, "{agents:?}");
    agents[0].clone()
}

/// The value after `prefix` among selectors.
pub(crate) fn selector(agent: &tests::AttestedAgent, prefix: &str) -> String {
    let found = agent
        .selectors
        .iter()
        .find_map(|selector| selector.strip_prefix(prefix));
    found
        .unwrap_or_else(|| unreachable!("{prefix} in {agent:?}"))
        .to_owned()
}

/// Waits for another serial number of the agent: it has attested again.
pub(crate) fn attested_again(
    server: &Server,
    before: &tests::AttestedAgent,
) -> tests::AttestedAgent {
    until_some("another serial number", LIMIT, || {
        server
            .agent(&before.id)
            .filter(|now| now.serial != before.serial)
    })
}

pub(crate) fn ecc_model() -> Model {
    Model {
        certificates: vec![EkCertificate::P256],
        ..Model::default()
    }
}

pub(crate) fn bare_model() -> Model {
    Model {
        certificates: vec![],
        channel: Channel::Unix,
        ..Model::default()
    }
}
