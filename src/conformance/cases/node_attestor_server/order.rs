//! Messages in another order, at the same time, or not at all.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{
    attestation::verdict,
    case::{Stop, failed, hold},
    role::Role,
    server::{AttestExchange, Reply},
    status::told,
    trial::{PATIENCE, Trial},
};

/// Whoever answers before the payload is there races the host.
pub(super) async fn waits_for_the_payload(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let mut exchange = trial.open(&server).await?;
    match timeout(Duration::from_millis(200), exchange.reply()).await {
        Err(_elapsed) => Ok(()),
        Ok(reply) => Err(failed(
            format!("{reply:?}"),
            "nothing before the payload is there",
        )),
    }
}

pub(super) async fn a_response_comes_first(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let mut exchange = trial.open(&server).await?;
    let payload = trial.agent_part().await?.payload().await?;
    exchange.respond(&payload).await;
    refuses(&mut exchange).await
}

pub(super) async fn a_payload_comes_twice(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let mut exchange = trial.open(&server).await?;
    let payload = trial.agent_part().await?.payload().await?;
    exchange.payload(&payload).await;
    trial.challenge(&mut exchange).await?;
    exchange.payload(&payload).await;
    refuses(&mut exchange).await
}

async fn refuses(exchange: &mut AttestExchange) -> Result<(), Stop> {
    match timeout(PATIENCE, exchange.reply()).await {
        Err(_elapsed) => Err(failed("nothing", "a refusal")),
        Ok(Err(_refusal)) => Ok(()),
        Ok(Ok(other)) => Err(failed(format!("{other:?}"), "a refusal")),
    }
}

pub(super) async fn the_stream_ends_at_once(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let mut exchange = trial.open(&server).await?;
    exchange.close();
    match timeout(PATIENCE, exchange.reply()).await {
        Err(_elapsed) => Err(failed("nothing", "a refusal, or the end")),
        Ok(Err(_) | Ok(Reply::End)) => trial.attest(&server).await.map(drop),
        Ok(Ok(other)) => Err(failed(format!("{other:?}"), "a refusal, or the end")),
    }
}

/// After so many messages of an agent; the next attestation must be a good one.
pub(super) async fn the_stream_is_cancelled(trial: &mut Trial, after: usize) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    for _stream in 0..4 {
        let mut exchange = trial.open(&server).await?;
        let mut agent = trial.agent_part().await?;
        let payload = agent.payload().await?;
        if after > 0 {
            exchange.payload(&payload).await;
        }
        if after > 1 {
            let challenge = trial.challenge(&mut exchange).await?;
            exchange.respond(&agent.answer(&challenge).await?).await;
        }
        sleep(Duration::from_millis(2)).await;
        drop(exchange);
    }
    trial.attest(&server).await.map(drop)
}

/// Two exchanges, each a step ahead of the other in turn.
pub(super) async fn streams_do_not_mix(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let (mut one, mut other) = (trial.open(&server).await?, trial.open(&server).await?);
    let (mut first, mut second) = (trial.agent_part().await?, trial.agent_part().await?);
    other.payload(&second.payload().await?).await;
    one.payload(&first.payload().await?).await;
    let to_first = trial.challenge(&mut one).await?;
    let to_second = trial.challenge(&mut other).await?;
    other.respond(&second.answer(&to_second).await?).await;
    one.respond(&first.answer(&to_first).await?).await;
    verdict(&mut one, &mut first).await?;
    verdict(&mut other, &mut second).await.map(drop)
}

pub(super) async fn an_exchange_outlives_a_configuration(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(Role::Server).await?;
    let server = trial.configured_role(Role::Server).await?;
    let mut exchange = trial.open(&server).await?;
    let mut agent = trial.agent_part().await?;
    exchange.payload(&agent.payload().await?).await;
    let challenge = trial.challenge(&mut exchange).await?;
    let configured = timeout(PATIENCE, trial.configure(&server, &text)).await;
    configured
        .map_err(|_elapsed| failed("Configure waits", "Configure waits for no exchange"))??;
    exchange.respond(&agent.answer(&challenge).await?).await;
    match timeout(PATIENCE, exchange.reply()).await {
        Ok(Ok(Reply::Attributes(_) | Reply::Challenge(_))) => Ok(()),
        Ok(Ok(other)) => Err(failed(format!("{other:?}"), "the exchange goes on")),
        Ok(Err(status)) => hold(false, || told(&status), "the exchange goes on"),
        Err(_elapsed) => Err(failed("nothing", "the exchange goes on")),
    }
}
