//! The key derivations of the TPM library (part 1, section 11.4.10) and its CFB mode.

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use crate::Hash;

/// KDFa: `bits` bits from a key, a label and two contexts (SP 800-108 in counter mode, HMAC).
///
/// `bits` is a multiple of eight. The label is given without its terminating NUL.
pub fn kdfa(
    hash: Hash,
    key: &[u8],
    label: &str,
    context_u: &[u8],
    context_v: &[u8],
    bits: u32,
) -> Zeroizing<Vec<u8>> {
    derive(bits, |counter| {
        hash.hmac(
            key,
            &[
                &counter.to_be_bytes(),
                label.as_bytes(),
                &[0],
                context_u,
                context_v,
                &bits.to_be_bytes(),
            ],
        )
    })
}

/// KDFe: `bits` bits from an ECDH secret `z` (SP 800-56A), `z` at the curve's fixed width.
pub fn kdfe(
    hash: Hash,
    z: &[u8],
    label: &str,
    party_u: &[u8],
    party_v: &[u8],
    bits: u32,
) -> Zeroizing<Vec<u8>> {
    derive(bits, |counter| {
        hash.digest(&[
            &counter.to_be_bytes(),
            z,
            label.as_bytes(),
            &[0],
            party_u,
            party_v,
        ])
    })
}

fn derive(bits: u32, block: impl Fn(u32) -> Vec<u8>) -> Zeroizing<Vec<u8>> {
    let len = usize::try_from(bits / 8).unwrap_or_default();
    let mut out = Zeroizing::new(Vec::with_capacity(len + 64));
    let mut counter = 1;
    while out.len() < len {
        out.extend_from_slice(&Zeroizing::new(block(counter)));
        counter += 1;
    }
    out.truncate(len);
    out
}

/// AES-CFB128 in place under a key of 16 or 32 bytes. False: the key has another length.
#[must_use]
pub fn cfb_encrypt(key: &[u8], iv: [u8; 16], data: &mut [u8]) -> bool {
    let Some(key) = cipher_key(key).and_then(|key| EncryptingKey::cfb128(key).ok()) else {
        return false;
    };
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(data, context).is_ok()
}

/// The inverse of [`cfb_encrypt`].
#[must_use]
pub fn cfb_decrypt(key: &[u8], iv: [u8; 16], data: &mut [u8]) -> bool {
    let Some(key) = cipher_key(key).and_then(|key| DecryptingKey::cfb128(key).ok()) else {
        return false;
    };
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    key.decrypt(data, context).is_ok()
}

fn cipher_key(key: &[u8]) -> Option<UnboundCipherKey> {
    let algorithm = match key.len() {
        16 => &AES_128,
        32 => &AES_256,
        _ => return None,
    };
    UnboundCipherKey::new(algorithm, key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy of the low-range EK templates is a KDF-free digest chain; these two tie the
    /// block functions to independent computations with another HMAC call order.
    #[test]
    fn kdfa_is_counter_mode_hmac() {
        let expect = Hash::Sha256.hmac(b"key", &[b"\0\0\0\x01STORAGE\0uv\0\0\0\x80"]);
        assert_eq!(
            *kdfa(Hash::Sha256, b"key", "STORAGE", b"u", b"v", 128),
            expect[..16]
        );
    }

    #[test]
    fn keys_are_wiped() {
        fn wiped(_: &impl zeroize::ZeroizeOnDrop) {}
        wiped(&kdfa(Hash::Sha256, &[1], "STORAGE", &[], &[], 128));
        wiped(&kdfe(Hash::Sha256, &[1], "IDENTITY", &[], &[], 128));
    }

    #[test]
    fn kdfe_hashes_counter_secret_label_parties() {
        let first = Hash::Sha256.digest(&[b"\0\0\0\x01zzIDENTITY\0uv"]);
        let second = Hash::Sha256.digest(&[b"\0\0\0\x02zzIDENTITY\0uv"]);
        let out = kdfe(Hash::Sha256, b"zz", "IDENTITY", b"u", b"v", 384);
        assert_eq!(out[..32], first);
        assert_eq!(out[32..], second[..16]);
    }

    #[test]
    fn cfb_round_trips_and_refuses_other_key_sizes() {
        for size in [16, 32] {
            let mut data = *b"a secret of thirty-four bytes here";
            assert!(cfb_encrypt(&vec![7; size], [0; 16], &mut data));
            assert_ne!(&data, b"a secret of thirty-four bytes here");
            assert!(cfb_decrypt(&vec![7; size], [0; 16], &mut data));
            assert_eq!(&data, b"a secret of thirty-four bytes here");
        }
        assert!(!cfb_encrypt(&[0; 24], [0; 16], &mut [0]));
    }
}
