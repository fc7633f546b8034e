//! One reading of a directory of certificates, in the layouts that operators and ConfigMaps use.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use x509_parser::pem::Pem;

/// What a directory held: certificates by file, and what was skipped.
#[derive(Debug, Default, Clone)]
pub(crate) struct Contents {
    pub(crate) certificates: BTreeMap<OsString, Vec<Vec<u8>>>,
    pub(crate) skipped: Vec<Skipped>,
}

/// A file that holds no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Name of the file.
    pub file: OsString,
    /// Why it was skipped.
    pub why: &'static str,
}

/// A file system entry that could not be read: not the same as one that is absent.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub(crate) struct Unreadable {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Tells one state of a directory from another without reading the files.
pub(crate) type Fingerprint = Vec<(OsString, [i64; 4])>;

/// Names, sizes, inodes and change times of what [`read`] would read.
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

/// Reads every regular file, and every link to one: PEM with any number of certificates, or one in
/// DER. Names that start with two dots and directories are passed over (a ConfigMap has both); a
/// file without a certificate is skipped and reported.
pub(crate) fn read(path: &Path) -> Result<Contents, Unreadable> {
    let mut contents = Contents::default();
    let mut total = 0;
    for (name, path, metadata) in entries(path)? {
        if !metadata.is_file() {
            continue;
        }
        let bytes = read_file(&path, &metadata)?;
        match certificates(&bytes) {
            Ok(certificates) => {
                total += certificates.len();
                contents.certificates.insert(name, certificates);
            }
            Err(why) => contents.skipped.push(Skipped { file: name, why }),
        }
        if total > MAX_CERTIFICATES {
            return Err(too_much(path));
        }
    }
    Ok(contents)
}

fn entries(path: &Path) -> Result<Vec<(OsString, PathBuf, Metadata)>, Unreadable> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Unreadable { path, source }
    };
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
            return Err(too_much(path.to_owned()));
        }
    }
    Ok(entries)
}

fn read_file(path: &Path, metadata: &Metadata) -> Result<Vec<u8>, Unreadable> {
    if metadata.len() > MAX_FILE {
        return Err(too_much(path.to_owned()));
    }
    let unreadable = |source| Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.to_vec()]);
    }
    if !bytes.windows(10).any(|window| window == b"-----BEGIN") {
        return Err("neither PEM nor DER");
    }
    let mut certificates = Vec::new();
    for block in Pem::iter_from_buffer(bytes) {
        let block = block.map_err(|_bad| "a PEM block is damaged")?;
        if block.label == "CERTIFICATE" || block.label == "TRUSTED CERTIFICATE" {
            certificates.push(block.contents);
        }
    }
    if certificates.is_empty() {
        Err("PEM without a certificate")
    } else {
        Ok(certificates)
    }
}

fn too_much(path: PathBuf) -> Unreadable {
    let source = io::Error::new(io::ErrorKind::FileTooLarge, "more than this plugin takes");
    Unreadable { path, source }
}

/// Files of a directory: the largest vendor collections have a few hundred.
const MAX_FILES: usize = 4096;
/// Bytes of one file: a bundle of all vendors has a third of a MiB.
const MAX_FILE: u64 = 4 << 20;
/// Certificates of one directory.
const MAX_CERTIFICATES: usize = 8192;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn pem(label: &str) -> String {
        format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n")
    }

    fn directory(files: &[(&str, &str)]) -> TempDir {
        let dir = TempDir::new().unwrap();
        for (name, contents) in files {
            fs::write(dir.path().join(name), contents).unwrap();
        }
        dir
    }

    #[test]
    fn files_are_read_by_what_they_hold() {
        let damaged = pem("CERTIFICATE") + "-----BEGIN CERTIFICATE-----\n!!\n";
        let mixed = pem("PRIVATE KEY") + &pem("CERTIFICATE") + &pem("TRUSTED CERTIFICATE");
        for (contents, expect) in [
            ("\x30\x00", Ok(1)),
            (pem("CERTIFICATE").as_str(), Ok(1)),
            (&pem("TRUSTED CERTIFICATE"), Ok(1)),
            (&mixed, Ok(2)),
            (&damaged, Err("a PEM block is damaged")),
            (&pem("PRIVATE KEY"), Err("PEM without a certificate")),
            ("text", Err("neither PEM nor DER")),
            ("", Err("neither PEM nor DER")),
        ] {
            let dir = directory(&[("file", contents)]);
            let read = read(dir.path()).unwrap();
            let found = read.skipped.first().map_or_else(
                || Ok(read.certificates[&OsString::from("file")].len()),
                |skipped| Err(skipped.why),
            );
            assert_eq!(found, expect, "{contents}");
        }
    }

    #[test]
    fn a_path_may_be_one_file_and_names_with_two_dots_are_passed_over() {
        let dir = directory(&[("a", &pem("CERTIFICATE")), ("..b", &pem("CERTIFICATE"))]);
        assert_eq!(read(&dir.path().join("a")).unwrap().certificates.len(), 1);
        let whole = read(dir.path()).unwrap();
        assert_eq!(whole.certificates.into_keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(fingerprint(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn files_bytes_and_certificates_are_bounded() {
        let dir = directory(&[("a", &pem("CERTIFICATE").repeat(MAX_CERTIFICATES))]);
        assert!(read(dir.path()).is_ok());
        fs::write(dir.path().join("b"), pem("CERTIFICATE")).unwrap();
        assert!(read(dir.path()).is_err(), "certificates");
        let dir = TempDir::new().unwrap();
        let file = fs::File::create(dir.path().join("a")).unwrap();
        file.set_len(MAX_FILE).unwrap();
        assert!(read(dir.path()).is_ok());
        file.set_len(MAX_FILE + 1).unwrap();
        assert!(read(dir.path()).is_err(), "bytes");
        let dir = TempDir::new().unwrap();
        for index in 0..MAX_FILES {
            fs::write(dir.path().join(index.to_string()), "").unwrap();
        }
        assert!(fingerprint(dir.path()).is_ok());
        fs::write(dir.path().join("one-more"), "").unwrap();
        assert!(fingerprint(dir.path()).is_err(), "files");
    }
}
