//! A SPIRE server on loopback with its data in a temporary directory, and its command line.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::port::free_ports;
use crate::process::{Process, Tool, run};
use crate::spire::{Plugin, Spire, quoted, write_config};

const START_TIME: Duration = Duration::from_mins(1);
const STOP_TIME: Duration = Duration::from_secs(15);

/// What differs between servers. A SQLite datastore and a key manager on disk are always there.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The trust domain's name.
    pub trust_domain: String,
    /// Life of an agent's SVID, as in `1m`; the agent attests again at about half of it.
    pub agent_ttl: String,
    /// Life of a workload's X.509-SVID.
    pub svid_ttl: String,
    /// Further plugins, in order.
    pub plugins: Vec<Plugin>,
    /// Further settings in the `server` section, HCL.
    pub settings: String,
    /// Further environment variables of the server and so of its plugins.
    pub environment: Vec<(String, String)>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            trust_domain: "example.org".to_owned(),
            agent_ttl: "1h".to_owned(),
            svid_ttl: "1h".to_owned(),
            plugins: Vec::new(),
            settings: String::new(),
            environment: Vec::new(),
        }
    }
}

/// A running server; it ends, and its data is removed, on drop.
#[derive(Debug)]
pub struct Server {
    /// The process and its log.
    pub process: Process,
    program: PathBuf,
    port: u16,
    options: ServerOptions,
    directory: TempDir,
}

/// What `agent list` says of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestedAgent {
    /// The agent's SPIFFE ID.
    pub id: String,
    /// The name of the node attestor.
    pub attestation_type: String,
    /// `type:value`, in the server's order.
    pub selectors: Vec<String>,
    /// Whether it is banned.
    pub banned: bool,
    /// Whether it may attest again.
    pub can_reattest: bool,
    /// The serial number of its current SVID, which changes with each attestation or renewal.
    pub serial: String,
    /// When its SVID ends, seconds since 1970.
    pub expires_at: i64,
}

impl Server {
    /// Starts a server and waits until it is healthy.
    pub fn start(spire: &Spire, options: ServerOptions) -> Self {
        let mut server = Self::launch(spire, options);
        server.wait_healthy();
        server
    }

    /// Starts a server that may well not come up: see [`Process::wait`] and [`Process::log_contains`].
    pub fn launch(spire: &Spire, options: ServerOptions) -> Self {
        let directory = TempDir::with_prefix("spire-server-").expect("a temporary directory");
        let port = free_ports(1);
        configure(directory.path(), port, &options);
        let program = spire.server();
        let process = launch(&program, directory.path(), &options.environment);
        Self {
            process,
            program,
            port,
            options,
            directory,
        }
    }

    /// Stops the server and starts it again on the same data with the same configuration; the log goes on.
    pub fn restart(&mut self) {
        self.process.stop(STOP_TIME);
        self.process = launch(
            &self.program,
            self.directory.path(),
            &self.options.environment,
        );
        self.wait_healthy();
    }

    /// Runs `spire-server validate` on a configuration with these options, without starting a server.
    pub fn validate(spire: &Spire, options: &ServerOptions) -> Tool {
        let directory = TempDir::with_prefix("spire-server-").expect("a temporary directory");
        configure(directory.path(), free_ports(1), options);
        let config = directory.path().join("server.conf").display().to_string();
        Tool::run(spire.server(), &["validate", "-config", &config], &[])
    }

    /// Has SPIRE read the plugins' data files again.
    pub fn reload(&self) {
        self.process.signal(Signal::USR1);
    }

    /// The trust domain's name.
    pub fn trust_domain(&self) -> &str {
        &self.options.trust_domain
    }

