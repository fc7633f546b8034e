//! Streams that end early, and what is around them.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{
    case::{Stop, failed, hold, skip},
    host::{Broker, Host},
    peer::Judgement,
    role::Role,
    status::told,
    trial::{CONFIG, PATIENCE, Trial},
};

pub(super) async fn cancelled_at_once(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    for _stream in 0..8 {
        drop(trial.open_aid(&agent).await?);
    }
    trial.aid(&agent).await.map(drop)
}

pub(super) async fn cancelled_after_the_payload(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    for _stream in 0..4 {
        let mut exchange = trial.open_aid(&agent).await?;
        let payload = exchange.payload().await;
        payload.map_err(|status| failed(told(&status), "a payload"))?;
    }
    trial.aid(&agent).await.map(drop)
}

pub(super) async fn cancelled_after_the_challenge(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    for _stream in 0..4 {
        let mut exchange = trial.open_aid(&agent).await?;
        let mut server = trial.server_part().await?;
        let payload = exchange.payload().await;
        let payload = payload.map_err(|status| failed(told(&status), "a payload"))?;
        let Judgement::Challenge(challenge) = server.judge(&payload, true).await? else {
            return Err(skip("the server has no challenge"));
        };
        exchange.send(&challenge).await;
        sleep(Duration::from_millis(2)).await;
    }
    trial.aid(&agent).await.map(drop)
}

/// The server was satisfied, or the agent gives up.
pub(super) async fn ended_after_the_payload(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let payload = exchange.payload().await;
    payload.map_err(|status| failed(told(&status), "a payload"))?;
    exchange.close();
    let answer = timeout(PATIENCE, exchange.answer()).await;
    let answer = answer.map_err(|_elapsed| failed("nothing", "the end of the stream"))?;
    hold(
        !matches!(answer, Ok(Some(_))),
        || format!("{answer:?}"),
        "the end of the stream, or a refusal",
    )
}

pub(super) async fn ended_when_all_is_said(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let mut server = trial.server_part().await?;
    let payload = exchange.payload().await;
    let mut message = payload.map_err(|status| failed(told(&status), "a payload"))?;
    let mut is_first = true;
    while let Judgement::Challenge(challenge) = server.judge(&message, is_first).await? {
        let answer = exchange.challenge(&challenge).await;
        message = answer.map_err(|status| failed(told(&status), "an answer"))?;
        is_first = false;
    }
    exchange.close();
    let end = timeout(PATIENCE, exchange.answer()).await;
    let end = end.map_err(|_elapsed| failed("nothing", "the end of the stream"))?;
    hold(
        matches!(end, Ok(None)),
        || format!("{end:?}"),
        "the end of the stream with OK",
    )
}

pub(super) async fn beside_a_configuration(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(Role::Agent).await?;
    let agent = trial.configured_role(Role::Agent).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let mut server = trial.server_part().await?;
    let payload = exchange.payload().await;
    let payload = payload.map_err(|status| failed(told(&status), "a payload"))?;
    let Judgement::Challenge(challenge) = server.judge(&payload, true).await? else {
        return Err(skip("the server has no challenge"));
    };
    let configured = timeout(PATIENCE, trial.configure(&agent, &text)).await;
    configured
        .map_err(|_elapsed| failed("Configure waits", "Configure waits for no exchange"))??;
    let answer = timeout(PATIENCE, exchange.challenge(&challenge)).await;
    let answer = answer.map_err(|_elapsed| failed("nothing", "the exchange goes on"))?;
    answer
        .map(drop)
        .map_err(|status| failed(told(&status), "the exchange goes on"))
}

pub(super) async fn without_metrics(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(Role::Agent).await?;
    let host = Host::new().broker(Broker::Silent);
    let agent = trial
        .load_with(&host, &trial.subject_of(Role::Agent)?)
        .await?;
    if agent.services().iter().any(|name| name == CONFIG) {
        trial.configure(&agent, &text).await?;
    }
    trial.aid(&agent).await.map(drop)
}

pub(super) async fn many_in_a_row(trial: &mut Trial) -> Result<(), Stop> {
    let agent = trial.configured_role(Role::Agent).await?;
    for _attestation in 0..10 {
        trial.aid(&agent).await?;
    }
    Ok(())
}
