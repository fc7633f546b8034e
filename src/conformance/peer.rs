//! The other end of an attestation: who makes good payloads for a server's plugin, or judges what an agent's plugin says.

use std::collections::VecDeque;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use softtpm::Prover;

use crate::{
    agent::AidExchange,
    candidate::Peer,
    case::{Stop, environment, failed, skip},
    peer_command::CommandPeer,
    peer_verifier::Verifier,
    role::Role,
    server::{AttestExchange, Reply},
    status::told,
    trial::Trial,
};

/// The agent's part of one attestation.
pub(crate) enum AgentPart {
    /// A stream of the subject's own agent plugin, which the trial keeps.
    Plugin(Box<AidExchange>),
    /// What was recorded.
    Recorded {
        payload: Vec<u8>,
        responses: VecDeque<Vec<u8>>,
    },
    /// A program of the subject file.
    Command(Box<CommandPeer>),
    /// The kit's software TPM, and the payload that it has sent.
    SoftTpm(Box<Prover>, Vec<u8>),
}

/// The server's part of one attestation.
#[derive(Debug)]
pub(crate) enum ServerPart {
    /// A stream of the subject's own server plugin, which the trial keeps.
    Plugin(Box<AttestExchange>),
    /// What was recorded.
    Recorded(VecDeque<Vec<u8>>),
    /// A program of the subject file.
    Command(Box<CommandPeer>),
    /// The kit's verifier.
    Verifier(Box<Verifier>),
}

/// What the server's part says to a message of the agent's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It asks for more.
    Challenge(Vec<u8>),
    /// It is satisfied.
    Granted,
    /// It refuses.
    Refused(String),
}

impl Trial {
    /// The agent's part of one more attestation, always by the same machine.
    pub(crate) async fn agent_part(&mut self) -> Result<AgentPart, Stop> {
        let trust_domain = self.candidate().trust_domain().to_owned();
        self.agent_part_in(&trust_domain).await
    }

    /// The same of an agent in another trust domain.
    pub(crate) async fn agent_part_in(&mut self, trust_domain: &str) -> Result<AgentPart, Stop> {
        match self.candidate().peer.clone() {
            None | Some(Peer::Plugin) => {
                let text = self.good_text(Role::Agent).await?;
                let loaded = self.load_role(Role::Agent).await?;
                let configured = loaded.configure(Some(trust_domain), &text).await;
                configured
                    .map_err(|status| failed(told(&status), "the agent's plugin is configured"))?;
                let exchange = loaded.aid().await;
                let exchange = exchange
                    .map_err(|status| failed(told(&status), "the agent's plugin opens a stream"))?;
                self.keep(loaded);
                Ok(AgentPart::Plugin(Box::new(exchange)))
            }
            Some(Peer::Recorded {
                payload, responses, ..
            }) => Ok(AgentPart::Recorded {
                payload: decoded(&payload)?,
                responses: responses
                    .iter()
                    .map(|text| decoded(text))
                    .collect::<Result<_, _>>()?,
            }),
            Some(Peer::Command { agent, .. }) => {
                let command = CommandPeer::start(self, &agent)?;
                Ok(AgentPart::Command(Box::new(command)))
            }
            Some(Peer::SoftTpm) => {
                let mut prover = self.prover()?;
                trust_domain.clone_into(&mut prover.trust_domain);
                Ok(AgentPart::SoftTpm(Box::new(prover), Vec::new()))
            }
        }
    }

    /// The server's part of one attestation.
    pub(crate) async fn server_part(&mut self) -> Result<ServerPart, Stop> {
        match self.candidate().peer.clone() {
            None | Some(Peer::Plugin) => {
                let loaded = self.configured_role(Role::Server).await?;
                let exchange = loaded.attest(&[]).await;
                let exchange = exchange.map_err(|status| {
                    failed(told(&status), "the server's plugin opens a stream")
                })?;
                self.keep(loaded);
                Ok(ServerPart::Plugin(Box::new(exchange)))
            }
            Some(Peer::Recorded { challenges, .. }) => {
                let challenges = challenges.iter().map(|text| decoded(text));
                Ok(ServerPart::Recorded(challenges.collect::<Result<_, _>>()?))
            }
            Some(Peer::Command { server, .. }) => {
                let command = CommandPeer::start(self, &server)?;
                Ok(ServerPart::Command(Box::new(command)))
            }
            Some(Peer::SoftTpm) => Ok(ServerPart::Verifier(Box::new(Verifier::new(self)))),
        }
    }
}

impl AgentPart {
    /// The first message.
    pub(crate) async fn payload(&mut self) -> Result<Vec<u8>, Stop> {
        match self {
            Self::Plugin(exchange) => exchange
                .payload()
                .await
                .map_err(|status| failed(told(&status), "the agent's plugin makes a payload")),
            Self::Recorded { payload, .. } => Ok(payload.clone()),
            Self::Command(command) => command.read().await,
            Self::SoftTpm(prover, sent) => {
                let payload = prover.payload();
                *sent = payload.map_err(|error| environment("the software TPM", error))?;
                Ok(sent.clone())
            }
        }
    }

    /// The answer to a challenge.
    pub(crate) async fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, Stop> {
        match self {
            Self::Plugin(exchange) => exchange.challenge(challenge).await.map_err(|status| {
                failed(told(&status), "the agent's plugin answers the challenge")
            }),
            Self::Recorded { responses, .. } => responses
                .pop_front()
                .ok_or_else(|| skip("the record has no further response")),
            Self::Command(command) => command.ask(challenge).await,
            Self::SoftTpm(prover, sent) => prover
                .answer(sent, challenge)
                .map_err(|error| failed(error.to_string(), "a challenge that a TPM can answer")),
        }
    }
}

impl ServerPart {
    /// Judges the payload, or the response to its last challenge.
    pub(crate) async fn judge(
        &mut self,
        message: &[u8],
        is_first: bool,
    ) -> Result<Judgement, Stop> {
        match self {
            Self::Plugin(exchange) => {
                if is_first {
                    exchange.payload(message).await;
                } else {
                    exchange.respond(message).await;
                }
                match exchange.reply().await {
                    Ok(Reply::Challenge(challenge)) => Ok(Judgement::Challenge(challenge)),
                    Ok(Reply::Attributes(_)) => Ok(Judgement::Granted),
                    Ok(Reply::Neither | Reply::End) => Err(failed(
                        "the server's plugin said neither",
                        "a challenge or attributes",
                    )),
                    Err(status) => Ok(Judgement::Refused(told(&status))),
                }
            }
            Self::Recorded(challenges) => Ok(match challenges.pop_front() {
                Some(challenge) => Judgement::Challenge(challenge),
                None => Judgement::Granted,
            }),
            Self::Command(command) => command.judge(message).await,
            Self::Verifier(verifier) => verifier.judge(message, is_first),
        }
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, Stop> {
    STANDARD
        .decode(text.trim())
        .map_err(|error| environment("base64 in the subject file", error))
}
