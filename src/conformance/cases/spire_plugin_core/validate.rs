//! Validate, as `spire-server validate` calls it, which may not touch what is live.

use std::sync::Arc;

use plugin::proto::config::ValidateResponse;
use tokio::{task::JoinSet, time::timeout};
use tonic::Status;

use crate::{
    candidate::BadConfiguration,
    case::{Stop, environment, failed, hold, skip},
    cases::spire_plugin_core::configure::{bad_texts, good_texts, works},
    loaded::Loaded,
    status::told,
    trial::{PATIENCE, Trial},
};

type Answer = Result<ValidateResponse, Status>;

async fn validated(trial: &Trial, loaded: &Loaded, text: &str) -> Result<Answer, Stop> {
    let trust_domain = Some(trial.candidate().trust_domain());
    let answer = timeout(PATIENCE, loaded.validate(trust_domain, text)).await;
    answer.map_err(|_elapsed| failed("nothing", "an answer to Validate"))
}

async fn of_good_texts(trial: &mut Trial) -> Result<Vec<ValidateResponse>, Stop> {
    let loaded = trial.load().await?;
    let mut answers = Vec::new();
    for text in good_texts(trial).await? {
        let answer = validated(trial, &loaded, &text).await?;
        answers.push(answer.map_err(|status| failed(told(&status), "OK"))?);
    }
    Ok(answers)
}

pub(super) async fn finds_nothing_in_good_texts(trial: &mut Trial) -> Result<(), Stop> {
    for answer in of_good_texts(trial).await? {
        hold(
            answer.notes.is_empty(),
            || format!("{:?}", answer.notes),
            "no notes",
        )?;
    }
    Ok(())
}

pub(super) async fn says_that_good_texts_are_valid(trial: &mut Trial) -> Result<(), Stop> {
    for answer in of_good_texts(trial).await? {
        hold(answer.valid, || format!("{answer:?}"), "valid = true")?;
    }
    Ok(())
}

async fn of_bad_texts(trial: &mut Trial) -> Result<Vec<(BadConfiguration, Answer)>, Stop> {
    let loaded = trial.load().await?;
    let mut answers = Vec::new();
    for bad in bad_texts(trial).await? {
        if !bad.only_at_configure {
            let answer = validated(trial, &loaded, &bad.text).await?;
            answers.push((bad, answer));
        }
    }
    if answers.is_empty() {
        return Err(skip("what is bad shows at Configure only"));
    }
    Ok(answers)
}

pub(super) async fn finds_something_in_bad_texts(trial: &mut Trial) -> Result<(), Stop> {
    for (bad, answer) in of_bad_texts(trial).await? {
        let found = answer.as_ref().is_ok_and(|answer| !answer.notes.is_empty());
        let right = format!("a note, or a status, about {:?}", bad.text);
        hold(found || answer.is_err(), || format!("{answer:?}"), right)?;
    }
    Ok(())
}

/// With a status as well the operator reads everything twice.
pub(super) async fn tells_by_notes(trial: &mut Trial) -> Result<(), Stop> {
    for (_, answer) in of_bad_texts(trial).await? {
        let told = answer
            .as_ref()
            .is_ok_and(|answer| !answer.valid && !answer.notes.is_empty());
        hold(
            told,
            || format!("{answer:?}"),
            "OK with valid = false and notes",
        )?;
    }
    Ok(())
}

pub(super) async fn names_what_is_wrong(trial: &mut Trial) -> Result<(), Stop> {
    for (bad, answer) in of_bad_texts(trial).await? {
        let Some(name) = bad.names else { continue };
        let said = match &answer {
            Ok(answer) => answer.notes.join("\n"),
            Err(status) => status.message().to_owned(),
        };
        hold(
            said.contains(&name),
            || format!("{said:?}"),
            format!("a note with {name:?} in it"),
        )?;
    }
    Ok(())
}

pub(super) async fn changes_nothing(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.configured().await?;
    for bad in bad_texts(trial).await? {
        validated(trial, &loaded, &bad.text).await?.ok();
    }
    validated(trial, &loaded, "").await?.ok();
    works(trial, &loaded).await
}

pub(super) async fn wants_a_core_configuration(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(trial.role()).await?;
    let loaded = trial.load().await?;
    let answer = timeout(PATIENCE, loaded.validate(None, &text)).await;
    let answer = answer.map_err(|_elapsed| failed("nothing", "an answer to Validate"))?;
    let found = answer.as_ref().is_ok_and(|answer| answer.notes.is_empty());
    hold(
        !found,
        || format!("{answer:?}"),
        "a note, or a status, about the trust domain",
    )
}

pub(super) async fn answers_many_at_once(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(trial.role()).await?;
    let loaded = Arc::new(trial.load().await?);
    let mut calls = JoinSet::new();
    for _call in 0..32 {
        let (loaded, text) = (Arc::clone(&loaded), text.clone());
        let trust_domain = trial.candidate().trust_domain().to_owned();
        calls.spawn(
            async move { timeout(PATIENCE, loaded.validate(Some(&trust_domain), &text)).await },
        );
    }
    while let Some(call) = calls.join_next().await {
        let answer = call.map_err(|error| environment("a task", error))?;
        let answer = answer.map_err(|_elapsed| failed("nothing", "an answer to each"))?;
        let answer = answer.map_err(|status| failed(told(&status), "OK to each"))?;
        hold(
            answer.notes.is_empty(),
            || format!("{:?}", answer.notes),
            "no notes",
        )?;
    }
    Ok(())
}
