//! A key manager without keys and a credential composer without an opinion: what the host's side of both is tested with.
//!
//! Which one it is, the cookie says. The ID of a key, or the last segment of a SPIFFE ID, is what makes it misbehave.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use plugin::{
    Core, CredentialComposer, KeyManager, KeyType, Launch, Plugin, Problem, PublicKey, Purpose,
    Role, Service, SignedData, SignerOptions, Status,
};
use tokio::sync::Barrier;

fn main() -> ExitCode {
    plugin::log::install();
    let launch = match Launch::from_environment(&[Role::KeyManager, Role::CredentialComposer]) {
        Ok(launch) => launch,
        Err(refusal) => return refusal.report(),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    let service = Service::new(Echo {
        held: Mutex::default(),
        pair: Barrier::new(2),
    });
    runtime.block_on(async {
        match launch.role() {
            Role::KeyManager => service.serve_key_manager(launch).await,
            _ => service.serve_credential_composer(launch).await,
        }
    })
}

struct Echo {
    /// The keys, and how many have been made.
    held: Mutex<(BTreeMap<String, PublicKey>, u32)>,
    /// Where one signature waits for another.
    pair: Barrier,
}

impl Echo {
    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<String, PublicKey>, &mut u32) -> T) -> T {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (keys, made) = &mut *held;
        look(keys, made)
    }

    fn held(&self, id: &str) -> Result<PublicKey, Status> {
        self.with(|keys, _made| keys.get(id).cloned())
            .ok_or_else(|| Status::not_found("no such key"))
    }
}

impl Plugin for Echo {
    type Settings = ();

    fn build(&self, _core: &Core, _text: &str, _purpose: Purpose) -> Result<(), Vec<Problem>> {
        Ok(())
    }
}

impl KeyManager for Echo {
    async fn generate_key(
        &self,
        _settings: Arc<()>,
        key_id: String,
        key_type: KeyType,
    ) -> Result<PublicKey, Status> {
        assert!(key_id != "panic", "on request");
        Ok(self.with(|keys, made| {
            *made = made.saturating_add(1);
            let nameless = key_id == "nameless";
            let bare = key_id == "bare";
            let key = PublicKey {
                id: if nameless {
                    String::new()
                } else {
                    key_id.clone()
                },
                key_type,
                pkix: if bare { Vec::new() } else { vec![0x30] },
                fingerprint: format!("{key_id} {made}"),
            };
            keys.insert(key_id, key.clone());
            key
        }))
    }

    async fn public_key(&self, _settings: Arc<()>, key_id: String) -> Result<PublicKey, Status> {
        self.held(&key_id)
    }

    async fn public_keys(&self, _settings: Arc<()>) -> Result<Vec<PublicKey>, Status> {
        Ok(self.with(|keys, _made| keys.values().cloned().collect()))
    }

    /// The signature says what was asked for.
    async fn sign_data(
        &self,
        _settings: Arc<()>,
        key_id: String,
        digest: Vec<u8>,
        options: SignerOptions,
    ) -> Result<SignedData, Status> {
        let key = self.held(&key_id)?;
        if key_id == "paired" {
            self.pair.wait().await;
        }
        let signature = match key_id.as_str() {
            "mute" => Vec::new(),
            _ => format!("{options:?} {digest:02x?}").into_bytes(),
        };
        Ok(SignedData {
            signature,
            fingerprint: key.fingerprint,
        })
    }
}

impl CredentialComposer for Echo {
    #[expect(clippy::panic, reason = "to be caught")]
    async fn compose_agent_x509_svid(
        &self,
        _settings: Arc<()>,
        spiffe_id: String,
        public_key: Vec<u8>,
    ) -> Result<(), Status> {
        match spiffe_id.rsplit('/').next() {
            Some("deny") => Err(Status::permission_denied("denied")),
            Some("unimplemented") => Err(Status::unimplemented("to be hidden")),
            Some("panic") => panic!("on request"),
            _ if public_key != b"known" => Err(Status::not_found("no such key")),
            _ => Ok(()),
        }
    }
}
