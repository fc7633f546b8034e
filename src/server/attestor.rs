//! The attestation handler: every await is visible, every decision is a pure call.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use evidence::limits;
use plugin::{
    AgentAttributes, Core, Metrics, Plugin, Problem, Purpose, ServerAttestor, ServerExchange,
    Status,
};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use verify::{Enrolment, Grant, Pending, Reason, Rejection, begin, decide};

use crate::config::Settings;
use crate::decision::Decision;
use crate::entropy::SystemEntropy;
use crate::room::Room;
use crate::status::{instead_of_payload, instead_of_response, status};

/// The node attestor of the server.
#[derive(Debug)]
pub struct Attestor {
    metrics: Metrics,
    room: Room,
    verifiers: Arc<Semaphore>,
}

impl Attestor {
    /// An attestor that reports to `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        let verifiers = Arc::new(Semaphore::new(MAX_VERIFICATIONS));
        Self {
            metrics,
            room: Room::default(),
            verifiers,
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
        let (challenge, pending) = self.begin(Arc::clone(settings), payload).await?;
        decision.claims(pending.claimed_ek());
        let wait = settings.challenge_timeout;
        let response = timeout(wait, exchange.challenge(challenge))
            .await
            .map_err(|_elapsed| Reason::Timeout)?
            .map_err(instead_of_response)?;
        self.finish(Arc::clone(settings), pending, response, decision)
            .await
    }

    async fn begin(
        &self,
        settings: Arc<Settings>,
        payload: Vec<u8>,
    ) -> Result<(Vec<u8>, Pending), Rejection> {
        verifying(&self.verifiers, move || {
            let anchors = settings.anchors();
            begin(
                &payload,
                &settings.policy,
                &anchors,
                now(),
                &mut SystemEntropy::new(),
            )
        })
        .await
    }

    /// The store is asked only after the proof has been verified: a peer learns nothing about other
    /// machines, and costs no look-up.
    async fn finish(
        &self,
        settings: Arc<Settings>,
        pending: Pending,
        response: Vec<u8>,
        decision: &mut Decision,
    ) -> Result<Grant, Rejection> {
        let (attested, enrolment, settings) = verifying(&self.verifiers, move || {
            let attested = pending.finish(&response)?;
            let enrolment = settings.enrolment(&attested.ek_hash());
            Ok((attested, enrolment, settings))
        })
        .await?;
        let known = enrolment.as_ref().copied();
        decision.proved(&attested, known.unwrap_or(Enrolment::NotKept));
        let enrolment = enrolment?;
        decide(&attested, enrolment, &settings.policy)
    }
}

impl Plugin for Attestor {
    type Settings = Settings;

    fn build(&self, core: &Core, text: &str, purpose: Purpose) -> Result<Settings, Vec<Problem>> {
        Settings::build(&core.trust_domain, text, purpose)
    }

    async fn apply(&self, settings: &Arc<Settings>) -> Result<(), Status> {
        settings.announce();
        Settings::follow_files(settings, self.metrics.clone());
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
    fn enrolment(&self, hash: &evidence::EkHash) -> Result<Enrolment, Rejection> {
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

/// Runs `work` where blocking is allowed, a bounded number of times at once.
async fn verifying<T: Send + 'static>(
    verifiers: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
) -> Result<T, Rejection> {
    let permit = Arc::clone(verifiers).acquire_owned().await;
    let permit = permit.map_err(|_closed| Reason::InternalError)?;
    let work = spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    work.await.map_err(|_panic| Reason::InternalError)?
}

/// Seconds since the epoch; a clock before it counts as the epoch.
fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Verifications at the same time; more wait for their turn.
const MAX_VERIFICATIONS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_while_verifying_is_a_refusal_and_our_own_fault() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let verifiers = Arc::new(Semaphore::new(1));
        let work = verifying(&verifiers, || -> Result<(), _> { panic!("on purpose") });
        let rejection = runtime.unwrap().block_on(work).unwrap_err();
        assert_eq!(rejection.reason, Reason::InternalError);
        assert_eq!(verifiers.available_permits(), 1);
    }
}
