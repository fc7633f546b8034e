//! The server plugin under load: every setting several times, each time in a new process.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conformance::{Broker, Host, Loaded, LogLine, Pinned, Process, Side, Subject};
use softtpm::KeyKind;
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};
use tokio::time::sleep;

use crate::bench::{CommonArguments, Core, KeyType, Mode, ServerArguments, Switch, Wire};
use crate::bench_boot::{Booted, Logs};
use crate::bench_facts::{Facts, PluginFile};
use crate::bench_fleet::{Fleet, Maker, Model, Outfit};
use crate::bench_keys::{Keys, progress};
use crate::bench_load::{Demand, Outcome, load};
use crate::bench_process::Watched;
use crate::bench_server_report::{Beside, Run, ServerReport, Setting};
use crate::bench_statistics::{Latency, microseconds, per};
use crate::bench_trouble::{Trouble, attacks};
use crate::cli::TpmArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::text::printable;
use crate::trial::TRUST_DOMAIN;

/// Measures all settings that the arguments ask for.
pub(crate) fn measure(
    arguments: &ServerArguments,
    tpm: &TpmArguments,
) -> Result<ServerReport, Failure> {
    let model = model(arguments, tpm)?;
    enough_machines(arguments)?;
    let plugin = PluginFile::of(&arguments.common.plugin)?;
    let grounds = grounds(arguments);
    let authorities = grounds.iter().map(|ground| ground.ca_files()).max();
    let booted = booted(arguments)?;
    let keys = Keys::in_directory(arguments.cache.as_deref())?;
    let maker = Maker::new(
        model,
        arguments.machines(),
        authorities.unwrap_or_default(),
        &keys,
    )?;
    let runtime = runtime()?;
    let bench = Bench {
        arguments,
        model,
        maker: &maker,
        booted: booted.as_ref(),
        runtime: &runtime,
    };
    let mut settings = Vec::new();
    for ground in grounds {
        settings.extend(bench.measure(ground)?);
    }
    Ok(ServerReport::new(
        arguments,
        model,
        Facts::gather(),
        plugin,
        settings,
    ))
}

/// One thread: the driver has one CPU.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Environment, "bench_failed", error.to_string()))
}

/// The plugin, started as SPIRE does, and configured.
pub(crate) async fn start(
    common: &CommonArguments,
    side: Side,
    configuration: &str,
) -> Result<(Loaded, Started), Failure> {
    let subject = Subject::node_attestor(&common.plugin, side);
    let text = format!("{configuration}{}\n", common.config);
    start_as(common, subject, &text).await
}

/// The plugin in a role of its own, with this configuration and no further lines.
pub(crate) async fn start_as(
    common: &CommonArguments,
    mut subject: Subject,
    configuration: &str,
) -> Result<(Loaded, Started), Failure> {
    subject.core = common.plugin_core.0;
    let broker = match common.host_metrics {
        Switch::On => Broker::Serving,
        Switch::Off => Broker::Absent,
    };
    let host = Host::new().broker(broker);
    let mut loaded = host
        .load(&subject)
        .await
        .map_err(|error| plugin_failed(&error.to_string()))?;
    loaded
        .configure(Some(TRUST_DOMAIN), configuration)
        .await
        .map_err(|status| plugin_failed(&format!("Configure: {}", status.message())))?;
    let process = loaded.process();
    let configured = process.started().elapsed();
    let watched = process.pid().and_then(Watched::of);
    let started = Started {
        handshake: process.handshake_after(),
        configured,
        watched: watched.ok_or_else(|| plugin_failed("it has ended"))?,
    };
    Ok((loaded, started))
}

/// A plugin that has been started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started {
    /// From the start to the handshake.
    pub(crate) handshake: Duration,
    /// From the start to Configure's answer.
    pub(crate) configured: Duration,
    pub(crate) watched: Watched,
}

/// The thread is on the driver's CPU while this lives.
pub(crate) fn on_driver_core(common: &CommonArguments) -> Result<Option<Pinned>, Failure> {
    on_core(common.driver_core)
}

