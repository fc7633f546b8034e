//! A server's store under load: what an attestation and the SVID after it cost of it.

use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use evidence::{ClockInfo, EkHash, Hash, Name};
use indicatif::ProgressBar;
use store::{Database, KeyRecords};
use tempfile::TempDir;
use tokio::task::JoinSet;
use verify::MachineState;

use crate::bench::StoreBenchArguments;
use crate::bench_facts::Facts;
use crate::bench_keys::progress;
use crate::bench_server::{on_core, runtime};
use crate::bench_statistics::{Latency, microseconds, per};
use crate::bench_store_report::{StoreReport, StoreRun};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::now;
use crate::quarantine_store::address;

/// Measures a store.
pub(crate) fn measure(arguments: &StoreBenchArguments) -> Result<StoreReport, Failure> {
    let _pinned = on_core(arguments.driver_core)?;
    let directory = TempDir::with_prefix("tpm-attestor-bench-")
        .map_err(|error| Failure::new(Exit::Environment, "output_failed", error.to_string()))?;
    let own = directory.path().join("store.sqlite3").display().to_string();
    let address = address(arguments.store.as_deref().unwrap_or(&own))?;
    let runtime = runtime()?;
    let database = runtime.block_on(Database::open(&address))?;
    let bench = Bench {
        arguments,
        database,
        // Other machines each time: a store that is given may be given again.
        seed: random()?,
    };
    let begun = Instant::now();
    runtime.block_on(bench.enrol())?;
    let enrolled = per(microseconds(begun.elapsed()), arguments.machines);
    let bar = progress("runs", arguments.runs);
    let mut runs = Vec::new();
    for run in 0..arguments.runs {
        runs.push(runtime.block_on(bench.run(run))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let bytes = (!address.is_postgres()).then(|| bytes(&address.to_string()));
    Ok(StoreReport::new(
        arguments,
        &address,
        enrolled,
        bytes,
        Facts::gather(),
        runs,
    ))
}

struct Bench<'a> {
    arguments: &'a StoreBenchArguments,
    database: Database,
    seed: u64,
}

/// What was timed.
#[derive(Default)]
struct Times {
    lookup: Vec<Duration>,
    record: Vec<Duration>,
    matching: Vec<Duration>,
    together: Vec<Duration>,
}

impl Bench<'_> {
    /// Writes down all machines, several at a time.
    async fn enrol(&self) -> Result<(), Failure> {
        let bar = progress("machines written", self.arguments.machines);
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            let (database, bar, seed) = (self.database.clone(), bar.clone(), self.seed);
            let machines = (writer..self.arguments.machines).step_by(WRITERS);
            tasks.spawn(async move { write_all(&database, seed, machines, &bar).await });
        }
        while let Some(written) = tasks.join_next().await {
            written.map_err(|error| bench_failed(&error.to_string()))??;
        }
        bar.finish_and_clear();
        Ok(())
    }

    async fn run(&self, run: usize) -> Result<StoreRun, Failure> {
        let operations = self.arguments.operations;
        let mut times = Times::default();
        // The first tenth warms up.
        let warm_up = operations.div_ceil(10);
        for number in 0..operations + warm_up {
            if number == warm_up {
                times = Times::default();
            }
            let number = run * (operations + warm_up) + number;
            self.operation(number, &mut times).await?;
        }
        Ok(StoreRun {
            lookup: Latency::of(times.lookup),
            record: Latency::of(times.record),
            matching: Latency::of(times.matching),
            together: Latency::of(times.together),
        })
    }

    /// An attestation, and the SVID after it, of a machine that is far from the last one.
    async fn operation(&self, number: usize, times: &mut Times) -> Result<(), Failure> {
        let machine = number.wrapping_mul(STRIDE) % self.arguments.machines;
        let ek = ek(self.seed, machine)?;
        let agent_id = format!("spiffe://example.org/spire/agent/tpm/{}", ek.hex());
        let keys: Vec<_> = (0..self.arguments.svid_keys)
            .map(|key| {
                digest(&[
                    b"key",
                    &bytes_of(&self.seed),
                    &bytes_of(&number),
                    &bytes_of(&key),
                ])
            })
            .collect();
        let now_ms = now_ms();
        let begun = Instant::now();
        let known = self.database.machine(&ek).await?;
        let looked_up = Instant::now();
        let known = known.ok_or_else(|| bench_failed("a machine is not known"))?;
        let records = KeyRecords {
            agent_id: &agent_id,
            spki_sha256: &keys,
            expires_ms: now_ms + LIFETIME_MS,
        };
        let state = MachineState {
            seen_ms: now_ms,
            ..known.state
        };
        let writing = Instant::now();
        let recorded = self
            .database
            .admit(&ek, Some(known.revision), &state, &records)
            .await?;
        let written = Instant::now();
        let key = keys.last().copied().unwrap_or_default();
        let matched = self.database.consume_key(&agent_id, &key, now_ms).await?;
        let ended = Instant::now();
        if !recorded || !matched {
            return Err(bench_failed("what was written is not there"));
        }
        times.lookup.push(looked_up - begun);
        times.record.push(written - writing);
        times.matching.push(ended - written);
        times.together.push(ended - begun);
        Ok(())
    }
}

