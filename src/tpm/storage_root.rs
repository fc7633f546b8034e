//! The storage root key of a machine, above the keys of its SVIDs (TCG TPM v2.0 Provisioning Guidance 1.0, section 7.5).

use std::time::Instant;

use evidence::{Hierarchy, Name, Public, StorageTemplate};

use crate::{Auth, CommandCode, Context, Error, Handle, Key, Tpm};

/// The SRK: at its persistent handle, or made in the owner hierarchy when it is needed. Nothing is ever
/// made persistent or evicted.
///
/// Between calls one that was made takes none of the TPM's places: it is kept as a context, which costs
/// a fraction of making the key again, and which the TPM refuses once it was reset or cleared.
pub(crate) struct StorageRoot {
    public: Public,
    name: Name,
    place: Place,
}

enum Place {
    Persistent(Handle),
    /// Outside the TPM; `None` where it gives no context.
    Saved(Option<Context>),
}

/// What it takes to find the SRK.
pub(crate) struct Access<'a> {
    pub(crate) tpm: &'a mut dyn Tpm,
    pub(crate) owner_auth: &'a Auth,
    pub(crate) deadline: Instant,
}

impl StorageRoot {
    /// Looks at the persistent handle, and makes the key where it is not there. What stands there and
    /// is no SRK is left alone.
    pub(crate) fn find(access: &mut Access<'_>) -> Result<Self, Error> {
        if let Some(root) = Self::at_its_handle(access)? {
            return Ok(root);
        }
        let (root, key) = Self::make(access)?;
        access.tpm.flush(key.handle, access.deadline)?;
        Ok(root)
    }

    /// Its public area.
    pub(crate) fn public(&self) -> &Public {
        &self.public
    }

    /// Whether it takes one of the TPM's places for transient objects while it is in use.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.place, Place::Saved(_))
    }

    /// Runs an operation below the SRK. Where the SRK turns out to be another one than before (after
    /// TPM2_Clear, or because somebody made one persistent or evicted it), the operation runs once more.
    ///
    /// # Errors
    /// [`Error::ForeignKey`] when a key cannot be loaded below the SRK that the TPM has now.
    pub(crate) fn with<T>(
        &mut self,
        access: &mut Access<'_>,
        mut operation: impl FnMut(&mut Access<'_>, &Key) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let doubt = match self.once(access, &mut operation) {
            Err(error) => Doubt::raised_by(&error).ok_or(error)?,
            outcome => return outcome,
        };
        let changed = self.find_again(access)?;
        if doubt == Doubt::Foreign && !changed {
            return Err(Error::ForeignKey);
        }
        match self.once(access, &mut operation) {
            Err(error) if Doubt::raised_by(&error) == Some(Doubt::Foreign) => {
                Err(Error::ForeignKey)
            }
            outcome => outcome,
        }
    }

    fn once<T>(
        &mut self,
        access: &mut Access<'_>,
        operation: &mut impl FnMut(&mut Access<'_>, &Key) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let key = self.enter(access)?;
        let outcome = operation(access, &key);
        if self.is_transient() {
            // It may be gone already; whether the operation was a success does not depend on it.
            access.tpm.flush(key.handle, access.deadline).ok();
        }
        outcome
    }

    /// The key, loaded.
    fn enter(&mut self, access: &mut Access<'_>) -> Result<Key, Error> {
        let handle = match &self.place {
            Place::Persistent(handle) => *handle,
            Place::Saved(context) => {
                let loaded = context
                    .as_ref()
                    .map(|context| access.tpm.load_context(context, access.deadline));
                match loaded {
                    Some(Ok(handle)) => handle,
                    Some(Err(error)) if error.code().is_none() || error.exhausted() => {
                        return Err(error);
                    }
                    // None, or stale: the TPM was reset or cleared.
                    _ => {
                        let (root, key) = Self::make(access)?;
                        *self = root;
                        return Ok(key);
                    }
                }
            }
        };
        Ok(Key {
            handle,
            public: self.public.clone(),
            name: self.name.clone(),
        })
    }

    /// Whether the SRK is another one now. One that was made needs no new making to know that: its
    /// context was good a moment ago.
    fn find_again(&mut self, access: &mut Access<'_>) -> Result<bool, Error> {
        let found = match Self::at_its_handle(access)? {
            Some(root) => root,
            None if self.is_transient() => return Ok(false),
            None => Self::find(access)?,
        };
        let changed = found.name != self.name;
        *self = found;
        Ok(changed)
    }

    fn at_its_handle(access: &mut Access<'_>) -> Result<Option<Self>, Error> {
        let found = access.tpm.persistent(PERSISTENT_HANDLE, access.deadline)?;
        let right = found.filter(|key| key.public.is_storage_root());
        Ok(right.map(|key| Self {
            public: key.public,
            name: key.name,
            place: Place::Persistent(key.handle),
        }))
    }

    /// Makes the key, which is then loaded, and saves its context.
    fn make(access: &mut Access<'_>) -> Result<(Self, Key), Error> {
        let template = StorageTemplate::EccP256.public();
        let created = access
            .tpm
            .create_primary(
                Hierarchy::Owner,
                &template,
                access.owner_auth,
                access.deadline,
            )
            .map_err(owner_auth)?;
        let key = created.key;
        // Without a context the key is made again, every time.
        let context = access.tpm.save_context(&key, access.deadline).ok();
        let root = Self {
            public: key.public.clone(),
            name: key.name.clone(),
            place: Place::Saved(context),
        };
        Ok((root, key))
    }
}

/// What an error says against the SRK that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// It is not there any more.
    Gone,
    /// A key does not belong below it.
    Foreign,
}

impl Doubt {
    fn raised_by(error: &Error) -> Option<Self> {
        match error {
            Error::Tpm { command, code } => match *command {
                CommandCode::LOAD | CommandCode::CREATE if code.is_lost_handle() => {
                    Some(Self::Gone)
                }
                CommandCode::LOAD if code.is_foreign_key() => Some(Self::Foreign),
                _ => None,
            },
            _ => None,
        }
    }
}

fn owner_auth(error: Error) -> Error {
    match error.code() {
        Some(code) if code.is_wrong_auth() => Error::OwnerAuth { code },
        _ => error,
    }
}

/// Where the guidance puts the SRK.
const PERSISTENT_HANDLE: u32 = 0x8100_0001;
