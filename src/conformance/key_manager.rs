//! The calls of SPIRE Agent's key manager, with SPIRE's rules for the answers.

use crate::transcript::Transcript;
use plugin::{
    KeyType, SignerOptions,
    proto::key_manager::{
        GenerateKeyRequest, GetPublicKeyRequest, GetPublicKeysRequest, KeyType as WireKeyType,
        PublicKey, SignDataRequest, key_manager_client::KeyManagerClient,
    },
};
use tonic::{Status, transport::Channel};

/// A loaded key manager.
#[derive(Clone, Debug)]
pub struct LoadedKeyManager(pub(crate) KeyManagerClient<Channel>, pub(crate) Transcript);

impl LoadedKeyManager {
    /// Has a key made.
    pub async fn generate_key(&self, id: &str, key_type: KeyType) -> Result<PublicKey, Status> {
        let request = GenerateKeyRequest {
            key_id: id.to_owned(),
            key_type: WireKeyType::from(key_type).into(),
        };
        self.1
            .sent("GenerateKey", format!("{request:?}").as_bytes());
        let answer = self.0.clone().generate_key(request).await;
        self.1.answered("GenerateKey", &answer);
        let answer = answer?.into_inner();
        match answer.public_key {
            Some(key) => usable(id, key),
            None => Err(Status::internal("plugin response empty")),
        }
    }

    /// The key of that ID; SPIRE takes an answer without one for NOT_FOUND.
    pub async fn public_key(&self, id: &str) -> Result<PublicKey, Status> {
        let key_id = id.to_owned();
        let request = GetPublicKeyRequest { key_id };
        self.1
            .sent("GetPublicKey", format!("{request:?}").as_bytes());
        let answer = self.0.clone().get_public_key(request).await;
        self.1.answered("GetPublicKey", &answer);
        let answer = answer?.into_inner();
        match answer.public_key {
            Some(key) => usable(id, key),
            None => Err(Status::not_found("key not found")),
        }
    }

    /// All keys; one that cannot be used fails the whole.
    pub async fn public_keys(&self) -> Result<Vec<PublicKey>, Status> {
        let request = GetPublicKeysRequest {};
        self.1
            .sent("GetPublicKeys", format!("{request:?}").as_bytes());
        let answer = self.0.clone().get_public_keys(request).await;
        self.1.answered("GetPublicKeys", &answer);
        let answer = answer?.into_inner();
        let keys = answer.public_keys.into_iter();
        keys.map(|key| usable(&key.id.clone(), key)).collect()
    }

    /// Has a digest signed with a key as it was when the plugin gave it out.
    pub async fn sign(
        &self,
        key: &PublicKey,
        digest: &[u8],
        options: SignerOptions,
    ) -> Result<Vec<u8>, Status> {
        let request = SignDataRequest {
            key_id: key.id.clone(),
            data: digest.to_vec(),
            signer_opts: Some(options.into()),
        };
        self.1.sent("SignData", format!("{request:?}").as_bytes());
        let signed = self.0.clone().sign_data(request).await;
        self.1.answered("SignData", &signed);
        let signed = signed?.into_inner();
        if signed.signature.is_empty() {
            return Err(Status::internal("plugin returned empty signature data"));
        }
        if signed.key_fingerprint != key.fingerprint {
            return Err(Status::internal("fingerprint does not match"));
        }
        Ok(signed.signature)
    }
}

/// The type of the key is not looked at.
fn usable(id: &str, key: PublicKey) -> Result<PublicKey, Status> {
    if key.id != id {
        return Err(Status::internal("plugin response has unexpected key id"));
    }
    if key.pkix_data.is_empty() {
        return Err(Status::internal(
            "plugin response missing public key PKIX data",
        ));
    }
    Ok(key)
}
