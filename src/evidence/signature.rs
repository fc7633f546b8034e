//! TPMT_SIGNATURE (TPM library part 2, section 11.3).

use crate::{Algorithm, Malformed, Reader, Writer, limits};

/// A signature by a TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// sigAlg.
    pub algorithm: Algorithm,
    /// The hash it names.
    pub hash: Algorithm,
    /// The value.
    pub value: SignatureValue,
}

/// The value of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureValue {
    /// RSASSA or RSAPSS: as long as the modulus.
    Rsa(Vec<u8>),
    /// ECDSA: two integers, big-endian.
    Ecdsa {
        /// signatureR.
        r: Vec<u8>,
        /// signatureS.
        s: Vec<u8>,
    },
}

impl Signature {
    /// Parses a TPMT_SIGNATURE that is all of `bytes`. Algorithms other than RSASSA, RSAPSS and
    /// ECDSA have no value here.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::SIGNATURE {
            return Err(Malformed::TooLong);
        }
        let mut reader = Reader::new(bytes);
        let algorithm = Algorithm(reader.u16()?);
        let hash = Algorithm(reader.u16()?);
        let value = match algorithm {
            Algorithm::RSASSA | Algorithm::RSAPSS => {
                SignatureValue::Rsa(reader.sized(limits::RSA_MODULUS)?.to_vec())
            }
            Algorithm::ECDSA => SignatureValue::Ecdsa {
                r: reader.sized(MAX_SCALAR)?.to_vec(),
                s: reader.sized(MAX_SCALAR)?.to_vec(),
            },
            _ => return Err(Malformed::Value),
        };
        reader.end()?;
        Ok(Self {
            algorithm,
            hash,
            value,
        })
    }

    /// The TPMT_SIGNATURE of these fields.
    pub fn encode(&self) -> Vec<u8> {
        let out = Writer::new().u16(self.algorithm.0).u16(self.hash.0);
        match &self.value {
            SignatureValue::Rsa(value) => out.sized(value),
            SignatureValue::Ecdsa { r, s } => out.sized(r).sized(s),
        }
        .finish()
    }
}

/// Bytes of a scalar of P-521.
const MAX_SCALAR: usize = 66;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_round_trip_and_are_strict() {
        for value in [
            SignatureValue::Rsa(vec![9; 256]),
            SignatureValue::Ecdsa {
                r: vec![1; 32],
                s: vec![2; 31],
            },
        ] {
            let algorithm = match value {
                SignatureValue::Rsa(_) => Algorithm::RSASSA,
                SignatureValue::Ecdsa { .. } => Algorithm::ECDSA,
            };
            let signature = Signature {
                algorithm,
                hash: Algorithm::SHA256,
                value,
            };
            let bytes = signature.encode();
            assert_eq!(Signature::parse(&bytes), Ok(signature));
            for len in 0..bytes.len() {
                assert!(Signature::parse(&bytes[..len]).is_err());
            }
            assert_eq!(
                Signature::parse(&[&bytes[..], &[0]].concat()),
                Err(Malformed::Trailing)
            );
        }
        let daa = Writer::new()
            .u16(Algorithm::ECDAA.0)
            .u16(11)
            .sized(&[1])
            .sized(&[1])
            .finish();
        assert_eq!(Signature::parse(&daa), Err(Malformed::Value));
        let wide = Writer::new()
            .u16(Algorithm::ECDSA.0)
            .u16(11)
            .sized(&[1; 100])
            .sized(&[1])
            .finish();
        assert_eq!(Signature::parse(&wide), Err(Malformed::TooLong));
        for (algorithm, value) in [
            (Algorithm::RSAPSS, SignatureValue::Rsa(vec![1; 513])),
            (
                Algorithm::ECDSA,
                SignatureValue::Ecdsa {
                    r: vec![1; 66],
                    s: vec![1; 67],
                },
            ),
        ] {
            let hash = Algorithm::SHA256;
            let large = Signature {
                algorithm,
                hash,
                value,
            };
            assert_eq!(
                Signature::parse(&large.encode()),
                Err(Malformed::TooLong),
                "{algorithm:?}"
            );
        }
    }
}