async fn write_all(
    database: &Database,
    seed: u64,
    machines: impl Iterator<Item = usize>,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    for machine in machines {
        let written = database
            .replace(&ek(seed, machine)?, None, &state(machine), None)
            .await?;
        if !written {
            return Err(bench_failed("a machine is known already"));
        }
        bar.inc(1);
    }
    Ok(())
}

/// As large as a machine's state gets after some boots.
fn state(machine: usize) -> MachineState {
    let name = |what: &[u8]| {
        let digest = digest(&[what, &bytes_of(&machine)]);
        Name::from_bytes(&[&[0, 0x0B][..], &digest].concat())
    };
    let boot = |boot: usize| {
        let digest = hex::encode(digest(&[b"boot", &bytes_of(&machine), &bytes_of(&boot)]));
        digest.chars().take(BOOT_ID).collect()
    };
    MachineState {
        ak: name(b"ak"),
        storage_root: Some(name(b"storage root")),
        clock: Some(ClockInfo {
            clock: 86_400_000,
            reset_count: 7,
            restart_count: 0,
            safe: true,
        }),
        boot_ids: (0..verify::BOOT_IDS).map(boot).collect(),
        seen_ms: 0,
    }
}

fn ek(seed: u64, machine: usize) -> Result<EkHash, Failure> {
    let digest = digest(&[b"ek", &bytes_of(&seed), &bytes_of(&machine)]);
    EkHash::from_hex(&hex::encode(digest)).ok_or_else(|| bench_failed("a digest is no hash"))
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    Hash::Sha256.digest(parts).try_into().unwrap_or_default()
}

fn bytes_of(number: &impl ToString) -> Vec<u8> {
    let text = number.to_string();
    [&[0xFF], text.as_bytes()].concat()
}

/// To the second.
fn now_ms() -> i64 {
    now().saturating_mul(1000)
}

fn random() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_failed| bench_failed("there is no randomness"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// The file, and what is beside it.
fn bytes(path: &str) -> u64 {
    let sizes = ["", "-wal"].map(|end| std::fs::metadata(format!("{path}{end}")));
    let sizes = sizes.into_iter().flatten();
    sizes.map(|metadata| metadata.len()).sum()
}

fn bench_failed(message: &str) -> Failure {
    Failure::new(Exit::Environment, "bench_failed", message)
}

/// Machines that are written at a time.
const WRITERS: usize = 16;
/// A prime, so that machines come in no order.
const STRIDE: usize = 1_000_003;
/// The server's.
const LIFETIME_MS: i64 = 120_000;
/// Characters of the kernel's.
const BOOT_ID: usize = 36;
