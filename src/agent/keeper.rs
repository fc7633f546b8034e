//! The keys of one agent: in the TPM while they are used, in a directory for the time between, shown while they are good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use evidence::SvidKeyTemplate;
use plugin::{KeyType, PublicKey, SignedData, SignerOptions};
use tpm::{CommandCode, Keyring};

use crate::failure::{Failure, KeyFailure};
use crate::key_config::{AfterReboot, KeySettings, RingSettings};
use crate::key_file::{Damage, KeyFile, file_name};
use crate::key_store::KeyStore;
use crate::signing;
use crate::tpm_thread::Opened;

/// What the KeyManager's thread owns.
#[derive(Default)]
pub(crate) struct Keeper {
    ring: Ring,
    kept: Option<Kept>,
}

/// The TPM, once it is open.
type Ring = Option<Opened<RingSettings, Keyring>>;

/// The directory of the settings in force, and what it holds.
struct Kept {
    settings: Arc<KeySettings>,
    store: KeyStore,
    keys: BTreeMap<String, Held>,
}

/// One key.
struct Held {
    file: KeyFile,
    public: PublicKey,
    /// Whether it was found to be good since it was read, or made.
    is_good: bool,
    /// Whether the log tells why it is not.
    is_told: bool,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    BeforeReboot,
    OfAnotherTpm,
    /// It has the right parent and cannot be loaded below it.
    Damaged,
}

impl Keeper {
    /// Takes over the directory of new settings. After a failure the old ones are in force.
    pub(crate) fn configure(&mut self, settings: Arc<KeySettings>) -> Result<(), Failure> {
        let path = &settings.keys_path;
        match &mut self.kept {
            Some(kept) if kept.store.is_at(path) => {
                // What was good by the old settings is looked at again.
                kept.keys.values_mut().for_each(|held| held.is_good = false);
                kept.settings = settings;
            }
            _ => {
                let store = KeyStore::open(path).map_err(KeyFailure::Directory)?;
                let files = store.keys().map_err(KeyFailure::Directory)?;
                let keys = files
                    .into_iter()
                    .map(|file| (file.id.clone(), Held::read(file)));
                self.kept = Some(Kept {
                    keys: keys.collect(),
                    settings,
                    store,
                });
            }
        }
        Ok(())
    }

    /// Opens the TPM ahead of the first request.
    pub(crate) fn prepare(&mut self) {
        let Some(kept) = &self.kept else { return };
        let deadline = Instant::now() + kept.settings.tpm_timeout;
        if let Err(error) = open(&mut self.ring, &kept.settings.tpm, deadline) {
            let hint = error.hint().unwrap_or_default();
            tracing::warn!(%error, hint, "the TPM is not ready yet");
        }
    }

    /// Makes a key, writes it down, and only then drops the one that was there under its id.
    pub(crate) fn generate(
        &mut self,
        id: String,
        key_type: KeyType,
        deadline: Instant,
    ) -> Result<PublicKey, Failure> {
        let (ring, kept) = self.open(deadline)?;
        file_name(&id).ok_or(KeyFailure::Id)?;
        if kept.keys.len() >= MAX_KEYS && !kept.keys.contains_key(&id) {
            return Err(KeyFailure::TooMany.into());
        }
        let template = template(key_type)?;
        if !ring.is_supported(template, deadline)? {
            return Err(unsupported(key_type).into());
        }
        // Read first: a reset after it makes the key look older than it is.
        let reset_count = ring.clock(deadline)?.reset_count;
        let key = ring.generate(template, deadline)?;
        let name = key.name()?;
        let parent = ring.parent();
        let file = KeyFile {
            id: id.clone(),
            template,
            key,
            parent: parent.name().ok_or_else(|| no_name(parent))?,
            reset_count,
        };
        if let Err(unusable) = kept.store.keep(&file) {
            ring.forget(&name);
            return Err(KeyFailure::NotKept(unusable).into());
        }
        let held = Held::made(file);
        let public = held.public.clone();
        if let Some(old) = kept.keys.insert(id, held)
            && let Ok(name) = old.file.key.name()
        {
            ring.forget(&name);
        }
        Ok(public)
    }

