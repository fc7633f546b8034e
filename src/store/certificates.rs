//! Certificates in the layouts that operators, ConfigMaps and the collections of TPM makers' CAs use.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use evidence::Hash;
use verify::Vendor;

use crate::directory::{Unreadable, each_file, too_much};
use crate::pem::{self, Block};
use crate::snapshot::{NotLoaded, Part};
use crate::vendor::vendor;

/// A certificate as it was found; nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The certificate.
    pub der: Vec<u8>,
    /// The vendor that the line `# Owner: ` before its block names.
    pub owner: Option<Vendor>,
}

/// A file that holds no certificate, or something in a file that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Name of the file.
    pub file: OsString,
    /// What was skipped, or why.
    pub why: &'static str,
}

/// The certificates of a file or directory, with what is not among them.
#[derive(Debug, Default, Clone)]
pub struct Collection {
    /// The certificates, each with the name of its file, in the order of names and places.
    pub certificates: Vec<(OsString, Found)>,
    /// What was passed over.
    pub skipped: Vec<Skipped>,
    /// SHA-256 of the file, if it is one.
    pub digest: Option<[u8; 32]>,
}

impl Collection {
    /// Reads what a server would read of this `ca_path`, and verifies none of it.
    pub fn read(path: &Path) -> Result<Self, NotLoaded> {
        let contents = read(path).map_err(|error| NotLoaded::Unreadable {
            part: Part::Anchors,
            problem: error.to_string(),
        })?;
        let certificates = contents.files.into_iter().flat_map(|(name, file)| {
            let found = file.certificates.into_iter();
            found.map(move |found| (name.clone(), found))
        });
        Ok(Self {
            certificates: certificates.collect(),
            skipped: contents.skipped,
            digest: contents.digest,
        })
    }
}

/// What a path held.
#[derive(Debug, Default, Clone)]
pub(crate) struct Contents {
    pub(crate) files: BTreeMap<OsString, File>,
    pub(crate) skipped: Vec<Skipped>,
    /// SHA-256 of all of it, if the path is one file.
    pub(crate) digest: Option<[u8; 32]>,
}

/// What one file held.
#[derive(Debug, Default, Clone)]
pub(crate) struct File {
    pub(crate) certificates: Vec<Found>,
    /// How much in it ought to be a certificate and is none that can be used.
    pub(crate) unusable: usize,
}

/// Reads all files of a directory, or one file: PEM with any number of certificates, or one in DER.
/// Other blocks and other files are passed over and reported; of what they hold nothing is told.
pub(crate) fn read(path: &Path) -> Result<Contents, Unreadable> {
    let mut contents = Contents::default();
    let mut total = 0;
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    each_file(path, MAX_FILE, |name, bytes| {
        if is_file {
            contents.digest = Hash::Sha256.digest(&[&bytes]).try_into().ok();
        }
        let (file, notes) = parse(&bytes);
        total += file.certificates.len();
        let note = |why| Skipped {
            file: name.clone(),
            why,
        };
        contents.skipped.extend(notes.into_iter().map(note));
        contents.files.insert(name, file);
        if total > MAX_CERTIFICATES {
            return Err(too_much(path));
        }
        Ok(())
    })?;
    contents
        .skipped
        .sort_by(|one, other| one.file.cmp(&other.file));
    Ok(contents)
}

/// What a file holds, and what in it is passed over.
fn parse(bytes: &[u8]) -> (File, Vec<&'static str>) {
    if bytes.first() == Some(&0x30) {
        let certificate = Found {
            der: bytes.to_vec(),
            owner: None,
        };
        let file = File {
            certificates: vec![certificate],
            unusable: 0,
        };
        return (file, Vec::new());
    }
    let damaged = || (File::default(), vec![DAMAGED]);
    let Ok(blocks) = pem::blocks(bytes) else {
        return damaged();
    };
    if blocks.is_empty() {
        return (File::default(), vec!["neither PEM nor DER"]);
    }
    let (mut file, mut notes) = (File::default(), Vec::new());
    for block in blocks {
        if !LABELS.contains(&block.label) {
            notes.push(other_block(&block));
            continue;
        }
        // Who reads less than all of a file may read what was never meant to be read alone.
        let Ok(der) = block.contents() else {
            return damaged();
        };
        if let Ok(owner) = owner(block.before) {
            file.certificates.push(Found { der, owner });
        } else {
            file.unusable += 1;
            notes.push("a certificate whose Owner line is malformed");
        }
    }
    notes.sort_unstable();
    notes.dedup();
    (file, notes)
}

