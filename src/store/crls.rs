//! Revocation lists in a directory or file: everything in it must be one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use crate::directory::{Unreadable, each_file, too_much};
use crate::pem;

/// Lists in DER by the files that hold them, in the order of their names.
pub(crate) type Lists = Vec<(OsString, Vec<u8>)>;

/// Why the lists of a path cannot be relied on.
#[derive(Debug)]
pub(crate) enum Problem {
    Unreadable(Unreadable),
    /// A file that holds no list: half written, or what a failed download left.
    NoList(OsString),
}

/// Reads all files of a directory, or one file: PEM with any number of lists, or one in DER. A file
/// without a list, or with a damaged one, is a problem: what it ought to revoke would not be revoked.
pub(crate) fn read(path: &Path) -> Result<Lists, Problem> {
    let mut files = BTreeMap::new();
    let (mut total, mut damaged) = (0_usize, None);
    each_file(path, MAX_FILE, |name, bytes| {
        match parse(bytes) {
            Some(lists) => {
                total += lists.iter().map(Vec::len).sum::<usize>();
                files.insert(name, lists);
            }
            None => damaged = Some(name),
        }
        if total > MAX_TOTAL {
            return Err(too_much(path));
        }
        Ok(())
    })
    .map_err(Problem::Unreadable)?;
    match damaged {
        Some(name) => Err(Problem::NoList(name)),
        None => Ok(files
            .into_iter()
            .flat_map(|(name, lists)| lists.into_iter().map(move |list| (name.clone(), list)))
            .collect()),
    }
}

fn parse(bytes: Vec<u8>) -> Option<Vec<Vec<u8>>> {
    if bytes.first() == Some(&0x30) {
        return Some(vec![bytes]);
    }
    let blocks = pem::blocks(&bytes).ok()?;
    let lists = blocks.iter().filter(|block| block.label == LABEL);
    let lists: Vec<_> = lists
        .map(pem::Block::contents)
        .collect::<Result<_, _>>()
        .ok()?;
    (!lists.is_empty()).then_some(lists)
}

/// RFC 7468, section 6.
const LABEL: &[u8] = b"X509 CRL";
/// Bytes of one file: the largest list that the verifier takes, in PEM.
const MAX_FILE: u64 = 24 << 20;
/// Bytes of all lists together, in DER.
const MAX_TOTAL: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn pem(label: &str) -> String {
        format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n")
    }

    #[test]
    fn every_file_holds_a_list() {
        let list = pem("X509 CRL");
        for (contents, count) in [
            ("\x30\x00", Some(1)),
            (list.as_str(), Some(1)),
            (&(list.clone() + &pem("CERTIFICATE") + &list), Some(2)),
            (&format!("text before\n{list}"), Some(1)),
            ("", None),
            ("<html>404</html>", None),
            (&pem("CERTIFICATE"), None),
            (list.get(..30).unwrap(), None),
            (&(list.clone() + list.get(..30).unwrap()), None),
            (
                "-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n",
                None,
            ),
        ] {
            let dir = TempDir::new().unwrap();
            fs::write(dir.path().join("a"), &list).unwrap();
            fs::write(dir.path().join("b"), contents).unwrap();
            match (read(dir.path()), count) {
                (Ok(lists), Some(count)) => assert_eq!(lists.len(), count + 1, "{contents}"),
                (Err(Problem::NoList(name)), None) => assert_eq!(name, "b", "{contents}"),
                (other, _) => panic!("{contents}: {other:?}"),
            }
        }
    }

    #[test]
    fn bytes_are_bounded() {
        let dir = TempDir::new().unwrap();
        let der = |name: &str, length: u64| {
            let path = dir.path().join(name);
            fs::write(&path, [0x30]).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(length).unwrap();
        };
        der("a", MAX_FILE);
        der("b", MAX_FILE);
        assert!(read(dir.path()).is_ok());
        der("c", MAX_FILE);
        assert!(
            matches!(read(dir.path()), Err(Problem::Unreadable(_))),
            "in all"
        );
        fs::remove_file(dir.path().join("c")).unwrap();
        der("b", MAX_FILE + 1);
        assert!(
            matches!(read(dir.path()), Err(Problem::Unreadable(_))),
            "one"
        );
    }
}
