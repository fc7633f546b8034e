//! Configure, as SPIRE calls it at the start and whenever a file has changed.

use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, Status};

use crate::{
    candidate::BadConfiguration,
    case::{Stop, environment, failed, hold, skip},
    loaded::Loaded,
    role::Role,
    status::{refused, told},
    trial::{PATIENCE, Trial},
};

/// The good texts of the plugin, filled.
pub(super) async fn good_texts(trial: &mut Trial) -> Result<Vec<String>, Stop> {
    let role = trial.role();
    let mut texts = Vec::new();
    for text in trial.plugin(role)?.good.clone() {
        texts.push(trial.filled(role, &text).await?);
    }
    if texts.is_empty() {
        texts.push(String::new());
    }
    Ok(texts)
}

/// The bad texts of the plugin, filled.
pub(super) async fn bad_texts(trial: &mut Trial) -> Result<Vec<BadConfiguration>, Stop> {
    let role = trial.role();
    let mut texts = trial.plugin(role)?.bad.clone();
    for bad in &mut texts {
        bad.text = trial.filled(role, &bad.text).await?;
    }
    Ok(texts)
}

/// The answer to Configure, in time.
pub(super) async fn configured(
    trial: &Trial,
    loaded: &Loaded,
    text: &str,
) -> Result<Result<(), Status>, Stop> {
    let trust_domain = Some(trial.candidate().trust_domain());
    let answer = timeout(PATIENCE, loaded.configure(trust_domain, text)).await;
    answer.map_err(|_elapsed| failed("nothing", "an answer to Configure"))
}

pub(super) async fn takes_each_good_text(trial: &mut Trial) -> Result<(), Stop> {
    for text in good_texts(trial).await? {
        let loaded = trial.load().await?;
        trial.configure(&loaded, &text).await?;
    }
    Ok(())
}

pub(super) async fn takes_a_text_again(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(trial.role()).await?;
    let loaded = trial.load().await?;
    for _time in 0..3 {
        trial.configure(&loaded, &text).await?;
    }
    Ok(())
}

/// Forwards and back: what is configured replaces what was.
pub(super) async fn takes_one_text_after_the_other(trial: &mut Trial) -> Result<(), Stop> {
    let texts = good_texts(trial).await?;
    if texts.len() < 2 {
        return Err(skip("the subject file has one good configuration for it"));
    }
    let loaded = trial.load().await?;
    for text in texts.iter().chain(texts.iter().rev()) {
        trial.configure(&loaded, text).await?;
    }
    Ok(())
}

pub(super) async fn takes_many_at_once(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(trial.role()).await?;
    let loaded = std::sync::Arc::new(trial.load().await?);
    let mut calls = JoinSet::new();
    for _call in 0..8 {
        let (loaded, text) = (std::sync::Arc::clone(&loaded), text.clone());
        let trust_domain = trial.candidate().trust_domain().to_owned();
        calls.spawn(async move {
            timeout(PATIENCE, loaded.configure(Some(&trust_domain), &text)).await
        });
    }
    while let Some(call) = calls.join_next().await {
        let answer = call.map_err(|error| environment("a task", error))?;
        let answer = answer.map_err(|_elapsed| failed("nothing", "an answer to each"))?;
        answer.map_err(|status| failed(told(&status), "OK to each"))?;
    }
    Ok(())
}

/// Each refusal of a bad text.
async fn refusals(trial: &mut Trial) -> Result<Vec<(BadConfiguration, Status)>, Stop> {
    let mut refusals = Vec::new();
    for bad in bad_texts(trial).await? {
        let loaded = trial.load().await?;
        let answer = configured(trial, &loaded, &bad.text).await?;
        let status = refused(answer, &[])?;
        refusals.push((bad, status));
    }
    Ok(refusals)
}

