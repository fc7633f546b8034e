//! GetPublicKey and GetPublicKeys.

use tonic::Code;

use super::keys::{A, B, configured, listed, lookup, p256};
use crate::{
    case::{Stop, failed, hold},
    status::{refused, told},
    trial::Trial,
};

pub(super) async fn nothing_at_first(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let all = listed(&keys).await?;
    hold(
        all.is_empty(),
        || format!("{} keys", all.len()),
        "no key in a new directory",
    )
}

pub(super) async fn each_key_once(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let mut due = vec![p256(&keys, A).await?, p256(&keys, B).await?];
    let mut all = listed(&keys).await?;
    due.sort_by(|one, other| one.id.cmp(&other.id));
    all.sort_by(|one, other| one.id.cmp(&other.id));
    hold(all == due, || format!("{all:?}"), format!("{due:?}"))
}

pub(super) async fn the_new_key_after_an_overwrite(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    p256(&keys, A).await?;
    let new = p256(&keys, A).await?;
    let all = listed(&keys).await?;
    hold(
        all == [new.clone()],
        || format!("{all:?}"),
        format!("{new:?} alone"),
    )
}

pub(super) async fn a_key_by_its_id(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let made = p256(&keys, A).await?;
    p256(&keys, B).await?;
    let found = lookup(&keys, A).await?;
    let found = found.map_err(|status| failed(told(&status), "the key"))?;
    hold(found == made, || format!("{found:?}"), format!("{made:?}"))
}

pub(super) async fn not_found_for_an_unknown_id(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    refused(lookup(&keys, "unknown").await?, &[Code::NotFound]).map(drop)
}

pub(super) async fn invalid_for_an_empty_id(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    refused(lookup(&keys, "").await?, &[Code::InvalidArgument]).map(drop)
}

pub(super) async fn the_same_fingerprint_each_time(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let made = p256(&keys, A).await?;
    for _time in 0..3 {
        let all = listed(&keys).await?;
        let same = all.iter().all(|key| key.fingerprint == made.fingerprint);
        hold(
            same,
            || format!("{all:?}"),
            format!("the fingerprint {:?}", made.fingerprint),
        )?;
    }
    Ok(())
}
