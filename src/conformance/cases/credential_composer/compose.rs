//! ComposeAgentX509SVID, with what SPIRE Server would send.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use plugin::proto::credential_composer::{
    ComposeAgentX509svidRequest, DistinguishedName, X509svidAttributes,
    credential_composer_client::CredentialComposerClient,
};
use rcgen::{KeyPair, PublicKeyData as _};
use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, Status};

use crate::{
    case::{Stop, environment, failed, hold, skip},
    empty_call::call_empty,
    loaded::Loaded,
    status::told,
    trial::{PATIENCE, Trial},
};

/// What SPIRE gives an agent's SVID by itself.
fn attributes() -> X509svidAttributes {
    X509svidAttributes {
        subject: Some(DistinguishedName {
            country: vec!["US".to_owned()],
            organization: vec!["SPIRE".to_owned()],
            ..DistinguishedName::default()
        }),
        dns_sans: vec!["machine.example.org".to_owned()],
        extra_extensions: Vec::new(),
    }
}

/// An agent of another attestor: no composer has a reason to refuse it.
fn agent(trial: &Trial) -> String {
    let domain = trial.candidate().trust_domain();
    format!("spiffe://{domain}/spire/agent/join_token/conformance")
}

fn key() -> Result<Vec<u8>, Stop> {
    let key = KeyPair::generate().map_err(|error| environment("a key", error))?;
    Ok(key.subject_public_key_info())
}

type Composed = Result<X509svidAttributes, Status>;

async fn composed(composer: &Loaded, id: &str, key: &[u8]) -> Result<Composed, Stop> {
    let given = attributes();
    let composer = composer.composer();
    let call = composer.compose_agent_x509_svid(id, key, &given);
    let composed = timeout(PATIENCE, call).await;
    composed.map_err(|_elapsed| failed("nothing", "an answer"))
}

async fn good(trial: &mut Trial) -> Result<X509svidAttributes, Stop> {
    let composer = trial.configured().await?;
    let composed = composed(&composer, &agent(trial), &key()?).await?;
    composed.map_err(|status| failed(told(&status), "attributes, or none"))
}

pub(super) async fn composes(trial: &mut Trial) -> Result<(), Stop> {
    good(trial).await.map(drop)
}

pub(super) async fn has_a_subject(trial: &mut Trial) -> Result<(), Stop> {
    let composed = good(trial).await?;
    hold(
        composed.subject.is_some(),
        || format!("{composed:?}"),
        "a subject",
    )
}

pub(super) async fn keeps_the_dns_names(trial: &mut Trial) -> Result<(), Stop> {
    let composed = good(trial).await?;
    let given = attributes().dns_sans;
    hold(
        composed.dns_sans == given,
        || format!("{:?}", composed.dns_sans),
        format!("{given:?}"),
    )
}

pub(super) async fn adds_good_extensions(trial: &mut Trial) -> Result<(), Stop> {
    for extension in good(trial).await?.extra_extensions {
        let arcs: Vec<_> = extension.oid.split('.').map(str::parse::<u64>).collect();
        let is_oid = arcs.len() >= 2 && arcs.iter().all(Result::is_ok);
        hold(
            is_oid,
            || format!("{:?}", extension.oid),
            "an OID, as in 1.3.6.1.4.1",
        )?;
    }
    Ok(())
}

pub(super) async fn adds_nothing_critical(trial: &mut Trial) -> Result<(), Stop> {
    for extension in good(trial).await?.extra_extensions {
        hold(
            !extension.critical,
            || format!("{extension:?}"),
            "extensions that others may ignore",
        )?;
    }
    Ok(())
}

pub(super) async fn does_the_same_again(trial: &mut Trial) -> Result<(), Stop> {
    let composer = trial.configured().await?;
    let (id, key) = (agent(trial), key()?);
    let first = composed(&composer, &id, &key).await?;
    let second = composed(&composer, &id, &key).await?;
    let (first, second) = (first.ok(), second.ok());
    hold(
        first == second,
        || format!("{first:?}, then {second:?}"),
        "the same twice",
    )
}

