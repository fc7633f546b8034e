//! The agent plugin with a TPM: the first attestation of a process, and those after it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use conformance::{Loaded, Side};
use tokio::time::sleep;
use tpm::Address;
use verify::{Attested, Rejection};

use crate::anchors::Trust;
use crate::bench::AgentArguments;
use crate::bench_agent_report::{AgentReport, AgentRun, First, Warm};
use crate::bench_facts::{Facts, PluginFile};
use crate::bench_keys::progress;
use crate::bench_load::refused;
use crate::bench_process::Memory;
use crate::bench_server::{
    SETTLING, cpu, ended, memory, on_driver_core, plugin_failed, quoted, runtime, start,
};
use crate::bench_statistics::{Latency, microseconds, per};
use crate::bench_tap::{Tap, Timed};
use crate::cli::TpmArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::now;
use crate::trial;

/// Measures the plugin with the TPM that the arguments name.
pub(crate) fn measure(
    arguments: &AgentArguments,
    tpm: &TpmArguments,
) -> Result<AgentReport, Failure> {
    let plugin = PluginFile::of(&arguments.common.plugin)?;
    let runtime = runtime()?;
    let bar = progress("runs", arguments.common.runs);
    let mut runs = Vec::new();
    for _ in 0..arguments.common.runs {
        let _pinned = on_driver_core(&arguments.common)?;
        runs.push(runtime.block_on(run(arguments, tpm))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(AgentReport::new(
        arguments,
        tpm,
        Facts::gather(),
        plugin,
        runs,
    ))
}

async fn run(arguments: &AgentArguments, tpm: &TpmArguments) -> Result<AgentRun, Failure> {
    let tap = tap(arguments.direct, tpm)?;
    let taken = || tap.as_ref().map(Tap::take).unwrap_or_default();
    let configuration = configuration(tpm, tap.as_ref());
    let idle = idle(arguments, &configuration).await?;
    taken();
    let (mut agent, started) = start(&arguments.common, Side::Agent, &configuration).await?;
    let first = attest(&agent).await;
    let first = first.map_err(|reason| plugin_failed(&reason))?;
    let since_start = agent.process().started().elapsed();
    let commands = taken();
    let first = First {
        took: microseconds(first),
        since_start: microseconds(since_start),
        tpm: tap.is_some().then(|| microseconds(in_tpm(&commands))),
        commands: counted(&commands),
    };
    let mut failures = BTreeMap::new();
    let before = cpu(started.watched)?;
    let mut warm = Many::default();
    for _ in 0..arguments.attestations {
        let attested = attest(&agent).await;
        let commands = taken();
        match attested {
            Ok(took) => warm.record(took, &commands),
            Err(reason) => *failures.entry(reason).or_default() += 1,
        }
    }
    if !agent.process().runs() {
        return Err(ended(agent.process()).await);
    }
    let used = cpu(started.watched)?.saturating_sub(before);
    let after = memory(started.watched)?;
    agent.unload().await;
    Ok(AgentRun {
        handshake: microseconds(started.handshake),
        configured: microseconds(started.configured),
        first,
        warm: warm.summed_up(used, tap.is_some()),
        idle,
        after,
        failures,
    })
}

/// The memory of a process that was configured and asked for nothing.
async fn idle(arguments: &AgentArguments, configuration: &str) -> Result<Memory, Failure> {
    let (agent, started) = start(&arguments.common, Side::Agent, configuration).await?;
    sleep(SETTLING).await;
    let idle = memory(started.watched)?;
    agent.unload().await;
    Ok(idle)
}

/// Calls of one kind, and the TPM commands that went with them.
#[derive(Default)]
pub(crate) struct Many {
    took: Vec<Duration>,
    tpm: Vec<Duration>,
    outside: Vec<Duration>,
    commands: BTreeMap<&'static str, usize>,
}

impl Many {
    pub(crate) fn record(&mut self, took: Duration, commands: &[Timed]) {
        let tpm = in_tpm(commands);
        self.took.push(took);
        self.tpm.push(tpm);
        self.outside.push(took.saturating_sub(tpm));
        for (name, count) in counted(commands) {
            *self.commands.entry(name).or_default() += count;
        }
    }

    /// `cpu` is the plugin's for all of them.
    pub(crate) fn summed_up(self, cpu: Duration, tapped: bool) -> Warm {
        let count = self.took.len();
        let commands = self.commands.into_iter();
        let share = |total| per(f64::from(u32::try_from(total).unwrap_or(u32::MAX)), count);
        Warm {
            latency: Latency::of(self.took),
            tpm: tapped.then(|| Latency::of(self.tpm)),
            outside: tapped.then(|| Latency::of(self.outside)),
            cpu: per(microseconds(cpu), count),
            commands: commands.map(|(name, total)| (name, share(total))).collect(),
        }
    }
}

/// A whole attestation. The time is the plugin's: to the payload, and from the challenge to the response.
async fn attest(agent: &Loaded) -> Result<Duration, String> {
    proved(agent).await.map(|(took, _attested)| took)
}

/// The same, with what was proved.
pub(crate) async fn proved(agent: &Loaded) -> Result<(Duration, Attested), String> {
    let begun = Instant::now();
    let mut exchange = agent.aid().await.map_err(refused)?;
    let payload = exchange.payload().await.map_err(refused)?;
    let offered = begun.elapsed();
    let trust = Trust::default();
    let (challenge, pending) = trial::challenge(&payload, &trust, now()).map_err(rejected)?;
    let asked = Instant::now();
    let response = exchange.challenge(&challenge).await.map_err(refused)?;
    let answered = asked.elapsed();
    let attested = pending.finish(&response).map_err(rejected)?;
    Ok((offered + answered, attested))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn rejected(rejection: Rejection) -> String {
    rejection.reason.to_string()
}

/// None where the plugin is to speak to the TPM itself, or does so anyway.
pub(crate) fn tap(direct: bool, tpm: &TpmArguments) -> Result<Option<Tap>, Failure> {
    if direct {
        return Ok(None);
    }
    // What this tool cannot read may still be for the plugin, such as a TCTI.
    let Ok(address) = tpm.device.parse::<Address>() else {
        return Ok(None);
    };
    Tap::before(&address)
        .map_err(|error| Failure::new(Exit::Environment, "bench_failed", error.to_string()))
}

/// The command line's TPM in the words of the plugin's configuration.
pub(crate) fn configuration(tpm: &TpmArguments, tap: Option<&Tap>) -> String {
    let device = tap.map_or_else(|| tpm.device.clone(), |tap| tap.address().to_string());
    let path =
        |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    [
        ("device", Some(device)),
        ("ek", Some(tpm.ek.clone())),
        ("ek_cert_path", path(&tpm.ek_cert)),
        ("endorsement_auth_path", path(&tpm.endorsement_auth_file)),
        ("owner_auth_path", path(&tpm.owner_auth_file)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(format!("{key} = {}\n", quoted(&value?))))
    .collect()
}

fn in_tpm(commands: &[Timed]) -> Duration {
    commands.iter().map(|timed| timed.took).sum()
}

fn counted(commands: &[Timed]) -> BTreeMap<&'static str, usize> {
    let mut counted = BTreeMap::new();
    for timed in commands {
        *counted.entry(timed.code.name()).or_default() += 1;
    }
    counted
}
