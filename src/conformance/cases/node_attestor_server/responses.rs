//! Answers to a challenge that must be refused.

use tokio::time::timeout;

use crate::{
    case::{Stop, failed},
    loaded::Loaded,
    peer::AgentPart,
    role::Role,
    server::{AttestExchange, Reply},
    trial::{PATIENCE, Trial},
};

/// An answer that is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Response {
    Empty,
    Noise,
    /// The first half of a good one.
    Half,
    Text(&'static str),
    /// The challenge itself, back.
    Challenge,
    /// A message with neither arm set.
    Neither,
    /// The end of the host's half of the stream.
    Close,
}

/// A stream at its first challenge.
struct Challenged {
    exchange: AttestExchange,
    agent: AgentPart,
    challenge: Vec<u8>,
}

async fn challenged(trial: &mut Trial, server: &Loaded) -> Result<Challenged, Stop> {
    let mut exchange = trial.open(server).await?;
    let mut agent = trial.agent_part().await?;
    exchange.payload(&agent.payload().await?).await;
    let challenge = trial.challenge(&mut exchange).await?;
    Ok(Challenged {
        exchange,
        agent,
        challenge,
    })
}

pub(super) async fn refused(trial: &mut Trial, response: Response) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let mut at = challenged(trial, &server).await?;
    let bytes = match response {
        Response::Empty => Some(Vec::new()),
        Response::Noise => Some(trial.random(64)),
        Response::Text(text) => Some(text.as_bytes().to_vec()),
        Response::Half => {
            let mut good = at.agent.answer(&at.challenge).await?;
            good.truncate(good.len() / 2);
            Some(good)
        }
        Response::Challenge => {
            let mut back = at.challenge.clone();
            // Where a challenge is its own answer, this is not.
            back.push(b'.');
            Some(back)
        }
        Response::Neither | Response::Close => None,
    };
    match (bytes, response) {
        (Some(bytes), _) => at.exchange.respond(&bytes).await,
        (None, Response::Close) => at.exchange.close(),
        (None, _) => at.exchange.neither().await,
    }
    no_verdict(&mut at.exchange).await
}

/// Whatever comes, it is not a grant.
async fn no_verdict(exchange: &mut AttestExchange) -> Result<(), Stop> {
    const RIGHT: &str = "a refusal";
    let reply = timeout(PATIENCE, exchange.reply()).await;
    match reply.map_err(|_elapsed| failed("nothing", RIGHT))? {
        Err(_refusal) => Ok(()),
        Ok(other) => Err(failed(format!("{other:?}"), RIGHT)),
    }
}

pub(super) async fn of_another_stream(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let mut one = challenged(trial, &server).await?;
    let mut other = challenged(trial, &server).await?;
    let answer = one.agent.answer(&one.challenge).await?;
    other.exchange.respond(&answer).await;
    no_verdict(&mut other.exchange).await
}

/// The whole exchange of before, in a new stream.
pub(super) async fn of_before(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let held = trial.attest(&server).await?;
    let mut exchange = trial.open(&server).await?;
    exchange.payload(&held.payload).await;
    trial.challenge(&mut exchange).await?;
    for (_, response) in &held.rounds {
        exchange.respond(response).await;
    }
    no_verdict(&mut exchange).await
}

/// After a refusal a good answer changes nothing.
pub(super) async fn a_second_chance_is_none(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let mut at = challenged(trial, &server).await?;
    let answer = at.agent.answer(&at.challenge).await?;
    at.exchange.respond(b"conformance").await;
    at.exchange.respond(&answer).await;
    loop {
        match timeout(PATIENCE, at.exchange.reply()).await {
            Err(_elapsed) => return Err(failed("nothing", "a refusal")),
            Ok(Err(_refusal)) => return Ok(()),
            Ok(Ok(Reply::End)) => return Err(failed("the end without a refusal", "a refusal")),
            Ok(Ok(reply @ Reply::Attributes(_))) => {
                return Err(failed(format!("{reply:?}"), "a refusal"));
            }
            // Another challenge: the good answer was to the one before.
            Ok(Ok(_)) => {}
        }
    }
}
