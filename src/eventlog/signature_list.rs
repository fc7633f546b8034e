//! EFI_SIGNATURE_LISTs: the contents of PK, KEK, db and dbx, and of what vouched for an image (UEFI 2.10, section 32.4.1).

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::guid::{self, CERT_SHA256, CERT_X509, CERT_X509_SHA256, Guid};
use crate::reader::Reader;
use crate::{Bank, SignatureEntry, SignatureSource, limits, text};

/// Parses lists that are all of `data`; no bytes are no entries.
pub(crate) fn parse(data: &[u8]) -> Result<Vec<SignatureEntry>, &'static str> {
    let mut reader = Reader::new(data);
    let mut entries = Vec::new();
    while !reader.is_empty() {
        list(&mut reader, &mut entries)?;
    }
    Ok(entries)
}

/// The entry that an authority event has for data: EFI_SIGNATURE_DATA, whose type only its contents show, or a bare
/// certificate, as old versions of shim measure. `None` where it is neither a certificate nor an image's hash.
pub(crate) fn authority(data: &[u8]) -> Option<SignatureEntry> {
    if let Some((_owner, signature)) = data.split_first_chunk::<OWNER>() {
        if let Ok(hash) = signature.try_into() {
            return Some(SignatureEntry::Sha256 {
                source: SignatureSource::Image,
                hash,
            });
        }
        if let Some(subject) = subject(signature) {
            return Some(certificate(signature, Some(subject)));
        }
    }
    subject(data).map(|subject| certificate(data, Some(subject)))
}

/// One list. Each size in it must fit the others to the byte, or bytes of one part would count as those of another.
fn list(reader: &mut Reader<'_>, entries: &mut Vec<SignatureEntry>) -> Result<(), &'static str> {
    let kind: Guid = reader.array().ok_or(TRUNCATED)?;
    let list = reader.size32().ok_or(TRUNCATED)?;
    let header = reader.size32().ok_or(TRUNCATED)?;
    let size = reader.size32().ok_or(TRUNCATED)?;
    let contents = list.checked_sub(HEADER);
    let contents = contents.ok_or("a signature list is shorter than its header")?;
    // UEFI 2.10, section 32.4.1: no type that it defines has a header of its own.
    if header != 0 {
        return Err("a signature list has a header that its type does not have");
    }
    let contents = reader.take(contents);
    let contents = contents.ok_or("a signature list is longer than its variable")?;
    if !has_size(&kind, size) {
        return Err("an entry of a signature list is not of its type's size");
    }
    let signatures = contents.chunks_exact(size);
    if !signatures.remainder().is_empty() {
        return Err("a signature list does not end with an entry");
    }
    if entries.len().saturating_add(signatures.len()) > limits::SIGNATURES {
        return Err("a variable has more entries of signature lists than any machine");
    }
    entries.extend(
        signatures.map(|signature| entry(&kind, signature.get(OWNER..).unwrap_or_default())),
    );
    Ok(())
}

/// An entry has an owner, and then what its type has: something.
fn has_size(kind: &Guid, size: usize) -> bool {
    match *kind {
        CERT_SHA256 => size == OWNER + 32,
        // ToBeSignedHash, TimeOfRevocation.
        CERT_X509_SHA256 => size == OWNER + 32 + 16,
        _ => size > OWNER,
    }
}

fn entry(kind: &Guid, signature: &[u8]) -> SignatureEntry {
    let hash = |source| {
        let (hash, _time) = signature.split_first_chunk()?;
        Some(SignatureEntry::Sha256 {
            source,
            hash: *hash,
        })
    };
    let known = match *kind {
        CERT_X509 => Some(certificate(signature, subject(signature))),
        CERT_SHA256 => hash(SignatureSource::Image),
        CERT_X509_SHA256 => hash(SignatureSource::Certificate),
        _ => None,
    };
    known.unwrap_or_else(|| SignatureEntry::Other {
        kind: guid::text(kind),
        sha256: sha256(signature),
    })
}

fn certificate(der: &[u8], subject: Option<String>) -> SignatureEntry {
    SignatureEntry::Certificate {
        sha256: sha256(der),
        subject,
    }
}

/// The subject of a certificate that is all of `der`.
fn subject(der: &[u8]) -> Option<String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => {
            let subject = certificate.subject().to_string();
            Some(text::printable(&subject, limits::TEXT))
        }
        _ => None,
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Bank::Sha256.digest(&[bytes]).try_into().unwrap_or_default()
}

/// Bytes of SignatureType, SignatureListSize, SignatureHeaderSize and SignatureSize.
const HEADER: usize = 28;
/// Bytes of SignatureOwner.
const OWNER: usize = 16;
const TRUNCATED: &str = "a signature list ends inside its header";

#[cfg(test)]
mod tests {
    use softtpm::{boot_certificate, signature_data, signature_list};

    use super::*;

    #[test]
    fn lists_have_certificates_and_hashes_of_either_source() {
        let der = boot_certificate("Some CA").unwrap();
        let revoked = [[0xC1; 32].as_slice(), &[0; 16]].concat();
        let unknown: Guid = [0x42; 16];
        let lists = [
            signature_list(CERT_X509, &[&der]),
            signature_list(CERT_SHA256, &[&[0xA1; 32], &[0xA2; 32]]),
            signature_list(CERT_X509_SHA256, &[&revoked]),
            signature_list(unknown, &[b"data"]),
        ];
        let hash = |source, byte| SignatureEntry::Sha256 {
            source,
            hash: [byte; 32],
        };
        let expected = [
            SignatureEntry::Certificate {
                sha256: sha256(&der),
                subject: Some("CN=Some CA".to_owned()),
            },
            hash(SignatureSource::Image, 0xA1),
            hash(SignatureSource::Image, 0xA2),
            hash(SignatureSource::Certificate, 0xC1),
            SignatureEntry::Other {
                kind: "42424242-4242-4242-4242-424242424242".to_owned(),
                sha256: sha256(b"data"),
            },
        ];
        assert_eq!(parse(&lists.concat()).as_deref(), Ok(&expected[..]));
        assert_eq!(parse(&[]), Ok(Vec::new()));
    }

