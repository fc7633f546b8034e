//! Measures how long SPIRE Agent takes from its start to "Node attestation was successful", with a TPM that has its EK ready.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool of the tests"
)]

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use tests::{Agent, AgentOptions, Manufacturer, Model, Plugin, Server, ServerOptions, Spire};

/// Starts that are measured, without an argument.
const STARTS: usize = 25;
/// Longer than any start takes.
const LIMIT: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let (agent, server, starts) = match arguments.as_slice() {
        [agent, server] => (agent, server, Ok(STARTS)),
        [agent, server, starts] => (agent, server, starts.parse()),
        _ => return usage(),
    };
    match starts {
        Ok(starts) if starts > 0 => {
            report(&mut measure(Path::new(agent), Path::new(server), starts));
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: start-time AGENT-PLUGIN SERVER-PLUGIN [STARTS]");
    ExitCode::from(64)
}

/// Milliseconds of each start.
fn measure(agent: &Path, server: &Path, starts: usize) -> Vec<u128> {
    let spire = Spire::version(Spire::CURRENT);
    let manufacturer = Manufacturer::new();
    let tpm = manufacturer.make(&Model::default());
    let anchors = tempfile::tempdir().expect("a temporary directory can be made");
    for (name, ca) in [
        ("root", manufacturer.root()),
        ("issuer", manufacturer.issuer()),
    ] {
        let copy = anchors.path().join(format!("{name}.pem"));
        fs::copy(ca, copy).expect("a file can be copied");
    }
    let trust = format!("ca_path = \"{}\"\n", anchors.path().display());
    let options = ServerOptions {
        plugins: vec![Plugin::external("NodeAttestor", "tpm", server, &trust)],
        ..ServerOptions::default()
    };
    let server = Server::start(&spire, options);
    let device = format!("device = \"unix:{}\"\n", tpm.socket().display());
    let options = AgentOptions {
        node_attestor: Plugin::external("NodeAttestor", "tpm", agent, &device),
        ..AgentOptions::default()
    };
    let start = |number| {
        eprintln!("start {number} of {starts}");
        start(&spire, &server, &options)
    };
    (1..=starts).map(start).collect()
}

fn start(spire: &Spire, server: &Server, options: &AgentOptions) -> u128 {
    let begin = Instant::now();
    let mut agent = Agent::start(spire, server, options);
    let log = agent.directory().join("agent.log");
    loop {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if text.contains("Node attestation was successful") {
            break;
        }
        assert!(begin.elapsed() < LIMIT, "no attestation:\n{text}");
        thread::sleep(Duration::from_millis(1));
    }
    let took = begin.elapsed().as_millis();
    agent.process.stop(LIMIT);
    took
}

fn report(milliseconds: &mut [u128]) {
    milliseconds.sort_unstable();
    let at = |place: usize| milliseconds.get(place).copied().unwrap_or_default();
    let last = milliseconds.len() - 1;
    println!(
        "{} starts: p50 {} ms, from {} to {} ms",
        milliseconds.len(),
        at(last / 2),
        at(0),
        at(last)
    );
}
