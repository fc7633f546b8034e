//! The attestation handler: every await is visible, every decision is a pure call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evidence::{EkHash, limits};
use plugin::{
    AgentAttributes, Core, Metrics, Plugin, Problem, Purpose, ServerAttestor, ServerExchange,
    Status,
};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use verify::{
    Attested, Enrolment, Grant, KnownBoots, Pending, Reason, Rejection, Request, is_trusted,
};

use crate::admission::Candidate;
use crate::clock::{now, now_ms};
use crate::composer_watch::ComposerWatch;
use crate::config::Settings;
use crate::decision::Decision;
use crate::entropy::SystemEntropy;
use crate::keeping::{UPKEEP, repeat};
use crate::recording::Begun;
use crate::room::Room;
use crate::status::{instead_of_payload, instead_of_response, status};

/// The node attestor of the server.
#[derive(Debug)]
pub struct Attestor {
    metrics: Metrics,
    room: Room,
    verifiers: Arc<Semaphore>,
    known: Mutex<KnownBoots>,
    watch: ComposerWatch,
}

impl Attestor {
    /// An attestor that reports to `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let verifiers = Arc::new(Semaphore::new(cores));
        Self {
            metrics,
            room: Room::default(),
            verifiers,
            known: Mutex::new(KnownBoots::new(KNOWN_BOOTS)),
            watch: ComposerWatch::default(),
        }
    }

    async fn appraise(
        &self,
        settings: &Arc<Settings>,
        exchange: &mut ServerExchange,
        decision: &mut Decision,
    ) -> Result<Grant, Rejection> {
        let payload = exchange.payload().await.map_err(instead_of_payload)?;
        if payload.len() > limits::PAYLOAD {
            return Err(Reason::PayloadTooLarge.into());
        }
        let recorded = settings.records.is_some().then(|| payload.clone());
        let (challenge, pending) = self.begin(Arc::clone(settings), payload).await?;
        let recorded = recorded.map(|payload| Begun::new(payload, &challenge, &pending));
        decision.claims(pending.claimed_ek());
        exchange.patience(settings.challenge_timeout);
        let begun_ms = now_ms();
        let response = exchange.challenge(challenge).await;
        let response = response.map_err(instead_of_response)?;
        let recorded = recorded.map(|begun| begun.answered(response.clone()));
        let (attested, enrolment) = self
            .finish(Arc::clone(settings), pending, response, decision)
            .await?;
        decision.found(&attested);
        let candidate = Candidate {
            settings,
            attested: &attested,
            enrolment,
            begun_ms,
        };
        // Apart, so that a stream that waits for its peer holds no room for what is done with the store after it.
        let verdict = Box::pin(candidate.admit(&self.watch, decision)).await;
        if let Some(recorded) = recorded
            && is_trusted(&attested, enrolment, &settings.policy)
        {
            let machine = attested.ek_hash();
            recorded.keep(settings, machine, enrolment, &verdict).await;
        }
        if verdict.is_ok() {
            self.remember(&attested);
        }
        verdict
    }

    /// A machine whose boot is known may leave its log out, unless records are kept: these are to be whole.
    fn knowing(&self, settings: &Settings, request: Request) -> Request {
        match self.known.lock() {
            Ok(mut known) if settings.records.is_none() => request.knowing(&mut known),
            // After a panic while it was held, what it holds is not relied on.
            _ => request,
        }
    }

    fn remember(&self, attested: &Attested) {
        if let Some((log, boot)) = attested.known_boot()
            && let Ok(mut known) = self.known.lock()
        {
            known.remember(attested.ek_hash(), *log, boot.clone());
        }
    }

    async fn begin(
        &self,
        settings: Arc<Settings>,
        payload: Vec<u8>,
    ) -> Result<(Vec<u8>, Pending), Rejection> {
        let anchors = settings.anchors();
        let request = here(|| Request::read(payload, &settings.policy))?;
        let request = self.knowing(&settings, request);
        let is_costly = request.is_costly(&anchors);
        let work = move || {
            let mut entropy = SystemEntropy::new();
            request.begin(&settings.policy, &anchors, now(), &mut entropy)
        };
        self.verifying(is_costly, work).await
    }

    /// The store is asked only after the proof has been verified: a peer learns nothing about other
    /// machines, and costs no look-up.
    async fn finish(
        &self,
        settings: Arc<Settings>,
        pending: Pending,
        response: Vec<u8>,
        decision: &mut Decision,
    ) -> Result<(Attested, Enrolment), Rejection> {
        let may_wait = pending.is_costly(&response) || settings.look_up_may_wait();
        let work = move || {
            let attested = pending.finish(&response)?;
            let enrolment = settings.enrolment(&attested.ek_hash());
            Ok((attested, enrolment))
        };
        let (attested, enrolment) = self.verifying(may_wait, work).await?;
        let known = enrolment.as_ref().copied();
        decision.proved(&attested, known.unwrap_or(Enrolment::NotKept));
        Ok((attested, enrolment?))
    }

    /// Runs work that takes long on a thread of its own, a bounded number of times at once, so that
    /// who brings little does not wait behind who brings much; and other work here and now, since
    /// handing it over would cost as much as it does.
    async fn verifying<T: Send + 'static>(
        &self,
        takes_long: bool,
        work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Rejection> {
        if !takes_long {
            return here(work);
        }
        let permit = Arc::clone(&self.verifiers).acquire_owned().await;
        let permit = permit.map_err(|_closed| Reason::InternalError)?;
        let work = spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        work.await.map_err(|_panic| Reason::InternalError)?
    }
}

