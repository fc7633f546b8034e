//! Calls that every case here makes, bounded, with what is right about the answer.

use plugin::{
    KeyType,
    proto::key_manager::{
        GenerateKeyRequest, GetPublicKeyRequest, PublicKey, SignDataRequest, SignDataResponse,
        key_manager_client::KeyManagerClient, sign_data_request::SignerOpts,
    },
};
use tokio::time::timeout;
use tonic::{Status, transport::Channel};
use x509_parser::prelude::{FromDer as _, SubjectPublicKeyInfo};

use crate::{
    case::{Stop, failed, hold, skip},
    loaded::Loaded,
    status::{code_name, told},
    trial::{PATIENCE, Trial},
};

/// What SPIRE Agent calls its slots.
pub(super) const A: &str = "agent-svid-A";
pub(super) const B: &str = "agent-svid-B";

/// A call's answer in time.
pub(super) async fn within<T>(
    call: impl Future<Output = Result<T, Status>>,
) -> Result<Result<T, Status>, Stop> {
    let answer = timeout(PATIENCE, call).await;
    answer.map_err(|_elapsed| failed("nothing", "an answer within 20 s"))
}

pub(super) async fn made(keys: &Loaded, id: &str, key_type: KeyType) -> Result<PublicKey, Stop> {
    let key = within(keys.key_manager().generate_key(id, key_type)).await?;
    key.map_err(|status| failed(told(&status), format!("a key {id:?}")))
}

pub(super) async fn p256(keys: &Loaded, id: &str) -> Result<PublicKey, Stop> {
    made(keys, id, KeyType::EcP256).await
}

/// The key, or a reason to skip, if this manager has no keys of that type.
pub(super) async fn made_if_known(
    keys: &Loaded,
    id: &str,
    key_type: KeyType,
) -> Result<PublicKey, Stop> {
    use tonic::Code::{InvalidArgument, Unimplemented};
    match within(keys.key_manager().generate_key(id, key_type)).await? {
        Ok(key) => Ok(key),
        Err(status) if matches!(status.code(), InvalidArgument | Unimplemented) => Err(skip(
            format!("no keys of that type: {}", code_name(status.code())),
        )),
        Err(status) => Err(failed(
            told(&status),
            "a key, INVALID_ARGUMENT or UNIMPLEMENTED",
        )),
    }
}

pub(super) async fn listed(keys: &Loaded) -> Result<Vec<PublicKey>, Stop> {
    let listed = within(keys.key_manager().public_keys()).await?;
    listed.map_err(|status| failed(told(&status), "all keys"))
}

/// The OID of the algorithm, that of the curve if there is one, and the key itself.
pub(super) fn parts(key: &PublicKey) -> Result<(String, String, Vec<u8>), Stop> {
    let right = "a SubjectPublicKeyInfo in DER";
    let parsed = SubjectPublicKeyInfo::from_der(&key.pkix_data);
    let (rest, info) = parsed.map_err(|error| failed(error.to_string(), right))?;
    hold(
        rest.is_empty(),
        || format!("{} bytes more", rest.len()),
        right,
    )?;
    let curve = info.algorithm.parameters.as_ref();
    let curve = curve.and_then(|parameters| parameters.as_oid().ok());
    let curve = curve.map(|oid| oid.to_id_string()).unwrap_or_default();
    let algorithm = info.algorithm.algorithm.to_id_string();
    Ok((algorithm, curve, info.subject_public_key.data.to_vec()))
}

fn raw(keys: &Loaded) -> KeyManagerClient<Channel> {
    KeyManagerClient::new(keys.channel())
}

/// GenerateKey with whatever is given.
pub(super) async fn generate(
    keys: &Loaded,
    id: &str,
    key_type: i32,
) -> Result<Result<(), Status>, Stop> {
    let request = GenerateKeyRequest {
        key_id: id.to_owned(),
        key_type,
    };
    let mut client = raw(keys);
    Ok(within(client.generate_key(request)).await?.map(drop))
}

/// GetPublicKey with whatever is given; an answer without a key is NOT_FOUND, as it is for SPIRE.
pub(super) async fn lookup(keys: &Loaded, id: &str) -> Result<Result<PublicKey, Status>, Stop> {
    let request = GetPublicKeyRequest {
        key_id: id.to_owned(),
    };
    let mut client = raw(keys);
    let answer = within(client.get_public_key(request)).await?;
    Ok(answer.and_then(|answer| {
        let key = answer.into_inner().public_key;
        key.ok_or_else(|| Status::not_found("an answer without a key"))
    }))
}

/// SignData with whatever is given.
pub(super) async fn sign(
    keys: &Loaded,
    id: &str,
    data: &[u8],
    signer_opts: Option<SignerOpts>,
) -> Result<Result<SignDataResponse, Status>, Stop> {
    let request = SignDataRequest {
        key_id: id.to_owned(),
        data: data.to_vec(),
        signer_opts,
    };
    let mut client = raw(keys);
    let answer = within(client.sign_data(request)).await?;
    Ok(answer.map(tonic::Response::into_inner))
}

/// The subject with its first good configuration.
pub(super) async fn configured(trial: &mut Trial) -> Result<Loaded, Stop> {
    trial.configured().await
}
