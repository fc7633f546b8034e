//! Certificates as they stand in the variables of Secure Boot: self-signed, the same in every process.

use evidence::{Algorithm, Hash, SignatureValue};

use crate::{Key, KeyKind, Role, TpmError};

/// A certificate in DER (RFC 5280, section 4.1) with this common name, of a sample key that all of them share.
///
/// # Errors
/// [`TpmError::Key`] where the sample does not sign.
pub fn boot_certificate(common_name: &str) -> Result<Vec<u8>, TpmError> {
    let key = Key::sample(Role::Other, KeyKind::Rsa2048)?;
    let name = element(
        SEQUENCE,
        &[element(
            SET,
            &[element(
                SEQUENCE,
                &[
                    COMMON_NAME.to_vec(),
                    element(UTF8_STRING, &[common_name.as_bytes().to_vec()]),
                ],
            )],
        )],
    );
    let validity = [b"200101000000Z", b"491231235959Z"];
    let validity = validity.map(|time| element(UTC_TIME, &[time.to_vec()]));
    let signed = element(
        SEQUENCE,
        &[
            element(INTEGER, &[vec![7]]),
            SHA256_WITH_RSA.to_vec(),
            name.clone(),
            element(SEQUENCE, &validity),
            name,
            key.subject_key().spki(),
        ],
    );
    let signature = key.sign(Algorithm::RSASSA, Hash::Sha256, &signed)?;
    let SignatureValue::Rsa(signature) = signature.value else {
        return Err(TpmError::Key);
    };
    let bits = element(BIT_STRING, &[vec![0], signature]);
    Ok(element(SEQUENCE, &[signed, SHA256_WITH_RSA.to_vec(), bits]))
}

fn element(tag: u8, contents: &[Vec<u8>]) -> Vec<u8> {
    let contents = contents.concat();
    let [.., high, low] = contents.len().to_be_bytes();
    let header = match contents.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [header, contents].concat()
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTF8_STRING: u8 = 0x0C;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// id-at-commonName.
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
/// AlgorithmIdentifier of sha256WithRSAEncryption.
const SHA256_WITH_RSA: [u8; 15] = [
    0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B, 0x05, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_the_same_each_time_and_differ_by_name() {
        let one = boot_certificate("One").unwrap();
        assert_eq!(one, boot_certificate("One").unwrap());
        assert_ne!(one, boot_certificate("Two").unwrap());
        assert_eq!(
            usize::from(one[2]) << 8 | usize::from(one[3]),
            one.len() - 4
        );
    }
}
