//! Challenges that no server makes.

use tokio::time::timeout;
use tonic::{Code, Status};

use crate::{
    case::{Stop, failed, hold, skip},
    loaded::Loaded,
    peer::Judgement,
    role::Role,
    status::told,
    trial::{PATIENCE, Trial},
};

/// A challenge that is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Challenge {
    Empty,
    Noise(usize),
    Text(&'static str),
    Zeros,
    /// 100,000 brackets.
    Nested,
}

fn bytes(trial: &mut Trial, challenge: Challenge) -> Vec<u8> {
    match challenge {
        Challenge::Empty => Vec::new(),
        Challenge::Noise(length) => trial.random(length),
        Challenge::Text(text) => text.as_bytes().to_vec(),
        Challenge::Zeros => vec![0; 256],
        Challenge::Nested => vec![b'['; 100_000],
    }
}

/// An answer or a refusal in time, and then a good attestation by the same process.
pub(super) async fn survived(trial: &mut Trial, challenge: Challenge) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    let bytes = bytes(trial, challenge);
    challenged(trial, &agent, &bytes).await.map(drop)?;
    trial.aid(&agent).await.map(drop)
}

/// The refusal, if it was one.
async fn challenged(trial: &Trial, agent: &Loaded, bytes: &[u8]) -> Result<Option<Status>, Stop> {
    let mut exchange = trial.open_aid(agent).await?;
    let payload = exchange.payload().await;
    payload.map_err(|status| failed(told(&status), "a payload"))?;
    exchange.send(bytes).await;
    let answer = timeout(PATIENCE, exchange.answer()).await;
    let answer = answer.map_err(|_elapsed| failed("nothing", "an answer or a refusal"))?;
    match answer {
        Err(status) if status.code() == Code::Unavailable => Err(failed(
            told(&status),
            "an answer or a refusal, and the process goes on",
        )),
        Err(status) => Ok(Some(status)),
        Ok(_) => Ok(None),
    }
}

/// A challenge after the last one that a good server makes.
pub(super) async fn one_too_many(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let mut server = trial.server_part().await?;
    let payload = exchange.payload().await;
    let payload = payload.map_err(|status| failed(told(&status), "a payload"))?;
    let Judgement::Challenge(challenge) = server.judge(&payload, true).await? else {
        return Err(skip("the server has no challenge"));
    };
    for _time in 0..2 {
        exchange.send(&challenge).await;
        let answer = timeout(PATIENCE, exchange.answer()).await;
        answer
            .map_err(|_elapsed| failed("nothing", "an answer, a refusal or the end"))?
            .ok();
    }
    trial.aid(&agent).await.map(drop)
}

async fn refusals(trial: &mut Trial) -> Result<Vec<Status>, Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    let mut statuses = Vec::new();
    for challenge in [
        Challenge::Empty,
        Challenge::Noise(64),
        Challenge::Text("{}"),
    ] {
        let bytes = bytes(trial, challenge);
        statuses.extend(challenged(trial, &agent, &bytes).await?);
    }
    if statuses.is_empty() {
        return Err(skip("it answers every challenge"));
    }
    Ok(statuses)
}

pub(super) async fn refusals_have_no_prefix(trial: &mut Trial) -> Result<(), Stop> {
    for status in refusals(trial).await? {
        let text = status.message();
        let prefixed = text.starts_with("nodeattestor(") || text.starts_with("rpc error:");
        hold(
            !prefixed,
            || format!("{text:?}"),
            "the host's prefix is put there by the host",
        )?;
    }
    Ok(())
}

pub(super) async fn refusals_are_one_short_line(trial: &mut Trial) -> Result<(), Stop> {
    for status in refusals(trial).await? {
        let text = status.message();
        hold(
            !text.is_empty() && text.len() < 1024 && !text.chars().any(char::is_control),
            || format!("{text:?}"),
            "one line of less than 1,024 bytes",
        )?;
    }
    Ok(())
}

pub(super) async fn refusals_have_a_meaning(trial: &mut Trial) -> Result<(), Stop> {
    for status in refusals(trial).await? {
        let unknown = matches!(status.code(), Code::Unknown | Code::Cancelled);
        hold(
            !unknown,
            || told(&status),
            "a status that says whose fault it is",
        )?;
    }
    Ok(())
}
