//! What was measured of a server plugin.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::{KeyType, ServerArguments, Switch, Wire};
use crate::bench_boot::Logs;
use crate::bench_facts::{Facts, PluginFile};
use crate::bench_fleet::{Fleet, Model};
use crate::bench_keys::kind;
use crate::bench_process::Memory;
use crate::bench_statistics::{Latency, median, median_whole};
use crate::bench_trouble::Done;
use crate::exit::Exit;
use crate::output::{self, Report};

/// The whole result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerReport {
    pub(crate) machine: Facts,
    pub(crate) plugin: PluginFile,
    pub(crate) load: Load,
    pub(crate) settings: Vec<Setting>,
}

/// What all settings have in common.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) identities: usize,
    pub(crate) attestations: usize,
    pub(crate) warm_up: usize,
    pub(crate) runs: usize,
    pub(crate) wire: &'static str,
    pub(crate) ek: &'static str,
    pub(crate) ak: &'static str,
    pub(crate) ca_key: &'static str,
    pub(crate) idle: usize,
    pub(crate) hostile: usize,
    pub(crate) hostile_rate: Option<usize>,
    pub(crate) rate: Option<usize>,
    pub(crate) host_metrics: bool,
    pub(crate) plugin_core: Option<usize>,
    pub(crate) driver_core: Option<usize>,
    pub(crate) config: String,
    /// SQLite or PostgreSQL, where machines with SVID keys were measured.
    pub(crate) store: Option<&'static str>,
}

/// One way to load the plugin.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    /// `hash` or `ca`.
    pub(crate) mode: &'static str,
    /// Files in ca_path.
    pub(crate) ca_files: usize,
    /// What becomes of the machines' boot event logs.
    pub(crate) log: Logs,
    /// Bytes of each; 0 where there are none.
    pub(crate) log_bytes: usize,
    /// SVID keys that each machine has certified; the server keeps a store where there are any.
    pub(crate) svid_keys: usize,
    pub(crate) streams: usize,
    /// Of each field the median over the runs; failures are added up.
    pub(crate) median: Run,
    pub(crate) runs: Vec<Run>,
}

/// One process. Times are in microseconds, memory is in KiB.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    /// CPU time of all the plugin's threads for each attestation.
    #[serde(rename = "cpu_us")]
    pub(crate) cpu: f64,
    pub(crate) per_second: f64,
    #[serde(rename = "latency_us")]
    pub(crate) latency: Latency,
    #[serde(rename = "handshake_us")]
    pub(crate) handshake: f64,
    #[serde(rename = "configured_us")]
    pub(crate) configured: f64,
    #[serde(rename = "memory_idle_kib")]
    pub(crate) idle: Memory,
    #[serde(rename = "memory_after_kib")]
    pub(crate) after: Memory,
    pub(crate) failures: BTreeMap<String, usize>,
    /// The same load once more beside idle and hostile streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) beside: Option<Beside>,
}

/// Honest machines beside idle and hostile streams.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Beside {
    #[serde(rename = "latency_us")]
    pub(crate) latency: Latency,
    pub(crate) failures: BTreeMap<String, usize>,
    /// While all of them were there.
    #[serde(rename = "memory_kib")]
    pub(crate) memory: Memory,
    #[serde(flatten)]
    pub(crate) done: Done,
}

impl ServerReport {
    pub(crate) fn new(
        arguments: &ServerArguments,
        model: Model,
        machine: Facts,
        plugin: PluginFile,
        settings: Vec<Setting>,
    ) -> Self {
        let common = &arguments.common;
        let load = Load {
            identities: arguments.machines(),
            attestations: arguments.attestations,
            warm_up: arguments.warm_up,
            runs: common.runs,
            wire: match model.wire {
                Wire::First => "first",
                Wire::Current => "current",
            },
            ek: kind(model.ek),
            ak: word(model.ak),
            ca_key: word(model.ca_key),
            idle: arguments.idle,
            hostile: arguments.hostile,
            hostile_rate: arguments.hostile_rate,
            rate: arguments.rate,
            host_metrics: common.host_metrics == Switch::On,
            plugin_core: common.plugin_core.0,
            driver_core: common.driver_core.0,
            config: common.config.clone(),
            store: arguments.svid_keys.map(|_| match &arguments.store {
                Some(address) if !address.starts_with('/') => "PostgreSQL",
                _ => "SQLite",
            }),
        };
        Self {
            machine,
            plugin,
            load,
            settings,
        }
    }
}

impl Report for ServerReport {
    fn table(&self) -> String {
        let mut table = head(&self.machine, &self.plugin);
        table += &self.load.table();
        table += "\n";
        table += &costs(&self.settings);
        table += "\n";
        table += &starts(&self.settings);
        let more = more(&self.settings);
        if !more.is_empty() {
            table += "\n";
            table += &output::columns(MORE, more);
        }
        let troubled: Vec<_> = self.settings.iter().filter_map(troubled).collect();
        if !troubled.is_empty() {
            table += "\n";
            table += &output::columns(TROUBLED, troubled);
        }
        for (reason, count) in self.settings.iter().flat_map(Setting::failures) {
            writeln!(table, "{count} failed: {reason}").ok();
        }
        table
    }