    /// The key of an id.
    pub(crate) fn public_key(&mut self, id: &str, deadline: Instant) -> Result<PublicKey, Failure> {
        let (_, held) = self.good(id, deadline)?;
        Ok(held.public.clone())
    }

    /// Every key that is good now. A TPM that does not answer is an error: an empty list would have the agent overwrite
    /// its keys.
    pub(crate) fn public_keys(&mut self, deadline: Instant) -> Result<Vec<PublicKey>, Failure> {
        let (ring, kept) = self.open(deadline)?;
        let resets = ring.clock(deadline)?.reset_count;
        let ids: Vec<String> = kept.keys.keys().cloned().collect();
        for id in ids {
            kept.judge(ring, &id, resets, deadline)?;
        }
        let good = kept.keys.values().filter(|held| held.is_good);
        Ok(good.map(|held| held.public.clone()).collect())
    }

    /// Signs a digest.
    pub(crate) fn sign(
        &mut self,
        id: &str,
        digest: &[u8],
        options: SignerOptions,
        deadline: Instant,
    ) -> Result<SignedData, Failure> {
        let (ring, held) = self.good(id, deadline)?;
        let scheme = signing::scheme(held.file.template, options)?;
        let signature = ring
            .sign(&held.file.key, digest, scheme, deadline)
            .map_err(unsigned)?;
        Ok(SignedData {
            signature: signing::encode(&signature),
            fingerprint: held.public.fingerprint.clone(),
        })
    }

    /// The key of an id, if it is good.
    fn good(&mut self, id: &str, deadline: Instant) -> Result<(&mut Keyring, &Held), Failure> {
        let (ring, kept) = self.open(deadline)?;
        if kept.keys.get(id).is_some_and(|held| !held.is_good) {
            let resets = ring.clock(deadline)?.reset_count;
            kept.judge(ring, id, resets, deadline)?;
        }
        match kept.keys.get(id) {
            Some(held) if held.is_good => Ok((ring, held)),
            _ => Err(KeyFailure::Unknown(id.to_owned()).into()),
        }
    }

    fn open(&mut self, deadline: Instant) -> Result<(&mut Keyring, &mut Kept), Failure> {
        // The runtime lets no request through before Configure.
        let kept = self.kept.as_mut().ok_or(Failure::NoWorker)?;
        let ring = open(&mut self.ring, &kept.settings.tpm, deadline)?;
        Ok((ring, kept))
    }
}

impl Kept {
    /// Looks whether a key is good now, where the TPM counts so many `resets`, and tells once why it is not.
    fn judge(
        &mut self,
        ring: &mut Keyring,
        id: &str,
        resets: u32,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let Some(held) = self.keys.get_mut(id) else {
            return Ok(());
        };
        let is_current = match self.settings.after_reboot {
            AfterReboot::Reattest => held.file.reset_count == resets,
            AfterReboot::Keep => true,
        };
        let standing = standing(ring, &held.file, is_current, deadline)?;
        held.is_good = standing == Standing::Good;
        if standing == Standing::Damaged {
            self.keys.remove(id);
            let name = file_name(id).unwrap_or_default();
            let aside = self.store.set_aside(&name, Damage::Unloadable);
            return Ok(aside.map_err(KeyFailure::Directory)?);
        }
        if !held.is_told {
            held.is_told = tell(id, standing);
        }
        Ok(())
    }
}

