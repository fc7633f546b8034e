//! Files that the command line names, read within bounds.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use tpm::Auth;
use x509_parser::pem::Pem;

use crate::exit::Exit;
use crate::failure::Failure;

/// The bytes of a file that holds a certificate.
pub(crate) fn certificate_file(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, MAX_CERTIFICATE_FILE)
}

/// The certificates in a file: PEM with any number of them, or one in DER. The first is the EK's.
pub(crate) fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = certificate_file(path)?;
    let is_pem = bytes.windows(MARK.len()).any(|window| window == MARK);
    if !is_pem {
        return Ok(vec![bytes]);
    }
    let blocks: Result<Vec<_>, _> = Pem::iter_from_buffer(&bytes).collect();
    let certificates: Vec<_> = match blocks {
        Ok(blocks) => blocks
            .into_iter()
            .filter(|block| LABELS.contains(&block.label.as_str()))
            .map(|block| block.contents)
            .collect(),
        Err(_damaged) => Vec::new(),
    };
    if certificates.is_empty() {
        let message = format!("{} holds no certificate that can be read", path.display());
        return Err(Failure::new(Exit::Environment, "file_unreadable", message));
    }
    Ok(certificates)
}

/// An authorisation; one newline at its end is cut.
pub(crate) fn authorisation(path: Option<&Path>) -> Result<Auth, Failure> {
    let Some(path) = path else {
        return Ok(Auth::default());
    };
    Ok(Auth::of_file(read(path, MAX_AUTH)?))
}

/// Writes a file that the command line names.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::new(Exit::Environment, "output_failed", message)
    })
}

/// The bytes of a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    // Room for an authorisation, so that growing leaves no copy of one behind.
    let mut bytes = Vec::with_capacity(128);
    let outcome =
        fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    match outcome {
        Ok(read) if u64::try_from(read).is_ok_and(|read| read <= limit) => Ok(bytes),
        Ok(_more) => {
            let error = io::Error::other(format!("longer than {limit} bytes"));
            Err(Failure::unreadable(path, &error))
        }
        Err(error) => Err(Failure::unreadable(path, &error)),
    }
}

/// Bytes of a certificate in PEM with its chain and the text that some tools put before it.
const MAX_CERTIFICATE_FILE: u64 = 256 * 1024;
/// Bytes of an authorisation: the largest digest, and a newline.
const MAX_AUTH: u64 = 65;
const MARK: &[u8] = b"-----BEGIN";
const LABELS: [&str; 2] = ["CERTIFICATE", "TRUSTED CERTIFICATE"];

#[cfg(test)]
mod tests {
    use super::*;

    fn with(contents: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, contents).unwrap();
        (directory, path)
    }

    #[test]
    fn pem_may_have_text_around_it_and_anything_else_is_taken_for_der() {
        let pem = evidence::encode_pem("CERTIFICATE", &[1; 9]);
        let other = evidence::encode_pem("PUBLIC KEY", &[2; 9]);
        let text = format!("Certificate:\n  Data\n{pem}{other}{pem}");
        let (_directory, path) = with(text.as_bytes());
        assert_eq!(certificates(&path).unwrap(), [[1; 9], [1; 9]]);
        let (_directory, path) = with(&[0x30, 0]);
        assert_eq!(certificates(&path).unwrap(), [[0x30, 0]]);
        for none in [other.as_str(), "-----BEGIN CERTIFICATE-----\n!!\n"] {
            let (_directory, path) = with(none.as_bytes());
            assert_eq!(certificates(&path).unwrap_err().reason, "file_unreadable");
        }
    }

    #[test]
    fn one_newline_is_no_part_of_an_authorisation() {
        for (contents, expected) in [("secret\n", "secret"), ("a\n\n", "a\n"), ("", "")] {
            let (_directory, path) = with(contents.as_bytes());
            assert_eq!(
                authorisation(Some(&path)).unwrap().expose(),
                expected.as_bytes()
            );
        }
        let (_directory, path) = with(&[b'x'; 66]);
        assert!(
            authorisation(Some(&path))
                .unwrap_err()
                .message
                .contains("65 bytes")
        );
        assert!(authorisation(None).unwrap().is_empty());
    }
}
