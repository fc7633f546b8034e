//! The SVID keys that the attestor offers: those of its directory that were made in this TPM.

use std::path::Path;
use std::slice;
use std::time::Instant;

use evidence::{Name, limits};
use tpm::WrappedKey;

use crate::failure::Failure;
use crate::key_directory::{Entry, KeyDirectory};
use crate::key_file::{Damage, KeyFile};

/// The keys of a directory, the newest first. One that is not there has none; what cannot be read is an error, but for a
/// file that holds no key: the KeyManager sets it aside.
pub(crate) fn read(path: &Path) -> Result<Vec<KeyFile>, Failure> {
    let Some(directory) = KeyDirectory::open(path).map_err(Failure::SvidKeys)? else {
        return Ok(Vec::new());
    };
    let mut entries = directory.entries().map_err(Failure::SvidKeys)?;
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.modified));
    Ok(entries
        .into_iter()
        .filter_map(|entry| sound(&directory, entry))
        .collect())
}

/// The keys below a storage root key, at most as many as an offer takes.
pub(crate) fn below(parent: Option<&Name>, keys: Vec<KeyFile>) -> Vec<WrappedKey> {
    let is_ours = |key: &KeyFile| {
        let is_ours = parent == Some(&key.parent);
        if !is_ours {
            tracing::warn!(
                key_id = key.id,
                reason = "key_of_another_tpm",
                "an SVID key was made by another TPM, or before this one was cleared: it is not offered"
            );
        }
        is_ours
    };
    keys.into_iter()
        .filter(is_ours)
        .map(|key| key.key)
        .take(limits::SVID_KEYS)
        .collect()
}

/// The keys of the directory that the TPM did not load: certification is of all that was offered or of none, and one of these
/// would fail every attestation. At most as many as the directory has, and those of the attestations since it was last read.
#[derive(Debug, Default)]
pub(crate) struct Unloadable(Vec<Refused>);

#[derive(Debug)]
struct Refused {
    /// The storage root key below which it was not.
    parent: Name,
    /// With the private area: a file that is put right is another key.
    key: WrappedKey,
    /// Whether the log tells.
    is_told: bool,
}

impl Unloadable {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets what is not in the directory any more.
    pub(crate) fn forget_all_but(&mut self, keys: &[KeyFile]) {
        let is_there = |refused: &Refused| keys.iter().any(|file| file.key == refused.key);
        self.0.retain(is_there);
    }

    /// The keys without those that are known not to be below this storage root key; tells of each once.
    pub(crate) fn leave_out(&mut self, parent: Option<&Name>, keys: Vec<KeyFile>) -> Vec<KeyFile> {
        let mut is_loadable = |file: &KeyFile| {
            let is_it =
                |refused: &&mut Refused| parent == Some(&refused.parent) && refused.key == file.key;
            let Some(refused) = self.0.iter_mut().find(is_it) else {
                return true;
            };
            if !refused.is_told {
                tracing::warn!(
                    key_id = file.id,
                    reason = "key_damaged",
                    detail = %Damage::Unloadable,
                    "the TPM does not load an SVID key: it is not offered any more"
                );
                refused.is_told = true;
            }
            false
        };
        keys.into_iter().filter(|file| is_loadable(file)).collect()
    }

    /// Finds those of the keys that the TPM does not load, by having each certified alone. What fails otherwise is tried at
    /// the next attestation.
    pub(crate) fn find(
        &mut self,
        attestor: &mut tpm::Attestor,
        keys: &[WrappedKey],
        binding: &[u8],
        deadline: Instant,
    ) {
        for key in keys {
            let alone = attestor.certify(slice::from_ref(key), binding, deadline);
            let Err(tpm::Error::ForeignKey) = alone else {
                continue;
            };
            let root = attestor.storage_root(deadline);
            let parent = root.ok().and_then(|root| root.name());
            let is_new = |parent: &Name| {
                let same = |refused: &Refused| refused.parent == *parent && refused.key == *key;
                !self.0.iter().any(same)
            };
            if let Some(parent) = parent.filter(is_new) {
                self.0.push(Refused {
                    parent,
                    key: key.clone(),
                    is_told: false,
                });
            }
        }
    }
}

fn sound(directory: &KeyDirectory, entry: Entry) -> Option<KeyFile> {
    match entry.key {
        Ok(key) => Some(key),
        Err(damage) => {
            tracing::warn!(
                path = %directory.path_of(&entry.name).display(),
                reason = "key_damaged",
                detail = %damage,
                "the file of an SVID key cannot be used: it is not offered"
            );
            None
        }
    }
}
