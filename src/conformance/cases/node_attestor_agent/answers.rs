//! Good attestations, judged by a server.

use std::{collections::BTreeSet, time::Duration};

use plugin::proto::agent_attestor::payload_or_challenge_response::Data;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    agent::AidExchange,
    case::{Stop, environment, failed, hold},
    peer::{Judgement, ServerPart},
    role::Role,
    status::told,
    trial::Trial,
};

pub(super) async fn well(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    trial.aid(&agent).await.map(drop)
}

pub(super) async fn well_again(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    trial.aid(&agent).await?;
    trial.aid(&agent).await.map(drop)
}

pub(super) async fn well_after_a_restart(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    trial.aid(&agent).await?;
    agent.unload().await;
    well(trial).await
}

/// All that the agent says to good challenges, and the challenges.
async fn said(trial: &mut Trial, exchange: &mut AidExchange) -> Result<Vec<(Vec<u8>, Data)>, Stop> {
    let mut server = trial.server_part().await?;
    let payload = exchange.payload().await;
    let mut message = payload.map_err(|status| failed(told(&status), "a payload"))?;
    let mut said = Vec::new();
    while let Judgement::Challenge(challenge) = server.judge(&message, said.is_empty()).await? {
        exchange.send(&challenge).await;
        let answer = exchange.answer().await;
        let answer = answer.map_err(|status| failed(told(&status), "an answer"))?;
        let answer = answer.ok_or_else(|| failed("the end of the stream", "an answer"))?;
        message = match &answer {
            Data::Payload(bytes) | Data::ChallengeResponse(bytes) => bytes.clone(),
        };
        said.push((challenge, answer));
        if said.len() > 32 {
            return Err(failed("one challenge after the other", "a verdict"));
        }
    }
    Ok(said)
}

pub(super) async fn as_responses(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    for (_, answer) in said(trial, &mut exchange).await? {
        let right = "a challenge response that is not empty";
        match answer {
            Data::ChallengeResponse(bytes) if !bytes.is_empty() => {}
            Data::ChallengeResponse(_) => return Err(failed("an empty challenge response", right)),
            Data::Payload(_) => return Err(failed("a payload", right)),
        }
    }
    Ok(())
}

/// Where challenges differ, what answers them does.
pub(super) async fn something_new(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    let mut challenges = BTreeSet::new();
    let mut answers = Vec::new();
    for _stream in 0..2 {
        let mut exchange = trial.open_aid(&agent).await?;
        for (challenge, answer) in said(trial, &mut exchange).await? {
            if challenges.insert(challenge) {
                answers.push(answer);
            }
        }
    }
    for (index, answer) in answers.iter().enumerate() {
        let again = answers.iter().skip(index + 1).any(|other| other == answer);
        hold(
            !again,
            || "the same answer twice".to_owned(),
            "another answer to another challenge",
        )?;
    }
    Ok(())
}

/// A server may ask a database, or wait for its rate limit.
pub(super) async fn a_server_that_thinks(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let mut server = trial.server_part().await?;
    let payload = exchange.payload().await;
    let payload = payload.map_err(|status| failed(told(&status), "a payload"))?;
    sleep(Duration::from_millis(1500)).await;
    goes_on(&mut server, &mut exchange, payload).await
}

async fn goes_on(
    server: &mut ServerPart,
    exchange: &mut AidExchange,
    payload: Vec<u8>,
) -> Result<(), Stop> {
    let mut message = payload;
    for round in 0..32 {
        match server.judge(&message, round == 0).await? {
            Judgement::Granted => return Ok(()),
            Judgement::Refused(why) => return Err(failed(why, "good evidence")),
            Judgement::Challenge(challenge) => {
                let answer = exchange.challenge(&challenge).await;
                message = answer.map_err(|status| failed(told(&status), "an answer"))?;
            }
        }
    }
    Err(failed("one challenge after the other", "a verdict"))
}

pub(super) async fn many_at_once(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    let mut attestations = JoinSet::new();
    for _stream in 0..8 {
        let mut exchange = trial.open_aid(&agent).await?;
        let mut server = trial.server_part().await?;
        attestations.spawn(async move {
            let payload = exchange.payload().await;
            let payload = payload.map_err(|status| failed(told(&status), "a payload"))?;
            goes_on(&mut server, &mut exchange, payload).await
        });
    }
    while let Some(end) = attestations.join_next().await {
        end.map_err(|error| environment("a task", error))??;
    }
    Ok(())
}

pub(super) async fn two_in_turn(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    let (mut one, mut other) = (trial.open_aid(&agent).await?, trial.open_aid(&agent).await?);
    let (mut first, mut second) = (trial.server_part().await?, trial.server_part().await?);
    let payload = |status: plugin::Status| failed(told(&status), "a payload");
    let of_other = other.payload().await.map_err(payload)?;
    let of_one = one.payload().await.map_err(payload)?;
    goes_on(&mut first, &mut one, of_one).await?;
    goes_on(&mut second, &mut other, of_other).await
}
