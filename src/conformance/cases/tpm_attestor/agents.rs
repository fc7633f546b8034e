//! An agent's plugin on a TPM of the trial.

use evidence::{Attest, Attested, Attributes, Challenge, Evidence, Offer, Public, Response};
use softtpm::SoftTpm;
use tokio::time::timeout;

use crate::{
    agent::AidExchange,
    case::{Stop, environment, failed, hold, skip},
    loaded::Loaded,
    peer::Judgement,
    peer_verifier::Verifier,
    role::Role,
    status::told,
    trial::{PATIENCE, Trial},
};

async fn configured(trial: &mut Trial) -> Result<Loaded, Stop> {
    trial.configured_role(Role::Agent).await
}

async fn payload(exchange: &mut AidExchange) -> Result<Vec<u8>, Stop> {
    let payload = timeout(PATIENCE, exchange.payload()).await;
    let payload = payload.map_err(|_elapsed| failed("nothing", "a payload"))?;
    payload.map_err(|status| failed(told(&status), "a payload"))
}

fn decoded(payload: &[u8]) -> Result<Offer, Stop> {
    Offer::decode(payload)
        .map_err(|error| failed(format!("{error:?}"), "a payload in the wire format"))
}

async fn offer(trial: &mut Trial) -> Result<Offer, Stop> {
    let agent = configured(trial).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let offer = decoded(&payload(&mut exchange).await?)?;
    drop(exchange);
    // What it holds in the TPM would be in the way of the next.
    agent.unload().await;
    Ok(offer)
}

pub(super) async fn offers_its_ek(trial: &mut Trial) -> Result<(), Stop> {
    let offer = offer(trial).await?;
    hold(
        offer.ek.certificate.is_some() || offer.ek.public_key.is_some(),
        || format!("{:?}", offer.ek),
        "an EK certificate or an EK's public key",
    )
}

fn parsed(offer: &Offer) -> Result<Public, Stop> {
    Public::parse(&offer.ak.public).map_err(|error| {
        failed(
            format!("{error:?}"),
            "a TPMT_PUBLIC without a size before it",
        )
    })
}

/// What every verifier asks of an AK (TPM 2.0 Library, part 1, on restricted signing keys).
pub(super) async fn offers_a_good_ak(trial: &mut Trial) -> Result<(), Stop> {
    const NEEDED: u32 = Attributes::FIXED_TPM
        | Attributes::FIXED_PARENT
        | Attributes::SENSITIVE_DATA_ORIGIN
        | Attributes::RESTRICTED
        | Attributes::SIGN;
    let attributes = parsed(&offer(trial).await?)?.attributes.0;
    hold(
        attributes & NEEDED == NEEDED && attributes & Attributes::DECRYPT == 0,
        || format!("attributes {attributes:#010x}"),
        "fixedTPM, fixedParent, sensitiveDataOrigin, restricted and sign, without decrypt",
    )
}

/// Old servers want it.
pub(super) async fn offers_a_creation_by_the_ak(trial: &mut Trial) -> Result<(), Stop> {
    let offer = offer(trial).await?;
    let right = "CreateData, CreateAttestation and CreateSignature, for old servers";
    let Some(creation) = &offer.ak.creation else {
        return Err(failed("no creation", right));
    };
    let attest = Attest::parse(&creation.attestation);
    let attest = attest.map_err(|error| failed(format!("{error:?}"), right))?;
    hold(
        matches!(attest.attested, Attested::Creation { .. }),
        || format!("{:?}", attest.attested),
        "an attestation of the creation",
    )
}

pub(super) async fn offers_the_same_keys_again(trial: &mut Trial) -> Result<(), Stop> {
    let (first, second) = (offer(trial).await?, offer(trial).await?);
    same_keys(&first, &second)
}

fn same_keys(first: &Offer, second: &Offer) -> Result<(), Stop> {
    hold(
        first.ek == second.ek && first.ak.public == second.ak.public,
        || "another EK or another AK".to_owned(),
        "the same EK and the same AK",
    )
}

pub(super) async fn offers_the_same_keys_after_a_reset(trial: &mut Trial) -> Result<(), Stop> {
    let first = offer(trial).await?;
    trial.swtpm().await?.reset().await?;
    let second = offer(trial).await?;
    same_keys(&first, &second)
}

/// The challenge of the kit's verifier for this payload, decoded, and what judges the answer.
fn challenge(trial: &mut Trial, payload: &[u8]) -> Result<(Challenge, Vec<u8>, Verifier), Stop> {
    let mut verifier = Verifier::new(trial);
    match verifier.judge(payload, true)? {
        Judgement::Challenge(bytes) => {
            let decoded = Challenge::decode(&bytes);
            let decoded = decoded
                .map_err(|error| environment("the kit's challenge", format!("{error:?}")))?;
            Ok((decoded, bytes, verifier))
        }
        other => Err(failed(
            format!("{other:?}"),
            "a payload that is answered with a challenge",
        )),
    }
}

/// An old server asks for nothing but the secret.
pub(super) async fn answers_old_servers(trial: &mut Trial) -> Result<(), Stop> {
    let agent = configured(trial).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let payload = payload(&mut exchange).await?;
    let (mut old, _, _) = challenge(trial, &payload)?;
    old.extension = None;
    let answer = answered(&mut exchange, &old.encode()).await?;
    match answer {
        Ok(answer) => {
            let response = Response::decode(&answer);
            let is_secret = matches!(&response, Ok(Response::Secret(_)));
            hold(
                is_secret,
                || String::from_utf8_lossy(&answer).into_owned(),
                "the secret alone",
            )
        }
        Err(status) => Err(failed(told(&status), "the secret alone")),
    }
}

