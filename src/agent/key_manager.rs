//! The KeyManager of SPIRE Agent: keys that were made in this TPM and cannot leave it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use plugin::{
    Core, KeyType, Plugin, Problem, PublicKey, Purpose, SignedData, SignerOptions, Status,
};

use crate::keeper::Keeper;
use crate::key_config::KeySettings;
use crate::tpm_thread::TpmThread;

/// The key manager of the agent. Requests wait for each other: a TPM does one thing at a time.
#[derive(Debug)]
pub struct KeyManager(TpmThread<Keeper>);

impl KeyManager {
    /// Starts the thread that will own the TPM and the directory; opens nothing yet.
    pub fn new() -> io::Result<Self> {
        TpmThread::start(QUEUE).map(Self)
    }
}

impl Plugin for KeyManager {
    type Settings = KeySettings;

    fn build(
        &self,
        _core: &Core,
        text: &str,
        purpose: Purpose,
    ) -> Result<KeySettings, Vec<Problem>> {
        KeySettings::build(text, purpose)
    }

    /// Fails where the directory cannot be used; a TPM that does not answer may do so later.
    async fn apply(&self, settings: &Arc<KeySettings>) -> Result<(), Status> {
        let taken = Arc::clone(settings);
        self.0.ask(move |keeper| keeper.configure(taken)).await?;
        self.0.tell(Keeper::prepare);
        Ok(())
    }

    async fn retire(&self) {
        self.0.let_go().await;
    }
}

impl plugin::KeyManager for KeyManager {
    async fn generate_key(
        &self,
        settings: Arc<KeySettings>,
        key_id: String,
        key_type: KeyType,
    ) -> Result<PublicKey, Status> {
        let deadline = deadline(&settings);
        let made = self
            .0
            .ask(move |keeper| keeper.generate(key_id, key_type, deadline));
        Ok(made.await?)
    }

    async fn public_key(
        &self,
        settings: Arc<KeySettings>,
        key_id: String,
    ) -> Result<PublicKey, Status> {
        let deadline = deadline(&settings);
        let found = self
            .0
            .ask(move |keeper| keeper.public_key(&key_id, deadline));
        Ok(found.await?)
    }

    async fn public_keys(&self, settings: Arc<KeySettings>) -> Result<Vec<PublicKey>, Status> {
        let deadline = deadline(&settings);
        let found = self.0.ask(move |keeper| keeper.public_keys(deadline));
        Ok(found.await?)
    }

    async fn sign_data(
        &self,
        settings: Arc<KeySettings>,
        key_id: String,
        digest: Vec<u8>,
        options: SignerOptions,
    ) -> Result<SignedData, Status> {
        let deadline = deadline(&settings);
        let signed = self
            .0
            .ask(move |keeper| keeper.sign(&key_id, &digest, options, deadline));
        Ok(signed.await?)
    }
}

/// From the moment of the request: waiting for others counts.
fn deadline(settings: &KeySettings) -> Instant {
    Instant::now() + settings.tpm_timeout
}

/// Requests that may wait for the TPM: an agent that serves many connections signs for each.
const QUEUE: usize = 1024;
