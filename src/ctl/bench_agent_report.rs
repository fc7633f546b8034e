//! What was measured of an agent plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::{AgentArguments, Switch};
use crate::bench_facts::{Facts, PluginFile};
use crate::bench_process::Memory;
use crate::bench_server_report::{head, mebibytes, milliseconds};
use crate::bench_statistics::{Latency, median};
use crate::cli::TpmArguments;
use crate::exit::Exit;
use crate::output::{self, Report};

/// The whole result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AgentReport {
    pub(crate) machine: Facts,
    pub(crate) plugin: PluginFile,
    pub(crate) load: AgentLoad,
    /// Of each field the median over the runs; failures are added up.
    pub(crate) median: AgentRun,
    pub(crate) runs: Vec<AgentRun>,
}

/// What all runs have in common.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AgentLoad {
    pub(crate) device: String,
    pub(crate) ek: String,
    pub(crate) attestations: usize,
    pub(crate) runs: usize,
    pub(crate) direct: bool,
    pub(crate) host_metrics: bool,
    pub(crate) plugin_core: Option<usize>,
    pub(crate) driver_core: Option<usize>,
    pub(crate) config: String,
}

/// One process. Times are in microseconds, memory is in KiB.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AgentRun {
    #[serde(rename = "handshake_us")]
    pub(crate) handshake: f64,
    #[serde(rename = "configured_us")]
    pub(crate) configured: f64,
    pub(crate) first: First,
    pub(crate) warm: Warm,
    #[serde(rename = "memory_idle_kib")]
    pub(crate) idle: Memory,
    #[serde(rename = "memory_after_kib")]
    pub(crate) after: Memory,
    pub(crate) failures: BTreeMap<String, usize>,
}

/// The first attestation of a process, asked for as soon as it was configured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct First {
    #[serde(rename = "took_us")]
    pub(crate) took: f64,
    /// From the start of the process to the answer.
    #[serde(rename = "since_start_us")]
    pub(crate) since_start: f64,
    /// How much of that the TPM took.
    #[serde(rename = "tpm_us")]
    pub(crate) tpm: Option<f64>,
    /// TPM commands since the start, by name; empty where they are not seen.
    pub(crate) commands: BTreeMap<&'static str, usize>,
}

/// Calls after the first ones.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Warm {
    #[serde(rename = "latency_us")]
    pub(crate) latency: Latency,
    /// How much of it the TPM took.
    #[serde(rename = "tpm_us")]
    pub(crate) tpm: Option<Latency>,
    /// The rest of each, the way through this tool included.
    #[serde(rename = "outside_us")]
    pub(crate) outside: Option<Latency>,
    /// The plugin's CPU time for each.
    #[serde(rename = "cpu_us")]
    pub(crate) cpu: f64,
    /// TPM commands for each.
    pub(crate) commands: BTreeMap<&'static str, f64>,
}

impl AgentReport {
    pub(crate) fn new(
        arguments: &AgentArguments,
        tpm: &TpmArguments,
        machine: Facts,
        plugin: PluginFile,
        runs: Vec<AgentRun>,
    ) -> Self {
        let common = &arguments.common;
        Self {
            machine,
            plugin,
            load: AgentLoad {
                device: tpm.device.clone(),
                ek: tpm.ek.clone(),
                attestations: arguments.attestations,
                runs: common.runs,
                direct: arguments.direct,
                host_metrics: common.host_metrics == Switch::On,
                plugin_core: common.plugin_core.0,
                driver_core: common.driver_core.0,
                config: common.config.clone(),
            },
            median: AgentRun::median(&runs),
            runs,
        }
    }
}

impl Report for AgentReport {
    fn table(&self) -> String {
        let mut table = head(&self.machine, &self.plugin) + "\n" + &self.times();
        let commands = self.commands();
        if !commands.is_empty() {
            let header = ["TPM COMMAND", "TO FIRST", "WARM"];
            table = table + "\n" + &output::columns(header, commands);
        }
        for (reason, count) in &self.median.failures {
            writeln!(table, "\n{count} failed: {reason}").ok();
        }
        table
    }