    fn exit(&self) -> Exit {
        if self.settings.iter().all(Setting::is_good) {
            Exit::Good
        } else {
            Exit::Negative
        }
    }
}

impl Setting {
    /// Everything about one setting of machines without logs; `ca_files` is 0 where they are known by hash.
    pub(crate) fn new(ca_files: usize, fleet: &Fleet, streams: usize, runs: Vec<Run>) -> Self {
        Self {
            mode: if ca_files == 0 { "hash" } else { "ca" },
            ca_files,
            log: fleet.logs,
            log_bytes: 0,
            svid_keys: fleet.svid_keys,
            streams,
            median: Run::median(&runs),
            runs,
        }
    }

    /// The same of machines with logs of this size.
    pub(crate) fn with_log_bytes(self, log_bytes: usize) -> Self {
        Self { log_bytes, ..self }
    }

    /// Whether machines bring more than their identity.
    fn has_more(&self) -> bool {
        self.log != Logs::Absent || self.svid_keys > 0
    }

    fn is_good(&self) -> bool {
        let granted = self
            .median
            .beside
            .as_ref()
            .map_or(0, |beside| beside.done.granted);
        granted == 0 && self.failures().next().is_none()
    }

    fn failures(&self) -> impl Iterator<Item = (&String, &usize)> {
        let beside = self.median.beside.iter();
        let beside = beside.flat_map(|beside| &beside.failures);
        self.median.failures.iter().chain(beside)
    }

    /// Mode, CA files, the log, SVID keys and streams.
    fn names(&self) -> [String; 5] {
        let number = |number: usize| match number {
            0 => "-".to_owned(),
            number => number.to_string(),
        };
        [
            self.mode.to_owned(),
            number(self.ca_files),
            match self.log {
                Logs::Absent => "-".to_owned(),
                Logs::Sent => format!("{} sent", self.log_bytes),
                Logs::Known => format!("{} known", self.log_bytes),
            },
            number(self.svid_keys),
            self.streams.to_string(),
        ]
    }
}

impl Run {
    fn median(runs: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| median(runs.iter().map(field));
        Self {
            cpu: of(|run| run.cpu),
            per_second: of(|run| run.per_second),
            latency: Latency::median(&runs.iter().map(|run| run.latency).collect::<Vec<_>>()),
            handshake: of(|run| run.handshake),
            configured: of(|run| run.configured),
            idle: Memory::median(runs.iter().map(|run| run.idle)),
            after: Memory::median(runs.iter().map(|run| run.after)),
            failures: sum(runs.iter().flat_map(|run| &run.failures)),
            beside: Beside::median(
                &runs
                    .iter()
                    .filter_map(|run| run.beside.as_ref())
                    .collect::<Vec<_>>(),
            ),
        }
    }
}

impl Beside {
    fn median(runs: &[&Self]) -> Option<Self> {
        let first = runs.first()?;
        let latencies: Vec<_> = runs.iter().map(|run| run.latency).collect();
        let mut attacks: BTreeMap<_, BTreeMap<String, usize>> = BTreeMap::new();
        for (attack, answers) in runs.iter().flat_map(|run| &run.done.attacks) {
            let all = attacks.entry(*attack).or_default();
            for (answer, count) in answers {
                *all.entry(answer.clone()).or_default() += count;
            }
        }
        Some(Self {
            latency: Latency::median(&latencies),
            failures: sum(runs.iter().flat_map(|run| &run.failures)),
            memory: Memory::median(runs.iter().map(|run| run.memory)),
            done: Done {
                idle: runs
                    .iter()
                    .map(|run| run.done.idle)
                    .min()
                    .unwrap_or(first.done.idle),
                attacks,
                granted: runs.iter().map(|run| run.done.granted).sum(),
            },
        })
    }
}

impl Done {
    fn count(&self) -> usize {
        self.attacks.values().flat_map(BTreeMap::values).sum()
    }
}

impl Memory {
    pub(crate) fn median(runs: impl Iterator<Item = Self> + Clone) -> Self {
        Self {
            resident: median_whole(runs.clone().map(|run| run.resident)),
            peak: median_whole(runs.clone().map(|run| run.peak)),
            anonymous: median_whole(runs.map(|run| run.anonymous)),
        }
    }
}

impl Load {
    fn table(&self) -> String {
        output::fields(vec![
            (
                "machines",
                Some(format!("{} with {} EKs", self.identities, self.ek)),
            ),
            (
                "wire format",
                Some(format!("{}, {} AKs", self.wire, self.ak)),
            ),
            (
                "attestations",
                Some(format!(
                    "{} in each of {} runs",
                    self.attestations, self.runs
                )),
            ),
            ("CA keys", Some(self.ca_key.to_owned())),
        ])
    }
}

