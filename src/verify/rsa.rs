//! RSA signatures (RFC 8017), by the numbers of the key.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};
use evidence::Hash;

/// Whether the key made `signature` over `message`: sections 8.1.2 and 8.2.2, the signature as long
/// as the modulus.
pub(crate) fn rsa_verifies(
    parameters: Option<&RsaParameters>,
    modulus: &[u8],
    exponent: u64,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let exponent = exponent.to_be_bytes();
    let start = exponent
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(exponent.len());
    let key = RsaPublicKeyComponents {
        n: modulus,
        e: exponent.get(start..).unwrap_or_default(),
    };
    signature.len() == modulus.len()
        && parameters.is_some_and(|parameters| key.verify(parameters, message, signature).is_ok())
}

/// RSASSA-PKCS1-v1_5 with a hash that is not weak.
pub(crate) fn pkcs1(hash: Hash) -> Option<&'static RsaParameters> {
    match hash {
        Hash::Sha1 => None,
        Hash::Sha256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Hash::Sha384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Hash::Sha512 => Some(&RSA_PKCS1_2048_8192_SHA512),
    }
}

/// RSASSA-PSS with a hash that is not weak, and a salt as long as the digest.
pub(crate) fn pss(hash: Hash) -> Option<&'static RsaParameters> {
    match hash {
        Hash::Sha1 => None,
        Hash::Sha256 => Some(&RSA_PSS_2048_8192_SHA256),
        Hash::Sha384 => Some(&RSA_PSS_2048_8192_SHA384),
        Hash::Sha512 => Some(&RSA_PSS_2048_8192_SHA512),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_hashes_are_none_of_these_schemes() {
        for parameters in [pkcs1, pss] {
            for hash in Hash::ALL {
                assert_eq!(parameters(hash).is_some(), hash != Hash::Sha1, "{hash:?}");
            }
        }
    }
}
