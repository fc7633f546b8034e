//! SignData, with every signature verified.

use std::sync::Arc;

use aws_lc_rs::{digest, signature};
use plugin::{
    KeyType,
    proto::key_manager::{
        PublicKey,
        sign_data_request::{PssOptions, SignerOpts},
    },
};
use tokio::task::JoinSet;
use tonic::Code;

use super::keys::{A, configured, made_if_known, p256, parts, sign};
use crate::{
    case::{Stop, environment, failed, hold},
    loaded::Loaded,
    status::{refused, told},
    trial::Trial,
};

/// A hash whose digests are signed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    fn of(self, message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, message).as_ref().to_vec()
    }

    /// Go's number of the hash, which SPIRE's interface has.
    fn number(self) -> i32 {
        match self {
            Self::Sha256 => 5,
            Self::Sha384 => 6,
            Self::Sha512 => 7,
        }
    }
}

const MESSAGE: &[u8] = b"to be signed";

/// The signature over [`MESSAGE`].
pub(super) async fn signed(keys: &Loaded, id: &str, hash: Digest) -> Result<Vec<u8>, Stop> {
    let options = SignerOpts::HashAlgorithm(hash.number());
    let answer = sign(keys, id, &hash.of(MESSAGE), Some(options)).await?;
    let answer = answer.map_err(|status| failed(told(&status), "a signature"))?;
    Ok(answer.signature)
}

fn verify(
    algorithm: &'static dyn signature::VerificationAlgorithm,
    key: &PublicKey,
    made: &[u8],
) -> Result<(), Stop> {
    let (_, _, public) = parts(key)?;
    let verified = signature::UnparsedPublicKey::new(algorithm, public).verify(MESSAGE, made);
    let came = || {
        format!(
            "{} bytes that the key did not sign: {}",
            made.len(),
            hex::encode(made)
        )
    };
    hold(
        verified.is_ok(),
        came,
        "a signature of the digest by that key",
    )
}

/// A signature that the key made, by SHA-256.
pub(super) async fn signs(keys: &Loaded, key: &PublicKey) -> Result<(), Stop> {
    let made = signed(keys, &key.id, Digest::Sha256).await?;
    verify(&signature::ECDSA_P256_SHA256_ASN1, key, &made)
}

pub(super) async fn ecdsa(trial: &mut Trial, hash: Digest) -> Result<(), Stop> {
    let algorithm = match hash {
        Digest::Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        Digest::Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
        Digest::Sha512 => &signature::ECDSA_P256_SHA512_ASN1,
    };
    let keys = configured(trial).await?;
    let key = p256(&keys, A).await?;
    verify(algorithm, &key, &signed(&keys, A, hash).await?)
}

/// Some seventy bytes in a SEQUENCE; two numbers of 32 bytes are not what Go's TLS takes.
pub(super) async fn in_der(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    p256(&keys, A).await?;
    for _time in 0..4 {
        let made = signed(&keys, A, Digest::Sha256).await?;
        let length = made.get(1).copied().map(usize::from);
        hold(
            made.first() == Some(&0x30) && length == Some(made.len().saturating_sub(2)),
            || hex::encode(&made),
            "a SEQUENCE of r and s in DER",
        )?;
    }
    Ok(())
}

pub(super) async fn rsa(trial: &mut Trial, pss: bool) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let key = made_if_known(&keys, A, KeyType::Rsa2048).await?;
    let hash_algorithm = Digest::Sha256.number();
    let options = if pss {
        // As long as the digest, which is what Go's TLS asks for.
        SignerOpts::PssOptions(PssOptions {
            salt_length: -1,
            hash_algorithm,
        })
    } else {
        SignerOpts::HashAlgorithm(hash_algorithm)
    };
    let answer = sign(&keys, A, &Digest::Sha256.of(MESSAGE), Some(options)).await?;
    let answer = answer.map_err(|status| failed(told(&status), "a signature"))?;
    let algorithm = if pss {
        &signature::RSA_PSS_2048_8192_SHA256
    } else {
        &signature::RSA_PKCS1_2048_8192_SHA256
    };
    verify(algorithm, &key, &answer.signature)
}

pub(super) async fn with_the_key_s_fingerprint(trial: &mut Trial) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let key = p256(&keys, A).await?;
    let options = SignerOpts::HashAlgorithm(Digest::Sha256.number());
    let answer = sign(&keys, A, &Digest::Sha256.of(MESSAGE), Some(options)).await?;
    let answer = answer.map_err(|status| failed(told(&status), "a signature"))?;
    hold(
        answer.key_fingerprint == key.fingerprint,
        || format!("{:?}", answer.key_fingerprint),
        key.fingerprint.clone(),
    )
}

pub(super) async fn nothing_for_an_unknown_key(trial: &mut Trial) -> Result<(), Stop> {
    let options = SignerOpts::HashAlgorithm(Digest::Sha256.number());
    not_signed(trial, "unknown", 32, Some(options), &[Code::NotFound]).await
}

pub(super) async fn nothing_without_options(trial: &mut Trial) -> Result<(), Stop> {
    not_signed(trial, A, 32, None, &[Code::InvalidArgument]).await
}

pub(super) async fn nothing_without_a_hash(trial: &mut Trial) -> Result<(), Stop> {
    let options = SignerOpts::HashAlgorithm(0);
    not_signed(trial, A, 32, Some(options), &[Code::InvalidArgument]).await
}

pub(super) async fn nothing_with_an_unknown_hash(trial: &mut Trial) -> Result<(), Stop> {
    let options = SignerOpts::HashAlgorithm(99);
    not_signed(trial, A, 32, Some(options), &[]).await
}

pub(super) async fn nothing_of_another_length(trial: &mut Trial) -> Result<(), Stop> {
    let options = SignerOpts::HashAlgorithm(Digest::Sha256.number());
    not_signed(trial, A, 31, Some(options), &[Code::InvalidArgument]).await
}

pub(super) async fn no_pss_with_an_ec_key(trial: &mut Trial) -> Result<(), Stop> {
    let options = SignerOpts::PssOptions(PssOptions {
        salt_length: 32,
        hash_algorithm: Digest::Sha256.number(),
    });
    not_signed(trial, A, 32, Some(options), &[]).await
}

async fn not_signed(
    trial: &mut Trial,
    id: &str,
    length: usize,
    options: Option<SignerOpts>,
    codes: &[Code],
) -> Result<(), Stop> {
    let keys = configured(trial).await?;
    let key = p256(&keys, A).await?;
    let answer = sign(&keys, id, &vec![7; length], options).await?;
    refused(answer, codes)?;
    signs(&keys, &key).await
}

/// TLS handshakes sign in parallel.
pub(super) async fn many_at_once(trial: &mut Trial) -> Result<(), Stop> {
    let keys = Arc::new(configured(trial).await?);
    let key = p256(&keys, A).await?;
    let mut signatures = JoinSet::new();
    for _signature in 0..16 {
        let (keys, key) = (Arc::clone(&keys), key.clone());
        signatures.spawn(async move { signs(&keys, &key).await });
    }
    while let Some(end) = signatures.join_next().await {
        end.map_err(|error| environment("a task", error))??;
    }
    Ok(())
}
