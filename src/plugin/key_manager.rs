//! SPIRE Agent's key manager as a trait: requests are checked here, keys are the implementation's.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::{
    config::{Live, Plugin},
    limits::KEY_ID,
    panics,
    proto::key_manager::{
        self as wire, GenerateKeyRequest, GenerateKeyResponse, GetPublicKeyRequest,
        GetPublicKeyResponse, GetPublicKeysRequest, GetPublicKeysResponse, SignDataRequest,
        SignDataResponse, sign_data_request::SignerOpts,
    },
};

/// Keeps the keys that SPIRE Agent uses for its own SVID. Calls may overlap; the host gives each of them 30 seconds.
///
/// A `key_id` is never empty, and at most 255 bytes long, of any characters.
pub trait KeyManager: Plugin {
    /// Makes a key, and only then drops the one that may be there under the ID.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for a type that cannot be made. The key that was there stays.
    fn generate_key(
        &self,
        settings: Arc<Self::Settings>,
        key_id: String,
        key_type: KeyType,
    ) -> impl Future<Output = Result<PublicKey, Status>> + Send;

    /// The key of that ID.
    ///
    /// # Errors
    /// NOT_FOUND if there is none.
    fn public_key(
        &self,
        settings: Arc<Self::Settings>,
        key_id: String,
    ) -> impl Future<Output = Result<PublicKey, Status>> + Send;

    /// All keys. One that the host cannot read makes it refuse them all.
    ///
    /// # Errors
    /// SPIRE Agent does not start.
    fn public_keys(
        &self,
        settings: Arc<Self::Settings>,
    ) -> impl Future<Output = Result<Vec<PublicKey>, Status>> + Send;

    /// Signs a digest, which has the length of its hash algorithm's digests.
    ///
    /// # Errors
    /// NOT_FOUND if there is no key of that ID, INVALID_ARGUMENT for what the key cannot sign.
    fn sign_data(
        &self,
        settings: Arc<Self::Settings>,
        key_id: String,
        digest: Vec<u8>,
        options: SignerOptions,
    ) -> impl Future<Output = Result<SignedData, Status>> + Send;
}

/// The types of key that SPIRE asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// NIST P-256, the only one SPIRE Agent itself asks for.
    EcP256,
    /// NIST P-384.
    EcP384,
    /// RSA, 2048 bits.
    Rsa2048,
    /// RSA, 4096 bits.
    Rsa4096,
}

/// What a digest was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their names in FIPS 180-4 and FIPS 202")]
pub enum HashAlgorithm {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
    Sha512_224,
    Sha512_256,
}

/// How a digest is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignerOptions {
    /// ECDSA, answered as an ASN.1 SEQUENCE of r and s in DER; with an RSA key RSASSA-PKCS1-v1_5.
    Hash(HashAlgorithm),
    /// RSASSA-PSS.
    Pss {
        /// Of the digest, and of MGF1.
        hash: HashAlgorithm,
        /// In bytes; 0 leaves it to the signer, -1 is the length of the digest.
        salt_length: i32,
    },
}

/// The public half of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// As it was asked for.
    pub id: String,
    /// As it was asked for.
    pub key_type: KeyType,
    /// The SubjectPublicKeyInfo in DER (RFC 5280 §4.1.2.7).
    pub pkix: Vec<u8>,
    /// Another one for each key that follows under the same ID.
    pub fingerprint: String,
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedData {
    /// Never empty.
    pub signature: Vec<u8>,
    /// [`PublicKey::fingerprint`] of the key that signed.
    pub fingerprint: String,
}

impl HashAlgorithm {
    /// The length of its digests in bytes.
    pub const fn digest_length(self) -> usize {
        match self {
            Self::Sha224 | Self::Sha3_224 | Self::Sha512_224 => 28,
            Self::Sha256 | Self::Sha3_256 | Self::Sha512_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    fn asked(number: i32) -> Result<Self, Status> {
        use wire::HashAlgorithm as Wire;
        Ok(match Wire::try_from(number) {
            Ok(Wire::UnspecifiedHashAlgorithm) => {
                return Err(invalid("hash algorithm is required"));
            }
            Ok(Wire::Sha224) => Self::Sha224,
            Ok(Wire::Sha256) => Self::Sha256,
            Ok(Wire::Sha384) => Self::Sha384,
            Ok(Wire::Sha512) => Self::Sha512,
            Ok(Wire::Sha3224) => Self::Sha3_224,
            Ok(Wire::Sha3256) => Self::Sha3_256,
            Ok(Wire::Sha3384) => Self::Sha3_384,
            Ok(Wire::Sha3512) => Self::Sha3_512,
            Ok(Wire::Sha512224) => Self::Sha512_224,
            Ok(Wire::Sha512256) => Self::Sha512_256,
            Err(_unknown) => return Err(invalid("hash algorithm is unknown")),
        })
    }
}

impl KeyType {
    fn asked(number: i32) -> Result<Self, Status> {
        use wire::KeyType as Wire;
        Ok(match Wire::try_from(number) {
            Ok(Wire::UnspecifiedKeyType) => return Err(invalid("key type is required")),
            Ok(Wire::EcP256) => Self::EcP256,
            Ok(Wire::EcP384) => Self::EcP384,
            Ok(Wire::Rsa2048) => Self::Rsa2048,
            Ok(Wire::Rsa4096) => Self::Rsa4096,
            Err(_unknown) => return Err(invalid("key type is unknown")),
        })
    }
}

impl From<KeyType> for wire::KeyType {
    fn from(key_type: KeyType) -> Self {
        match key_type {
            KeyType::EcP256 => Self::EcP256,
            KeyType::EcP384 => Self::EcP384,
            KeyType::Rsa2048 => Self::Rsa2048,
            KeyType::Rsa4096 => Self::Rsa4096,
        }
    }
}

impl From<HashAlgorithm> for wire::HashAlgorithm {
    fn from(hash: HashAlgorithm) -> Self {
        match hash {
            HashAlgorithm::Sha224 => Self::Sha224,
            HashAlgorithm::Sha256 => Self::Sha256,
            HashAlgorithm::Sha384 => Self::Sha384,
            HashAlgorithm::Sha512 => Self::Sha512,
            HashAlgorithm::Sha3_224 => Self::Sha3224,
            HashAlgorithm::Sha3_256 => Self::Sha3256,
            HashAlgorithm::Sha3_384 => Self::Sha3384,
            HashAlgorithm::Sha3_512 => Self::Sha3512,
            HashAlgorithm::Sha512_224 => Self::Sha512224,
            HashAlgorithm::Sha512_256 => Self::Sha512256,
        }
    }
}

impl SignerOptions {
    /// What the digest was made with.
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::Hash(hash) | Self::Pss { hash, .. } => hash,
        }
    }