fn other_block(block: &Block<'_>) -> &'static str {
    if block.label.ends_with(b"PRIVATE KEY") {
        "a private key, which does not belong here"
    } else {
        "a PEM block that is no certificate"
    }
}

struct MalformedOwner;

/// Whom the comment before a block names as the owner. Exactly `# Owner: ` and a vendor's name counts:
/// a line that was meant to say so and does not must not leave the certificate to all vendors.
fn owner(comment: &[u8]) -> Result<Option<Vendor>, MalformedOwner> {
    let lines = comment.split(|byte| *byte == b'\n');
    let lines: Vec<_> = lines.filter(|line| names_owner(line)).collect();
    let line = match lines.as_slice() {
        [] => return Ok(None),
        [line] => line.strip_suffix(b"\r").unwrap_or(line),
        _ => return Err(MalformedOwner),
    };
    let name = line
        .strip_prefix(OWNER)
        .and_then(|name| std::str::from_utf8(name).ok());
    name.and_then(vendor).map(Some).ok_or(MalformedOwner)
}

/// Whether a line of a comment looks as if it named an owner. Two signs begin what is said about the
/// file as a whole.
fn names_owner(line: &[u8]) -> bool {
    let Some(text) = line.trim_ascii_start().strip_prefix(b"#") else {
        return false;
    };
    let text = text.trim_ascii_start();
    let (word, rest) = text.split_at_checked(WORD.len()).unwrap_or_default();
    word.eq_ignore_ascii_case(WORD) && rest.trim_ascii_start().starts_with(b":")
}

const LABELS: [&[u8]; 2] = [b"CERTIFICATE", b"TRUSTED CERTIFICATE"];
const OWNER: &[u8] = b"# Owner: ";
const WORD: &[u8] = b"owner";
const DAMAGED: &str = "a PEM block is damaged";
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

    /// Number of certificates, and what was passed over.
    fn read_one(contents: &str) -> (usize, Vec<&'static str>) {
        let (file, notes) = parse(contents.as_bytes());
        (file.certificates.len(), notes)
    }

    #[test]
    fn files_are_read_by_what_they_hold() {
        let damaged = pem("CERTIFICATE") + "-----BEGIN CERTIFICATE-----\n!!\n";
        let mixed = pem("PUBLIC KEY") + &pem("CERTIFICATE") + &pem("TRUSTED CERTIFICATE");
        for (contents, count, notes) in [
            ("\x30\x00", 1, vec![]),
            (pem("CERTIFICATE").as_str(), 1, vec![]),
            (&pem("TRUSTED CERTIFICATE"), 1, vec![]),
            (&mixed, 2, vec!["a PEM block that is no certificate"]),
            (&damaged, 0, vec![DAMAGED]),
            ("text", 0, vec!["neither PEM nor DER"]),
            ("", 0, vec!["neither PEM nor DER"]),
        ] {
            assert_eq!(read_one(contents), (count, notes), "{contents}");
        }
    }

    /// Also one that is encrypted the old way, with header lines that are no base64.
    #[test]
    fn a_private_key_is_passed_over_and_told() {
        let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMAA=\n\
                   -----END EC PRIVATE KEY-----\n";
        let note = "a private key, which does not belong here";
        for key in [&pem("PRIVATE KEY"), &pem("RSA PRIVATE KEY"), old] {
            assert_eq!(read_one(key), (0, vec![note]), "tpm/B56 {key}");
            let beside = pem("CERTIFICATE") + key + key + &pem("CERTIFICATE");
            assert_eq!(read_one(&beside), (2, vec![note]), "tpm/B56 {key}");
        }
    }

    #[test]
    fn the_owner_line_in_its_exact_form_names_the_vendor() {
        let some = |id: &[u8; 4]| Some(Some(Vendor(*id)));
        for (comment, expect) in [
            ("", Some(None)),
            (
                "# Certificate: one\n# Owner: STM\n#\n# Issuer: x\n",
                some(b"STM "),
            ),
            ("# Owner: IFX\r\n", some(b"IFX\0")),
            ("\n\n# Owner: INTC\n\n", some(b"INTC")),
            ("## Owner: STM\n", Some(None)),
            ("# the Owner: STM\n", Some(None)),
            ("# Owner of this: Bob\n", Some(None)),
            ("Owner: STM\n", Some(None)),
            ("# Owner: INFX\n", None),
            ("# Owner: \n", None),
            ("# Owner:\n", None),
            ("# Owner: stm\n", None),
            ("# Owner: STM, IFX\n", None),
            ("# Owner:  STM\n", None),
            ("# Owner: STM\t\n", None),
            ("# owner: STM\n", None),
            ("#Owner: STM\n", None),
            ("  # Owner: STM\n", None),
            ("# Owner : STM\n", None),
            ("# Owner: \u{FF33}TM\n", None),
            ("# Owner: STM\n# Owner: STM\n", None),
            ("# Owner: STM\n# owner: x\n", None),
        ] {
            let text = format!("{comment}{}", pem("CERTIFICATE"));
            let (file, notes) = parse(text.as_bytes());
            let found = file.certificates.first().map(|found| found.owner);
            assert_eq!(found, expect, "{comment:?}");
            assert_eq!((file.unusable, notes.len()), {
                let refused = usize::from(expect.is_none());
                (refused, refused)
            });
        }
    }

    /// What stands before a block is about that block, whatever came before.
    #[test]
    fn each_certificate_has_its_own_owner() {
        let text = format!(
            "# Owner: STM\n{one}{one}# Owner: nobody\n{one}# Owner: IFX\n{one}",
            one = pem("CERTIFICATE")
        );
        let (file, notes) = parse(text.as_bytes());
        let owners = file.certificates.iter().map(|found| found.owner);
        let expect = [Some(Vendor(*b"STM ")), None, Some(Vendor(*b"IFX\0"))];
        assert!(owners.eq(expect));
        assert_eq!(notes, ["a certificate whose Owner line is malformed"]);
    }

    #[test]
    fn one_file_has_a_digest_and_a_directory_has_none() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "abc").unwrap();
        let digest = read(&path).unwrap().digest.unwrap();
        assert_eq!(digest[..4], [0xBA, 0x78, 0x16, 0xBF]);
        assert_eq!(read(dir.path()).unwrap().digest, None);
    }

    #[test]
    fn bytes_and_certificates_are_bounded() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, pem("CERTIFICATE").repeat(MAX_CERTIFICATES)).unwrap();
        assert!(read(dir.path()).is_ok());
        fs::write(dir.path().join("b"), pem("CERTIFICATE")).unwrap();
        assert!(read(dir.path()).is_err(), "certificates");
        let dir = TempDir::new().unwrap();
        let file = fs::File::create(dir.path().join("a")).unwrap();
        file.set_len(MAX_FILE).unwrap();
        assert!(read(dir.path()).is_ok());
        file.set_len(MAX_FILE + 1).unwrap();
        assert!(read(dir.path()).is_err(), "bytes");
    }
}
