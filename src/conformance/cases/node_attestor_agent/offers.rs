//! The first message.

use std::time::Duration;

use plugin::proto::agent_attestor::payload_or_challenge_response::Data;
use tokio::time::timeout;

use crate::{
    agent::AidExchange,
    case::{Stop, failed, hold, skip},
    role::Role,
    status::told,
    trial::{PATIENCE, Trial},
};

const QUIET: Duration = Duration::from_millis(200);

/// The first message of a stream in which the host says nothing.
async fn first(trial: &mut Trial) -> Result<(AidExchange, Data), Stop> {
    const RIGHT: &str = "a payload, though nothing was said";
    let agent = trial.configured_role(Role::Agent).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let answer = timeout(PATIENCE, exchange.answer()).await;
    match answer.map_err(|_elapsed| failed("nothing", RIGHT))? {
        Ok(Some(data)) => {
            // The plugin lives as long as the trial looks at it.
            trial.keep(agent);
            Ok((exchange, data))
        }
        Ok(None) => Err(failed("the end of the stream", RIGHT)),
        Err(status) => Err(failed(told(&status), RIGHT)),
    }
}

pub(super) async fn without_being_asked(trial: &mut Trial) -> Result<(), Stop> {
    first(trial).await.map(drop)
}

pub(super) async fn as_a_payload(trial: &mut Trial) -> Result<(), Stop> {
    match first(trial).await?.1 {
        Data::Payload(_) => Ok(()),
        Data::ChallengeResponse(_) => Err(failed("a challenge response", "a payload first")),
    }
}

fn bytes(data: Data) -> Vec<u8> {
    match data {
        Data::Payload(bytes) | Data::ChallengeResponse(bytes) => bytes,
    }
}

pub(super) async fn something(trial: &mut Trial) -> Result<(), Stop> {
    let payload = bytes(first(trial).await?.1);
    hold(
        !payload.is_empty(),
        || "an empty payload".to_owned(),
        "a payload with something in it",
    )
}

pub(super) async fn once(trial: &mut Trial) -> Result<(), Stop> {
    let (mut exchange, _payload) = first(trial).await?;
    match timeout(QUIET, exchange.answer()).await {
        Err(_) | Ok(Ok(None)) => Ok(()),
        Ok(other) => Err(failed(
            format!("{other:?}"),
            "nothing more before a challenge",
        )),
    }
}

pub(super) async fn and_waits(trial: &mut Trial) -> Result<(), Stop> {
    let (mut exchange, _payload) = first(trial).await?;
    match timeout(QUIET, exchange.answer()).await {
        Err(_elapsed) => Ok(()),
        Ok(other) => Err(failed(
            format!("{other:?}"),
            "the stream stays open for a challenge",
        )),
    }
}

/// grpc-go's limit for a message, and room for the CSR that travels with it.
const FITS: usize = (4 << 20) - (64 << 10);

pub(super) async fn what_fits(trial: &mut Trial) -> Result<(), Stop> {
    let length = bytes(first(trial).await?.1).len();
    hold(
        length < FITS,
        || format!("{length} bytes"),
        format!("less than {FITS} bytes"),
    )
}

pub(super) async fn no_secret(trial: &mut Trial) -> Result<(), Stop> {
    let secrets = trial.candidate().secrets.clone();
    if secrets.is_empty() {
        return Err(skip("the subject file names no secret"));
    }
    let payload = bytes(first(trial).await?.1);
    for (name, secret) in secrets {
        let found = payload
            .windows(secret.len().max(1))
            .any(|window| window == secret.as_bytes());
        hold(
            !found,
            || format!("the secret {name}"),
            "a payload without secrets",
        )?;
    }
    Ok(())
}
