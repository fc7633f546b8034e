//! The released files in an otherwise empty root directory, as uid 1000 without capabilities, under static SPIRE.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tests::{Manufacturer, Model, Process, Spire, Swtpm, Tool, run, until};

const LIMIT: Duration = Duration::from_mins(1);
const USER: u32 = 1000;

/// The released files as images have them.
fn released() -> PathBuf {
    tests::released().join("app")
}

/// A root directory with these files, /tmp and what SPIRE writes to.
fn empty_root(files: &[(&Path, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (from, to) in files {
        let to = root.path().join(to);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for directory in ["tmp", "data"] {
        let path = root.path().join(directory);
        fs::create_dir(&path).unwrap();
        chown(&path, Some(USER), Some(USER)).unwrap();
    }
    root
}

fn start(root: &TempDir, program: &str, log: &Path) -> Process {
    let root = root.path().display().to_string();
    let config = format!("/{program}.conf");
    let arguments = [
        "--userspec=1000:1000",
        "--groups=",
        &root,
        &format!("/{program}"),
        "run",
        "-config",
        &config,
    ];
    Process::start("chroot", &arguments, log)
}

fn server_config(port: u16) -> String {
    format!(
        r#"server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  trust_domain = "example.org"
  data_dir = "/data"
  socket_path = "/data/api.sock"
  log_format = "json"
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "/data/db" }} }}
  KeyManager "memory" {{ plugin_data {{}} }}
  NodeAttestor "tpm" {{
    plugin_cmd = "/tpm_attestor_server"
    plugin_data {{ ca_path = "/cas" }}
  }}
}}
"#
    )
}

fn agent_config(port: u16) -> String {
    format!(
        r#"agent {{
  data_dir = "/data"
  server_address = "127.0.0.1"
  server_port = "{port}"
  trust_domain = "example.org"
  socket_path = "/data/api.sock"
  trust_bundle_path = "/bundle.pem"
  log_format = "json"
}}
plugins {{
  NodeAttestor "tpm" {{
    plugin_cmd = "/tpm_attestor_agent"
    plugin_data {{ device = "unix:/tpm" }}
  }}
  KeyManager "memory" {{ plugin_data {{}} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"#
    )
}

fn server_root(dist: &Path, spire: &Spire, manufacturer: &Manufacturer, port: u16) -> TempDir {
    let plugin = dist.join("tpm_attestor_server");
    let root = empty_root(&[
        (&spire.server(), "spire-server"),
        (&plugin, "tpm_attestor_server"),
    ]);
    fs::write(root.path().join("spire-server.conf"), server_config(port)).unwrap();
    fs::create_dir(root.path().join("cas")).unwrap();
    fs::copy(manufacturer.issuer(), root.path().join("cas/issuer.pem")).unwrap();
    root
}

fn agent_root(dist: &Path, spire: &Spire, tpm: &Swtpm, bundle: &str, port: u16) -> TempDir {
    let plugin = dist.join("tpm_attestor_agent");
    let root = empty_root(&[
        (&spire.agent(), "spire-agent"),
        (&plugin, "tpm_attestor_agent"),
    ]);
    fs::write(root.path().join("spire-agent.conf"), agent_config(port)).unwrap();
    fs::write(root.path().join("bundle.pem"), bundle).unwrap();
    let socket = root.path().join("tpm");
    fs::hard_link(tpm.socket(), &socket).unwrap();
    chown(&socket, Some(USER), Some(USER)).unwrap();
    root
}

/// The plugin's process has no other root, user or capability than meant.
fn assert_confined(parent: u32, root: &Path) {
    let children = run("pgrep", &["-P", &parent.to_string()], &[]);
    let plugin = children.split_whitespace().next().unwrap().to_owned();
    assert_eq!(
        fs::read_link(format!("/proc/{plugin}/root")).unwrap(),
        root.canonicalize().unwrap()
    );
    let status = fs::read_to_string(format!("/proc/{plugin}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (field("Uid:"), field("Gid:")),
        ("1000".to_owned(), "1000".to_owned())
    );
    for set in ["CapEff:", "CapPrm:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
}

#[test]
fn the_released_files_need_nothing_else() {
    let dist = &released();
    let spire = Spire::version(Spire::CURRENT);
    let logs = TempDir::new().unwrap();
    let manufacturer = Manufacturer::new();
    let tpm = manufacturer.make(&Model::default());
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();

    let root = server_root(dist, &spire, &manufacturer, port);
    let server = start(&root, "spire-server", &logs.path().join("server.log"));
    let socket = root.path().join("data/api.sock").display().to_string();
    let command = |arguments: &[&str]| {
        Tool::run(
            spire.server(),
            &[arguments, &["-socketPath", &socket]].concat(),
            &[],
        )
    };
    until("a healthy server", LIMIT, || {
        command(&["healthcheck"]).success
    });
    assert_confined(server.id(), root.path());

    let bundle = command(&["bundle", "show"]).stdout;
    let root = agent_root(dist, &spire, &tpm, &bundle, port);
    let agent = start(&root, "spire-agent", &logs.path().join("agent.log"));
    agent.log_contains("Node attestation was successful", LIMIT);
    assert_confined(agent.id(), root.path());
    assert!(
        command(&["agent", "list"])
            .stdout
            .contains("spiffe://example.org/spire/agent/tpm/")
    );
}

#[test]
fn the_released_files_are_static() {
    let dist = &released();
    for name in [
        "tpm_attestor_server",
        "tpm_attestor_agent",
        "get_tpm_pubhash",
    ] {
        let said = Tool::run("ldd", &[&dist.join(name).display().to_string()], &[]);
        let said = format!("{}{}", said.stdout, said.stderr);
        let is_static =
            said.contains("statically linked") || said.contains("not a dynamic executable");
        assert!(is_static, "{name}: {said}");
    }
}
