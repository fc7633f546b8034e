//! GenerateKey.

use plugin::KeyType;
use tonic::Code;

use super::keys::{A, B, configured, generate, made, made_if_known, p256, parts};
use crate::{
    case::{Stop, hold},
    status::refused,
    trial::Trial,
};

const EC: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const RSA: &str = "1.2.840.113549.1.1.1";

pub(super) async fn a_p256_key(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let (algorithm, curve, point) = parts(&p256(&keys, A).await?)?;
    hold(
        algorithm == EC && curve == P256 && point.len() == 65 && point.first() == Some(&4),
        || {
            format!(
                "algorithm {algorithm}, curve {curve}, {} bytes",
                point.len()
            )
        },
        "an uncompressed point of P-256",
    )
}

/// SPIRE's rules for answers want it: see `LoadedKeyManager::generate_key`.
pub(super) async fn under_the_given_id(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    for id in [A, B, "x"] {
        let key = p256(&keys, id).await?;
        hold(key.id == id, || format!("{:?}", key.id), id)?;
    }
    Ok(())
}

pub(super) async fn of_the_given_type(trial: &mut Trial) -> Result<(), Stop> {
    const EC_P256: i32 = 1;
    let keys = configured(trial).await?;
    let key = p256(&keys, A).await?;
    hold(
        key.r#type == EC_P256,
        || format!("type {}", key.r#type),
        "EC_P256 (1)",
    )
}

pub(super) async fn with_a_fingerprint(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let key = p256(&keys, A).await?;
    hold(
        !key.fingerprint.is_empty(),
        || "an empty one".to_owned(),
        "a fingerprint",
    )
}

/// A type that SPIRE Agent never asks for is made rightly or not at all.
pub(super) async fn or_refuses(trial: &mut Trial, key_type: KeyType) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let (algorithm, curve, key) = parts(&made_if_known(&keys, A, key_type).await?)?;
    let is_right = match key_type {
        KeyType::EcP256 => algorithm == EC && curve == P256,
        KeyType::EcP384 => algorithm == EC && curve == P384,
        KeyType::Rsa2048 => algorithm == RSA && key.len().abs_diff(270) < 16,
        KeyType::Rsa4096 => algorithm == RSA && key.len().abs_diff(526) < 16,
    };
    hold(
        is_right,
        || format!("algorithm {algorithm}, curve {curve}, {} bytes", key.len()),
        format!("{key_type:?}"),
    )
}

pub(super) async fn nothing_without_an_id(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    refused(generate(&keys, "", 1).await?, &[Code::InvalidArgument]).map(drop)
}

pub(super) async fn nothing_of_type(trial: &mut Trial, key_type: i32) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    refused(
        generate(&keys, A, key_type).await?,
        &[Code::InvalidArgument],
    )
    .map(drop)
}

pub(super) async fn another_key_each_time(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let (first, second) = (p256(&keys, A).await?, p256(&keys, A).await?);
    let third = p256(&keys, B).await?;
    hold(
        first.pkix_data != second.pkix_data && second.pkix_data != third.pkix_data,
        || "the same key again".to_owned(),
        "a new key",
    )
}

pub(super) async fn with_another_fingerprint_each_time(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let first = made(&keys, A, KeyType::EcP256).await?;
    let second = made(&keys, A, KeyType::EcP256).await?;
    hold(
        first.fingerprint != second.fingerprint,
        || format!("{:?} again", second.fingerprint),
        "another fingerprint for another key",
    )
}