pub(super) async fn composes_many_at_once(trial: &mut Trial) -> Result<(), Stop> {
    let composer = Arc::new(trial.configured().await?);
    let mut calls = JoinSet::new();
    for call in 0..32 {
        let (composer, id, key) = (Arc::clone(&composer), agent(trial), key()?);
        calls.spawn(async move { composed(&composer, &format!("{id}-{call}"), &key).await });
    }
    while let Some(call) = calls.join_next().await {
        let answer = call.map_err(|error| environment("a task", error))??;
        answer.map_err(|status| failed(told(&status), "attributes to each"))?;
    }
    Ok(())
}

/// An agent waits for its SVID while this runs.
pub(super) async fn composes_in_time(trial: &mut Trial) -> Result<(), Stop> {
    let composer = trial.configured().await?;
    let (id, key) = (agent(trial), key()?);
    let begun = Instant::now();
    composed(&composer, &id, &key).await?.ok();
    let took = begun.elapsed();
    hold(
        took < Duration::from_secs(5),
        || format!("{took:?}"),
        "less than 5 s",
    )
}

pub(super) async fn leaves_alone(trial: &mut Trial, method: &str) -> Result<(), Stop> {
    let composer = trial.configured().await?;
    let path = format!("/{}/{method}", trial.role().service());
    let answer = timeout(PATIENCE, call_empty(composer.channel(), &path)).await;
    match answer.map_err(|_elapsed| failed("nothing", "an answer"))? {
        Ok(()) => Ok(()),
        Err(status) => {
            let known = matches!(status.code(), Code::Unimplemented | Code::InvalidArgument);
            hold(
                known,
                || told(&status),
                "UNIMPLEMENTED, or OK, or INVALID_ARGUMENT for no request",
            )
        }
    }
}

/// An answer, and a good one afterwards.
pub(super) async fn survives(trial: &mut Trial, id: &str, key: &[u8]) -> Result<(), Stop> {
    let composer = trial.configured().await?;
    let answer = composed(&composer, id, key).await?;
    let lost = matches!(&answer, Err(status) if status.code() == Code::Unavailable);
    hold(
        !lost,
        || format!("{answer:?}"),
        "an answer, and the process goes on",
    )?;
    still_composes(trial, &composer).await
}

async fn still_composes(trial: &Trial, composer: &Loaded) -> Result<(), Stop> {
    let composed = composed(composer, &agent(trial), &key()?).await?;
    composed
        .map(drop)
        .map_err(|status| failed(told(&status), "attributes for a good request"))
}

pub(super) async fn survives_at_length(trial: &mut Trial) -> Result<(), Stop> {
    let id = format!("spiffe://example.org/{}", "a".repeat(1 << 20));
    survives(trial, &id, &vec![0x30; 1 << 20]).await
}

pub(super) async fn survives_no_attributes(trial: &mut Trial) -> Result<(), Stop> {
    let composer = trial.configured().await?;
    let request = ComposeAgentX509svidRequest {
        attributes: None,
        spiffe_id: agent(trial),
        public_key: key()?,
    };
    let mut client = CredentialComposerClient::new(composer.channel());
    let answer = timeout(PATIENCE, client.compose_agent_x509svid(request)).await;
    let answer = answer.map_err(|_elapsed| failed("nothing", "an answer"))?;
    let lost = matches!(&answer, Err(status) if status.code() == Code::Unavailable);
    hold(
        !lost,
        || format!("{answer:?}"),
        "an answer, and the process goes on",
    )?;
    still_composes(trial, &composer).await
}

pub(super) async fn refuses_in_one_line(trial: &mut Trial) -> Result<(), Stop> {
    let composer = trial.configured().await?;
    match composed(&composer, "not an ID\nat all", b"not a key").await? {
        Ok(_) => Err(skip("it refuses nothing")),
        Err(status) => {
            let text = status.message();
            let is_right = !text.chars().any(char::is_control) && text.len() < 1024;
            let prefixed = text.starts_with("credentialcomposer(");
            hold(
                is_right && !prefixed,
                || format!("{text:?}"),
                "one line of less than 1,024 bytes without the host's prefix",
            )
        }
    }
}

pub(super) async fn outlives_a_configuration(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(trial.role()).await?;
    let composer = trial.configured().await?;
    still_composes(trial, &composer).await?;
    trial.configure(&composer, &text).await?;
    still_composes(trial, &composer).await
}