impl Plugin for Attestor {
    type Settings = Settings;

    fn build(&self, core: &Core, text: &str, purpose: Purpose) -> Result<Settings, Vec<Problem>> {
        Settings::build(&core.trust_domain, text, purpose)
    }

    async fn apply(&self, settings: &Arc<Settings>) -> Result<(), Status> {
        settings.announce();
        settings.warn_of_overdue_lists();
        Settings::follow_files(settings, self.metrics.clone());
        ComposerWatch::look_later(settings);
        // The composer does so too, but there may be none.
        repeat(settings, (Duration::ZERO, UPKEEP), |settings| async move {
            if let Some(keeping) = &settings.keeping {
                keeping.prune().await;
            }
        });
        Ok(())
    }
}

impl ServerAttestor for Attestor {
    async fn attest(
        &self,
        settings: Arc<Settings>,
        exchange: &mut ServerExchange,
    ) -> Result<AgentAttributes, Status> {
        let client_ip = exchange.client_ip();
        let mut decision = Decision::new(self.metrics.clone(), client_ip);
        let place = self.room.enter(
            client_ip,
            settings.max_streams,
            settings.max_streams_per_client,
        );
        let verdict = match place {
            None => Err(Reason::Overloaded.into()),
            Some(_place) => {
                let work = self.appraise(&settings, exchange, &mut decision);
                let verdict = timeout(settings.attestation_timeout, work).await;
                verdict.unwrap_or_else(|_elapsed| Err(Reason::Timeout.into()))
            }
        };
        match verdict {
            Ok(grant) => {
                let attributes = AgentAttributes {
                    spiffe_id: grant.agent_id().to_owned(),
                    selector_values: grant.selectors().to_vec(),
                    can_reattest: true,
                };
                decision.granted(&grant);
                Ok(attributes)
            }
            Err(rejection) => {
                decision.refused(&rejection);
                Err(status(&rejection))
            }
        }
    }
}

impl Settings {
    /// A look-up over a network may take any time.
    fn look_up_may_wait(&self) -> bool {
        self.hashes
            .as_ref()
            .is_some_and(|hashes| !hashes.is_local())
    }

    fn enrolment(&self, hash: &EkHash) -> Result<Enrolment, Rejection> {
        let Some(hashes) = &self.hashes else {
            return Ok(Enrolment::NotKept);
        };
        match hashes.contains(hash) {
            Ok(true) => Ok(Enrolment::Enrolled),
            Ok(false) => Ok(Enrolment::Absent),
            Err(error) => Err(Rejection::because(
                Reason::StoreUnavailable,
                error.to_string(),
            )),
        }
    }
}

/// Machines whose boots are remembered, a few KiB each: they need not send their log at every attestation.
const KNOWN_BOOTS: usize = 1024;

/// A panic is our own fault, and ends this attestation alone.
fn here<T>(work: impl FnOnce() -> Result<T, Rejection>) -> Result<T, Rejection> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_reported| Reason::InternalError)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(work)
    }

    fn attestor() -> Attestor {
        Attestor {
            verifiers: Arc::new(Semaphore::new(1)),
            ..Attestor::new(Metrics::nowhere())
        }
    }

    #[test]
    fn only_a_look_up_elsewhere_may_wait() {
        let directory = tempfile::TempDir::new().unwrap();
        let absent = directory.path().join("absent");
        let may_wait = |hashes: &std::path::Path| {
            let defaults = [directory.path(), hashes];
            Settings::with_defaults("example.org", "", Purpose::Configure, defaults)
                .unwrap()
                .look_up_may_wait()
        };
        assert!(!may_wait(&absent), "no allow-list");
        assert!(!may_wait(directory.path()));
        // What is no file system of disks or memory is taken for one of a network.
        assert!(may_wait(std::path::Path::new("/proc/self/fdinfo")));
    }

    #[test]
    fn a_panic_while_verifying_is_a_refusal_and_our_own_fault() {
        for takes_long in [false, true] {
            let attestor = attestor();
            let work = attestor.verifying(takes_long, || -> Result<(), _> { panic!("on purpose") });
            let reason = run(work).unwrap_err().reason;
            assert_eq!(reason, Reason::InternalError, "tpm/J10");
            assert_eq!(attestor.verifiers.available_permits(), 1);
        }
    }

    #[test]
    fn work_that_takes_long_keeps_nobody_waiting_but_its_like() {
        let attestor = attestor();
        let (release, held) = std::sync::mpsc::channel::<()>();
        run(async {
            let long = attestor.verifying(true, move || Ok(held.recv().is_ok()));
            let more = attestor.verifying(true, || Ok("after it"));
            let short = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let done = attestor.verifying(false, || Ok("meanwhile")).await;
                release.send(()).unwrap();
                done
            };
            let (long, more, short) = tokio::join!(long, more, short);
            assert_eq!(
                (long, more, short),
                (Ok(true), Ok("after it"), Ok("meanwhile"))
            );
        });
    }
}