/// On what, and of what.
pub(crate) fn head(machine: &Facts, plugin: &PluginFile) -> String {
    output::fields(vec![
        (
            "cpu",
            Some(format!("{} ({} CPUs)", machine.cpu, machine.cpus)),
        ),
        (
            "kernel",
            Some(format!("{} {}", machine.kernel, machine.architecture)),
        ),
        (
            "plugin",
            Some(format!("{} ({} bytes)", plugin.path, plugin.bytes)),
        ),
    ])
}

pub(crate) fn mebibytes(kibibytes: u64) -> String {
    format!("{}.{}", kibibytes / 1024, kibibytes % 1024 * 10 / 1024)
}

pub(crate) fn milliseconds(microseconds: f64) -> String {
    format!("{:.2}", microseconds / 1e3)
}

fn costs(settings: &[Setting]) -> String {
    let rows = settings.iter().map(|setting| {
        let [mode, files, log, keys, streams] = setting.names();
        let run = &setting.median;
        [
            mode,
            files,
            log,
            keys,
            streams,
            format!("{:.1}", run.cpu),
            milliseconds(run.latency.p50),
            milliseconds(run.latency.p99),
            format!("{:.0}", run.per_second),
            setting.median.failures.values().sum::<usize>().to_string(),
        ]
    });
    let header = [
        "MODE",
        "CA FILES",
        "LOG",
        "KEYS",
        "STREAMS",
        "CPU µs",
        "P50 ms",
        "P99 ms",
        "PER SECOND",
        "FAILED",
    ];
    output::columns(header, rows.collect())
}

fn starts(settings: &[Setting]) -> String {
    let rows = settings.iter().map(|setting| {
        let [mode, files, log, keys, streams] = setting.names();
        let run = &setting.median;
        [
            mode,
            files,
            log,
            keys,
            streams,
            milliseconds(run.handshake),
            milliseconds(run.configured),
            mebibytes(run.idle.resident),
            mebibytes(run.after.resident),
            mebibytes(run.after.peak),
        ]
    });
    let header = [
        "MODE",
        "CA FILES",
        "LOG",
        "KEYS",
        "STREAMS",
        "HANDSHAKE ms",
        "CONFIGURED ms",
        "IDLE MiB",
        "AFTER MiB",
        "PEAK MiB",
    ];
    output::columns(header, rows.collect())
}

/// What logs and SVID keys cost: each setting that has them beside the last one before it that is the same without.
fn more(settings: &[Setting]) -> Vec<[String; 10]> {
    let pairs = settings.chunk_by(|_, next| next.has_more());
    let pairs = pairs.filter_map(<[_]>::split_first);
    let pairs = pairs.flat_map(|(without, with)| with.iter().map(move |with| (without, with)));
    let row = |(without, with): (&Setting, &Setting)| {
        let [mode, files, log, keys, streams] = with.names();
        let (without, with) = (&without.median, &with.median);
        let ratio = if without.cpu > 0.0 {
            with.cpu / without.cpu
        } else {
            0.0
        };
        [
            mode,
            files,
            log,
            keys,
            streams,
            format!("{:.1}", without.cpu),
            format!("{:.1}", with.cpu),
            format!("{ratio:.2}"),
            mebibytes(without.after.resident),
            mebibytes(with.after.resident),
        ]
    };
    pairs.map(row).collect()
}

const MORE: [&str; 10] = [
    "MODE",
    "CA FILES",
    "LOG",
    "KEYS",
    "STREAMS",
    "WITHOUT µs",
    "WITH µs",
    "RATIO",
    "WITHOUT MiB",
    "WITH MiB",
];

const TROUBLED: [&str; 12] = [
    "MODE", "CA FILES", "LOG", "KEYS", "STREAMS", "IDLE", "ATTACKS", "P50 ms", "BESIDE", "P99 ms",
    "BESIDE", "MiB",
];

fn troubled(setting: &Setting) -> Option<[String; 12]> {
    let [mode, files, log, keys, streams] = setting.names();
    let run = &setting.median;
    let beside = run.beside.as_ref()?;
    let both = |quiet: f64, beside: f64| {
        let ratio = if quiet > 0.0 { beside / quiet } else { 0.0 };
        [
            milliseconds(quiet),
            format!("{} ({ratio:.2} ×)", milliseconds(beside)),
        ]
    };
    let [p50, p50_beside] = both(run.latency.p50, beside.latency.p50);
    let [p99, p99_beside] = both(run.latency.p99, beside.latency.p99);
    Some([
        mode,
        files,
        log,
        keys,
        streams,
        beside.done.idle.to_string(),
        beside.done.count().to_string(),
        p50,
        p50_beside,
        p99,
        p99_beside,
        mebibytes(beside.memory.resident),
    ])
}

fn sum<'a, K: Ord + Clone + 'a>(
    counts: impl Iterator<Item = (&'a K, &'a usize)>,
) -> BTreeMap<K, usize> {
    let mut all = BTreeMap::new();
    for (key, count) in counts {
        *all.entry(key.clone()).or_default() += count;
    }
    all
}

fn word(key: KeyType) -> &'static str {
    match key {
        KeyType::Rsa => "rsa",
        KeyType::Ecc => "ecc",
    }
}
