//! The anchors in force, and how they follow the files.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use verify::Anchors;

use crate::directory::{self, Contents, Fingerprint, Skipped, Unreadable};

/// Anchors and intermediates from directories, last good kept.
#[derive(Debug)]
pub struct AnchorStore {
    anchors_path: PathBuf,
    intermediates_path: Option<PathBuf>,
    current: ArcSwap<Anchors>,
    known: Mutex<Known>,
}

/// Why anchors were not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotLoaded {
    /// A directory or file could not be read.
    #[error("{0}")]
    Unreadable(String),
    /// A file that held certificates holds none that can be read; half written, perhaps.
    #[error("{0} held certificates and now holds none that can be read")]
    Damaged(String),
    /// All certificates are gone.
    #[error("{0} held certificates and is empty now")]
    Emptied(String),
}

/// What looking at the files led to.
#[derive(Debug)]
pub enum Refresh {
    /// Nothing changed.
    Unchanged,
    /// New anchors are in force.
    Reloaded {
        /// Number of anchors.
        anchors: usize,
        /// Files and certificates that were skipped.
        skipped: Vec<Skipped>,
    },
}

#[derive(Debug, Clone)]
struct Known {
    fingerprint: (Fingerprint, Fingerprint),
    files: BTreeSet<OsString>,
}

struct Loaded {
    anchors: Anchors,
    known: Known,
    skipped: Vec<Skipped>,
}

impl AnchorStore {
    /// Loads the anchors of `anchors_path` and the certificates of `intermediates_path`, which help
    /// to build paths and are trusted for nothing else. Returns what was skipped, too.
    pub fn open(
        anchors_path: &Path,
        intermediates_path: Option<&Path>,
    ) -> Result<(Self, Vec<Skipped>), NotLoaded> {
        let loaded = load(anchors_path, intermediates_path)?;
        let store = Self {
            anchors_path: anchors_path.to_owned(),
            intermediates_path: intermediates_path.map(Path::to_owned),
            current: ArcSwap::from_pointee(loaded.anchors),
            known: Mutex::new(loaded.known),
        };
        Ok((store, loaded.skipped))
    }

    /// The anchors in force.
    pub fn current(&self) -> Arc<Anchors> {
        self.current.load_full()
    }

    /// Looks at the files and takes over what changed. On an error the anchors stay as they were,
    /// and the next call tries again.
    pub fn refresh(&self) -> Result<Refresh, NotLoaded> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = fingerprints(&self.anchors_path, self.intermediates_path.as_deref())?;
        if now == known.fingerprint {
            return Ok(Refresh::Unchanged);
        }
        let loaded = load(&self.anchors_path, self.intermediates_path.as_deref())?;
        if let Some(lost) = loaded
            .skipped
            .iter()
            .find(|skipped| known.files.contains(&skipped.file))
        {
            return Err(NotLoaded::Damaged(lost.file.to_string_lossy().into_owned()));
        }
        if loaded.anchors.is_empty() && !self.current.load().is_empty() {
            return Err(NotLoaded::Emptied(self.anchors_path.display().to_string()));
        }
        let anchors = loaded.anchors.len();
        self.current.store(Arc::new(loaded.anchors));
        *known = loaded.known;
        Ok(Refresh::Reloaded {
            anchors,
            skipped: loaded.skipped,
        })
    }
}

fn fingerprints(
    anchors: &Path,
    intermediates: Option<&Path>,
) -> Result<(Fingerprint, Fingerprint), NotLoaded> {
    let intermediates = intermediates.map(directory::fingerprint).transpose()?;
    Ok((
        directory::fingerprint(anchors)?,
        intermediates.unwrap_or_default(),
    ))
}

/// The fingerprint is taken before the files are read: a change in between shows at the next look.
fn load(anchors_path: &Path, intermediates_path: Option<&Path>) -> Result<Loaded, NotLoaded> {
    let fingerprint = fingerprints(anchors_path, intermediates_path)?;
    let anchors = directory::read(anchors_path)?;
    let intermediates = intermediates_path
        .map(directory::read)
        .transpose()?
        .unwrap_or_default();
    let mut files: BTreeSet<OsString> = anchors.certificates.keys().cloned().collect();
    files.extend(intermediates.certificates.keys().cloned());
    let mut skipped = [anchors.skipped.clone(), intermediates.skipped.clone()].concat();
    let (names, ders) = flatten(anchors);
    let (intermediate_names, intermediate_ders) = flatten(intermediates);
    let (built, unusable) = Anchors::new(ders, intermediate_ders);
    let names: Vec<_> = names.into_iter().chain(intermediate_names).collect();
    for bad in unusable {
        let file = names.get(bad.index).cloned().unwrap_or_default();
        files.remove(&file);
        skipped.push(Skipped {
            file,
            why: bad.reason.sentence(),
        });
    }
    Ok(Loaded {
        anchors: built,
        known: Known { fingerprint, files },
        skipped,
    })
}

fn flatten(contents: Contents) -> (Vec<OsString>, Vec<Vec<u8>>) {
    contents
        .certificates
        .into_iter()
        .flat_map(|(name, ders)| ders.into_iter().map(move |der| (name.clone(), der)))
        .unzip()
}

