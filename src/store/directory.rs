//! Regular files of a directory, or one file, read within bounds and told apart from their earlier states.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file system entry that could not be read: not the same as one that is absent.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub(crate) struct Unreadable {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Tells one state of a directory from another without reading the files.
pub(crate) type Fingerprint = Vec<(OsString, [i64; 4])>;

/// Names, sizes, inodes and change times of what [`each_file`] would read.
pub(crate) fn fingerprint(path: &Path) -> Result<Fingerprint, Unreadable> {
    let mut found: Fingerprint = entries(path)?
        .into_iter()
        .map(|(name, _, metadata)| {
            let size = i64::try_from(metadata.len()).unwrap_or(i64::MAX);
            let inode = i64::from_ne_bytes(metadata.ino().to_ne_bytes());
            (name, [size, inode, metadata.ctime(), metadata.ctime_nsec()])
        })
        .collect();
    found.sort();
    Ok(found)
}

/// Reads every regular file, and every link to one, of at most `most` bytes. Names that start with
/// two dots and directories are passed over: a ConfigMap has both.
pub(crate) fn each_file(
    path: &Path,
    most: u64,
    mut take: impl FnMut(OsString, Vec<u8>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    for (name, path, metadata) in entries(path)? {
        if metadata.is_file() {
            take(name, read_file(&path, &metadata, most)?)?;
        }
    }
    Ok(())
}

/// Reads one regular file of at most `most` bytes.
pub(crate) fn one_file(path: &Path, most: u64) -> Result<Vec<u8>, Unreadable> {
    let metadata = fs::metadata(path).map_err(unreadable(path))?;
    if metadata.is_file() {
        read_file(path, &metadata, most)
    } else {
        Err(unreadable(path)(io::Error::other("not a regular file")))
    }
}

/// More than is read.
pub(crate) fn too_much(path: &Path) -> Unreadable {
    let source = io::Error::new(io::ErrorKind::FileTooLarge, "more than this plugin takes");
    unreadable(path)(source)
}

fn entries(path: &Path) -> Result<Vec<(OsString, PathBuf, Metadata)>, Unreadable> {
    let metadata = fs::metadata(path).map_err(unreadable(path))?;
    if metadata.is_file() {
        let name = path.file_name().unwrap_or_default().to_owned();
        return Ok(vec![(name, path.to_owned(), metadata)]);
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable(path))? {
        let entry = entry.map_err(unreadable(path))?;
        if entry.file_name().as_encoded_bytes().starts_with(b"..") {
            continue;
        }
        let metadata = fs::metadata(entry.path()).map_err(unreadable(&entry.path()))?;
        entries.push((entry.file_name(), entry.path(), metadata));
        if entries.len() > MAX_FILES {
            return Err(too_much(path));
        }
    }
    Ok(entries)
}

fn read_file(path: &Path, metadata: &Metadata, most: u64) -> Result<Vec<u8>, Unreadable> {
    if metadata.len() > most {
        return Err(too_much(path));
    }
    let file = fs::File::open(path).map_err(unreadable(path))?;
    let mut bytes = Vec::new();
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(unreadable(path))?;
    Ok(bytes)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Unreadable {
    let path = path.to_owned();
    move |source| Unreadable { path, source }
}

/// Files of a directory: the largest vendor collections have a few hundred.
const MAX_FILES: usize = 4096;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn names(path: &Path) -> Vec<OsString> {
        let mut names = Vec::new();
        each_file(path, 9, |name, _| {
            names.push(name);
            Ok(())
        })
        .unwrap();
        names.sort();
        names
    }

    #[test]
    fn a_path_may_be_one_file_and_names_with_two_dots_are_passed_over() {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        for name in ["a", "b", "..c", ".d"] {
            fs::write(dir.path().join(name), "text").unwrap();
        }
        assert_eq!(names(&dir.path().join("a")), ["a"]);
        assert_eq!(names(dir.path()), [".d", "a", "b"]);
        assert_eq!(fingerprint(dir.path()).unwrap().len(), 4);
        assert_eq!(one_file(&dir.path().join("a"), 4).unwrap(), b"text");
        assert!(one_file(dir.path(), 4).is_err(), "a directory");
    }

    #[test]
    fn files_and_bytes_are_bounded() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, [0; 9]).unwrap();
        assert!(each_file(dir.path(), 9, |_, _| Ok(())).is_ok());
        assert!(each_file(dir.path(), 8, |_, _| Ok(())).is_err(), "bytes");
        assert!(one_file(&path, 9).is_ok() && one_file(&path, 8).is_err());
        for index in 1..MAX_FILES {
            fs::write(dir.path().join(index.to_string()), "").unwrap();
        }
        assert!(fingerprint(dir.path()).is_ok());
        fs::write(dir.path().join("one-more"), "").unwrap();
        assert!(fingerprint(dir.path()).is_err(), "files");
    }
}
