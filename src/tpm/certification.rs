//! The AK's statements about SVID keys, made within the three objects that a connection may hold.

use std::time::Instant;

use evidence::Public;

use crate::attestation::search;
use crate::storage_root::{Access, StorageRoot};
use crate::{Attestor, Error, Key, Signed, WrappedKey};

impl Attestor {
    /// The public area of the SRK: the persistent one, else one made with the owner's password. It is
    /// remembered until the keys are made again.
    ///
    /// # Errors
    /// [`Error::OwnerAuth`] when the SRK has to be made and the password is wrong.
    pub fn storage_root(&mut self, deadline: Instant) -> Result<Public, Error> {
        if let Some(root) = &self.root {
            return Ok(root.public().clone());
        }
        self.with_keys(deadline, |this| {
            let root = StorageRoot::find(&mut this.access(deadline))?;
            let public = root.public().clone();
            this.root = Some(root);
            Ok(public)
        })
    }

    /// Has the AK certify each key, with `binding` (at most 32 bytes) as extraData; in the order of the
    /// keys, and all or none.
    ///
    /// # Errors
    /// [`Error::ForeignKey`] when one of them cannot be loaded below the SRK that the TPM has now.
    pub fn certify(
        &mut self,
        keys: &[WrappedKey],
        binding: &[u8],
        deadline: Instant,
    ) -> Result<Vec<Signed>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.with_keys(deadline, |this| {
            let mut root = match this.root.take() {
                Some(root) => root,
                None => StorageRoot::find(&mut this.access(deadline))?,
            };
            let outcome = this.certify_below(&mut root, keys, binding, deadline);
            if this.present {
                this.root = Some(root);
            }
            outcome
        })
    }

    /// AK, EK and SRK leave no place for the key where all three are transient, nor in a TPM that
    /// takes a persistent key into one of its three places while it works with it: the EK goes.
    fn certify_below(
        &mut self,
        root: &mut StorageRoot,
        keys: &[WrappedKey],
        binding: &[u8],
        deadline: Instant,
    ) -> Result<Vec<Signed>, Error> {
        let movable = self.endorsement.persistent.is_none();
        if movable && (root.is_transient() || self.aside.is_needed) {
            self.set_ek_aside(deadline)?;
        }
        let mut outcome = self.certify_all(root, keys, binding, deadline);
        if movable && !self.aside.is_out && outcome.as_ref().is_err_and(Error::exhausted) {
            self.aside.is_needed = true;
            self.set_ek_aside(deadline)?;
            outcome = self.certify_all(root, keys, binding, deadline);
        }
        match &outcome {
            // All of the keys are made again, and the EK is not loaded first only to be removed.
            Err(error) if error.lost_handles() || error.exhausted() => self.discard(deadline),
            _ => self.bring_ek_back(deadline)?,
        }
        outcome
    }

    fn certify_all(
        &mut self,
        root: &mut StorageRoot,
        keys: &[WrappedKey],
        binding: &[u8],
        deadline: Instant,
    ) -> Result<Vec<Signed>, Error> {
        let ak = self.ak.clone();
        root.with(&mut self.access(deadline), |access, parent| {
            keys.iter()
                .map(|key| certify_one(access, parent, key, &ak, binding))
                .collect()
        })
    }

    fn set_ek_aside(&mut self, deadline: Instant) -> Result<(), Error> {
        let ek = &self.endorsement.key;
        if self.aside.context.is_none() {
            self.aside.context = Some(self.tpm.save_context(ek, deadline)?);
        }
        self.tpm.flush(ek.handle, deadline)?;
        self.aside.is_out = true;
        Ok(())
    }

    /// Loads the EK, or makes it again where its context is good no more.
    fn bring_ek_back(&mut self, deadline: Instant) -> Result<(), Error> {
        if !self.aside.is_out {
            return Ok(());
        }
        let context = self.aside.context.as_ref();
        if let Some(Ok(handle)) = context.map(|saved| self.tpm.load_context(saved, deadline)) {
            self.endorsement.key.handle = handle;
            self.aside.is_out = false;
            return Ok(());
        }
        self.aside.context = None;
        let search = search(&self.options);
        let restored = self.endorsement.restore(&mut *self.tpm, &search, deadline);
        match restored {
            Ok(()) => self.aside.is_out = false,
            Err(_) => self.discard(deadline),
        }
        restored
    }

    fn access(&mut self, deadline: Instant) -> Access<'_> {
        Access {
            tpm: &mut *self.tpm,
            owner_auth: &self.options.owner_auth,
            deadline,
        }
    }
}

fn certify_one(
    access: &mut Access<'_>,
    parent: &Key,
    key: &WrappedKey,
    ak: &Key,
    binding: &[u8],
) -> Result<Signed, Error> {
    let (tpm, deadline) = (&mut *access.tpm, access.deadline);
    let loaded = tpm.load(parent, key, deadline)?;
    let signed = tpm.certify(&loaded, ak, binding, deadline);
    let flushed = tpm.flush(loaded.handle, deadline);
    let signed = signed?;
    // One that stays would take the place of the next.
    flushed.map(|()| signed)
}