/// The thread is on this CPU while the result lives.
pub(crate) fn on_core(core: Core) -> Result<Option<Pinned>, Failure> {
    let pinned = core.0.map(Pinned::to).transpose();
    pinned.map_err(|error| {
        Failure::new(Exit::Environment, "bench_failed", error.to_string())
            .hint("choose CPUs with --plugin-core and --driver-core, or any")
    })
}

pub(crate) fn plugin_failed(message: &str) -> Failure {
    Failure::new(Exit::Environment, "plugin_failed", message)
}

/// A string of a configuration.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A plugin that is idle has done what it does after Configure.
pub(crate) const SETTLING: Duration = Duration::from_millis(200);

/// By what machines are known, and how large that is.
#[derive(Clone, Copy, Debug)]
enum Ground {
    Hash,
    Ca(usize),
}

impl Ground {
    fn ca_files(self) -> usize {
        match self {
            Self::Hash => 0,
            Self::Ca(files) => files,
        }
    }
}

fn grounds(arguments: &ServerArguments) -> Vec<Ground> {
    let by_hash = arguments.mode != Mode::Ca;
    let by_certificate = arguments.mode != Mode::Hash;
    let files = arguments.ca_files.iter().filter(|_| by_certificate);
    let hash = by_hash.then_some(Ground::Hash).into_iter();
    hash.chain(files.map(|files| Ground::Ca(*files))).collect()
}

fn model(arguments: &ServerArguments, tpm: &TpmArguments) -> Result<Model, Failure> {
    let ek = match tpm.ek.as_str() {
        "auto" | "rsa" | "L-1" | "H-1" => KeyKind::Rsa2048,
        "ecc" | "L-2" | "H-2" => KeyKind::P256,
        "H-3" => KeyKind::P384,
        "H-4" => KeyKind::P521,
        "H-6" => KeyKind::Rsa3072,
        "H-7" => KeyKind::Rsa4096,
        other => {
            let message = format!("no machine has the key {other}");
            return Err(Failure::new(Exit::Usage, "usage", message));
        }
    };
    Ok(Model {
        ek,
        ak: arguments.ak.unwrap_or(match arguments.wire {
            Wire::First => KeyType::Rsa,
            Wire::Current => KeyType::Ecc,
        }),
        ca_key: arguments.ca_key,
        wire: arguments.wire,
    })
}

fn enough_machines(arguments: &ServerArguments) -> Result<(), Failure> {
    let streams = arguments.streams.iter().max().copied().unwrap_or_default();
    if streams <= arguments.machines() {
        return Ok(());
    }
    let message = format!(
        "{streams} streams need as many machines, and there are {}",
        arguments.machines()
    );
    let hint = if arguments.event_log.is_some() {
        "lower --streams: with --event-log there are 1000 machines at most"
    } else {
        "raise --identities"
    };
    Err(Failure::new(Exit::Usage, "usage", message).hint(hint))
}

/// The machines of a load.
struct Machines {
    /// Of the log that each of them has; 0 for none.
    log_bytes: usize,
    fleet: Arc<Fleet>,
    /// What the plugin is configured with when they attest.
    configuration: String,
}

/// Agents of the first generation have no place for logs and SVID keys.
fn booted(arguments: &ServerArguments) -> Result<Option<Booted>, Failure> {
    let wants_more = arguments.event_log.is_some() || arguments.svid_keys.is_some();
    if arguments.wire == Wire::First && wants_more {
        let message = "--event-log and --svid-keys need --wire current";
        return Err(Failure::new(Exit::Usage, "usage", message));
    }
    let log = arguments.event_log.as_ref();
    log.map(Booted::told_by).transpose()
}

struct Bench<'a> {
    arguments: &'a ServerArguments,
    model: Model,
    maker: &'a Maker,
    /// What machines have booted that send a log.
    booted: Option<&'a Booted>,
    runtime: &'a Runtime,
}

