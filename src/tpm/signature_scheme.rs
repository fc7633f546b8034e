//! Which signature a key is to make, and what the TPM is asked for so that it comes out (TPM library part 3, section 20.2).

use evidence::{Algorithm, Curve, Hash, Public, PublicKey};

use crate::Error;

/// A signature algorithm and its hash.
///
/// How long the salt of RSASSA-PSS is, nobody can tell a TPM. Those that follow FIPS 186-5, swtpm too, make
/// it as long as the digest, which is what TLS 1.3 and X.509 want; others make the longest for which the
/// modulus has room (TPM library part 1, annex B.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureScheme {
    /// ECDSA.
    Ecdsa(Hash),
    /// RSASSA-PKCS1-v1_5.
    Rsassa(Hash),
    /// RSASSA-PSS, MGF1 with the same hash.
    Rsapss(Hash),
}

impl SignatureScheme {
    /// The hash.
    pub fn hash(self) -> Hash {
        match self {
            Self::Ecdsa(hash) | Self::Rsassa(hash) | Self::Rsapss(hash) => hash,
        }
    }

    /// TPMT_SIG_SCHEME: the algorithm and its hash.
    pub(crate) fn algorithms(self) -> (Algorithm, Algorithm) {
        let algorithm = match self {
            Self::Ecdsa(_) => Algorithm::ECDSA,
            Self::Rsassa(_) => Algorithm::RSASSA,
            Self::Rsapss(_) => Algorithm::RSAPSS,
        };
        (algorithm, self.hash().algorithm())
    }

    /// The scheme and digest to ask the TPM for.
    ///
    /// ECDSA uses as many bits of a digest as the curve's order has, from the left (FIPS 186-5, section
    /// 6.4.1). So a longer digest is cut here, and the hash named that is as long as what is left:
    /// many TPMs have no longer hash than their curves need.
    ///
    /// # Errors
    /// [`Error::UnsuitableScheme`] when the key is of another type; [`Error::DigestSize`] when the
    /// digest is not of the scheme's hash.
    pub(crate) fn request(self, key: &Public, digest: &[u8]) -> Result<(Self, Vec<u8>), Error> {
        if digest.len() != self.hash().size() {
            return Err(Error::DigestSize);
        }
        let hash = match (self, &key.key) {
            (Self::Ecdsa(hash), PublicKey::Ecc { curve, .. }) => {
                let widest = match Curve::from_id(*curve) {
                    Some(Curve::P256) => Hash::Sha256,
                    Some(Curve::P384) => Hash::Sha384,
                    Some(Curve::P521) => Hash::Sha512,
                    None => return Err(Error::UnsuitableScheme),
                };
                hash.min(widest)
            }
            (Self::Rsassa(hash) | Self::Rsapss(hash), PublicKey::Rsa { .. }) => hash,
            _ => return Err(Error::UnsuitableScheme),
        };
        let scheme = match self {
            Self::Ecdsa(_) => Self::Ecdsa(hash),
            Self::Rsassa(_) => Self::Rsassa(hash),
            Self::Rsapss(_) => Self::Rsapss(hash),
        };
        let used = digest.iter().copied().take(hash.size()).collect();
        Ok((scheme, used))
    }
}

#[cfg(test)]
mod tests {
    use evidence::SvidKeyTemplate::{EccP256, EccP384, Rsa2048};

    use super::SignatureScheme::{Ecdsa, Rsapss, Rsassa};
    use super::*;

    #[test]
    fn a_digest_is_cut_to_the_curve_and_to_nothing_else() {
        for (key, asked, sent) in [
            (EccP256, Ecdsa(Hash::Sha256), Ecdsa(Hash::Sha256)),
            (EccP256, Ecdsa(Hash::Sha384), Ecdsa(Hash::Sha256)),
            (EccP256, Ecdsa(Hash::Sha512), Ecdsa(Hash::Sha256)),
            (EccP384, Ecdsa(Hash::Sha256), Ecdsa(Hash::Sha256)),
            (EccP384, Ecdsa(Hash::Sha384), Ecdsa(Hash::Sha384)),
            (EccP384, Ecdsa(Hash::Sha512), Ecdsa(Hash::Sha384)),
            (Rsa2048, Rsassa(Hash::Sha512), Rsassa(Hash::Sha512)),
            (Rsa2048, Rsapss(Hash::Sha384), Rsapss(Hash::Sha384)),
        ] {
            let digest: Vec<u8> = (0..64).take(asked.hash().size()).collect();
            let (scheme, used) = asked.request(&key.public(), &digest).unwrap();
            assert_eq!(scheme, sent);
            assert_eq!(used, digest[..sent.hash().size()]);
        }
    }

    #[test]
    fn a_key_signs_by_schemes_of_its_type() {
        for (key, scheme) in [
            (EccP256, Rsassa(Hash::Sha256)),
            (EccP256, Rsapss(Hash::Sha256)),
            (Rsa2048, Ecdsa(Hash::Sha256)),
        ] {
            let outcome = scheme.request(&key.public(), &[0; 32]);
            assert!(
                matches!(outcome, Err(Error::UnsuitableScheme)),
                "{scheme:?}"
            );
        }
    }

    #[test]
    fn a_digest_has_the_size_of_its_hash() {
        for size in [0, 20, 31, 33, 64] {
            for (key, scheme) in [
                (EccP256, Ecdsa(Hash::Sha256)),
                (EccP256, Ecdsa(Hash::Sha384)),
                (Rsa2048, Rsassa(Hash::Sha256)),
                (Rsa2048, Rsapss(Hash::Sha256)),
            ] {
                let outcome = scheme.request(&key.public(), &vec![0; size]);
                assert!(matches!(outcome, Err(Error::DigestSize)), "{size}");
            }
        }
    }
}
