//! The SVID keys that the attestor offers: those of its directory that were made in this TPM.

use std::path::Path;

use evidence::{Name, limits};
use tpm::WrappedKey;

use crate::failure::Failure;
use crate::key_directory::{Entry, KeyDirectory};
use crate::key_file::KeyFile;

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