impl Bench<'_> {
    fn measure(&self, ground: Ground) -> Result<Vec<Setting>, Failure> {
        let directory = TempDir::with_prefix("tpm-attestor-bench-")
            .map_err(|error| Failure::new(Exit::Environment, "output_failed", error.to_string()))?;
        let loads = self.prepare(ground, directory.path())?;
        let trouble = self.trouble(&loads)?;
        let mut settings = Vec::new();
        for streams in &self.arguments.streams {
            let runs = self.runs(ground, *streams, &loads, &trouble)?;
            let measured = loads.iter().zip(runs);
            settings.extend(measured.map(|(machines, runs)| {
                Setting::new(ground.ca_files(), &machines.fleet, *streams, runs)
                    .with_log_bytes(machines.log_bytes)
            }));
        }
        Ok(settings)
    }

    /// The runs of each load; the loads take turns, so that whatever else the machine does meets all of them.
    fn runs(
        &self,
        ground: Ground,
        streams: usize,
        loads: &[Machines],
        trouble: &Trouble,
    ) -> Result<Vec<Vec<Run>>, Failure> {
        let what = match ground {
            Ground::Hash => format!("runs by hash, {streams} streams"),
            Ground::Ca(files) => format!("runs by {files} CA files, {streams} streams"),
        };
        let bar = progress(&what, self.arguments.common.runs * loads.len());
        let demand = Demand {
            streams,
            rate: self.arguments.rate,
        };
        let mut all = vec![Vec::new(); loads.len()];
        for _ in 0..self.arguments.common.runs {
            for (machines, runs) in loads.iter().zip(&mut all) {
                let _pinned = on_driver_core(&self.arguments.common)?;
                let run = self.run(machines, demand, trouble);
                runs.push(self.runtime.block_on(run)?);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(all)
    }

    /// The loads: machines without a log, with a log that is sent, and is known; and those with SVID keys.
    fn prepare(&self, ground: Ground, directory: &Path) -> Result<Vec<Machines>, Failure> {
        let files = directory.join("files");
        fs::create_dir(&files)
            .map_err(|error| Failure::new(Exit::Environment, "output_failed", error.to_string()))?;
        let key = match ground {
            Ground::Hash => "hash_path",
            Ground::Ca(_) => "ca_path",
        };
        let configuration = format!("{key} = {}\n", quoted(&files.display().to_string()));
        let mut loads = Vec::new();
        for outfit in self.outfits() {
            let fleet = match ground {
                Ground::Hash => self.maker.enrolled(&files, outfit)?,
                Ground::Ca(count) => self.maker.certified(count, &files, outfit)?,
            };
            let store = (outfit.svid_keys > 0).then(|| self.store(directory));
            loads.push(Machines {
                log_bytes: outfit.booted.map_or(0, |booted| booted.log.len()),
                fleet: Arc::new(fleet),
                configuration: format!("{configuration}{}", store.unwrap_or_default()),
            });
        }
        Ok(loads)
    }

    fn outfits(&self) -> Vec<Outfit<'_>> {
        let plain = Outfit {
            booted: None,
            logs: Logs::Absent,
            svid_keys: 0,
        };
        let logs = [Logs::Sent, Logs::Known];
        let booted = self.booted.map(|booted| {
            logs.map(|logs| Outfit {
                booted: Some(booted),
                logs,
                ..plain
            })
        });
        let keys = self
            .arguments
            .svid_keys
            .map(|svid_keys| Outfit { svid_keys, ..plain });
        let more = booted.into_iter().flatten().chain(keys);
        [plain].into_iter().chain(more).collect()
    }

    /// The line of the configuration.
    fn store(&self, directory: &Path) -> String {
        let own = directory.join("store.sqlite3").display().to_string();
        let address = self.arguments.store.as_deref().unwrap_or(&own);
        format!("store = {}\n", quoted(address))
    }

    fn trouble(&self, loads: &[Machines]) -> Result<Trouble, Failure> {
        let fleet = &loads
            .first()
            .ok_or_else(|| plugin_failed("no machines"))?
            .fleet;
        let stranger = self.maker.stranger()?;
        Ok(Trouble {
            idle: fleet.payloads(self.arguments.idle),
            hostile: Demand {
                streams: self.arguments.hostile,
                rate: self.arguments.hostile_rate,
            },
            attacks: attacks(stranger, fleet, self.model.wire)?,
        })
    }

    async fn run(
        &self,
        machines: &Machines,
        demand: Demand,
        trouble: &Trouble,
    ) -> Result<Run, Failure> {
        let common = &self.arguments.common;
        let (configuration, fleet) = (&machines.configuration, &machines.fleet);
        let (server, started) = start(common, Side::Server, configuration).await?;
        let mut server = Arc::new(server);
        sleep(SETTLING).await;
        let idle = memory(started.watched)?;
        load(&server, fleet, demand, self.warm_up(fleet)).await;
        let before = cpu(started.watched)?;
        let outcome = load(&server, fleet, demand, self.arguments.attestations).await;
        survived(&mut server).await?;
        let used = cpu(started.watched)?.saturating_sub(before);
        let after = memory(started.watched)?;
        let beside = if trouble.is_any() {
            Some(
                self.beside(&server, started, fleet, demand, trouble)
                    .await?,
            )
        } else {
            None
        };
        survived(&mut server).await?;
        if let Ok(server) = Arc::try_unwrap(server) {
            let unloaded = server.unload().await;
            if !unloaded.exit.is_some_and(|status| status.success()) {
                return Err(plugin_failed("it does not end when it is unloaded"));
            }
        }
        let Outcome {
            latencies,
            failures,
            took,
        } = outcome;
        let count = latencies.len();
        Ok(Run {
            cpu: per(microseconds(used), count),
            per_second: f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64(),
            latency: Latency::of(latencies),
            handshake: microseconds(started.handshake),
            configured: microseconds(started.configured),
            idle,
            after,
            failures,
            beside,
        })
    }

    /// Every machine has been there once, where the server is to know them.
    fn warm_up(&self, fleet: &Fleet) -> usize {
        let once = if fleet.logs == Logs::Absent {
            0
        } else {
            fleet.len()
        };
        self.arguments.warm_up.max(once)
    }

    async fn beside(
        &self,
        server: &Arc<Loaded>,
        started: Started,
        fleet: &Arc<Fleet>,
        demand: Demand,
        trouble: &Trouble,
    ) -> Result<Beside, Failure> {
        let troubled = trouble.begin(server).await;
        load(server, fleet, demand, self.arguments.warm_up).await;
        let outcome = load(server, fleet, demand, self.arguments.attestations).await;
        Ok(Beside {
            latency: Latency::of(outcome.latencies),
            failures: outcome.failures,
            memory: memory(started.watched)?,
            done: troubled.end().await,
        })
    }
}