    fn asked(options: Option<SignerOpts>) -> Result<Self, Status> {
        match options {
            None => Err(invalid("signer options are required")),
            Some(SignerOpts::HashAlgorithm(hash)) => HashAlgorithm::asked(hash).map(Self::Hash),
            Some(SignerOpts::PssOptions(pss)) => {
                let hash = HashAlgorithm::asked(pss.hash_algorithm)?;
                let salt_length = pss.salt_length;
                if salt_length < SALT_AS_LONG_AS_THE_DIGEST {
                    return Err(invalid("salt length is negative"));
                }
                Ok(Self::Pss { hash, salt_length })
            }
        }
    }
}

impl From<SignerOptions> for SignerOpts {
    fn from(options: SignerOptions) -> Self {
        let number = |hash| wire::HashAlgorithm::from(hash).into();
        match options {
            SignerOptions::Hash(hash) => Self::HashAlgorithm(number(hash)),
            SignerOptions::Pss { hash, salt_length } => {
                Self::PssOptions(wire::sign_data_request::PssOptions {
                    salt_length,
                    hash_algorithm: number(hash),
                })
            }
        }
    }
}

impl From<PublicKey> for wire::PublicKey {
    fn from(key: PublicKey) -> Self {
        Self {
            id: key.id,
            r#type: wire::KeyType::from(key.key_type).into(),
            pkix_data: key.pkix,
            fingerprint: key.fingerprint,
        }
    }
}

pub(crate) struct KeyManagerService<P: Plugin>(pub(crate) Arc<Live<P>>);

#[tonic::async_trait]
impl<P: KeyManager> wire::key_manager_server::KeyManager for KeyManagerService<P> {
    async fn generate_key(
        &self,
        request: Request<GenerateKeyRequest>,
    ) -> Result<Response<GenerateKeyResponse>, Status> {
        let settings = self.0.settings()?;
        let request = request.into_inner();
        let id = key_id(request.key_id)?;
        let key_type = KeyType::asked(request.key_type)?;
        let made = panics::caught(self.0.plugin.generate_key(settings, id, key_type)).await?;
        Ok(Response::new(GenerateKeyResponse {
            public_key: Some(made.into()),
        }))
    }

    async fn get_public_key(
        &self,
        request: Request<GetPublicKeyRequest>,
    ) -> Result<Response<GetPublicKeyResponse>, Status> {
        let settings = self.0.settings()?;
        let id = key_id(request.into_inner().key_id)?;
        let key = panics::caught(self.0.plugin.public_key(settings, id)).await?;
        Ok(Response::new(GetPublicKeyResponse {
            public_key: Some(key.into()),
        }))
    }

    async fn get_public_keys(
        &self,
        _request: Request<GetPublicKeysRequest>,
    ) -> Result<Response<GetPublicKeysResponse>, Status> {
        let settings = self.0.settings()?;
        let keys = panics::caught(self.0.plugin.public_keys(settings)).await?;
        Ok(Response::new(GetPublicKeysResponse {
            public_keys: keys.into_iter().map(Into::into).collect(),
        }))
    }

    async fn sign_data(
        &self,
        request: Request<SignDataRequest>,
    ) -> Result<Response<SignDataResponse>, Status> {
        let settings = self.0.settings()?;
        let request = request.into_inner();
        let id = key_id(request.key_id)?;
        let options = SignerOptions::asked(request.signer_opts)?;
        let digest = request.data;
        if digest.len() != options.hash().digest_length() {
            return Err(invalid(
                "data is not as long as a digest of the hash algorithm",
            ));
        }
        let signing = self.0.plugin.sign_data(settings, id, digest, options);
        let signed = panics::caught(signing).await?;
        Ok(Response::new(SignDataResponse {
            signature: signed.signature,
            key_fingerprint: signed.fingerprint,
        }))
    }
}

const SALT_AS_LONG_AS_THE_DIGEST: i32 = -1;

fn key_id(id: String) -> Result<String, Status> {
    match id.len() {
        0 => Err(invalid("key id is required")),
        1..=KEY_ID => Ok(id),
        _ => Err(invalid("key id is too long")),
    }
}

fn invalid(sentence: &'static str) -> Status {
    Status::invalid_argument(sentence)
}
