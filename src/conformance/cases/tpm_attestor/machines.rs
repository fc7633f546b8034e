//! Honest machines.

use evidence::{AkTemplate, Challenge, Offer};
use softtpm::{Generation, KeyKind, Lies, Prover, SoftTpm};

use super::{
    authority::Authority,
    exchange::{configured, granted, variant},
};
use crate::{
    case::{Stop, environment, failed, hold},
    trial::Trial,
};

fn software<T>(made: Result<T, softtpm::TpmError>) -> Result<T, Stop> {
    made.map_err(|error| environment("the software TPM", error))
}

pub(super) async fn new(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = trial.prover()?;
    granted(trial, &server, &mut prover).await.map(drop)
}

/// A machine with an agent of the first generation, which is enrolled.
pub(super) fn old_machine(trial: &Trial) -> Result<Prover, Stop> {
    let tpm = software(SoftTpm::first_generation(KeyKind::Rsa2048))?;
    trial.enrol(tpm.ek_hash())?;
    let mut prover = Prover::new(tpm, trial.candidate().trust_domain());
    prover.generation = Generation::First;
    Ok(prover)
}

pub(super) async fn old(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = old_machine(trial)?;
    granted(trial, &server, &mut prover).await.map(drop)
}

pub(super) async fn old_and_new(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let (mut one, mut other) = (old_machine(trial)?, trial.prover()?);
    for _time in 0..2 {
        let first = granted(trial, &server, &mut one).await?;
        let second = granted(trial, &server, &mut other).await?;
        let differ = first.spiffe_id != second.spiffe_id;
        hold(differ, || first.spiffe_id.clone(), "an ID for each machine")?;
    }
    Ok(())
}

pub(super) async fn of_kind(trial: &mut Trial, kind: KeyKind) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let tpm = software(SoftTpm::sample(kind, AkTemplate::EccP256))?;
    trial.enrol(tpm.ek_hash())?;
    let mut prover = Prover::new(tpm, trial.candidate().trust_domain());
    granted(trial, &server, &mut prover).await.map(drop)
}

pub(super) async fn is_named_by_its_ek(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = trial.prover()?;
    let attributes = granted(trial, &server, &mut prover).await?;
    let due = format!("pub_hash:{}", prover.tpm.ek_hash().hex());
    hold(
        attributes.selector_values.contains(&due),
        || format!("{:?}", attributes.selector_values),
        due,
    )
}

/// What an honest payload is answered with.
async fn challenged(trial: &mut Trial, prover: &mut Prover) -> Result<Vec<u8>, Stop> {
    let server = configured(trial).await?;
    let mut exchange = trial.open(&server).await?;
    let payload = software(prover.payload())?;
    exchange.payload(&payload).await;
    trial.challenge(&mut exchange).await
}

fn decoded(challenge: &[u8]) -> Result<Challenge, Stop> {
    Challenge::decode(challenge).map_err(|error| {
        failed(
            format!("{error:?}: {}", String::from_utf8_lossy(challenge)),
            "a challenge",
        )
    })
}

pub(super) async fn the_challenge_is_a_credential(trial: &mut Trial) -> Result<(), Stop> {
    let mut prover = trial.prover()?;
    let challenge = challenged(trial, &mut prover).await?;
    decoded(&challenge)?;
    let document: serde_json::Value = serde_json::from_slice(&challenge)
        .map_err(|error| failed(error.to_string(), "a JSON object"))?;
    let has = |key: &str| {
        document
            .pointer(key)
            .is_some_and(serde_json::Value::is_string)
    };
    hold(
        has("/EC/Credential") && has("/EC/Secret"),
        || document.to_string(),
        "EC with Credential and Secret in base64",
    )
}

pub(super) async fn the_challenge_asks_for_a_quote(trial: &mut Trial) -> Result<(), Stop> {
    let mut prover = trial.prover()?;
    let challenge = challenged(trial, &mut prover).await?;
    let right = "version, a nonce of 32 bytes and PCRs under tpm_attestor";
    let Some(extension) = decoded(&challenge)?.extension else {
        return Err(failed("no extension for an agent that has it", right));
    };
    hold(
        extension.nonce.iter().any(|byte| *byte != 0) && !extension.pcrs.is_empty(),
        || format!("{extension:?}"),
        right,
    )
}

pub(super) async fn an_old_agent_is_asked_for_nothing_new(trial: &mut Trial) -> Result<(), Stop> {
    let mut prover = old_machine(trial)?;
    let challenge = challenged(trial, &mut prover).await?;
    let extension = decoded(&challenge)?.extension;
    hold(
        extension.is_none(),
        || format!("{extension:?}"),
        "no extension for an agent without it",
    )
}

/// A newer agent may add some, beside and below what is known.
pub(super) async fn unknown_members_are_ignored(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = trial.prover()?;
    prover.lies = Lies::none().payload(|bytes| {
        if let Some(rest) = bytes.strip_prefix(b"{") {
            *bytes = [&b"{\"PVE\":{\"uuid\":\"x\",\"more\":[1,null]},"[..], rest].concat();
        }
    });
    granted(trial, &server, &mut prover).await.map(drop)
}

pub(super) async fn white_space_does_not_matter(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = trial.prover()?;
    prover.lies = Lies::none().payload(|bytes| {
        *bytes = [&b" \n\t"[..], bytes, b"\r\n"].concat();
    });
    granted(trial, &server, &mut prover).await.map(drop)
}

pub(super) async fn versions_overlap(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = trial.prover()?;
    prover.lies = Lies::none().offer(|offer: &mut Offer| {
        if let Some(extension) = &mut offer.extension {
            (extension.min_version, extension.max_version) = (0, 9);
        }
    });
    granted(trial, &server, &mut prover).await.map(drop)
}

pub(super) async fn is_known_by_its_certificate(trial: &mut Trial) -> Result<(), Stop> {
    let maker = Authority::new("Maker")?;
    trial.trust("maker", maker.certificate())?;
    let server = variant(trial, "certificates").await?;
    let mut prover = trial.prover()?;
    prover.certificate = Some(maker.certify(&prover.tpm.ek_key().spki(), |_| ())?);
    granted(trial, &server, &mut prover).await.map(drop)
}

pub(super) async fn is_known_by_an_offered_intermediate(trial: &mut Trial) -> Result<(), Stop> {
    let maker = Authority::new("Maker")?;
    trial.trust("maker", maker.certificate())?;
    let plant = maker.below("Plant")?;
    let server = variant(trial, "certificates").await?;
    let mut prover = trial.prover()?;
    prover.certificate = Some(plant.certify(&prover.tpm.ek_key().spki(), |_| ())?);
    prover.intermediates = vec![plant.certificate().to_vec()];
    granted(trial, &server, &mut prover).await.map(drop)
}