/// The end of a process ends the benchmark: nothing that was measured then counts.
async fn survived(server: &mut Arc<Loaded>) -> Result<(), Failure> {
    let Some(server) = Arc::get_mut(server) else {
        return Ok(());
    };
    if server.process().runs() {
        Ok(())
    } else {
        Err(ended(server.process()).await)
    }
}

/// How a process ended, with the last that it said.
pub(crate) async fn ended(process: &mut Process) -> Failure {
    let status = process.exit_within(SETTLING).await;
    let status = status.map_or("it has ended".to_owned(), |status| {
        format!("it has ended: {status}")
    });
    let failure = plugin_failed(&status);
    let log = process.log();
    let said = log.iter().rev().take(3).rev().map(|line| match line {
        LogLine::Entry(entry) => printable(&entry.message),
        LogLine::Text(text) => printable(text),
    });
    let said: Vec<_> = said.collect();
    if said.is_empty() {
        failure
    } else {
        failure.hint(format!("the last that it said: {}", said.join("; ")))
    }
}

pub(crate) fn cpu(watched: Watched) -> Result<Duration, Failure> {
    watched.cpu().ok_or_else(|| plugin_failed("it has ended"))
}

pub(crate) fn memory(watched: Watched) -> Result<crate::bench_process::Memory, Failure> {
    watched
        .memory()
        .ok_or_else(|| plugin_failed("it has ended"))
}
