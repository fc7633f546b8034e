//! One SVID key as a file: what the TPM needs to load it again, and which TPM and which boot it is of.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::{Algorithm, Hash, Name, Public, PublicKey, SvidKeyTemplate, limits};
use serde::{Deserialize, Serialize};
use tpm::WrappedKey;

/// A key of SPIRE Agent, wrapped by the storage root key of its TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFile {
    /// SPIRE's name for it.
    pub(crate) id: String,
    /// What kind of key it is; that of its public area.
    pub(crate) template: SvidKeyTemplate,
    /// What TPM2_Load takes.
    pub(crate) key: WrappedKey,
    /// The Name of the storage root key above it.
    pub(crate) parent: Name,
    /// resetCount of the TPM when the key was made.
    pub(crate) reset_count: u32,
}

/// Why a file holds no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    /// A directory, a device, a pipe, a link.
    #[error("it is no regular file")]
    Irregular,
    /// More than a key file can have.
    #[error("it is longer than {MAX_FILE} bytes")]
    TooLong,
    /// Not the JSON object that is written here.
    #[error("it is not the JSON of a key")]
    Malformed,
    /// Another version of the format.
    #[error("it has another version than {VERSION}")]
    Version,
    /// The key of another file.
    #[error("it holds the key of another name")]
    OtherName,
    /// A field is empty, too long, or no base64 or hex.
    #[error("its {0} cannot be read")]
    Field(&'static str),
    /// A public area that no key made here has.
    #[error("its public area is not that of an SVID key")]
    OtherKind,
    /// It is under the TPM's storage root key by its own account, and that TPM cannot load it.
    #[error("its private area is not of this TPM")]
    Unloadable,
}

impl KeyFile {
    /// The contents of the file; `None` for an id that is too long for a file's name.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        file_name(&self.id)?;
        let document = Document {
            version: VERSION,
            id: self.id.clone(),
            key_type: type_name(self.template).to_owned(),
            public: STANDARD.encode(self.key.public.as_bytes()),
            private: STANDARD.encode(&self.key.private),
            parent: hex::encode(self.parent.as_bytes()),
            reset_count: self.reset_count,
        };
        let mut bytes = serde_json::to_vec_pretty(&document).ok()?;
        bytes.push(b'\n');
        Some(bytes)
    }

    /// Reads the file of this name.
    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Self, Damage> {
        if bytes.len() > MAX_FILE {
            return Err(Damage::TooLong);
        }
        let Versioned { version } =
            serde_json::from_slice(bytes).map_err(|_not_json| Damage::Malformed)?;
        if version != VERSION {
            return Err(Damage::Version);
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|_not_ours| Damage::Malformed)?;
        if file_name(&document.id).as_deref() != Some(name) {
            return Err(Damage::OtherName);
        }
        let public = base64("public", &document.public, limits::PUBLIC)?;
        let public = Public::parse(&public).map_err(|_malformed| Damage::Field("public"))?;
        let template = template(&public).ok_or(Damage::OtherKind)?;
        if type_name(template) != document.key_type {
            return Err(Damage::Field("key_type"));
        }
        let private = base64("private", &document.private, tpm::limits::PRIVATE)?;
        Ok(Self {
            id: document.id,
            template,
            key: WrappedKey { public, private },
            parent: name_of(&document.parent)?,
            reset_count: document.reset_count,
        })
    }

    /// The SubjectPublicKeyInfo in DER.
    pub(crate) fn pkix(&self) -> Vec<u8> {
        let key = self.key.public.subject_key();
        key.map(|key| key.spki()).unwrap_or_default()
    }

    /// Tells this key from every other under the same id.
    pub(crate) fn fingerprint(&self) -> String {
        hex::encode(Hash::Sha256.digest(&[&self.pkix()]))
    }
}

/// The name of the file of a key, another one for each id: letters, digits, `-` and `_` stand for themselves, every other
/// byte is a percent sign and two hex digits. `None` when that is longer than a file system takes.
pub(crate) fn file_name(id: &str) -> Option<String> {
    let mut name = String::with_capacity(id.len() + SUFFIX.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            write!(name, "%{byte:02X}").ok()?;
        }
    }
    name.push_str(SUFFIX);
    (!id.is_empty() && name.len() + DAMAGED.len() <= MAX_NAME).then_some(name)
}

/// The kind of key that was made from a template, by all of its public area that the template decides.
fn template(public: &Public) -> Option<SvidKeyTemplate> {
    let key = match &public.key {
        PublicKey::Rsa { bits, exponent, .. } => PublicKey::Rsa {
            bits: *bits,
            exponent: *exponent,
            modulus: Vec::new(),
        },
        PublicKey::Ecc { curve, kdf, .. } => PublicKey::Ecc {
            curve: *curve,
            kdf: *kdf,
            x: Vec::new(),
            y: Vec::new(),
        },
    };
    public.subject_key()?;
    let blank = Public::new(
        Hash::from_algorithm(public.name_alg)?,
        public.attributes.0,
        &public.auth_policy,
        public.symmetric,
        public.scheme,
        key,
    );
    SvidKeyTemplate::ALL
        .into_iter()
        .find(|template| template.public() == blank)
}

fn type_name(template: SvidKeyTemplate) -> &'static str {
    match template {
        SvidKeyTemplate::EccP256 => "ec-p256",
        SvidKeyTemplate::EccP384 => "ec-p384",
        SvidKeyTemplate::Rsa2048 => "rsa-2048",
    }
}

fn base64(field: &'static str, text: &str, most: usize) -> Result<Vec<u8>, Damage> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    if bytes.is_empty() || bytes.len() > most {
        return Err(Damage::Field(field));
    }
    Ok(bytes)
}

fn name_of(text: &str) -> Result<Name, Damage> {
    let bytes = hex::decode(text).unwrap_or_default();
    let algorithm = bytes.first_chunk().map(|alg| u16::from_be_bytes(*alg));
    let hash = algorithm.and_then(|alg| Hash::from_algorithm(Algorithm(alg)));
    let length = hash.map(|hash| 2 + hash.size());
    if length != Some(bytes.len()) {
        return Err(Damage::Field("parent"));
    }
    Ok(Name::from_bytes(&bytes))
}

/// Read first: what else there is depends on it.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    id: String,
    key_type: String,
    /// TPMT_PUBLIC in base64.
    public: String,
    /// TPM2B_PRIVATE without its size, in base64.
    private: String,
    /// Name of the storage root key in hex.
    parent: String,
    reset_count: u32,
}

/// What every key's file ends with.
pub(crate) const SUFFIX: &str = ".json";
/// What is put behind the name of a file that holds no key.
pub(crate) const DAMAGED: &str = ".damaged";
/// Bytes of a file: a public and a private area in base64, and an id of control characters.
pub(crate) const MAX_FILE: usize = 8 * 1024;

const VERSION: u32 = 1;
/// NAME_MAX of Linux.
const MAX_NAME: usize = 255;
