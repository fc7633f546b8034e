//! Keys over time: rotations, reconfigurations, restarts.

use std::sync::Arc;

use plugin::SignerOptions;
use rustix::process::Signal;
use tonic::Code;

use super::{
    keys::{A, B, configured, listed, p256, within},
    sign::signs,
};
use crate::{
    case::{Stop, environment, failed, hold},
    status::told,
    trial::{PATIENCE, Trial},
};

/// As SPIRE Agent does: the new key in the other slot, the old one in use until all is well.
pub(super) async fn between_two_slots(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let mut current = p256(&keys, A).await?;
    for slot in [B, A, B, A, B] {
        let next = p256(&keys, slot).await?;
        signs(&keys, &current).await?;
        signs(&keys, &next).await?;
        current = next;
    }
    let all = listed(&keys).await?;
    hold(all.len() == 2, || format!("{} keys", all.len()), "two keys")
}

/// The host compares fingerprints: a signature of the new key must not pass for one of the old.
pub(super) async fn the_old_key_no_longer_signs_as_itself(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let old = p256(&keys, A).await?;
    p256(&keys, A).await?;
    let options = SignerOptions::Hash(plugin::HashAlgorithm::Sha256);
    let signed = within(keys.key_manager().sign(&old, &[7; 32], options)).await?;
    match signed {
        Ok(_) => Err(failed(
            "a signature under the old fingerprint",
            "another fingerprint",
        )),
        Err(status) => hold(
            status.code() == Code::Internal,
            || told(&status),
            "a signature with the new key's fingerprint",
        ),
    }
}

pub(super) async fn while_the_other_signs(trial: &mut Trial) -> Result<(), Stop> {
    let keys = Arc::new(configured(trial).await?);
    let current = p256(&keys, A).await?;
    let signing = Arc::clone(&keys);
    let task = tokio::spawn(async move {
        for _time in 0..8 {
            signs(&signing, &current).await?;
        }
        Ok::<_, Stop>(())
    });
    for _time in 0..2 {
        p256(&keys, B).await?;
    }
    task.await.map_err(|error| environment("a task", error))?
}

pub(super) async fn two_at_once(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let (one, other) = tokio::join!(p256(&keys, A), p256(&keys, B));
    let (one, other) = (one?, other?);
    signs(&keys, &one).await?;
    signs(&keys, &other).await
}

pub(super) async fn beside_a_configuration(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(trial.role()).await?;
    let keys = configured(trial).await?;
    let key = p256(&keys, A).await?;
    trial.configure(&keys, &text).await?;
    signs(&keys, &key).await
}

pub(super) async fn and_a_restart_keeps_the_keys(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let key = p256(&keys, A).await?;
    keys.unload().await;
    still_there(trial, &key.pkix_data).await
}

pub(super) async fn and_a_crash_keeps_the_keys(trial: &mut Trial) -> Result<(), Stop> {
    let mut keys = configured(trial).await?;
    let key = p256(&keys, A).await?;
    let killed = keys.process().signal(Signal::KILL);
    killed.map_err(|error| environment("SIGKILL", error))?;
    keys.process().exit_within(PATIENCE).await;
    still_there(trial, &key.pkix_data).await
}

async fn still_there(trial: &mut Trial, key: &[u8]) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let all = listed(&keys).await?;
    let Some(found) = all.iter().find(|found| found.pkix_data == key) else {
        return Err(failed(
            format!("{} other keys", all.len()),
            "the key of before",
        ));
    };
    signs(&keys, found).await
}
