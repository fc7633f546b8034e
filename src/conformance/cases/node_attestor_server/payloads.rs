//! First messages that must be refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::{
    candidate::BadPayload,
    case::{Stop, environment, failed, hold},
    loaded::Loaded,
    role::Role,
    server::Reply,
    status::{code_name, told},
    trial::{PATIENCE, Trial},
};

/// A payload that is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload {
    Empty,
    /// A message with neither arm set.
    Neither,
    Noise(usize),
    Zeros(usize),
    Text(&'static str),
    /// The first half of a good one.
    Half,
}

/// In the form that attestors by certificate have.
pub(super) const CERTIFICATES: &str = r#"{"Certificates":["MAA="]}"#;

pub(super) async fn refused(trial: &mut Trial, payload: Payload) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let bytes = bytes(trial, payload).await?;
    offer(trial, &server, bytes.as_deref()).await.map(drop)
}

async fn bytes(trial: &mut Trial, payload: Payload) -> Result<Option<Vec<u8>>, Stop> {
    Ok(match payload {
        Payload::Neither => None,
        Payload::Empty => Some(Vec::new()),
        Payload::Noise(length) => Some(trial.random(length)),
        Payload::Zeros(length) => Some(vec![0; length]),
        Payload::Text(text) => Some(text.as_bytes().to_vec()),
        Payload::Half => {
            let mut good = trial.agent_part().await?.payload().await?;
            good.truncate(good.len() / 2);
            Some(good)
        }
    })
}

/// Offers a payload that must be refused, if need be after any answer to a challenge.
async fn offer(trial: &Trial, server: &Loaded, payload: Option<&[u8]>) -> Result<Status, Stop> {
    const RIGHT: &str = "a refusal";
    let mut exchange = trial.open(server).await?;
    match payload {
        Some(payload) => exchange.payload(payload).await,
        None => exchange.neither().await,
    }
    for _round in 0..4 {
        let reply = timeout(PATIENCE, exchange.reply()).await;
        match reply.map_err(|_elapsed| failed("nothing", RIGHT))? {
            Err(status) => return Ok(status),
            // Some judge the payload only with the answer to a challenge.
            Ok(Reply::Challenge(_)) => exchange.respond(b"conformance").await,
            Ok(other) => return Err(failed(format!("{other:?}"), RIGHT)),
        }
    }
    Err(failed("one challenge after the other", RIGHT))
}

pub(super) async fn of_the_subject_file(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    for (name, bad) in trial.candidate().bad_payloads.clone() {
        let payload = decoded(&bad)?;
        let status = offer(trial, &server, Some(&payload)).await?;
        let code = code_name(status.code());
        let expected = bad.status.as_deref().unwrap_or(code);
        hold(
            code == expected,
            || format!("{name}: {}", told(&status)),
            format!("{name}: {expected}"),
        )?;
    }
    Ok(())
}

fn decoded(bad: &BadPayload) -> Result<Vec<u8>, Stop> {
    match (&bad.text, &bad.base64) {
        (Some(text), _) => Ok(text.as_bytes().to_vec()),
        (None, Some(text)) => STANDARD
            .decode(text)
            .map_err(|error| environment("base64 in the subject file", error)),
        (None, None) => Err(environment(
            "a bad payload of the subject file",
            "it has no bytes",
        )),
    }
}

/// A few of them, with what came.
async fn refusals(trial: &mut Trial) -> Result<Vec<Status>, Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let mut statuses = Vec::new();
    for payload in [Payload::Empty, Payload::Noise(64), Payload::Text("{}")] {
        let bytes = bytes(trial, payload).await?;
        statuses.push(offer(trial, &server, bytes.as_deref()).await?);
    }
    Ok(statuses)
}

/// The agent retries after some codes and exits after another, so that the code is part of the answer.
pub(super) async fn refusals_have_a_known_code(trial: &mut Trial) -> Result<(), Stop> {
    for status in refusals(trial).await? {
        let known = matches!(
            status.code(),
            Code::InvalidArgument | Code::PermissionDenied
        );
        hold(
            known,
            || told(&status),
            "INVALID_ARGUMENT, or PERMISSION_DENIED",
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

pub(super) async fn a_good_one_follows_bad_ones(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    for payload in [
        Payload::Empty,
        Payload::Neither,
        Payload::Noise(4096),
        Payload::Half,
    ] {
        let bytes = bytes(trial, payload).await?;
        offer(trial, &server, bytes.as_deref()).await?;
    }
    trial.attest(&server).await.map(drop)
}