impl From<Unreadable> for NotLoaded {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd,
    };
    use tempfile::TempDir;

    use super::*;

    fn ca(name: &str) -> (String, Vec<u8>) {
        let certificate = expiring(name, 2040);
        (certificate.pem(), certificate.der().to_vec())
    }

    fn expiring(name: &str, year: i32) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(year, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    fn opened(dir: &TempDir) -> AnchorStore {
        AnchorStore::open(dir.path(), None).unwrap().0
    }

    #[test]
    fn pem_der_bundles_and_config_maps_load() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("a.pem"), ca("a").0 + &ca("b").0).unwrap();
        fs::write(dir.path().join("c.der"), ca("c").1).unwrap();
        fs::create_dir(dir.path().join("..2026_11_24")).unwrap();
        fs::write(dir.path().join("..2026_11_24/d.pem"), ca("d").0).unwrap();
        std::os::unix::fs::symlink("..2026_11_24", dir.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/d.pem", dir.path().join("d.pem")).unwrap();
        std::os::unix::fs::symlink("..2026_11_24", dir.path().join("linked")).unwrap();
        fs::write(dir.path().join("README"), "no certificate").unwrap();
        let (store, skipped) = AnchorStore::open(dir.path(), None).unwrap();
        assert_eq!(store.current().len(), 4);
        assert_eq!(
            skipped,
            [Skipped {
                file: "README".into(),
                why: "neither PEM nor DER"
            }]
        );
    }

    #[test]
    fn a_change_is_taken_over_and_damage_is_not() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("a.pem");
        fs::write(&file, ca("a").0).unwrap();
        let store = opened(&dir);
        assert!(matches!(store.refresh(), Ok(Refresh::Unchanged)));
        fs::write(dir.path().join("b.pem"), ca("b").0).unwrap();
        assert!(matches!(
            store.refresh(),
            Ok(Refresh::Reloaded { anchors: 2, .. })
        ));
        for damage in ["", "-----BEGIN CERTIFICATE-----\nMII"] {
            fs::write(&file, damage).unwrap();
            assert!(
                matches!(store.refresh(), Err(NotLoaded::Damaged(_))),
                "{damage:?}"
            );
            assert_eq!(store.current().len(), 2, "last good kept");
        }
        fs::remove_file(&file).unwrap();
        assert!(matches!(
            store.refresh(),
            Ok(Refresh::Reloaded { anchors: 1, .. })
        ));
        fs::remove_file(dir.path().join("b.pem")).unwrap();
        assert!(matches!(store.refresh(), Err(NotLoaded::Emptied(_))));
        assert_eq!(store.current().len(), 1, "last good kept");
        dir.close().unwrap();
        assert!(matches!(store.refresh(), Err(NotLoaded::Unreadable(_))));
        assert_eq!(store.current().len(), 1, "last good kept");
    }

    #[test]
    fn a_dangling_link_is_unreadable_not_absent() {
        let dir = TempDir::new().unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("a.pem")).unwrap();
        assert!(matches!(
            AnchorStore::open(dir.path(), None),
            Err(NotLoaded::Unreadable(_))
        ));
    }

    #[test]
    fn intermediates_are_no_anchors() {
        let (anchors, intermediates) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::write(anchors.path().join("a.pem"), ca("a").0).unwrap();
        fs::write(intermediates.path().join("b.pem"), ca("b").0).unwrap();
        let (store, _) = AnchorStore::open(anchors.path(), Some(intermediates.path())).unwrap();
        assert_eq!(store.current().len(), 1);
    }

    #[test]
    fn intermediates_are_followed_like_anchors() {
        let (anchors, intermediates) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::write(anchors.path().join("a.pem"), ca("a").0).unwrap();
        let (store, _) = AnchorStore::open(anchors.path(), Some(intermediates.path())).unwrap();
        let expiry = store.current().earliest_expiry();
        let (file, note) = (
            intermediates.path().join("b.pem"),
            intermediates.path().join("note"),
        );
        fs::write(&file, expiring("b", 2030).pem()).unwrap();
        fs::write(&note, "no certificate").unwrap();
        let Ok(Refresh::Reloaded { skipped, .. }) = store.refresh() else {
            panic!("a change of the intermediates alone")
        };
        assert_eq!(names(&skipped), ["note"]);
        assert!(store.current().earliest_expiry() < expiry, "in use");
        assert!(matches!(store.refresh(), Ok(Refresh::Unchanged)));
        fs::write(&file, "half").unwrap();
        assert!(matches!(store.refresh(), Err(NotLoaded::Damaged(name)) if name == "b.pem"));
    }

    /// What never was a usable certificate cannot be damaged.
    #[test]
    fn unusable_certificates_are_told_by_their_files() {
        let (anchors, intermediates) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::write(anchors.path().join("a.pem"), ca("a").0).unwrap();
        fs::write(anchors.path().join("b.der"), [0x30, 0]).unwrap();
        fs::write(intermediates.path().join("c.der"), [0x30, 0]).unwrap();
        let (store, skipped) =
            AnchorStore::open(anchors.path(), Some(intermediates.path())).unwrap();
        assert_eq!(names(&skipped), ["b.der", "c.der"]);
        fs::write(anchors.path().join("d.pem"), ca("d").0).unwrap();
        assert!(matches!(
            store.refresh(),
            Ok(Refresh::Reloaded { anchors: 2, .. })
        ));
    }

    /// Size and inode stay: only the time of the change tells.
    #[test]
    fn a_change_in_place_shows() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("a.der");
        let (one, mut two) = (ca("a").1, ca("b").1);
        two.resize(one.len(), 0);
        fs::write(&file, one).unwrap();
        let store = opened(&dir);
        std::thread::sleep(Duration::from_millis(50));
        fs::write(&file, two).unwrap();
        assert!(!matches!(store.refresh(), Ok(Refresh::Unchanged)));
    }

    fn names(skipped: &[Skipped]) -> Vec<&str> {
        let files = skipped.iter().map(|skipped| &skipped.file);
        files.filter_map(|file| file.to_str()).collect()
    }
}
