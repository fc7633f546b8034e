//! A machine whose agent keeps its keys in its TPM: both plugins of the agent, on one TPM and one directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use conformance::{Loaded, Side, Subject};
use evidence::Hash;
use plugin::proto::key_manager::PublicKey;
use plugin::{HashAlgorithm, KeyType, SignerOptions, Status};
use serde_json::Value;
use tempfile::TempDir;
use tests::{Manufacturer, Model, ResourceManager, Swtpm, TpmSocket, binary};

use crate::process_plugin::{TRUST_DOMAIN, configured, host, name};

/// SPIRE Agent's names for its two keys.
pub(crate) const IDS: [&str; 2] = ["agent-svid-A", "agent-svid-B"];

pub(crate) const SHA256: SignerOptions = SignerOptions::Hash(HashAlgorithm::Sha256);

/// One TPM, shared as Linux lets its users share one, and a place for keys.
pub(crate) struct KeyMachine {
    /// Ends before the TPM behind it.
    pub(crate) manager: ResourceManager,
    pub(crate) tpm: Swtpm,
    files: TempDir,
}

impl KeyMachine {
    /// Its storage root key is made when it is needed.
    pub(crate) fn new() -> Self {
        Self::of(&Model::default())
    }

    pub(crate) fn of(model: &Model) -> Self {
        let tpm = Manufacturer::new().make(model);
        Self {
            manager: ResourceManager::start(tpm.socket()),
            tpm,
            files: TempDir::new().unwrap(),
        }
    }

    /// The directory that both plugins name.
    pub(crate) fn keys(&self) -> PathBuf {
        self.files.path().join("keys")
    }

    /// The file of a key whose id needs no escapes.
    pub(crate) fn file(&self, id: &str) -> PathBuf {
        self.keys().join(format!("{id}.json"))
    }

    /// What both plugins are told.
    pub(crate) fn data(&self, more: &str) -> String {
        data(self.manager.socket(), &self.keys(), more)
    }

    pub(crate) async fn key_manager(&self, more: &str) -> Loaded {
        key_manager(&self.data(more)).await
    }

    pub(crate) async fn attestor(&self, more: &str) -> Loaded {
        configured(Side::Agent, &self.data(more)).await
    }

    /// Ends everything that uses the TPM but the TPM, which must hold no object and no session then.
    pub(crate) fn leaves_nothing_in_the_tpm(self) {
        let Self { manager, tpm, .. } = self;
        drop(manager);
        let mut raw = TpmSocket::connect(tpm.socket()).unwrap();
        // TPM_HT_LOADED_SESSION, TPM_HT_SAVED_SESSION, TPM_HT_TRANSIENT (TPM library part 2, section 7.2).
        for first in [0x0200_0000, 0x0300_0000, 0x8000_0000] {
            assert_eq!(raw.handles(first), [0; 0], "{first:#x}");
        }
    }
}

pub(crate) fn data(tpm: &Path, keys: &Path, more: &str) -> String {
    let (tpm, keys) = (tpm.display(), keys.display());
    format!("device = \"unix:{tpm}\"\nkeys_path = \"{keys}\"\n{more}")
}

/// The KeyManager of an agent, before Configure.
pub(crate) async fn loaded_key_manager() -> Loaded {
    let subject = Subject::key_manager(binary(name(Side::Agent)));
    host().load(&subject).await.unwrap()
}

pub(crate) async fn key_manager(data: &str) -> Loaded {
    let loaded = loaded_key_manager().await;
    loaded.configure(Some(TRUST_DOMAIN), data).await.unwrap();
    loaded
}

/// A P-256 key of this name.
pub(crate) async fn generate(keys: &Loaded, id: &str) -> PublicKey {
    let made = keys.key_manager().generate_key(id, KeyType::EcP256).await;
    made.unwrap()
}

/// All keys by their names, each of which is there once.
pub(crate) async fn list(keys: &Loaded) -> BTreeMap<String, PublicKey> {
    let all = keys.key_manager().public_keys().await.unwrap();
    let count = all.len();
    let named: BTreeMap<_, _> = all.into_iter().map(|key| (key.id.clone(), key)).collect();
    assert_eq!(named.len(), count, "each once");
    named
}

pub(crate) fn named<const N: usize>(keys: [&PublicKey; N]) -> BTreeMap<String, PublicKey> {
    keys.map(|key| (key.id.clone(), key.clone())).into()
}

/// A P-256 key signs a message.
pub(crate) async fn try_sign(keys: &Loaded, key: &PublicKey, message: &[u8]) -> Result<(), Status> {
    let digest = Hash::Sha256.digest(&[message]);
    let signed = keys.key_manager().sign(key, &digest, SHA256).await?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.pkix_data);
    assert!(public.verify(message, &signed).is_ok(), "{}", key.id);
    Ok(())
}

pub(crate) async fn signs(keys: &Loaded, key: &PublicKey) {
    try_sign(keys, key, b"message").await.unwrap();
}

/// The names in a directory, in order.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// One field of a key's file.
pub(crate) fn field_of(file: &Path, name: &str) -> Value {
    let read: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    read[name].clone()
}
