//! SVID keys inside a TPM: made below the SRK, kept outside as wrapped keys, loaded to sign.

use std::time::{Duration, Instant};

use evidence::{ClockInfo, Name, Public, Signature, SvidKeyTemplate};

use crate::storage_root::{Access, StorageRoot};
use crate::{Auth, Error, Key, SignatureScheme, Tpm, WrappedKey, limits};

/// The keys that an agent signs with, on a connection of its own.
///
/// The two that were used last stay loaded ([`limits::LOADED_KEYS`]), so that signing with them costs one
/// command. When handles get lost (the TPM was reset, the machine resumed, the connection broke), or the
/// TPM has no room, keys are loaded again, once a call. Dropping it removes them from the TPM.
pub struct Keyring {
    tpm: Box<dyn Tpm>,
    owner_auth: Auth,
    root: StorageRoot,
    /// The key that was used last is the last.
    loaded: Vec<Key>,
}

impl Keyring {
    /// Finds the SRK: the persistent one, else one made with the owner's password.
    ///
    /// # Errors
    /// [`Error::OwnerAuth`] when the SRK has to be made and the password is wrong.
    pub fn open(mut tpm: Box<dyn Tpm>, owner_auth: Auth, deadline: Instant) -> Result<Self, Error> {
        let root = StorageRoot::find(&mut Access {
            tpm: &mut *tpm,
            owner_auth: &owner_auth,
            deadline,
        })?;
        Ok(Self {
            tpm,
            owner_auth,
            root,
            loaded: Vec::new(),
        })
    }

    /// The public area of the SRK that was used last.
    pub fn parent(&self) -> &Public {
        self.root.public()
    }

    /// Makes a key, which then is loaded.
    pub fn generate(
        &mut self,
        template: SvidKeyTemplate,
        deadline: Instant,
    ) -> Result<WrappedKey, Error> {
        let template = template.public();
        self.again_once(deadline, |this| {
            let (wrapped, key) = this.below_root(deadline, |access, root| {
                let wrapped = access.tpm.create(root, &template, access.deadline)?;
                let key = access.tpm.load(root, &wrapped, access.deadline)?;
                Ok((wrapped, key))
            })?;
            this.loaded.push(key);
            Ok(wrapped)
        })
    }

    /// Whether the TPM can make such a key.
    pub fn is_supported(
        &mut self,
        template: SvidKeyTemplate,
        deadline: Instant,
    ) -> Result<bool, Error> {
        self.again_once(deadline, |this| {
            this.tpm.supports(&template.public(), deadline)
        })
    }

    /// Signs a digest. The signature names the hash that the TPM was asked for, which for ECDSA may be a
    /// shorter one than the scheme's: the value is the same.
    ///
    /// # Errors
    /// [`Error::ForeignKey`], [`Error::UnsuitableScheme`], [`Error::DigestSize`].
    pub fn sign(
        &mut self,
        key: &WrappedKey,
        digest: &[u8],
        scheme: SignatureScheme,
        deadline: Instant,
    ) -> Result<Signature, Error> {
        let (scheme, digest) = scheme.request(&key.public, digest)?;
        self.again_once(deadline, |this| {
            let key = this.ready(key, deadline)?;
            this.tpm.sign(&key, &digest, scheme, deadline)
        })
    }

    /// Loads a key unless it is loaded: it then is one of this TPM's.
    ///
    /// # Errors
    /// [`Error::ForeignKey`].
    pub fn load(&mut self, key: &WrappedKey, deadline: Instant) -> Result<(), Error> {
        self.again_once(deadline, |this| this.ready(key, deadline).map(drop))
    }

    /// Removes a key from the TPM if it is loaded.
    pub fn forget(&mut self, name: &Name) {
        if let Some(place) = self.loaded.iter().position(|key| key.name == *name) {
            let key = self.loaded.remove(place);
            // It may be gone already.
            self.tpm.flush(key.handle, Instant::now() + CLOSING).ok();
        }
    }

    /// The TPM's clock and counters.
    pub fn clock(&mut self, deadline: Instant) -> Result<ClockInfo, Error> {
        self.again_once(deadline, |this| this.tpm.clock(deadline))
    }

    /// The key, loaded, and marked as used.
    fn ready(&mut self, wrapped: &WrappedKey, deadline: Instant) -> Result<Key, Error> {
        let name = wrapped.name()?;
        let key = match self.loaded.iter().position(|key| key.name == name) {
            Some(place) => self.loaded.remove(place),
            None => self.below_root(deadline, |access, root| {
                access.tpm.load(root, wrapped, access.deadline)
            })?,
        };
        self.loaded.push(key.clone());
        Ok(key)
    }

    /// Runs an operation that loads a key below the SRK, with room for it.
    fn below_root<T>(
        &mut self,
        deadline: Instant,
        operation: impl FnMut(&mut Access<'_>, &Key) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.keep(limits::LOADED_KEYS - 1, deadline);
        let mut access = Access {
            tpm: &mut *self.tpm,
            owner_auth: &self.owner_auth,
            deadline,
        };
        self.root.with(&mut access, operation)
    }

    fn again_once<T>(
        &mut self,
        deadline: Instant,
        mut operation: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match operation(self) {
            Err(error) if error.lost_handles() || error.exhausted() => {
                self.keep(0, deadline);
                operation(self)
            }
            outcome => outcome,
        }
    }

    /// Removes all but so many keys from the TPM, those used longest ago first.
    fn keep(&mut self, count: usize, deadline: Instant) {
        let surplus = self.loaded.len().saturating_sub(count);
        for key in self.loaded.drain(..surplus) {
            // It may be gone already.
            self.tpm.flush(key.handle, deadline).ok();
        }
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.keep(0, Instant::now() + CLOSING);
    }
}

/// How long the removal of keys may take when nobody waits for it.
const CLOSING: Duration = Duration::from_secs(2);
