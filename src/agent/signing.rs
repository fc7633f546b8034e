//! What SPIRE asks a key to sign, in the TPM's words, and the signature in SPIRE's.

use evidence::{Hash, Signature, SignatureValue, SvidKeyTemplate};
use plugin::{HashAlgorithm, SignerOptions};
use tpm::SignatureScheme;

use crate::failure::KeyFailure;

/// The scheme by which a kind of key makes the signature that is asked for.
///
/// A TPM chooses the salt of RSASSA-PSS itself: as long as the digest. That is also what 0 asks for, which leaves the
/// choice to the signer.
pub(crate) fn scheme(
    template: SvidKeyTemplate,
    options: SignerOptions,
) -> Result<SignatureScheme, KeyFailure> {
    let hash = match options.hash() {
        HashAlgorithm::Sha256 => Hash::Sha256,
        HashAlgorithm::Sha384 => Hash::Sha384,
        HashAlgorithm::Sha512 => Hash::Sha512,
        _ => return Err(KeyFailure::UnsupportedSignature),
    };
    let is_rsa = template == SvidKeyTemplate::Rsa2048;
    match options {
        SignerOptions::Hash(_) if is_rsa => Ok(SignatureScheme::Rsassa(hash)),
        SignerOptions::Hash(_) => Ok(SignatureScheme::Ecdsa(hash)),
        SignerOptions::Pss { salt_length, .. } if is_rsa => {
            let of_the_digest = i32::try_from(hash.size()) == Ok(salt_length);
            if of_the_digest || matches!(salt_length, SALT_OF_THE_DIGEST | SALT_OF_THE_SIGNER) {
                Ok(SignatureScheme::Rsapss(hash))
            } else {
                Err(KeyFailure::UnsupportedSignature)
            }
        }
        SignerOptions::Pss { .. } => Err(KeyFailure::UnsupportedSignature),
    }
}

/// The signature as SPIRE takes it: an RSA number, or an ECDSA-Sig-Value in DER (RFC 3279, section 2.2.3).
pub(crate) fn encode(signature: &Signature) -> Vec<u8> {
    match &signature.value {
        SignatureValue::Rsa(value) => value.clone(),
        SignatureValue::Ecdsa { r, s } => element(SEQUENCE, &[unsigned(r), unsigned(s)].concat()),
    }
}

/// An INTEGER in its shortest form (X.690, 8.3).
fn unsigned(digits: &[u8]) -> Vec<u8> {
    let start = digits.iter().position(|digit| *digit != 0);
    let digits = digits
        .get(start.unwrap_or(digits.len())..)
        .unwrap_or_default();
    let is_positive = digits.first().is_some_and(|first| *first < 0x80);
    let sign: &[u8] = if is_positive { &[] } else { &[0] };
    element(INTEGER, &[sign, digits].concat())
}

/// Tag, length in one octet, contents: those of a P-384 signature, the longest, have 102 octets.
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u8::try_from(contents.len()).unwrap_or(u8::MAX);
    [&[tag, length], contents].concat()
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
/// As the field of a request has it, which is Go's `rsa.PSSOptions`.
const SALT_OF_THE_DIGEST: i32 = -1;
const SALT_OF_THE_SIGNER: i32 = 0;

#[cfg(test)]
mod tests {
    use evidence::Algorithm;

    use super::*;

    #[test]
    fn ecdsa_signatures_are_der_in_its_shortest_form() {
        let long = [&[0x80][..], &[1; 47]].concat();
        let table: [(&[u8], &[u8], Vec<u8>); 6] = [
            (&[1], &[2], vec![0x30, 6, 2, 1, 1, 2, 1, 2]),
            (&[0x7F], &[0x80], vec![0x30, 7, 2, 1, 0x7F, 2, 2, 0, 0x80]),
            (
                &[0, 0, 5],
                &[0, 0xFF, 1],
                vec![0x30, 8, 2, 1, 5, 2, 3, 0, 0xFF, 1],
            ),
            (&[0, 0], &[], vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
            (&[1, 0], &[1], vec![0x30, 7, 2, 2, 1, 0, 2, 1, 1]),
            (
                &long,
                &long,
                [
                    &[0x30, 102],
                    &[&[2, 49, 0], &long[..]].concat().repeat(2)[..],
                ]
                .concat(),
            ),
        ];
        for (r, s, expect) in table {
            let signature = Signature {
                algorithm: Algorithm::ECDSA,
                hash: Algorithm::SHA256,
                value: SignatureValue::Ecdsa {
                    r: r.to_vec(),
                    s: s.to_vec(),
                },
            };
            assert_eq!(encode(&signature), expect, "{r:x?} {s:x?}");
        }
        let rsa = Signature {
            algorithm: Algorithm::RSASSA,
            hash: Algorithm::SHA256,
            value: SignatureValue::Rsa(vec![0; 256]),
        };
        assert_eq!(encode(&rsa), [0; 256]);
    }
}