    #[test]
    fn subjects_are_printable_and_short_or_unknown() {
        let subject = |der: &[u8]| match parse(&signature_list(CERT_X509, &[der])).unwrap().pop() {
            Some(SignatureEntry::Certificate { subject, .. }) => subject,
            other => panic!("{other:?}"),
        };
        let der = |name: &str| boot_certificate(name).unwrap();
        assert_eq!(subject(b"no certificate"), None);
        assert_eq!(
            subject(&[der("one"), vec![0]].concat()),
            None,
            "bytes follow it"
        );
        let odd = subject(&der("a\nb:\u{202E}\"")).unwrap();
        assert_eq!(odd, "CN=a\\u{a}b:\\u{202e}\\u{22}");
        assert_eq!(subject(&der(&"x".repeat(400))).unwrap().len(), limits::TEXT);
    }

    #[test]
    fn sizes_fit_one_another_to_the_byte() {
        let one = signature_list(CERT_SHA256, &[&[0xA1; 32]]);
        let two = signature_list(CERT_SHA256, &[&[0xA1; 32], &[0xA2; 32]]);
        let certificate = signature_list(CERT_X509, &[&[0x30; 60]]);
        let other = signature_list([0x42; 16], &[&[0x30; 60]]);
        let (list, header, size) = (16, 20, 24);
        let short = "a signature list is shorter than its header";
        let long = "a signature list is longer than its variable";
        let headed = "a signature list has a header that its type does not have";
        let sized = "an entry of a signature list is not of its type's size";
        let uneven = "a signature list does not end with an entry";
        let cases = [
            (&one, list, 0, short),
            (&one, list, 27, short),
            (&one, list, 77, long),
            (&one, list, u32::MAX, long),
            (&one, list, 75, uneven),
            (&one, header, 1, headed),
            (&one, header, 48, headed),
            (&one, header, u32::MAX, headed),
            (&one, size, 0, sized),
            (&one, size, 15, sized),
            (&one, size, 16, sized),
            (&one, size, 47, sized),
            (&one, size, u32::MAX, sized),
            // The vendor's header, were there one, would become an entry.
            (&two, header, 48, headed),
            (&two, size, 96, sized),
            (&two, list, 28 + 50, uneven),
            (
                &two,
                list,
                28 + 48,
                "a signature list ends inside its header",
            ),
            (&certificate, size, 0, sized),
            (&certificate, size, 16, sized),
            (&certificate, size, 17, uneven),
            (&certificate, size, 77, uneven),
            (&certificate, header, 4, headed),
            (&other, size, 16, sized),
            (&other, size, 75, uneven),
            (&other, header, 4, headed),
        ];
        for (lists, at, value, expected) in cases {
            let mut lists = lists.clone();
            lists[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
            if expected.ends_with("inside its header") {
                // What is left of the second entry is another list's beginning.
                lists.truncate(28 + 48 + 27);
            }
            assert_eq!(
                parse(&lists),
                Err(expected),
                "tpm/F19: eventlog_malformed for {at} {value}"
            );
        }
        let revoked = signature_list(CERT_X509_SHA256, &[&[0; 32]]);
        assert_eq!(parse(&revoked), Err(sized), "tpm/F19: without the time");
        let empty = signature_list(CERT_SHA256, &[]);
        assert_eq!(
            parse(&empty),
            Err(sized),
            "tpm/F19: no type has entries of 16 bytes"
        );
    }

    #[test]
    fn lists_are_all_of_a_variable() {
        let lists = signature_list(CERT_SHA256, &[&[0xA1; 32]]);
        for kept in 1..lists.len() {
            assert!(parse(&lists[..kept]).is_err(), "tpm/F19: {kept}");
        }
        for rest in [1, 27] {
            let longer = [lists.as_slice(), &vec![0; rest]].concat();
            assert!(parse(&longer).is_err(), "tpm/F19: {rest} more");
        }
    }

    #[test]
    fn entries_are_bounded() {
        let hash = [0xA1; 32];
        let many = vec![hash.as_slice(); limits::SIGNATURES];
        let lists = signature_list(CERT_SHA256, &many);
        assert_eq!(parse(&lists).unwrap().len(), limits::SIGNATURES);
        let more = [lists, signature_list(CERT_SHA256, &[&hash])].concat();
        assert!(parse(&more).unwrap_err().contains("more entries"));
    }

    #[test]
    fn authorities_are_certificates_or_hashes_of_images() {
        let der = boot_certificate("Some CA").unwrap();
        let expected = Some(certificate(&der, subject(&der)));
        assert_eq!(authority(&signature_data(&der)), expected);
        assert_eq!(authority(&der), expected, "without an owner");
        let hash = Some(SignatureEntry::Sha256 {
            source: SignatureSource::Image,
            hash: [0xA1; 32],
        });
        assert_eq!(authority(&signature_data(&[0xA1; 32])), hash);
        let others = [
            Vec::new(),
            vec![1],
            vec![0; 16],
            signature_data(&[0; 31]),
            b"sbat,1,2025051000\nshim,4\n".to_vec(),
            signature_data(&der[..der.len() - 1]),
            [der, vec![0]].concat(),
        ];
        for other in others {
            assert_eq!(authority(&other), None, "{other:?}");
        }
    }
}
