//! The allow-list: a directory with one file for each enrolled EK, named by its hash.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use evidence::EkHash;

/// A directory whose file names are EK hashes, 64 lower-case hex digits; contents do not matter.
#[derive(Debug, Clone)]
pub struct HashDirectory {
    path: PathBuf,
    is_local: bool,
}

/// The path is no directory that can be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotADirectory(String);

/// The directory could not be asked: not the same as an absent entry.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl HashDirectory {
    /// Opens a directory. Also returns the names, at most eight, that can be no EK's hash.
    pub fn open(path: &Path) -> Result<(Self, Vec<String>), NotADirectory> {
        let problem =
            |why: &dyn std::fmt::Display| NotADirectory(format!("{}: {why}", path.display()));
        let mut odd = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| problem(&error))? {
            let entry = entry.map_err(|error| problem(&error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if odd.len() < MAX_ODD && !name.starts_with("..") && !is_hash(&name) {
                odd.push(name);
            }
        }
        Ok((
            Self {
                path: path.to_owned(),
                is_local: is_local(path),
            },
            odd,
        ))
    }

    /// Whether the kernel answers from this machine's own memory and disks.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Whether an EK is enrolled; asked of the file system each time.
    pub fn contains(&self, hash: &EkHash) -> Result<bool, Unreadable> {
        let path = self.path.join(hash.hex());
        match fs::metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => self.certainly_absent(&path),
            Err(error) => Err(Unreadable(format!("{}: {error}", path.display()))),
        }
    }

    /// A missing file says something only when its directory is there and it is no dangling link.
    fn certainly_absent(&self, path: &Path) -> Result<bool, Unreadable> {
        let unreadable =
            |why: &dyn std::fmt::Display| Unreadable(format!("{}: {why}", self.path.display()));
        let directory = fs::metadata(&self.path).map_err(|error| unreadable(&error))?;
        if !directory.is_dir() {
            return Err(unreadable(&"not a directory"));
        }
        if fs::symlink_metadata(path).is_ok() {
            return Err(unreadable(&"an entry leads nowhere"));
        }
        Ok(false)
    }
}

/// What cannot be asked, or is not known to be local, counts as remote.
fn is_local(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| {
        u32::try_from(found.f_type).is_ok_and(|kind| LOCAL_FILE_SYSTEMS.contains(&kind))
    })
}

/// Their magic numbers in `linux/magic.h`: ext, XFS, Btrfs, F2FS, tmpfs, ramfs, overlay, SquashFS, EROFS.
const LOCAL_FILE_SYSTEMS: [u32; 9] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0xF2F5_2010,
    0x0102_1994,
    0x8584_58F6,
    0x794C_7630,
    0x7371_7368,
    0xE0F5_E1E2,
];

fn is_hash(name: &str) -> bool {
    EkHash::from_hex(name).is_some_and(|hash| hash.hex() == name)
}

/// Names reported: enough to see the mistake.
const MAX_ODD: usize = 8;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn only_known_file_systems_count_as_local() {
        assert!(is_local(Path::new("/dev/shm")), "tmpfs");
        assert!(!is_local(Path::new("/proc")), "neither memory nor disk");
        assert!(!is_local(Path::new("/nowhere")));
    }

    const HASH: &str = "00000000000000000000000000000000000000000000000000000000000000ab";

    #[test]
    fn only_the_exact_name_is_enrolled() {
        let dir = TempDir::new().unwrap();
        let (hashes, _) = HashDirectory::open(dir.path()).unwrap();
        let hash = EkHash::from_hex(HASH).unwrap();
        for name in [
            &HASH.to_uppercase(),
            HASH.get(..63).unwrap(),
            &format!("{HASH}0"),
            &format!("{HASH} "),
        ] {
            fs::write(dir.path().join(name), "").unwrap();
            assert!(!hashes.contains(&hash).unwrap(), "tpm/B58: {name:?}");
        }
        let (_, odd) = HashDirectory::open(dir.path()).unwrap();
        assert_eq!(odd.len(), 4);
        fs::write(dir.path().join(HASH), "").unwrap();
        assert!(hashes.contains(&hash).unwrap());
        fs::remove_file(dir.path().join(HASH)).unwrap();
        assert!(!hashes.contains(&hash).unwrap());
    }

    #[test]
    fn unreadable_is_not_absent() {
        let dir = TempDir::new().unwrap();
        let hash = EkHash::from_hex(HASH).unwrap();
        let (hashes, _) = HashDirectory::open(dir.path()).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join(HASH)).unwrap();
        assert!(hashes.contains(&hash).is_err());
        let path = dir.path().to_owned();
        dir.close().unwrap();
        assert!(hashes.contains(&hash).is_err());
        fs::write(&path, "").unwrap();
        assert!(hashes.contains(&hash).is_err());
        fs::remove_file(&path).unwrap();
        assert!(HashDirectory::open(&path).is_err());
    }

    #[test]
    fn odd_names_are_told_up_to_a_limit() {
        let dir = TempDir::new().unwrap();
        for name in [HASH, "..data", "README"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(HashDirectory::open(dir.path()).unwrap().1, ["README"]);
        for index in 0..MAX_ODD {
            fs::write(dir.path().join(index.to_string()), "").unwrap();
        }
        let (_, odd) = HashDirectory::open(dir.path()).unwrap();
        assert_eq!(odd.len(), MAX_ODD);
    }
}
