//! The attestation of this machine: an offer, a challenge, an answer.

use std::io;
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evidence::{Challenge, Transcript, VERSION};
use plugin::{AgentAttestor, AgentExchange, Core, Plugin, Problem, Purpose, Status};

use crate::config::{LegacyServers, Settings};
use crate::failure::Failure;
use crate::worker::{Question, QuoteWanted, Worker};

/// The node attestor of the agent.
#[derive(Debug)]
pub struct Attestor {
    worker: Worker,
    met_current_server: AtomicBool,
}

impl Attestor {
    /// Starts the thread that will own the TPM; opens nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            worker: Worker::start()?,
            met_current_server: AtomicBool::new(false),
        })
    }

    /// How to answer a challenge, by the generation of the server that made it.
    fn question(
        &self,
        settings: &Settings,
        payload: &[u8],
        challenge: &[u8],
    ) -> Result<Question, Failure> {
        let asked = Challenge::decode(challenge).map_err(Failure::MalformedChallenge)?;
        let quote = match asked.extension {
            Some(extension) if extension.version != VERSION => {
                return Err(Failure::UnsupportedVersion);
            }
            Some(extension) => {
                self.met_current_server.store(true, Ordering::Relaxed);
                Some(QuoteWanted {
                    transcript: Transcript::new(&settings.trust_domain, payload, challenge),
                    selections: extension.selections(),
                })
            }
            None => {
                self.allow_legacy(settings.legacy_servers)?;
                None
            }
        };
        Ok(Question {
            credential: asked.credential,
            quote,
        })
    }

    /// A challenge without our extension is from an old server, or from somebody who stripped it.
    fn allow_legacy(&self, legacy: LegacyServers) -> Result<(), Failure> {
        let allowed = match legacy {
            LegacyServers::Allow => true,
            LegacyServers::UntilSeen => !self.met_current_server.load(Ordering::Relaxed),
            LegacyServers::Deny => false,
        };
        if !allowed {
            return Err(Failure::LegacyServer);
        }
        tracing::warn!("the server asks without a quote: answering with the bare secret");
        Ok(())
    }
}

impl Plugin for Attestor {
    type Settings = Settings;

    fn build(&self, core: &Core, text: &str, purpose: Purpose) -> Result<Settings, Vec<Problem>> {
        Settings::build(&core.trust_domain, text, purpose)
    }

    async fn apply(&self, settings: &Arc<Settings>) -> Result<(), Status> {
        self.worker.prepare(Arc::clone(settings));
        Ok(())
    }
}

impl AgentAttestor for Attestor {
    async fn attest(
        &self,
        settings: Arc<Settings>,
        exchange: &mut AgentExchange,
    ) -> Result<(), Status> {
        let offer = self.worker.offer(Arc::clone(&settings)).await?;
        let payload = offer.encode();
        exchange.payload(payload.clone()).await?;
        let challenge = exchange.challenge().await?;
        let question = self.question(&settings, &payload, &challenge)?;
        let response = self.worker.answer(settings, question).await?;
        // What the transport keeps of it cannot be erased.
        exchange.respond(take(&mut *response.encode())).await?;
        Ok(())
    }
}
