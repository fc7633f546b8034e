//! What abuse must leave as it was: the honest machine's identity, descriptors, threads and memory.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::{Entry, Loaded, Side, Subject};
use plugin::{AgentAttributes, Status};
use rustix::process::{Pid, kill_process};
use softtpm::Prover;
use tests::{Signal, binary, until};

use crate::process_grants::machine;
use crate::process_plugin::{LIMIT, Records, attest, configured, name, unload};

/// Bytes that the server may have resident at any time, far above what its limits add up to in these tests: 64 messages of
/// a mebibyte, and as much for what is made of them.
pub(crate) const MOST_MEMORY: usize = 192 << 20;

/// Whether the tests may take minutes.
pub(crate) fn is_full() -> bool {
    std::env::var_os("TPM_ATTESTOR_FULL").is_some()
}

/// A server with one enrolled machine, and what the process held before anything happened to it.
pub(crate) struct Scene {
    pub(crate) records: Records,
    pub(crate) server: Arc<Loaded>,
    pub(crate) pid: u32,
    honest: Prover,
    before: Footprint,
}

impl Scene {
    pub(crate) async fn new(more: &str) -> Self {
        let records = Records::new();
        let server = configured(Side::Server, &records.enrolment(more)).await;
        Self::of(records, server).await
    }

    /// With a server that was loaded otherwise.
    pub(crate) async fn of(records: Records, mut server: Loaded) -> Self {
        let mut honest = machine();
        records.enrol(honest.tpm.ek_hash());
        attest(&server, &mut honest).await.unwrap();
        let pid = server.process().pid().unwrap();
        Self {
            records,
            server: Arc::new(server),
            pid,
            honest,
            before: Footprint::of(pid),
        }
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Stops the process, and waits until it stands still.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        until("the process stands still", LIMIT, || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
            status.lines().any(|line| line.starts_with("State:\tT"))
        });
    }

    /// Unloads the plugin, and gives all that it logged.
    pub(crate) async fn unload(self) -> Vec<Entry> {
        unload(Arc::into_inner(self.server).unwrap()).await
    }

    /// The honest machine attests.
    pub(crate) async fn attest(&mut self) -> Result<AgentAttributes, Status> {
        attest(&self.server, &mut self.honest).await
    }

    /// The honest machine gets its identity, within the time that a host would give it.
    pub(crate) async fn serves(&mut self, after: &str) {
        let attested = tokio::time::timeout(LIMIT, self.attest()).await;
        let attested = attested.unwrap_or_else(|_| panic!("nobody is served after {after}"));
        attested.unwrap_or_else(|status| panic!("after {after}: {status}"));
    }

    /// The process runs, serves, and holds no more than before.
    pub(crate) async fn unharmed(&mut self, after: &str) {
        self.serves(after).await;
        let pid = self.pid;
        let begin = Instant::now();
        loop {
            let now = Footprint::of(pid);
            if now.descriptors <= self.before.descriptors && now.threads <= self.before.threads {
                break;
            }
            assert!(
                begin.elapsed() < LIMIT,
                "after {after}: {now:?}, before: {:?}",
                self.before
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let peak = peak_memory(pid);
        assert!(peak < MOST_MEMORY, "after {after}: {peak} bytes");
    }
}

/// What a process holds.
#[derive(Debug)]
struct Footprint {
    descriptors: usize,
    threads: usize,
}

impl Footprint {
    fn of(pid: u32) -> Self {
        let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
        Self {
            descriptors: count("fd"),
            threads: count("task"),
        }
    }
}

/// The most bytes that were ever resident.
pub(crate) fn peak_memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        << 10
}

/// The server's plugin, started by a shell script in which `$0` is its binary.
pub(crate) fn scripted(script: &str) -> Subject {
    Subject::node_attestor("/bin/sh", Side::Server)
        .argument("-c")
        .argument(script)
        .argument(binary(name(Side::Server)))
}
