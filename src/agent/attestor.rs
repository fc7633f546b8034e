//! The attestation of this machine: an offer, a challenge, an answer.

use std::io;
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evidence::{Capability, Challenge, ChallengeExtension, Offer, Transcript, VERSION};
use plugin::{AgentAttestor, AgentExchange, Core, Plugin, Problem, Purpose, Status};
use tpm::WrappedKey;

use crate::config::{LegacyServers, Settings};
use crate::failure::Failure;
use crate::worker::{Introduction, LogWanted, Question, QuoteWanted, Worker};

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
        introduction: &Introduction,
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
                    log: wanted_log(settings, &introduction.offer, &extension)?,
                    certify: wanted_keys(introduction, &extension)?,
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
        if let Some(log) = &settings.event_log {
            log.announce();
        }
        self.worker.prepare(Arc::clone(settings));
        Ok(())
    }

    async fn retire(&self) {
        self.worker.let_go().await;
    }
}

impl AgentAttestor for Attestor {
    async fn attest(
        &self,
        settings: Arc<Settings>,
        exchange: &mut AgentExchange,
    ) -> Result<(), Status> {
        let introduction = self.worker.introduce(Arc::clone(&settings)).await?;
        let payload = introduction.offer.encode();
        exchange.payload(payload.clone()).await?;
        let challenge = exchange.challenge().await?;
        let question = self.question(&settings, &introduction, &payload, &challenge)?;
        let response = self.worker.answer(settings, question).await?;
        // What the transport keeps of it cannot be erased.
        exchange.respond(take(&mut *response.encode())).await?;
        Ok(())
    }
}

/// The log that the challenge asks for; only one that was offered.
fn wanted_log(
    settings: &Settings,
    offer: &Offer,
    asked: &ChallengeExtension,
) -> Result<Option<LogWanted>, Failure> {
    let extension = offer.extension.as_ref();
    let offered = extension.is_some_and(|offered| offered.evidence.contains(&Capability::Log));
    match &settings.event_log {
        _ if !asked.log => Ok(None),
        Some(file) if offered => Ok(Some(LogWanted {
            file: file.clone(),
            known_pcrs: asked.known_pcrs,
        })),
        _ => Err(Failure::LogNotOffered),
    }
}

/// The keys that the challenge wants certified: all of those that were offered, as they were read then.
fn wanted_keys(
    introduction: &Introduction,
    asked: &ChallengeExtension,
) -> Result<Vec<WrappedKey>, Failure> {
    match introduction.svid_keys.as_slice() {
        _ if !asked.certify => Ok(Vec::new()),
        [] => Err(Failure::KeysNotOffered),
        keys => Ok(keys.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use evidence::{
        AttestationKey, Credential, EndorsementKey, Hash, OfferExtension, SvidKeyTemplate,
    };

    use super::*;

    /// A key of the machine is not needed to understand what is asked.
    fn introduction(evidence: Vec<Capability>, svid_keys: Vec<WrappedKey>) -> Introduction {
        let offer = Offer {
            ek: EndorsementKey {
                certificate: None,
                public_key: Some(vec![1]),
            },
            ak: AttestationKey {
                public: vec![2],
                creation: None,
            },
            extension: Some(OfferExtension {
                min_version: VERSION,
                max_version: VERSION,
                evidence,
                ek_intermediates: Vec::new(),
                svid_keys: Vec::new(),
                svid_parent: None,
                log_sha256: None,
                boot_id: None,
            }),
        };
        Introduction { offer, svid_keys }
    }

    fn challenge(log: bool, certify: bool, known_pcrs: Option<[u8; 32]>) -> Vec<u8> {
        Challenge {
            credential: Credential::from_wire(vec![0, 1, 9], vec![0, 1, 8]).unwrap(),
            extension: Some(ChallengeExtension {
                version: VERSION,
                nonce: [3; 32],
                pcrs: vec![(Hash::Sha256, vec![7])],
                log,
                certify,
                known_pcrs,
            }),
        }
        .encode()
    }

    #[test]
    fn a_log_is_given_only_where_it_was_offered_and_is_asked_for() {
        let attestor = Attestor::new().unwrap();
        let (with, without) = ("", "device = \"unix:/run/tpm\"");
        let quote = || vec![Capability::Quote];
        let both = || vec![Capability::Quote, Capability::Log];
        for (configuration, offered, asked, expect) in [
            (with, both(), true, Some(true)),
            (with, both(), false, Some(false)),
            (with, quote(), false, Some(false)),
            // The file may have appeared since.
            (with, quote(), true, None),
            (without, quote(), true, None),
            (without, both(), true, None),
        ] {
            let settings =
                Settings::build("example.org", configuration, Purpose::Validate).unwrap();
            // What the server knows is no wish for a log.
            for known in [None, Some([4; 32])] {
                let offer = introduction(offered.clone(), Vec::new());
                let asking = challenge(asked, false, known);
                let question = attestor.question(&settings, &offer, b"payload", &asking);
                let outcome = match question.map(|question| question.quote.unwrap().log) {
                    Ok(Some(log)) => {
                        assert_eq!(Some(log.file), settings.event_log);
                        assert_eq!(log.known_pcrs, known);
                        Some(true)
                    }
                    Ok(None) => Some(false),
                    Err(Failure::LogNotOffered) => None,
                    Err(other) => panic!("{other:?}"),
                };
                assert_eq!(outcome, expect, "{configuration} {asked} {known:?}");
            }
        }
    }
    #[test]
    fn keys_are_certified_as_they_were_offered_and_only_when_asked_for() {
        let attestor = Attestor::new().unwrap();
        let settings = Settings::build("example.org", "", Purpose::Validate).unwrap();
        let keys = [SvidKeyTemplate::EccP384, SvidKeyTemplate::EccP256].map(|kind| WrappedKey {
            public: kind.public(),
            private: vec![1],
        });
        for (offered, asked, expect) in [
            (keys.to_vec(), true, Some(keys.to_vec())),
            (keys.to_vec(), false, Some(Vec::new())),
            (Vec::new(), false, Some(Vec::new())),
            (Vec::new(), true, None),
        ] {
            let introduction = introduction(vec![Capability::Quote], offered);
            let asking = challenge(false, asked, None);
            let question = attestor.question(&settings, &introduction, b"payload", &asking);
            match question.map(|question| question.quote.unwrap().certify) {
                Ok(certify) => assert_eq!(Some(certify), expect, "{asked}"),
                Err(Failure::KeysNotOffered) => assert_eq!(expect, None, "{asked}"),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}