pub(super) async fn refuses_each_bad_text(trial: &mut Trial) -> Result<(), Stop> {
    for (bad, status) in refusals(trial).await? {
        let lost = status.code() == Code::Unavailable;
        hold(
            !lost,
            || format!("{:?}: {}", bad.text, told(&status)),
            "a refusal, and the process goes on",
        )?;
    }
    Ok(())
}

pub(super) async fn refuses_as_an_invalid_argument(trial: &mut Trial) -> Result<(), Stop> {
    for (bad, status) in refusals(trial).await? {
        let invalid = bad.only_at_configure || status.code() == Code::InvalidArgument;
        hold(invalid, || told(&status), "INVALID_ARGUMENT")?;
    }
    Ok(())
}

pub(super) async fn names_what_is_wrong(trial: &mut Trial) -> Result<(), Stop> {
    for (bad, status) in refusals(trial).await? {
        let Some(name) = bad.names else { continue };
        let names = status.message().contains(&name);
        hold(
            names,
            || told(&status),
            format!("a message with {name:?} in it"),
        )?;
    }
    Ok(())
}

pub(super) async fn refuses_without_a_prefix(trial: &mut Trial) -> Result<(), Stop> {
    for (_, status) in refusals(trial).await? {
        let text = status.message();
        let prefixed = [
            "nodeattestor(",
            "keymanager(",
            "credentialcomposer(",
            "rpc error:",
        ];
        let prefixed = prefixed.iter().any(|prefix| text.starts_with(prefix));
        hold(
            !prefixed,
            || format!("{text:?}"),
            "the host's prefix is put there by the host",
        )?;
    }
    Ok(())
}

pub(super) async fn refuses_shortly(trial: &mut Trial) -> Result<(), Stop> {
    for (_, status) in refusals(trial).await? {
        let text = status.message();
        hold(
            !text.is_empty() && text.len() < 4096 && !text.chars().any(char::is_control),
            || format!("{text:?}"),
            "one line of less than 4,096 bytes",
        )?;
    }
    Ok(())
}

pub(super) async fn keeps_the_good_one(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.configured().await?;
    for bad in bad_texts(trial).await? {
        let answer = configured(trial, &loaded, &bad.text).await?;
        refused(answer, &[])?;
    }
    works(trial, &loaded).await
}

/// A good attestation, or what else shows that a configuration is in force.
pub(super) async fn works(trial: &mut Trial, loaded: &Loaded) -> Result<(), Stop> {
    match trial.role() {
        Role::Server => trial.attest(loaded).await.map(drop),
        Role::Agent => trial.aid(loaded).await.map(drop),
        Role::KeyManager => {
            let keys = loaded.key_manager().public_keys().await;
            keys.map(drop)
                .map_err(|status| failed(told(&status), "it lists its keys as before"))
        }
        Role::CredentialComposer => {
            let right = "any answer but FAILED_PRECONDITION";
            match super::init::poke(trial, loaded).await {
                Err(status) if status.code() == Code::FailedPrecondition => {
                    Err(failed(told(&status), right))
                }
                Err(status) if status.code() == Code::Unavailable => {
                    Err(failed(told(&status), right))
                }
                _ => Ok(()),
            }
        }
    }
}

pub(super) async fn takes_a_good_one_after_a_bad_one(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(trial.role()).await?;
    let loaded = trial.load().await?;
    for bad in bad_texts(trial).await? {
        let answer = configured(trial, &loaded, &bad.text).await?;
        refused(answer, &[])?;
    }
    trial.configure(&loaded, &text).await?;
    works(trial, &loaded).await
}

pub(super) async fn wants_a_core_configuration(
    trial: &mut Trial,
    trust_domain: Option<&str>,
) -> Result<(), Stop> {
    let text = trial.good_text(trial.role()).await?;
    let loaded = trial.load().await?;
    let answer = timeout(PATIENCE, loaded.configure(trust_domain, &text)).await;
    let answer = answer.map_err(|_elapsed| failed("nothing", "an answer to Configure"))?;
    refused(answer, &[Code::InvalidArgument]).map(drop)
}