    /// The port for agents, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The API's unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("api.sock")
    }

    /// The trust bundle, PEM.
    pub fn bundle(&self) -> String {
        self.command(&["bundle", "show"])
    }

    /// Makes a join token.
    pub fn join_token(&self) -> String {
        let answer = json(&self.command(&["token", "generate", "-output", "json"]));
        answer["value"].as_str().expect("a token").to_owned()
    }

    /// All agents that have attested.
    pub fn agents(&self) -> Vec<AttestedAgent> {
        let answer = json(&self.command(&["agent", "list", "-output", "json"]));
        answer["agents"]
            .as_array()
            .into_iter()
            .flatten()
            .map(attested_agent)
            .collect()
    }

    /// The agent with this SPIFFE ID, if it has attested.
    pub fn agent(&self, id: &str) -> Option<AttestedAgent> {
        self.agents().into_iter().find(|agent| agent.id == id)
    }

    /// Registers a workload under a parent (an agent or an alias); returns the entry's ID.
    pub fn create_entry(&self, parent: &str, id: &str, selectors: &[&str]) -> String {
        self.entry(&["-parentID", parent], id, selectors)
    }

    /// Registers an alias for all nodes with these selectors; returns the entry's ID.
    pub fn create_node_entry(&self, id: &str, selectors: &[&str]) -> String {
        self.entry(&["-node"], id, selectors)
    }

    /// Evicts an agent: it may attest again.
    pub fn evict(&self, id: &str) {
        self.command(&["agent", "evict", "-spiffeID", id]);
    }

    /// Bans an agent: it may not.
    pub fn ban(&self, id: &str) {
        self.command(&["agent", "ban", "-spiffeID", id]);
    }

    /// Runs any other command of `spire-server` against this server; fails the test if it fails.
    pub fn command(&self, arguments: &[&str]) -> String {
        let socket = self.socket().display().to_string();
        let arguments = [arguments, &["-socketPath", &socket]].concat();
        run(&self.program, &arguments, &[])
    }

    fn entry(&self, parent: &[&str], id: &str, selectors: &[&str]) -> String {
        let mut arguments = ["entry", "create", "-output", "json", "-spiffeID", id].to_vec();
        arguments.extend(parent);
        arguments.extend(
            selectors
                .iter()
                .flat_map(|selector| ["-selector", selector]),
        );
        let answer = json(&self.command(&arguments));
        let id = answer
            .pointer("/results/0/entry/id")
            .and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("the entry was not created: {answer}"))
            .to_owned()
    }

    fn wait_healthy(&mut self) {
        let socket = self.socket().display().to_string();
        let program = &self.program;
        self.process.wait_ready(START_TIME, || {
            Tool::run(program, &["healthcheck", "-socketPath", &socket], &[]).success
        });
    }
}

fn configure(directory: &Path, port: u16, options: &ServerOptions) {
    let path = |name: &str| quoted(&directory.join(name).display().to_string());
    let settings = format!(
        "  bind_address = \"127.0.0.1\"\n  bind_port = \"{port}\"\n  trust_domain = {}\n  data_dir = {}\n  \
         socket_path = {}\n  log_level = \"DEBUG\"\n  log_format = \"json\"\n  ca_ttl = \"24h\"\n  \
         agent_ttl = {}\n  default_x509_svid_ttl = {}\n  ratelimit {{ attestation = false }}\n{}\n",
        quoted(&options.trust_domain),
        path("data"),
        path("api.sock"),
        quoted(&options.agent_ttl),
        quoted(&options.svid_ttl),
        options.settings,
    );
    let database = format!(
        "database_type = \"sqlite3\"\nconnection_string = {}",
        path("data.sqlite3")
    );
    let mut plugins = vec![
        Plugin::built_in("DataStore", "sql", &database),
        Plugin::built_in(
            "KeyManager",
            "disk",
            &format!("keys_path = {}", path("keys.json")),
        ),
    ];
    plugins.extend(options.plugins.iter().cloned());
    write_config(
        &directory.join("server.conf"),
        "server",
        &settings,
        &plugins,
    );
}

fn launch(program: &Path, directory: &Path, environment: &[(String, String)]) -> Process {
    let config = directory.join("server.conf").display().to_string();
    Process::start_with(
        Stdio::null(),
        environment,
        program,
        &["run", "-config", &config],
        &directory.join("server.log"),
    )
}

fn attested_agent(agent: &Value) -> AttestedAgent {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let selectors = agent["selectors"].as_array().into_iter().flatten();
    AttestedAgent {
        id: format!(
            "spiffe://{}{}",
            text(&agent["id"]["trust_domain"]),
            text(&agent["id"]["path"])
        ),
        attestation_type: text(&agent["attestation_type"]),
        selectors: selectors
            .map(|one| format!("{}:{}", text(&one["type"]), text(&one["value"])))
            .collect(),
        banned: agent["banned"].as_bool().unwrap_or_default(),
        can_reattest: agent["can_reattest"].as_bool().unwrap_or_default(),
        serial: text(&agent["x509svid_serial_number"]),
        expires_at: text(&agent["x509svid_expires_at"])
            .parse()
            .expect("a time in seconds"),
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}