async fn answered(
    exchange: &mut AidExchange,
    challenge: &[u8],
) -> Result<Result<Vec<u8>, plugin::Status>, Stop> {
    let answer = timeout(PATIENCE, exchange.challenge(challenge)).await;
    answer.map_err(|_elapsed| failed("nothing", "an answer or a refusal"))
}

/// The evidence with which a good challenge was answered.
async fn proved(trial: &mut Trial) -> Result<(Challenge, Vec<u8>, Evidence), Stop> {
    let agent = configured(trial).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let payload = payload(&mut exchange).await?;
    let (decoded, bytes, mut verifier) = challenge(trial, &payload)?;
    if decoded.extension.is_none() {
        return Err(skip("the agent does not have the extension"));
    }
    let answer = answered(&mut exchange, &bytes).await?;
    let answer = answer.map_err(|status| failed(told(&status), "evidence"))?;
    let judgement = verifier.judge(&answer, false)?;
    hold(
        judgement == Judgement::Granted,
        || format!("{judgement:?}"),
        "good evidence",
    )?;
    match Response::decode(&answer) {
        Ok(Response::Proof(proof)) => {
            let evidence = Evidence::decode(&proof.evidence);
            let evidence = evidence.map_err(|error| failed(format!("{error:?}"), "evidence"))?;
            Ok((decoded, answer, evidence))
        }
        _ => Err(failed(
            String::from_utf8_lossy(&answer),
            "evidence and a proof",
        )),
    }
}

pub(super) async fn tells_no_secret_to_new_servers(trial: &mut Trial) -> Result<(), Stop> {
    let (_, answer, _) = proved(trial).await?;
    let document: serde_json::Value = serde_json::from_slice(&answer)
        .map_err(|error| failed(error.to_string(), "a JSON object"))?;
    let secret = document
        .get("Secret")
        .filter(|secret| secret.as_str() != Some(""));
    hold(
        secret.is_none(),
        || "a Secret beside the proof".to_owned(),
        "the proof alone",
    )
}

pub(super) async fn quotes_what_was_asked(trial: &mut Trial) -> Result<(), Stop> {
    let (challenge, _, evidence) = proved(trial).await?;
    let asked = challenge
        .extension
        .map(|extension| extension.pcrs)
        .unwrap_or_default();
    let quoted = Attest::parse(&evidence.quote);
    let quoted = quoted.map_err(|error| failed(format!("{error:?}"), "a quote"))?;
    let Attested::Quote { selections, .. } = &quoted.attested else {
        return Err(failed(format!("{:?}", quoted.attested), "a quote"));
    };
    let banks = selections.len();
    hold(
        banks == asked.len(),
        || format!("{selections:?}"),
        format!("{asked:?}"),
    )
}

/// A credential for the AK of another TPM.
pub(super) async fn opens_no_credential_of_another(trial: &mut Trial) -> Result<(), Stop> {
    let agent = configured(trial).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    payload(&mut exchange).await?;
    let other = SoftTpm::generate().map_err(|error| environment("the software TPM", error))?;
    let mut other = softtpm::Prover::new(other, trial.candidate().trust_domain());
    let foreign = other
        .payload()
        .map_err(|error| environment("the software TPM", error))?;
    let (_, bytes, _) = challenge(trial, &foreign)?;
    refuses(trial, &agent, &mut exchange, &bytes).await
}

/// It refuses, and attests afterwards.
async fn refuses(
    trial: &mut Trial,
    agent: &Loaded,
    exchange: &mut AidExchange,
    challenge: &[u8],
) -> Result<(), Stop> {
    let answer = answered(exchange, challenge).await?;
    crate::status::refused(answer, &[])?;
    let mut exchange = trial.open_aid(agent).await?;
    payload(&mut exchange).await.map(drop)
}

pub(super) async fn refuses_an_unknown_version(trial: &mut Trial) -> Result<(), Stop> {
    let agent = configured(trial).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let offered = payload(&mut exchange).await?;
    let (mut challenge, _, _) = challenge(trial, &offered)?;
    match &mut challenge.extension {
        Some(extension) => extension.version = 255,
        None => return Err(skip("the agent does not have the extension")),
    }
    refuses(trial, &agent, &mut exchange, &challenge.encode()).await
}

pub(super) async fn refuses_half_a_credential(trial: &mut Trial) -> Result<(), Stop> {
    let agent = configured(trial).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let offered = payload(&mut exchange).await?;
    let (_, bytes, _) = challenge(trial, &offered)?;
    let mut document: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| environment("the kit's challenge", error))?;
    if let Some(credential) = document.pointer_mut("/EC/Credential") {
        let half = credential
            .as_str()
            .map(|text| text.chars().take(32).collect::<String>());
        *credential = half.unwrap_or_default().into();
    }
    refuses(
        trial,
        &agent,
        &mut exchange,
        document.to_string().as_bytes(),
    )
    .await
}

/// The TPM is gone: an error in time, and not a wait.
pub(super) async fn ends_without_its_tpm(trial: &mut Trial) -> Result<(), Stop> {
    let agent = configured(trial).await?;
    let mut exchange = trial.open_aid(&agent).await?;
    let offered = payload(&mut exchange).await?;
    let (_, bytes, _) = challenge(trial, &offered)?;
    trial.swtpm().await?.power_off().await?;
    let answer = answered(&mut exchange, &bytes).await?;
    crate::status::refused(answer, &[]).map(drop)
}
