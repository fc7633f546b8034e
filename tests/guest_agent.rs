//! A SPIRE agent in a guest, on the TPM and the event log that the kernel has, with a server on the host.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::guest::Guest;
use crate::guest_disk::{Kernel, Software};
use crate::released::released;
use crate::spire::{Plugin, Spire, checksum, quoted, write_config};
use crate::spire_server::Server;
use crate::wait::until_some;

/// The host's loopback as the guest sees it.
const HOST: &str = "10.0.2.2";
const SUCCESS: &str = "Node attestation was successful";
const PLUGIN: &str = "tpm-attestor-agent";

impl Software {
    /// A kernel with SPIRE's agent, our plugin and the operator's tool in the initramfs, as they are released.
    pub fn attesting(spire: &Spire, kernel: Kernel) -> Self {
        let ours = [PLUGIN, "tpm-attestor"].map(|name| (name, released().join(name)));
        let programs = [("spire-agent", spire.agent())].into_iter().chain(ours);
        Self {
            kernel,
            options: String::new(),
            files: programs
                .map(|(name, file)| (format!("bin/{name}"), file))
                .collect(),
        }
    }
}

/// How the first attestation of an agent ended.
#[derive(Clone, Debug)]
pub struct Attestation {
    /// Whether it got an SVID.
    pub success: bool,
    /// The agent's log.
    pub log: String,
}

impl Guest {
    /// Starts an agent of `server` and waits until it has attested, and then goes on, or has ended.
    pub fn attest(&mut self, server: &Server) -> Attestation {
        self.run("rm -rf /run/agent && mkdir -p /run/agent");
        self.write("/run/agent/bundle.pem", server.bundle().as_bytes());
        self.write("/run/agent/agent.conf", configuration(server).as_bytes());
        self.run(&format!(
            "cd /run/agent; (spire-agent run -config agent.conf >log 2>&1; touch ended) & \
             until grep -qs '{SUCCESS}' log || [ -e ended ]; do sleep 0.2; done"
        ));
        let log = String::from_utf8_lossy(&self.read("/run/agent/log")).into_owned();
        let success = log.contains(SUCCESS);
        Attestation { success, log }
    }

    /// Waits until a workload, root in the guest, gets X.509-SVIDs from the agent; returns their SPIFFE IDs.
    pub fn fetch_x509(&mut self, limit: Duration) -> Vec<String> {
        until_some("the guest's workload gets an X.509-SVID", limit, || {
            self.try_fetch_x509()
        })
    }

    /// As [`Guest::fetch_x509`], once: `None` when the agent has no identity for the workload.
    pub fn try_fetch_x509(&mut self) -> Option<Vec<String>> {
        let answer = self.command(
            "spire-agent api fetch x509 -output json -socketPath /run/agent/api.sock 2>/run/agent/errors",
        );
        if answer.status != 0 {
            let errors = self.run("cat /run/agent/errors");
            assert!(errors.contains("no identity issued"), "{errors}");
            return None;
        }
        let answer: Value = serde_json::from_str(&answer.output).expect("fetch x509 prints JSON");
        let svids = answer["svids"].as_array()?.iter();
        let ids = svids.filter_map(|svid| svid["spiffe_id"].as_str());
        Some(ids.map(str::to_owned).collect())
    }

    /// Ends the agent, if it has not ended.
    pub fn end_agent(&mut self) {
        self.run("cd /run/agent; [ -e ended ] || killall spire-agent; until [ -e ended ]; do sleep 0.1; done");
    }
}

fn configuration(server: &Server) -> String {
    let plugin = Plugin::published(
        "agent.hcl",
        &[
            ("@PLUGIN_CMD@", &format!("/bin/{PLUGIN}")),
            ("@PLUGIN_CHECKSUM@", &checksum(&released().join(PLUGIN))),
            ("@DEVICE@", "/dev/tpmrm0"),
        ],
    );
    let settings = format!(
        "  data_dir = \"/run/agent\"\n  server_address = \"{HOST}\"\n  server_port = \"{}\"\n  trust_domain = {}\n  \
         socket_path = \"/run/agent/api.sock\"\n  trust_bundle_path = \"/run/agent/bundle.pem\"\n  \
         log_level = \"DEBUG\"\n  log_format = \"json\"\n",
        server.port(),
        quoted(server.trust_domain()),
    );
    let plugins = [
        plugin,
        Plugin::built_in("KeyManager", "memory", ""),
        Plugin::built_in("WorkloadAttestor", "unix", ""),
    ];
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("agent.conf");
    write_config(&file, "agent", &settings, &plugins);
    read_text(&file)
}

fn read_text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
