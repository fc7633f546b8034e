//! The honest load: streams on which machines attest, one after the other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use conformance::{Loaded, Reply};
use evidence::{Challenge, Response};
use plugin::Status;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::bench_boot::Logs;
use crate::bench_fleet::{Fleet, Machine};
use crate::text::printable;

/// What became of a number of attestations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// From the opening of the stream to the verdict, of each that succeeded.
    pub(crate) latencies: Vec<Duration>,
    /// Why others did not, and how often.
    pub(crate) failures: BTreeMap<String, usize>,
    /// From the first to the last.
    pub(crate) took: Duration,
}

impl Outcome {
    fn record(&mut self, attested: Result<Duration, String>) {
        match attested {
            Ok(latency) => self.latencies.push(latency),
            Err(reason) => *self.failures.entry(reason).or_default() += 1,
        }
    }
}

/// How many attestations are under way, and how many begin in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) streams: usize,
    /// On all streams together; without it each begins the next one at once.
    pub(crate) rate: Option<usize>,
}

/// When a stream begins its next exchange.
#[derive(Debug)]
pub(crate) struct Pace(Option<Interval>);

impl Demand {
    /// For one of the streams; they do not begin all at once.
    pub(crate) fn pace(self, stream: usize) -> Pace {
        Pace(self.rate.map(|rate| {
            let between = self.streams.saturating_mul(1_000_000_000) / rate.max(1);
            let between = u64::try_from(between.max(1)).map_or(Duration::MAX, Duration::from_nanos);
            let share = u32::try_from(stream % PHASES).unwrap_or_default();
            let begin = Instant::now() + between / u32::try_from(PHASES).unwrap_or(1) * share;
            let mut interval = interval_at(begin.into(), between);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }
}

impl Pace {
    /// Waits for its time.
    pub(crate) async fn next(&mut self) {
        if let Some(interval) = &mut self.0 {
            interval.tick().await;
        }
    }
}

/// Parts of the time between two exchanges of a stream, at which streams begin.
const PHASES: usize = 64;

/// Holds `count` attestations.
pub(crate) async fn load(
    server: &Arc<Loaded>,
    fleet: &Arc<Fleet>,
    demand: Demand,
    count: usize,
) -> Outcome {
    let begun = Instant::now();
    let left = Arc::new(AtomicUsize::new(count));
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let mut tasks = JoinSet::new();
    for stream in 0..demand.streams.min(count) {
        let mut pace = demand.pace(stream);
        let (server, fleet) = (Arc::clone(server), Arc::clone(fleet));
        let (left, outcome) = (Arc::clone(&left), Arc::clone(&outcome));
        tasks.spawn(async move {
            let one_less = |left: usize| left.checked_sub(1);
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok()
            {
                pace.next().await;
                let attested = one(&server, &fleet).await;
                outcome
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .record(attested);
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    let mut outcome = std::mem::take(&mut *outcome.lock().unwrap_or_else(PoisonError::into_inner));
    outcome.took = begun.elapsed();
    outcome
}

async fn one(server: &Loaded, fleet: &Fleet) -> Result<Duration, String> {
    let mut machine = fleet
        .take()
        .ok_or("more streams than machines".to_owned())?;
    let attested = attest(server, &mut machine, fleet).await;
    fleet.put(machine);
    attested
}

/// A whole attestation, as SPIRE passes it on.
async fn attest(server: &Loaded, machine: &mut Machine, fleet: &Fleet) -> Result<Duration, String> {
    let begun = Instant::now();
    let headers = [(CLIENT_IP, machine.address.as_str())];
    let mut exchange = server.attest(&headers).await.map_err(refused)?;
    exchange.payload(&machine.payload).await;
    let Reply::Challenge(challenge) = exchange.reply().await.map_err(refused)? else {
        return Err("no challenge".to_owned());
    };
    let response = machine.prover.answer(&machine.payload, &challenge);
    let response =
        response.map_err(|error| format!("the challenge cannot be answered: {error}"))?;
    exchange.respond(&response).await;
    let Reply::Attributes(attributes) = exchange.reply().await.map_err(refused)? else {
        return Err("no verdict".to_owned());
    };
    let latency = begun.elapsed();
    as_meant(fleet, &challenge, &response)?;
    if attributes.spiffe_id.ends_with(&machine.ek_hash) {
        Ok(latency)
    } else {
        Err("another machine's SPIFFE ID".to_owned())
    }
}

/// The server decides whether a log travels and keys are certified: what costs something else than was to be measured is a
/// failure.
fn as_meant(fleet: &Fleet, challenge: &[u8], response: &[u8]) -> Result<(), String> {
    let logs = fleet.logs;
    if logs == Logs::Absent && fleet.svid_keys == 0 {
        return Ok(());
    }
    let asked = Challenge::decode(challenge).ok();
    let asked = asked.and_then(|challenge| challenge.extension);
    if fleet.svid_keys > 0 && !asked.as_ref().is_some_and(|asked| asked.certify) {
        return Err("the server did not want the keys certified".to_owned());
    }
    let is_known = asked.is_some_and(|asked| asked.known_pcrs.is_some());
    let response = Response::decode(response);
    let travelled = matches!(response, Ok(Response::Proof(proof)) if proof.log.is_some());
    match (logs, is_known, travelled) {
        (Logs::Sent, _, false) => Err("the server did not want the log".to_owned()),
        (Logs::Known, false, _) | (Logs::Known, _, true) => {
            Err("the server did not know the log".to_owned())
        }
        _ => Ok(()),
    }
}

/// What the plugin said instead.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn refused(status: Status) -> String {
    printable(&format!("{:?}: {}", status.code(), status.message()))
}

/// Where SPIRE tells the address of the agent.
pub(crate) const CLIENT_IP: &str = "x-forwarded-client-ip";
