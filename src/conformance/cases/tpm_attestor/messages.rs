//! Messages that are malformed, late, or of another exchange.

use evidence::limits;
use softtpm::Lies;
use tokio::time::timeout;
use verify::Reason;

use super::exchange::{self, attest, configured, is_refusal, lie, refused, variant};
use crate::{
    case::{Stop, environment, failed},
    trial::{PATIENCE, Trial},
};

pub(super) async fn payload(trial: &mut Trial, bytes: &[u8], reason: Reason) -> Result<(), Stop> {
    exchange::payload(trial, bytes.to_vec(), reason).await
}

pub(super) async fn nested(trial: &mut Trial) -> Result<(), Stop> {
    let bytes = [b"{\"EK\":".to_vec(), vec![b'['; limits::PAYLOAD / 2]].concat();
    exchange::payload(trial, bytes, Reason::MalformedPayload).await
}

pub(super) async fn too_long(trial: &mut Trial) -> Result<(), Stop> {
    exchange::payload(
        trial,
        vec![b' '; limits::PAYLOAD + 1],
        Reason::PayloadTooLarge,
    )
    .await
}

/// Some of them: each is a whole stream.
pub(super) async fn prefixes(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let honest = trial.prover()?.payload();
    let honest = honest.map_err(|error| environment("the software TPM", error))?;
    for length in (0..honest.len()).step_by(37) {
        let mut exchange = trial.open(&server).await?;
        exchange
            .payload(honest.get(..length).unwrap_or_default())
            .await;
        let reply = timeout(PATIENCE, exchange.reply()).await;
        let reply = reply.map_err(|_elapsed| failed("nothing", "a refusal"))?;
        is_refusal(trial, reply, Reason::MalformedPayload)?;
    }
    Ok(())
}

pub(super) async fn trailing(trial: &mut Trial) -> Result<(), Stop> {
    let lies = Lies::none().payload(|bytes| bytes.extend_from_slice(b"{}"));
    lie(trial, lies, Reason::MalformedPayload).await
}

pub(super) async fn versions(trial: &mut Trial, lowest: u32, highest: u32) -> Result<(), Stop> {
    let lies = Lies::none().offer(move |offer| {
        if let Some(extension) = &mut offer.extension {
            (extension.min_version, extension.max_version) = (lowest, highest);
        }
    });
    lie(trial, lies, Reason::UnsupportedVersion).await
}

pub(super) async fn offers_no_quote(trial: &mut Trial) -> Result<(), Stop> {
    let lies = Lies::none().offer(|offer| {
        if let Some(extension) = &mut offer.extension {
            extension.evidence.clear();
        }
    });
    lie(trial, lies, Reason::PolicyRequiresQuote).await
}

/// A relay takes the extension away, so that the agent looks like an old one.
pub(super) async fn stripped(trial: &mut Trial) -> Result<(), Stop> {
    let server = variant(trial, "no old agents").await?;
    let mut prover = trial.prover()?;
    prover.lies = Lies::none().offer(|offer| offer.extension = None);
    refused(trial, &server, &mut prover, Reason::PolicyRequiresQuote).await
}

pub(super) async fn key(
    trial: &mut Trial,
    change: fn(&mut Vec<u8>),
    reason: Reason,
) -> Result<(), Stop> {
    let lies = Lies::none().offer(move |offer| {
        if let Some(key) = &mut offer.ek.public_key {
            change(key);
        }
    });
    lie(trial, lies, reason).await
}

pub(super) async fn for_another_trust_domain(trial: &mut Trial) -> Result<(), Stop> {
    let lies = Lies::none().seen(|seen| "example.com".clone_into(&mut seen.trust_domain));
    lie(trial, lies, Reason::ProofMismatch).await
}

pub(super) async fn for_another_payload(trial: &mut Trial) -> Result<(), Stop> {
    let lies = Lies::none().seen(|seen| seen.payload.push(b' '));
    lie(trial, lies, Reason::ProofMismatch).await
}

pub(super) async fn for_another_challenge(trial: &mut Trial) -> Result<(), Stop> {
    let lies = Lies::none().seen(|seen| seen.challenge.push(b' '));
    lie(trial, lies, Reason::ProofMismatch).await
}

pub(super) async fn response(trial: &mut Trial, bytes: &[u8], reason: Reason) -> Result<(), Stop> {
    let bytes = bytes.to_vec();
    let lies = Lies::none().response(move |response| response.clone_from(&bytes));
    lie(trial, lies, reason).await
}

/// The right secret, which proves nothing of a quote, by a new agent.
pub(super) async fn bare_secret(trial: &mut Trial) -> Result<(), Stop> {
    let lies = Lies::none().answer(|answer| {
        answer.response = evidence::Response::Secret(answer.secret.clone());
    });
    lie(trial, lies, Reason::MalformedResponse).await
}

pub(super) async fn of_another_stream(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = trial.prover()?;
    let payload = prover
        .payload()
        .map_err(|error| environment("the software TPM", error))?;
    let (mut one, mut other) = (trial.open(&server).await?, trial.open(&server).await?);
    one.payload(&payload).await;
    other.payload(&payload).await;
    let challenge = trial.challenge(&mut one).await?;
    trial.challenge(&mut other).await?;
    let answer = prover.answer(&payload, &challenge);
    let answer = answer.map_err(|error| environment("the software TPM", error))?;
    other.respond(&answer).await;
    let reply = timeout(PATIENCE, other.reply()).await;
    let reply = reply.map_err(|_elapsed| failed("nothing", "a refusal"))?;
    is_refusal(trial, reply, Reason::ProofMismatch)
}

pub(super) async fn silent(trial: &mut Trial) -> Result<(), Stop> {
    let server = variant(trial, "little patience").await?;
    let mut exchange = trial.open(&server).await?;
    let payload = trial.prover()?.payload();
    exchange
        .payload(&payload.map_err(|error| environment("the software TPM", error))?)
        .await;
    trial.challenge(&mut exchange).await?;
    let reply = timeout(PATIENCE, exchange.reply()).await;
    let reply = reply.map_err(|_elapsed| failed("nothing", "a refusal"))?;
    is_refusal(trial, reply, Reason::Timeout)
}

pub(super) async fn not_enrolled(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let stranger = softtpm::SoftTpm::generate();
    let stranger = stranger.map_err(|error| environment("the software TPM", error))?;
    let mut prover = softtpm::Prover::new(stranger, trial.candidate().trust_domain());
    let answer = attest(trial, &server, &mut prover).await?;
    is_refusal(trial, answer, Reason::EkNotAllowed)
}
