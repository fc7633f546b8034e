//! What was measured of a key manager.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::{KeysArguments, Switch};
use crate::bench_agent_report::Warm;
use crate::bench_facts::{Facts, PluginFile};
use crate::bench_process::Memory;
use crate::bench_server_report::{head, mebibytes, milliseconds};
use crate::bench_statistics::{Latency, median};
use crate::cli::TpmArguments;
use crate::exit::Exit;
use crate::output::{self, Report};

/// The whole result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeysReport {
    machine: Facts,
    plugin: PluginFile,
    load: KeysLoad,
    /// Of each field the median over the runs; failures are added up.
    median: KeysRun,
    runs: Vec<KeysRun>,
}

/// What all runs have in common.
#[derive(Clone, Debug, Serialize)]
struct KeysLoad {
    device: String,
    signatures: usize,
    rotations: usize,
    attestations: usize,
    runs: usize,
    direct: bool,
    host_metrics: bool,
    plugin_core: Option<usize>,
    driver_core: Option<usize>,
    config: String,
}

/// One process of each role. Times are in microseconds, memory is in KiB.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeysRun {
    #[serde(rename = "configured_us")]
    pub(crate) configured: f64,
    /// The first key of the process.
    #[serde(rename = "first_us")]
    pub(crate) first: f64,
    /// Signatures with a key that is loaded: ECDSA with P-256 and SHA-256.
    pub(crate) signature: Warm,
    /// New keys of P-256, each in the place of an older one.
    pub(crate) rotation: Warm,
    /// The node attestor's, with all keys certified.
    pub(crate) attestation: Warm,
    /// Keys that each of them had certified.
    pub(crate) certified: usize,
    /// The key manager's.
    #[serde(rename = "memory_after_kib")]
    pub(crate) after: Memory,
    pub(crate) failures: BTreeMap<String, usize>,
}

impl KeysReport {
    pub(crate) fn new(
        arguments: &KeysArguments,
        tpm: &TpmArguments,
        machine: Facts,
        plugin: PluginFile,
        runs: Vec<KeysRun>,
    ) -> Self {
        let common = &arguments.common;
        Self {
            machine,
            plugin,
            load: KeysLoad {
                device: tpm.device.clone(),
                signatures: arguments.signatures,
                rotations: arguments.rotations,
                attestations: arguments.attestations,
                runs: common.runs,
                direct: arguments.direct,
                host_metrics: common.host_metrics == Switch::On,
                plugin_core: common.plugin_core.0,
                driver_core: common.driver_core.0,
                config: common.config.clone(),
            },
            median: KeysRun::median(&runs),
            runs,
        }
    }

    fn times(&self) -> String {
        let run = &self.median;
        let p50 = |latency: &Latency| latency.p50;
        let p99 = |latency: &Latency| latency.p99;
        let once = |time: f64| format!("{} ms", milliseconds(time));
        let rows = [
            ("configured", once(run.configured)),
            ("first key", once(run.first)),
            ("signature p50", run.signature.split(p50)),
            ("signature p99", run.signature.split(p99)),
            ("signature CPU", format!("{:.0} µs", run.signature.cpu)),
            ("new key p50", run.rotation.split(p50)),
            ("new key p99", run.rotation.split(p99)),
            ("keys certified", run.certified.to_string()),
            ("attestation p50", run.attestation.split(p50)),
            ("attestation p99", run.attestation.split(p99)),
            (
                "memory",
                format!("{} MiB after", mebibytes(run.after.resident)),
            ),
        ];
        output::fields(rows.map(|(name, value)| (name, Some(value))).to_vec())
    }

    fn commands(&self) -> Vec<[String; 4]> {
        let run = &self.median;
        let all = [&run.signature, &run.rotation, &run.attestation];
        let names = all.iter().flat_map(|warm| warm.commands.keys());
        let names: BTreeSet<_> = names.copied().collect();
        let row = |name: &'static str| {
            let [signature, rotation, attestation] = all.map(|warm| {
                let count = warm.commands.get(name).copied().unwrap_or_default();
                format!("{count:.2}")
            });
            [name.to_owned(), signature, rotation, attestation]
        };
        names.into_iter().map(row).collect()
    }
}

impl Report for KeysReport {
    fn table(&self) -> String {
        let mut table = head(&self.machine, &self.plugin) + "\n" + &self.times();
        let commands = self.commands();
        if !commands.is_empty() {
            let header = ["TPM COMMAND", "SIGNATURE", "NEW KEY", "ATTESTATION"];
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

impl KeysRun {
    fn median(runs: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| median(runs.iter().map(field));
        let calls =
            |field: fn(&Self) -> &Warm| Warm::median(&runs.iter().map(field).collect::<Vec<_>>());
        let mut failures = BTreeMap::new();
        for (reason, count) in runs.iter().flat_map(|run| &run.failures) {
            *failures.entry(reason.clone()).or_default() += count;
        }
        Self {
            configured: of(|run| run.configured),
            first: of(|run| run.first),
            signature: calls(|run| &run.signature),
            rotation: calls(|run| &run.rotation),
            attestation: calls(|run| &run.attestation),
            certified: runs
                .iter()
                .map(|run| run.certified)
                .min()
                .unwrap_or_default(),
            after: Memory::median(runs.iter().map(|run| run.after)),
            failures,
        }
    }
}
