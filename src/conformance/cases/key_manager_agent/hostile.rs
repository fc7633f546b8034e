//! Key IDs that nobody should use.

use std::path::Path;

use tonic::Code;

use super::{
    keys::{A, configured, generate, listed, p256},
    sign::signs,
};
use crate::{
    case::{Stop, hold},
    loaded::Loaded,
    trial::Trial,
};

/// Made or refused; other keys are there as before, and nothing is written elsewhere.
pub(super) async fn survived(trial: &mut Trial, id: &str) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let key = p256(&keys, A).await?;
    tried(&keys, id).await?;
    for elsewhere in ["/tmp/conformance", "/etc/conformance"] {
        let written = Path::new(elsewhere).exists();
        hold(
            !written,
            || format!("a file {elsewhere}"),
            "no file outside its own directory",
        )?;
    }
    let all = listed(&keys).await?;
    hold(
        all.contains(&key),
        || format!("{all:?}"),
        "the other key is there as before",
    )?;
    signs(&keys, &key).await
}

async fn tried(keys: &Loaded, id: &str) -> Result<(), Stop> {
    const EC_P256: i32 = 1;
    let answer = generate(keys, id, EC_P256).await?;
    let lost = matches!(&answer, Err(status) if status.code() == Code::Unavailable);
    hold(
        !lost,
        || format!("{answer:?}"),
        "a key or a refusal, and the process goes on",
    )
}

pub(super) async fn a_long_id(trial: &mut Trial) -> Result<(), Stop> {
    survived(trial, &"k".repeat(1 << 20)).await
}

/// What was taken must be readable again.
pub(super) async fn a_restart_after_them(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    for id in ["..", "%2e%2e", "a/b", "a\\b", " ", "\u{1f511}"] {
        tried(&keys, id).await?;
    }
    keys.unload().await;
    let keys = configured(trial).await?;
    listed(&keys).await?;
    let key = p256(&keys, A).await?;
    signs(&keys, &key).await
}