    fn exit(&self) -> Exit {
        if self.median.failures.is_empty() {
            Exit::Good
        } else {
            Exit::Negative
        }
    }
}

impl AgentReport {
    fn times(&self) -> String {
        let run = &self.median;
        let first = &run.first;
        let outside = first.tpm.map(|tpm| first.since_start - tpm);
        let warm = |field| run.warm.split(field);
        let memory = format!(
            "{} MiB idle, {} MiB after",
            mebibytes(run.idle.resident),
            mebibytes(run.after.resident)
        );
        let rows = [
            ("handshake", split(run.handshake, None, None)),
            ("configured", split(run.configured, None, None)),
            ("first", split(first.took, None, None)),
            (
                "from start to first",
                split(first.since_start, first.tpm, outside),
            ),
            ("warm p50", warm(|latency| latency.p50)),
            ("warm p99", warm(|latency| latency.p99)),
            ("warm CPU", format!("{:.0} µs", run.warm.cpu)),
            ("memory", memory),
        ];
        output::fields(rows.map(|(name, value)| (name, Some(value))).to_vec())
    }

    fn commands(&self) -> Vec<[String; 3]> {
        let run = &self.median;
        let names = run.first.commands.keys().chain(run.warm.commands.keys());
        let names: BTreeSet<_> = names.copied().collect();
        let row = |name: &'static str| {
            let first = run.first.commands.get(name).copied().unwrap_or_default();
            let warm = run.warm.commands.get(name).copied().unwrap_or_default();
            [name.to_owned(), first.to_string(), format!("{warm:.2}")]
        };
        names.into_iter().map(row).collect()
    }
}

impl AgentRun {
    fn median(runs: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| median(runs.iter().map(field));
        let middle = runs.get(runs.len() / 2);
        let mut failures = BTreeMap::new();
        for (reason, count) in runs.iter().flat_map(|run| &run.failures) {
            *failures.entry(reason.clone()).or_default() += count;
        }
        let tpm: Option<Vec<_>> = runs.iter().map(|run| run.first.tpm).collect();
        Self {
            handshake: of(|run| run.handshake),
            configured: of(|run| run.configured),
            first: First {
                took: of(|run| run.first.took),
                since_start: of(|run| run.first.since_start),
                tpm: tpm.map(median),
                commands: middle
                    .map(|run| run.first.commands.clone())
                    .unwrap_or_default(),
            },
            warm: Warm::median(&runs.iter().map(|run| &run.warm).collect::<Vec<_>>()),
            idle: Memory::median(runs.iter().map(|run| run.idle)),
            after: Memory::median(runs.iter().map(|run| run.after)),
            failures,
        }
    }
}

impl Warm {
    pub(crate) fn median(runs: &[&Self]) -> Self {
        let latencies = |field: fn(&Self) -> Option<Latency>| {
            let all: Option<Vec<_>> = runs.iter().map(|run| field(run)).collect();
            all.map(|all| Latency::median(&all))
        };
        let middle = runs.get(runs.len() / 2);
        Self {
            latency: latencies(|run| Some(run.latency)).unwrap_or_default(),
            tpm: latencies(|run| run.tpm),
            outside: latencies(|run| run.outside),
            cpu: median(runs.iter().map(|run| run.cpu)),
            commands: middle.map(|run| run.commands.clone()).unwrap_or_default(),
        }
    }

    /// One of its quantiles, with the parts of it if they are known.
    pub(crate) fn split(&self, field: fn(&Latency) -> f64) -> String {
        let (tpm, outside) = (self.tpm.as_ref(), self.outside.as_ref());
        split(field(&self.latency), tpm.map(field), outside.map(field))
    }
}

/// A time, and the parts of it if they are known.
fn split(took: f64, tpm: Option<f64>, outside: Option<f64>) -> String {
    let parts = tpm.zip(outside).map(|(tpm, outside)| {
        format!(
            ", TPM {}, rest {}",
            milliseconds(tpm),
            milliseconds(outside)
        )
    });
    format!("{} ms{}", milliseconds(took), parts.unwrap_or_default())
}
