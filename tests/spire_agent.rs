//! A SPIRE agent with its data in a temporary directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::manufacturer::der;
use crate::process::{Process, Tool};
use crate::spire::{Plugin, Spire, quoted, write_config};
use crate::spire_server::Server;
use crate::workload_api::WorkloadApi;

const STOP_TIME: Duration = Duration::from_secs(15);

/// What differs between agents. The unix workload attestor is always there.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The node attestor; the built-in one for join tokens unless said otherwise.
    pub node_attestor: Plugin,
    /// The key manager; in memory, the agent attests at every start.
    pub key_manager: Plugin,
    /// A join token.
    pub join_token: Option<String>,
    /// Further plugins, in order.
    pub plugins: Vec<Plugin>,
    /// Further settings in the `agent` section, HCL.
    pub settings: String,
    /// Further environment variables of the agent and so of its plugins.
    pub environment: Vec<(String, String)>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            node_attestor: Plugin::built_in("NodeAttestor", "join_token", ""),
            key_manager: Plugin::built_in("KeyManager", "memory", ""),
            join_token: None,
            plugins: Vec::new(),
            settings: String::new(),
            environment: Vec::new(),
        }
    }
}

/// A running agent, or one that has ended; its data is removed on drop.
#[derive(Debug)]
pub struct Agent {
    /// The process and its log.
    pub process: Process,
    program: PathBuf,
    environment: Vec<(String, String)>,
    directory: TempDir,
}

impl Agent {
    /// Starts an agent of `server`, which it trusts by the server's bundle; returns before it has attested.
    pub fn start(spire: &Spire, server: &Server, options: &AgentOptions) -> Self {
        let directory = TempDir::with_prefix("spire-agent-").expect("a temporary directory");
        Self::start_in(directory, spire, server, options)
    }

    /// As [`Agent::start`], with what SPIRE keeps of this agent, its SVID among it: what whoever has copied the disk has.
    #[must_use]
    pub fn start_copy(&self, spire: &Spire, server: &Server, options: &AgentOptions) -> Self {
        let directory = TempDir::with_prefix("spire-agent-").expect("a temporary directory");
        let (from, to) = (self.data(), directory.path().join("data"));
        fs::create_dir(&to).expect("a new directory");
        for entry in fs::read_dir(from).expect("the agent has its data there") {
            let entry = entry.expect("a data file");
            if entry.path().is_file() {
                fs::copy(entry.path(), to.join(entry.file_name())).expect("a file can be copied");
            }
        }
        Self::start_in(directory, spire, server, options)
    }

    fn start_in(
        directory: TempDir,
        spire: &Spire,
        server: &Server,
        options: &AgentOptions,
    ) -> Self {
        fs::write(directory.path().join("bundle.pem"), server.bundle()).expect("a new file");
        configure(
            directory.path(),
            server.port(),
            server.trust_domain(),
            options,
        );
        let program = spire.agent();
        let process = launch(&program, directory.path(), &options.environment);
        Self {
            process,
            program,
            environment: options.environment.clone(),
            directory,
        }
    }

    /// Stops the agent if it runs.
    pub fn stop(&mut self) {
        self.process.stop(STOP_TIME);
    }

    /// Stops the agent if it runs and starts it again on the same data with the same configuration; the log goes on.
    pub fn restart(&mut self) {
        self.stop();
        self.process = launch(&self.program, self.directory.path(), &self.environment);
    }

    /// Runs `spire-agent validate` on a configuration with these options, without starting an agent.
    pub fn validate(spire: &Spire, trust_domain: &str, options: &AgentOptions) -> Tool {
        let directory = TempDir::with_prefix("spire-agent-").expect("a temporary directory");
        configure(directory.path(), 1, trust_domain, options);
        let config = directory.path().join("agent.conf").display().to_string();
        Tool::run(spire.agent(), &["validate", "-config", &config], &[])
    }

    /// Waits until the agent is healthy: it has attested and serves workloads.
    pub fn ready(&mut self, limit: Duration) {
        let socket = self.socket().display().to_string();
        let program = &self.program;
        self.process.wait_ready(limit, || {
            Tool::run(program, &["healthcheck", "-socketPath", &socket], &[]).success
        });
    }

    /// Waits for the agent to end by itself, as it does when the server denies it for good.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        self.process.wait(limit)
    }

    /// Has SPIRE read the plugins' data files again; only once it is ready, before it would end the agent.
    pub fn reload(&self) {
        self.process.signal(Signal::USR1);
    }

    /// The Workload API's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("api.sock")
    }

    /// The agent's directory for its data, and its plugins'.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The certificate of the agent's own SVID, DER; `None` before it has attested, and once SPIRE has given it up.
    pub fn svid(&self) -> Option<Vec<u8>> {
        let text = fs::read_to_string(self.data().join("agent-data.json")).ok()?;
        let data: Value = serde_json::from_str(&text).ok()?;
        let pem = STANDARD.decode(data["svid"][0].as_str()?).ok()?;
        let pem = String::from_utf8(pem).expect("a certificate in PEM");
        Some(der(&pem))
    }

    /// The Workload API as a workload sees it, for a thread of its own.
    pub fn workload_api(&self) -> WorkloadApi {
        WorkloadApi {
            program: self.program.clone(),
            socket: self.socket(),
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// As [`WorkloadApi::fetch_x509`].
    pub fn fetch_x509(&self, limit: Duration) -> Vec<String> {
        self.workload_api().fetch_x509(limit)
    }

    /// As [`WorkloadApi::try_fetch_x509`].
    pub fn try_fetch_x509(&self) -> Option<Vec<String>> {
        self.workload_api().try_fetch_x509()
    }

    /// As [`WorkloadApi::fetch_jwt`].
    pub fn fetch_jwt(&self, audience: &str, limit: Duration) -> String {
        self.workload_api().fetch_jwt(audience, limit)
    }
}

fn configure(directory: &Path, port: u16, trust_domain: &str, options: &AgentOptions) {
    let path = |name: &str| quoted(&directory.join(name).display().to_string());
    let token = options
        .join_token
        .as_ref()
        .map(|token| format!("  join_token = {}\n", quoted(token)));
    let settings = format!(
        "  data_dir = {}\n  server_address = \"127.0.0.1\"\n  server_port = \"{port}\"\n  trust_domain = {}\n  \
         socket_path = {}\n  trust_bundle_path = {}\n  log_level = \"DEBUG\"\n  log_format = \"json\"\n{}{}\n",
        path("data"),
        quoted(trust_domain),
        path("api.sock"),
        path("bundle.pem"),
        token.unwrap_or_default(),
        options.settings,
    );
    let mut plugins = vec![options.node_attestor.clone(), options.key_manager.clone()];
    plugins.push(Plugin::built_in("WorkloadAttestor", "unix", ""));
    plugins.extend(options.plugins.iter().cloned());
    write_config(&directory.join("agent.conf"), "agent", &settings, &plugins);
}

fn launch(program: &Path, directory: &Path, environment: &[(String, String)]) -> Process {
    let config = directory.join("agent.conf").display().to_string();
    let arguments = ["run", "-config", &config];
    Process::start_with(
        Stdio::null(),
        environment,
        program,
        &arguments,
        &directory.join("agent.log"),
    )
}
