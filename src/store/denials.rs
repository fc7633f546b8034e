//! The deny list in force, and how it follows its file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use verify::Denials;

use crate::directory::{self, Fingerprint, Unreadable};
use crate::once::Once;

/// A deny list from a file, last good kept.
#[derive(Debug)]
pub struct DenialStore {
    path: PathBuf,
    current: ArcSwap<Denials>,
    known: Mutex<Known>,
}

/// Why a deny list was not loaded.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoDenials(String);

/// What looking at the file led to.
#[derive(Debug, PartialEq, Eq)]
pub enum DenialRefresh {
    /// Nothing to tell.
    Unchanged,
    /// Another list is in force.
    Reloaded {
        /// Number of its entries.
        entries: usize,
    },
}

#[derive(Debug)]
struct Known {
    fingerprint: Fingerprint,
    once: Once,
}

impl DenialStore {
    /// Loads the list.
    pub fn open(path: &Path) -> Result<Self, NoDenials> {
        let fingerprint = directory::fingerprint(path)?;
        Ok(Self {
            path: path.to_owned(),
            current: ArcSwap::from_pointee(load(path)?),
            known: Mutex::new(Known {
                fingerprint,
                once: Once::default(),
            }),
        })
    }

    /// The list in force.
    pub fn current(&self) -> Arc<Denials> {
        self.current.load_full()
    }

    /// Looks at the file and takes over a change. On an error the list stays as it was, and the next
    /// call tries again; the error is returned once for each change of the file.
    pub fn refresh(&self) -> Result<DenialRefresh, NoDenials> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.reload(&mut known);
        match outcome {
            Ok(refresh) => {
                known.once.forget();
                Ok(refresh)
            }
            Err(error) => {
                let state = directory::fingerprint(&self.path).unwrap_or_default();
                if known.once.is_news(vec![state], &error) {
                    Err(error)
                } else {
                    Ok(DenialRefresh::Unchanged)
                }
            }
        }
    }

    /// The fingerprint is taken before the file is read: a change in between shows at the next look.
    fn reload(&self, known: &mut Known) -> Result<DenialRefresh, NoDenials> {
        let fingerprint = directory::fingerprint(&self.path)?;
        if fingerprint == known.fingerprint {
            return Ok(DenialRefresh::Unchanged);
        }
        let text = text(&self.path)?;
        if text.is_empty() && !self.current.load().is_empty() {
            let path = self.path.display();
            return Err(NoDenials(format!(
                "{path} had entries and is empty now; to deny nobody leave a comment in it"
            )));
        }
        let denials = parse(&self.path, &text)?;
        let entries = denials.len();
        self.current.store(Arc::new(denials));
        known.fingerprint = fingerprint;
        Ok(DenialRefresh::Reloaded { entries })
    }
}

fn load(path: &Path) -> Result<Denials, NoDenials> {
    parse(path, &text(path)?)
}

fn text(path: &Path) -> Result<String, NoDenials> {
    let bytes = directory::one_file(path, MAX_FILE)?;
    String::from_utf8(bytes).map_err(|_bad| NoDenials(format!("{} is no text", path.display())))
}

fn parse(path: &Path, text: &str) -> Result<Denials, NoDenials> {
    Denials::parse(text).map_err(|problem| NoDenials(format!("{}: {problem}", path.display())))
}

impl From<Unreadable> for NoDenials {
    fn from(error: Unreadable) -> Self {
        Self(error.to_string())
    }
}

/// Bytes of a list: a hundred thousand entries with comments.
const MAX_FILE: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const HASH: &str = "00000000000000000000000000000000000000000000000000000000000000ab";

    fn entries(store: &DenialStore) -> usize {
        store.current().len()
    }

    #[test]
    fn a_list_that_cannot_be_read_is_no_list() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("deny");
        for (contents, part) in [
            (None, "No such file"),
            (Some(&b"# first\nnonsense\n"[..]), "line 2: "),
            (Some(b"\xFF\n"), "is no text"),
        ] {
            if let Some(contents) = contents {
                fs::write(&path, contents).unwrap();
            }
            let error = DenialStore::open(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = DenialStore::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        fs::File::create(&path)
            .unwrap()
            .set_len(MAX_FILE + 1)
            .unwrap();
        assert!(DenialStore::open(&path).is_err());
    }

    #[test]
    fn a_change_is_taken_over_and_damage_is_told_once() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("deny");
        fs::write(&path, "").unwrap();
        let store = DenialStore::open(&path).unwrap();
        assert_eq!(store.refresh().unwrap(), DenialRefresh::Unchanged);
        fs::write(&path, format!("{HASH}\n")).unwrap();
        assert_eq!(
            store.refresh().unwrap(),
            DenialRefresh::Reloaded { entries: 1 }
        );
        assert_eq!(store.refresh().unwrap(), DenialRefresh::Unchanged);
        for damage in [HASH.get(..20).unwrap(), "", "cert:"] {
            fs::write(&path, damage).unwrap();
            assert!(store.refresh().is_err(), "{damage:?}");
            assert_eq!(store.refresh().unwrap(), DenialRefresh::Unchanged, "told");
            assert_eq!(entries(&store), 1, "last good kept");
        }
        fs::remove_file(&path).unwrap();
        assert!(store.refresh().is_err());
        assert_eq!(store.refresh().unwrap(), DenialRefresh::Unchanged, "told");
        assert_eq!(entries(&store), 1, "last good kept");
        fs::write(&path, "# nobody\n").unwrap();
        assert_eq!(
            store.refresh().unwrap(),
            DenialRefresh::Reloaded { entries: 0 }
        );
    }

    /// Gone, back as it was, and gone again: two errors.
    #[test]
    fn an_error_that_comes_again_is_told_again() {
        let dir = TempDir::new().unwrap();
        let (path, held) = (dir.path().join("deny/list"), dir.path().join("deny"));
        fs::create_dir(&held).unwrap();
        fs::write(&path, format!("{HASH}\n")).unwrap();
        let store = DenialStore::open(&path).unwrap();
        let away = dir.path().join("away");
        for _ in 0..2 {
            fs::rename(&held, &away).unwrap();
            assert!(store.refresh().is_err());
            assert_eq!(store.refresh().unwrap(), DenialRefresh::Unchanged, "told");
            fs::rename(&away, &held).unwrap();
            assert_eq!(store.refresh().unwrap(), DenialRefresh::Unchanged);
        }
    }
}
