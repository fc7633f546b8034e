//! What was measured of a server's store.

use serde::Serialize;
use store::DatabaseAddress;

use crate::bench::StoreBenchArguments;
use crate::bench_facts::Facts;
use crate::bench_statistics::Latency;
use crate::output::{self, Report};

/// The whole result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoreReport {
    machine: Facts,
    store: &'static str,
    machines: usize,
    operations: usize,
    svid_keys: usize,
    runs_of: usize,
    driver_core: Option<usize>,
    /// Writing down a machine, several at a time.
    #[serde(rename = "enrolled_us")]
    enrolled: f64,
    /// Of the SQLite file and its log at the end, for each machine.
    bytes_per_machine: Option<u64>,
    /// Of each field the median over the runs.
    median: StoreRun,
    runs: Vec<StoreRun>,
}

/// One run. Times are in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoreRun {
    /// What is known of a machine.
    #[serde(rename = "lookup_us")]
    pub(crate) lookup: Latency,
    /// Its new state and its keys, in one transaction.
    #[serde(rename = "record_us")]
    pub(crate) record: Latency,
    /// The composer's question.
    #[serde(rename = "match_us")]
    pub(crate) matching: Latency,
    /// All three.
    #[serde(rename = "together_us")]
    pub(crate) together: Latency,
}

impl StoreReport {
    pub(crate) fn new(
        arguments: &StoreBenchArguments,
        address: &DatabaseAddress,
        enrolled: f64,
        bytes: Option<u64>,
        machine: Facts,
        runs: Vec<StoreRun>,
    ) -> Self {
        let machines = u64::try_from(arguments.machines).unwrap_or(u64::MAX);
        Self {
            machine,
            store: if address.is_postgres() {
                "PostgreSQL"
            } else {
                "SQLite"
            },
            machines: arguments.machines,
            operations: arguments.operations,
            svid_keys: arguments.svid_keys,
            runs_of: arguments.runs,
            driver_core: arguments.driver_core.0,
            enrolled,
            bytes_per_machine: bytes.map(|bytes| bytes / machines.max(1)),
            median: StoreRun::median(&runs),
            runs,
        }
    }
}

impl StoreRun {
    fn median(runs: &[Self]) -> Self {
        let of = |field: fn(&Self) -> Latency| {
            Latency::median(&runs.iter().map(field).collect::<Vec<_>>())
        };
        Self {
            lookup: of(|run| run.lookup),
            record: of(|run| run.record),
            matching: of(|run| run.matching),
            together: of(|run| run.together),
        }
    }
}

impl Report for StoreReport {
    fn table(&self) -> String {
        let cpu = format!("{} ({} CPUs)", self.machine.cpu, self.machine.cpus);
        let head = output::fields(vec![
            ("cpu", Some(cpu)),
            ("store", Some(self.store.to_owned())),
            ("machines", Some(self.machines.to_string())),
            (
                "operations",
                Some(format!(
                    "{} in each of {} runs",
                    self.operations, self.runs_of
                )),
            ),
            ("SVID keys", Some(self.svid_keys.to_string())),
            (
                "size",
                self.bytes_per_machine
                    .map(|bytes| format!("{bytes} bytes for each machine")),
            ),
        ]);
        let run = &self.median;
        let rows = [
            ("lookup", run.lookup),
            ("record", run.record),
            ("match", run.matching),
            ("together", run.together),
        ];
        let rows = rows.map(|(step, latency)| {
            let [p50, p99, max] =
                [latency.p50, latency.p99, latency.max].map(|time| format!("{time:.1}"));
            [step.to_owned(), p50, p99, max]
        });
        let header = ["STEP", "P50 µs", "P99 µs", "MAX µs"];
        format!("{head}\n{}", output::columns(header, rows.to_vec()))
    }
}
