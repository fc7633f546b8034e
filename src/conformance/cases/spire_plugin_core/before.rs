//! What the plugin does before it is configured.

use tokio::time::timeout;
use tonic::{Code, Status};

use crate::{
    case::{Stop, failed, hold},
    cases::spire_plugin_core::init::poke,
    loaded::Loaded,
    status::told,
    trial::{PATIENCE, Trial},
};

async fn poked(trial: &Trial, loaded: &Loaded) -> Result<Result<(), Status>, Stop> {
    let poked = timeout(PATIENCE, poke(trial, loaded)).await;
    poked.map_err(|_elapsed| failed("nothing", "an answer though it is not configured"))
}

pub(super) async fn answers_in_time(trial: &mut Trial) -> Result<(), Stop> {
    let mut loaded = trial.load().await?;
    let answer = poked(trial, &loaded).await?;
    let lost = matches!(&answer, Err(status) if status.code() == Code::Unavailable);
    hold(
        !lost && loaded.process().runs(),
        || format!("{answer:?}"),
        "an answer, and the process goes on",
    )
}

pub(super) async fn says_that_it_is_not_configured(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.load().await?;
    match poked(trial, &loaded).await? {
        Ok(()) => Err(failed("OK", "FAILED_PRECONDITION")),
        Err(status) => {
            let is_right = status.code() == Code::FailedPrecondition;
            hold(is_right, || told(&status), "FAILED_PRECONDITION")
        }
    }
}

/// `spire-server validate` starts the plugin, asks and ends it; nothing of that is a configuration.
pub(super) async fn validate_configures_nothing(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(trial.role()).await?;
    let loaded = trial.load().await?;
    let code = |answer: &Result<(), Status>| answer.as_ref().err().map(Status::code);
    let before = poked(trial, &loaded).await?;
    let validated = loaded
        .validate(Some(trial.candidate().trust_domain()), &text)
        .await;
    validated.map_err(|status| failed(told(&status), "Validate answers"))?;
    let after = poked(trial, &loaded).await?;
    hold(
        code(&before) == code(&after),
        || format!("before {before:?}, afterwards {after:?}"),
        "the same before and after Validate",
    )
}
