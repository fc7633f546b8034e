//! One PostgreSQL server on loopback and on a unix socket, with its files in a temporary directory.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::port::free_ports;
use crate::process::{Process, Tool, run};
use crate::secrets::Secrets;

const START_TIME: Duration = Duration::from_secs(30);
const STOP_TIME: Duration = Duration::from_secs(20);

/// A running server; it ends, and its files are removed, on drop. Its superuser is `attestor`, with a password that holds
/// what a URL cannot; its encryption is on if it was started so.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    directory: TempDir,
    port: u16,
}

impl Postgres {
    /// The password of the user `attestor`.
    pub const PASSWORD: &str = "p@ss/w:rd#?%41 ${x} ü'\\";

    /// Starts a server that takes passwords (SCRAM-SHA-256) only.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server that also speaks TLS.
    pub fn start_encrypted(certificate: &str, key: &str) -> Self {
        Self::start_with(&[("server.crt", certificate), ("server.key", key)])
    }

    fn start_with(files: &[(&str, &str)]) -> Self {
        Secrets::known().learn("the password of the database", Self::PASSWORD.as_bytes());
        let directory = TempDir::with_prefix("postgres-").expect("a temporary directory");
        give(directory.path());
        let password = directory.path().join("password");
        fs::write(&password, Self::PASSWORD).expect("a file for the password");
        give(&password);
        let data = directory.path().join("data").display().to_string();
        let options = ["--no-sync", "--username=attestor", "--auth=scram-sha-256"];
        let password = format!("--pwfile={}", password.display());
        let mut arguments = command("initdb", &["--encoding=UTF8", "--locale=C", "-D", &data]);
        arguments.extend(options.map(str::to_owned));
        arguments.push(password);
        run("setpriv", &arguments, &[]);
        for (name, text) in files {
            let path = directory.path().join("data").join(name);
            fs::write(&path, text).expect("a file for the server");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
            give(&path);
        }
        let port = free_ports(1);
        Self {
            process: serve(directory.path(), port),
            directory,
            port,
        }
    }

    /// The URL of the database `postgres`, with `${NAME}` for the password.
    pub fn url(&self, variable: &str) -> String {
        let port = self.port;
        format!("postgres://attestor:${{{variable}}}@127.0.0.1:{port}/postgres")
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the unix socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs SQL as the superuser; what it returns, one row a line.
    pub fn sql(&self, sql: &str) -> String {
        let port = self.port.to_string();
        let psql = program("psql").display().to_string();
        let to = ["-h", "127.0.0.1", "-U", "attestor", "-d", "postgres", "-p"];
        let more = [&port, "-v", "ON_ERROR_STOP=1", "-X", "-A", "-t", "-c", sql];
        let arguments = [&to[..], &more[..]].concat();
        run(psql, &arguments, &[("PGPASSWORD", Self::PASSWORD)])
    }

    /// Whether the server takes connections.
    pub fn is_ready(&self) -> bool {
        let port = self.port.to_string();
        let arguments = ["-q", "-h", "127.0.0.1", "-p", &port];
        Tool::run(program("pg_isready"), &arguments, &[]).success
    }

    /// Ends the server at once, as a crash does. Connections end with it.
    pub fn stop(&mut self) {
        self.process.signal(Signal::QUIT);
        self.process.wait(STOP_TIME);
    }

    /// Stops all of the server where it is: connections stay, and nobody answers.
    pub fn freeze(&self) {
        assert!(self.signal_all(Signal::STOP), "the server has processes");
    }

    /// Goes on after [`Postgres::freeze`].
    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    /// Starts the server again after [`Postgres::stop`].
    pub fn start_again(&mut self) {
        self.process = serve(self.directory.path(), self.port);
    }

    /// The server's log, for a failure report.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The first process and those that it has made.
    fn signal_all(&self, signal: Signal) -> bool {
        self.process.signal(signal);
        let number = signal.as_raw().to_string();
        let parent = self.process.id().to_string();
        let arguments = ["--signal", &number, "-P", &parent];
        Tool::run("pkill", &arguments, &[]).success
    }
}

impl Drop for Postgres {
    /// In order, so that its children and its shared memory end, too.
    fn drop(&mut self) {
        if self.process.exit_status().is_none() {
            self.thaw();
            self.process.signal(Signal::QUIT);
            self.process.stop(STOP_TIME);
        }
    }
}

fn serve(directory: &Path, port: u16) -> Process {
    let data = directory.join("data");
    let has_key = data.join("server.key").exists();
    let settings = [
        format!("unix_socket_directories={}", directory.display()),
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "fsync=off".to_owned(),
        "max_connections=40".to_owned(),
        "shared_buffers=16MB".to_owned(),
        "dynamic_shared_memory_type=mmap".to_owned(),
        format!("ssl={}", if has_key { "on" } else { "off" }),
    ];
    let mut arguments = command("postgres", &["-D", &data.display().to_string()]);
    arguments.extend(settings.into_iter().flat_map(|set| ["-c".to_owned(), set]));
    let log = directory.join("postgres.log");
    let mut process = Process::start("setpriv", &arguments, &log);
    process.wait_ready(START_TIME, || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
            && fs::read_to_string(&log).is_ok_and(|log| log.contains("ready to accept connections"))
    });
    process
}

/// A command line for setpriv: the server does not run as root, and its user is another one then.
fn command(name: &str, arguments: &[&str]) -> Vec<String> {
    let mut line: Vec<String> = Vec::new();
    if rustix::process::geteuid().is_root() {
        line.extend(["--reuid=postgres", "--regid=postgres", "--clear-groups"].map(str::to_owned));
    }
    line.extend(["--pdeathsig", "KILL", "--"].map(str::to_owned));
    line.push(program(name).display().to_string());
    line.extend(arguments.iter().map(|&argument| argument.to_owned()));
    line
}

/// Makes the user that the server runs as the owner.
fn give(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let numbers = ["-u", "-g"].map(|which| run("id", &[which, "postgres"], &[]));
        let [user, group] = numbers.map(|number| number.trim().parse().expect("a number"));
        chown(path, Some(user), Some(group)).expect("root gives files away");
    }
}

/// Debian has the programs of each major version in a directory of its own; the newest is taken.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let newest = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .expect("a version of PostgreSQL");
    Path::new("/usr/lib/postgresql")
        .join(newest.to_string())
        .join("bin")
        .join(name)
}