impl Held {
    fn read(file: KeyFile) -> Self {
        let public = PublicKey {
            id: file.id.clone(),
            key_type: match file.template {
                SvidKeyTemplate::EccP256 => KeyType::EcP256,
                SvidKeyTemplate::EccP384 => KeyType::EcP384,
                SvidKeyTemplate::Rsa2048 => KeyType::Rsa2048,
            },
            pkix: file.pkix(),
            fingerprint: file.fingerprint(),
        };
        Self {
            file,
            public,
            is_good: false,
            is_told: false,
        }
    }

    fn made(file: KeyFile) -> Self {
        Self {
            is_good: true,
            ..Self::read(file)
        }
    }
}

fn open<'a>(
    ring: &'a mut Ring,
    settings: &RingSettings,
    deadline: Instant,
) -> Result<&'a mut Keyring, tpm::Error> {
    Opened::with(ring, settings, || {
        let tpm = tpm::open(&settings.device, deadline)?;
        Keyring::open(tpm, settings.owner_auth.clone(), deadline)
    })
}

fn standing(
    ring: &mut Keyring,
    file: &KeyFile,
    is_current: bool,
    deadline: Instant,
) -> Result<Standing, tpm::Error> {
    // Whatever its age: the attestor offers what is in the directory, and one key that cannot be loaded fails them all.
    match ring.load(&file.key, deadline) {
        Ok(()) if is_current => Ok(Standing::Good),
        Ok(()) => Ok(Standing::BeforeReboot),
        Err(tpm::Error::ForeignKey) if is_below_root(ring, file) => Ok(Standing::Damaged),
        Err(tpm::Error::ForeignKey) => Ok(Standing::OfAnotherTpm),
        Err(error) => Err(error),
    }
}

fn is_below_root(ring: &Keyring, file: &KeyFile) -> bool {
    ring.parent().name().as_ref() == Some(&file.parent)
}

/// Says why a key is not shown.
fn tell(id: &str, standing: Standing) -> bool {
    match standing {
        Standing::BeforeReboot => tracing::info!(
            key_id = id,
            reason = "key_before_reboot",
            "the TPM was reset since this key was made: SPIRE Agent is not shown it, and attests again"
        ),
        Standing::OfAnotherTpm => tracing::warn!(
            key_id = id,
            reason = "key_of_another_tpm",
            "this key was made by another TPM, or before this one was cleared: it cannot be used"
        ),
        Standing::Good | Standing::Damaged => return false,
    }
    true
}

fn template(key_type: KeyType) -> Result<SvidKeyTemplate, KeyFailure> {
    match key_type {
        KeyType::EcP256 => Ok(SvidKeyTemplate::EccP256),
        KeyType::EcP384 => Ok(SvidKeyTemplate::EccP384),
        KeyType::Rsa2048 => Ok(SvidKeyTemplate::Rsa2048),
        KeyType::Rsa4096 => Err(unsupported(key_type)),
    }
}

fn unsupported(key_type: KeyType) -> KeyFailure {
    KeyFailure::UnsupportedType(match key_type {
        KeyType::EcP256 => "P-256",
        KeyType::EcP384 => "P-384",
        KeyType::Rsa2048 => "RSA-2048",
        KeyType::Rsa4096 => "RSA-4096",
    })
}

/// A scheme or a hash that the TPM lacks is nobody's failure.
fn unsigned(error: tpm::Error) -> Failure {
    match &error {
        tpm::Error::UnsuitableScheme | tpm::Error::DigestSize => {
            KeyFailure::UnsupportedSignature.into()
        }
        tpm::Error::Tpm { command, code }
            if *command == CommandCode::SIGN
                && matches!(code.name(), "TPM_RC_SCHEME" | "TPM_RC_HASH") =>
        {
            KeyFailure::UnsupportedSignature.into()
        }
        _ => error.into(),
    }
}

fn no_name(public: &evidence::Public) -> tpm::Error {
    tpm::Error::UnsupportedNameAlgorithm(public.name_alg)
}

/// Keys that are kept: SPIRE Agent has two.
const MAX_KEYS: usize = 64;
