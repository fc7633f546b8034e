//! A whole good attestation with a plugin of the subject, by SPIRE's rules for each message.

use plugin::AgentAttributes;
use tokio::time::timeout;

use crate::{
    agent::AidExchange,
    case::{Stop, failed, hold},
    loaded::Loaded,
    peer::{AgentPart, Judgement, ServerPart},
    server::{AttestExchange, Reply},
    status::told,
    trial::{PATIENCE, Trial},
};

/// A good attestation that was held with a server's plugin.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The agent's first message.
    pub(crate) payload: Vec<u8>,
    /// Each challenge, and the response to it.
    pub(crate) rounds: Vec<(Vec<u8>, Vec<u8>)>,
    /// The verdict.
    pub(crate) attributes: AgentAttributes,
}

const ROUNDS: usize = 32;

impl Trial {
    /// Holds a good attestation with a server's plugin that is configured.
    pub(crate) async fn attest(&mut self, server: &Loaded) -> Result<Held, Stop> {
        let mut exchange = self.open(server).await?;
        let mut agent = self.agent_part().await?;
        let payload = agent.payload().await?;
        exchange.payload(&payload).await;
        let (rounds, attributes) = rounds(&mut exchange, &mut agent).await?;
        Ok(Held {
            payload,
            rounds,
            attributes,
        })
    }

    /// The challenge that a good payload is answered with.
    pub(crate) async fn challenge(&self, exchange: &mut AttestExchange) -> Result<Vec<u8>, Stop> {
        match next(exchange).await? {
            Reply::Challenge(challenge) => Ok(challenge),
            other => Err(failed(format!("{other:?}"), "a challenge")),
        }
    }

    /// A stream of a server's plugin.
    pub(crate) async fn open(&self, server: &Loaded) -> Result<AttestExchange, Stop> {
        let opened = server.attest(&[]).await;
        opened.map_err(|status| failed(told(&status), "the stream is opened"))
    }

    /// Holds a good attestation with an agent's plugin that is configured, and gives the server's part at its end.
    pub(crate) async fn aid(&mut self, agent: &Loaded) -> Result<ServerPart, Stop> {
        let mut exchange = self.open_aid(agent).await?;
        let mut server = self.server_part().await?;
        let payload = exchange.payload().await;
        let mut message =
            payload.map_err(|status| failed(told(&status), "a payload that is not empty"))?;
        for round in 0..ROUNDS {
            match server.judge(&message, round == 0).await? {
                Judgement::Challenge(challenge) => {
                    let response = exchange.challenge(&challenge).await;
                    message = response
                        .map_err(|status| failed(told(&status), "a response that is not empty"))?;
                }
                Judgement::Granted => return Ok(server),
                Judgement::Refused(why) => {
                    return Err(failed(
                        format!("the server refused: {why}"),
                        "good evidence",
                    ));
                }
            }
        }
        Err(failed(format!("{ROUNDS} challenges"), "a verdict"))
    }

    /// A stream of an agent's plugin.
    pub(crate) async fn open_aid(&self, agent: &Loaded) -> Result<AidExchange, Stop> {
        let opened = agent.aid().await;
        opened.map_err(|status| failed(told(&status), "the stream is opened"))
    }
}

/// Answers what is asked until the verdict, which the end of the stream must follow.
pub(crate) async fn verdict(
    exchange: &mut AttestExchange,
    agent: &mut AgentPart,
) -> Result<AgentAttributes, Stop> {
    Ok(rounds(exchange, agent).await?.1)
}

type Rounds = Vec<(Vec<u8>, Vec<u8>)>;

async fn rounds(
    exchange: &mut AttestExchange,
    agent: &mut AgentPart,
) -> Result<(Rounds, AgentAttributes), Stop> {
    let mut rounds = Vec::new();
    while rounds.len() < ROUNDS {
        match next(exchange).await? {
            Reply::Challenge(challenge) => {
                let response = agent.answer(&challenge).await?;
                exchange.respond(&response).await;
                rounds.push((challenge, response));
            }
            Reply::Attributes(attributes) => {
                let end = next(exchange).await?;
                let right = "the end of the stream";
                hold(
                    end == Reply::End,
                    || format!("{end:?} after the attributes"),
                    right,
                )?;
                return Ok((rounds, attributes));
            }
            other => return Err(failed(format!("{other:?}"), "a challenge or attributes")),
        }
    }
    Err(failed(format!("{ROUNDS} challenges"), "a verdict"))
}

/// What the plugin says next; silence and a refusal fall short.
pub(crate) async fn next(exchange: &mut AttestExchange) -> Result<Reply, Stop> {
    let right = "the attestation goes on";
    let reply = timeout(PATIENCE, exchange.reply()).await;
    let reply = reply.map_err(|_elapsed| failed("nothing", right))?;
    reply.map_err(|status| failed(told(&status), right))
}
