//! TPMT_PUBLIC: the public area of a key, its Name and its qualified name (TPM library part 2, section 12.2).

use std::fmt;

use crate::{Algorithm, Curve, Hash, Malformed, Reader, SubjectKey, Writer, limits};

/// A public area, parsed strictly; its Name is computed over the bytes as they came.
#[derive(Clone, PartialEq, Eq)]
pub struct Public {
    encoded: Vec<u8>,
    /// nameAlg.
    pub name_alg: Algorithm,
    /// objectAttributes.
    pub attributes: Attributes,
    /// authPolicy: empty, or a digest.
    pub auth_policy: Vec<u8>,
    /// The symmetric algorithm of a storage key.
    pub symmetric: Symmetric,
    /// The scheme a signing key is bound to.
    pub scheme: Scheme,
    /// Type-specific parameters and the unique field.
    pub key: PublicKey,
}

/// Why bytes are no [`Public`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublicError {
    /// Not a TPMT_PUBLIC.
    #[error("malformed public area: {0}")]
    Malformed(#[from] Malformed),
    /// A TPMT_PUBLIC of another type than RSA or ECC.
    #[error("public area of type {0:#06x}")]
    UnsupportedType(u16),
}

/// The type-specific part of a public area.
#[derive(Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// An RSA key.
    Rsa {
        /// Modulus size in bits.
        bits: u16,
        /// Public exponent as on the wire: 0 stands for 65537.
        exponent: u32,
        /// Modulus, big-endian; empty or a nonce in a template.
        modulus: Vec<u8>,
    },
    /// An elliptic-curve key.
    Ecc {
        /// TPM_ECC_CURVE.
        curve: u16,
        /// Key derivation scheme and its hash; NULL for signing keys.
        kdf: Option<(Algorithm, Algorithm)>,
        /// Affine x coordinate, big-endian; empty or zero in a template.
        x: Vec<u8>,
        /// Affine y coordinate, big-endian; empty or zero in a template.
        y: Vec<u8>,
    },
}

/// TPMT_SYM_DEF_OBJECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symmetric {
    /// TPM_ALG_NULL.
    Null,
    /// A block cipher.
    Cipher {
        /// Algorithm, AES in all templates used here.
        algorithm: Algorithm,
        /// Key size in bits.
        bits: u16,
        /// Mode, CFB in all templates used here.
        mode: Algorithm,
    },
}

/// TPMT_ASYM_SCHEME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// TPM_ALG_NULL: whoever uses the key chooses.
    Null,
    /// A scheme, with the hash where the scheme has one.
    Of {
        /// RSASSA, RSAPSS, ECDSA or another one.
        algorithm: Algorithm,
        /// Hash; `None` for RSAES.
        hash: Option<Algorithm>,
        /// The counter of ECDAA.
        count: Option<u16>,
    },
}

/// TPMA_OBJECT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attributes(pub u32);

#[expect(missing_docs, reason = "the names are the library's")]
impl Attributes {
    pub const FIXED_TPM: u32 = 1 << 1;
    pub const ST_CLEAR: u32 = 1 << 2;
    pub const FIXED_PARENT: u32 = 1 << 4;
    pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    pub const USER_WITH_AUTH: u32 = 1 << 6;
    pub const ADMIN_WITH_POLICY: u32 = 1 << 7;
    pub const FIRMWARE_LIMITED: u32 = 1 << 8;
    pub const SVN_LIMITED: u32 = 1 << 9;
    pub const NO_DA: u32 = 1 << 10;
    pub const ENCRYPTED_DUPLICATION: u32 = 1 << 11;
    pub const RESTRICTED: u32 = 1 << 16;
    pub const DECRYPT: u32 = 1 << 17;
    pub const SIGN: u32 = 1 << 18;
    pub const X509_SIGN: u32 = 1 << 19;

    const DEFINED: u32 = 0x000F_0FF6;

    /// Whether all of `bits` are set.
    pub fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }

    /// Whether any of `bits` is set.
    pub fn has_any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#010x}", self.0)
    }
}

/// The Name of an object: nameAlg and the digest of its public area.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Vec<u8>);

/// Where a primary key hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the library's")]
pub enum Hierarchy {
    Owner,
    Null,
    Endorsement,
    Platform,
}

impl Hierarchy {
    /// TPM_RH.
    pub fn handle(self) -> u32 {
        match self {
            Self::Owner => 0x4000_0001,
            Self::Null => 0x4000_0007,
            Self::Endorsement => 0x4000_000B,
            Self::Platform => 0x4000_000C,
        }
    }
}

impl Name {
    /// The bytes: nameAlg (two bytes), then the digest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A Name as it stands inside another structure.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", hex::encode(&self.0))
    }
}

impl Public {
    /// Parses a TPMT_PUBLIC that is all of `bytes`.
    ///
    /// Widths must be canonical: a modulus of exactly the key size, coordinates no longer than the
    /// field and, if shorter, without leading zeros. A template with an empty or all-zero unique
    /// field parses as well.
    pub fn parse(bytes: &[u8]) -> Result<Self, PublicError> {
        if bytes.len() > limits::PUBLIC {
            return Err(Malformed::TooLong.into());
        }
        let mut reader = Reader::new(bytes);
        let kind = Algorithm(reader.u16()?);
        let name_alg = Algorithm(reader.u16()?);
        let attributes = Attributes(reader.u32()?);
        if attributes.has_any(!Attributes::DEFINED) {
            return Err(Malformed::Value.into());
        }
        let auth_policy = reader.sized(64)?.to_vec();
        if kind != Algorithm::RSA && kind != Algorithm::ECC {
            return Err(PublicError::UnsupportedType(kind.0));
        }
        let symmetric = parse_symmetric(&mut reader)?;
        let scheme = parse_scheme(&mut reader)?;
        let key = if kind == Algorithm::RSA {
            parse_rsa(&mut reader)?
        } else {
            parse_ecc(&mut reader)?
        };
        reader.end()?;
        Ok(Self {
            encoded: bytes.to_vec(),
            name_alg,
            attributes,
            auth_policy,
            symmetric,
            scheme,
            key,
        })
    }

    /// A public area from its fields.
    pub fn new(
        name_alg: Hash,
        attributes: u32,
        auth_policy: &[u8],
        symmetric: Symmetric,
        scheme: Scheme,
        key: PublicKey,
    ) -> Self {
        let mut public = Self {
            encoded: Vec::new(),
            name_alg: name_alg.algorithm(),
            attributes: Attributes(attributes),
            auth_policy: auth_policy.to_vec(),
            symmetric,
            scheme,
            key,
        };
        public.encoded = public.encode();
        public
    }

    /// The TPMT_PUBLIC, without the size that a TPM2B_PUBLIC has.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// The Name, or `None` when nameAlg is not a hash that this project computes.
    pub fn name(&self) -> Option<Name> {
        let hash = Hash::from_algorithm(self.name_alg)?;
        let digest = hash.digest(&[&self.encoded]);
        Some(Name(
            Writer::new().u16(self.name_alg.0).raw(&digest).finish(),
        ))
    }

    /// The qualified name as a primary key of `hierarchy` (part 1, section 16.3):
    /// nameAlg ‖ H(hierarchy handle ‖ Name).
    pub fn qualified_name(&self, hierarchy: Hierarchy) -> Option<Name> {
        let hash = Hash::from_algorithm(self.name_alg)?;
        let name = self.name()?;
        let digest = hash.digest(&[&hierarchy.handle().to_be_bytes(), name.as_bytes()]);
        Some(Name(
            Writer::new().u16(self.name_alg.0).raw(&digest).finish(),
        ))
    }

    /// The key as numbers, or `None` for a template or a curve that this project does not use.
    pub fn subject_key(&self) -> Option<SubjectKey> {
        match &self.key {
            PublicKey::Rsa {
                exponent, modulus, ..
            } => {
                let exponent = if *exponent == 0 { 65_537 } else { *exponent };
                SubjectKey::rsa(modulus, u64::from(exponent))
            }
            PublicKey::Ecc { curve, x, y, .. } => SubjectKey::ec(Curve::from_id(*curve)?, x, y),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let kind = match self.key {
            PublicKey::Rsa { .. } => Algorithm::RSA,
            PublicKey::Ecc { .. } => Algorithm::ECC,
        };
        let mut out = Writer::new()
            .u16(kind.0)
            .u16(self.name_alg.0)
            .u32(self.attributes.0)
            .sized(&self.auth_policy);
        out = match self.symmetric {
            Symmetric::Null => out.u16(Algorithm::NULL.0),
            Symmetric::Cipher {
                algorithm,
                bits,
                mode,
            } => out.u16(algorithm.0).u16(bits).u16(mode.0),
        };
        out = match self.scheme {
            Scheme::Null => out.u16(Algorithm::NULL.0),
            Scheme::Of {
                algorithm,
                hash,
                count,
            } => {
                let out = out.u16(algorithm.0);
                let out = hash.map_or(out.clone(), |hash| out.u16(hash.0));
                count.map_or(out.clone(), |count| out.u16(count))
            }
        };
        match &self.key {
            PublicKey::Rsa {
                bits,
                exponent,
                modulus,
            } => out.u16(*bits).u32(*exponent).sized(modulus),
            PublicKey::Ecc { curve, kdf, x, y } => {
                let out = out.u16(*curve);
                let out = match kdf {
                    None => out.u16(Algorithm::NULL.0),
                    Some((algorithm, hash)) => out.u16(algorithm.0).u16(hash.0),
                };
                out.sized(x).sized(y)
            }
        }
        .finish()
    }
}

impl fmt::Debug for Public {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Public({})", hex::encode(&self.encoded))
    }
}

fn parse_symmetric(reader: &mut Reader<'_>) -> Result<Symmetric, Malformed> {
    let algorithm = Algorithm(reader.u16()?);
    if algorithm == Algorithm::NULL {
        return Ok(Symmetric::Null);
    }
    Ok(Symmetric::Cipher {
        algorithm,
        bits: reader.u16()?,
        mode: Algorithm(reader.u16()?),
    })
}

fn parse_scheme(reader: &mut Reader<'_>) -> Result<Scheme, Malformed> {
    let algorithm = Algorithm(reader.u16()?);
    let (hash, count) = match algorithm {
        Algorithm::NULL => return Ok(Scheme::Null),
        Algorithm::RSAES => (None, None),
        Algorithm::ECDAA => (Some(Algorithm(reader.u16()?)), Some(reader.u16()?)),
        Algorithm::RSASSA
        | Algorithm::RSAPSS
        | Algorithm::OAEP
        | Algorithm::ECDSA
        | Algorithm::ECDH
        | Algorithm::SM2
        | Algorithm::ECSCHNORR => (Some(Algorithm(reader.u16()?)), None),
        _ => return Err(Malformed::Value),
    };
    Ok(Scheme::Of {
        algorithm,
        hash,
        count,
    })
}

fn parse_rsa(reader: &mut Reader<'_>) -> Result<PublicKey, Malformed> {
    let bits = reader.u16()?;
    let exponent = reader.u32()?;
    let modulus = reader.sized(limits::RSA_MODULUS)?.to_vec();
    if !modulus.is_empty() && modulus.len() != usize::from(bits).div_ceil(8) {
        return Err(Malformed::Value);
    }
    Ok(PublicKey::Rsa {
        bits,
        exponent,
        modulus,
    })
}

fn parse_ecc(reader: &mut Reader<'_>) -> Result<PublicKey, Malformed> {
    let curve = reader.u16()?;
    let kdf = match Algorithm(reader.u16()?) {
        Algorithm::NULL => None,
        algorithm => Some((algorithm, Algorithm(reader.u16()?))),
    };
    let field = Curve::from_id(curve).map_or(128, Curve::field_size);
    let x = coordinate(reader, field)?;
    let y = coordinate(reader, field)?;
    Ok(PublicKey::Ecc { curve, kdf, x, y })
}

/// Older chips strip leading zeros, newer ones pad to the field: both forms, nothing between.
fn coordinate(reader: &mut Reader<'_>, field: usize) -> Result<Vec<u8>, Malformed> {
    let bytes = reader.sized(field)?;
    if bytes.len() < field && bytes.first() == Some(&0) {
        return Err(Malformed::Value);
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AkTemplate, EkTemplate};

    #[test]
    fn templates_round_trip_and_every_prefix_is_malformed() {
        for public in EkTemplate::ALL
            .map(|template| template.public(&[]))
            .into_iter()
            .chain([AkTemplate::EccP256, AkTemplate::Rsa2048].map(AkTemplate::public))
        {
            assert_eq!(Public::parse(public.as_bytes()).as_ref(), Ok(&public));
            assert_eq!(public.encode(), public.as_bytes());
            for len in 0..public.as_bytes().len() {
                assert!(
                    Public::parse(&public.as_bytes()[..len]).is_err(),
                    "prefix of {len}"
                );
            }
            let longer = [public.as_bytes(), &[0]].concat();
            assert_eq!(Public::parse(&longer), Err(Malformed::Trailing.into()));
        }
    }

    #[test]
    fn widths_attributes_and_types_are_strict() {
        let ak = AkTemplate::EccP256.public();
        let mut reserved = ak.as_bytes().to_vec();
        reserved[4] |= 0x80;
        assert_eq!(Public::parse(&reserved), Err(Malformed::Value.into()));
        let mut keyed_hash = ak.as_bytes().to_vec();
        keyed_hash[1] = 0x08;
        assert_eq!(
            Public::parse(&keyed_hash),
            Err(PublicError::UnsupportedType(8))
        );
        let head = &ak.as_bytes()[..ak.as_bytes().len() - 4];
        let leading_zero = Writer::new().raw(head).sized(&[0, 1]).sized(&[1]).finish();
        assert_eq!(Public::parse(&leading_zero), Err(Malformed::Value.into()));
        let stripped = Writer::new()
            .raw(head)
            .sized(&[1; 31])
            .sized(&[1; 32])
            .finish();
        assert!(Public::parse(&stripped).is_ok());
        let too_wide = Writer::new()
            .raw(head)
            .sized(&[1; 33])
            .sized(&[1; 32])
            .finish();
        assert_eq!(Public::parse(&too_wide), Err(Malformed::TooLong.into()));
    }

    #[test]
    fn policies_and_schemes_are_known_ones() {
        let parsed = |policy: &[u8], scheme| {
            let ak = AkTemplate::EccP256.public();
            let attributes = ak.attributes.0;
            let public = Public::new(
                Hash::Sha256,
                attributes,
                policy,
                ak.symmetric,
                scheme,
                ak.key,
            );
            Public::parse(public.as_bytes()).map(drop)
        };
        assert_eq!(parsed(&[1; 64], Scheme::Null), Ok(()));
        assert_eq!(
            parsed(&[1; 65], Scheme::Null),
            Err(Malformed::TooLong.into())
        );
        let unknown = Scheme::Of {
            algorithm: Algorithm(0x7FFF),
            hash: None,
            count: None,
        };
        assert_eq!(parsed(&[], unknown), Err(Malformed::Value.into()));
    }

    #[test]
    fn rsa_modulus_has_the_key_size() {
        let rsa = AkTemplate::Rsa2048.public();
        let head = &rsa.as_bytes()[..rsa.as_bytes().len() - 2];
        for (len, ok) in [(255, false), (256, true), (257, false)] {
            let public = Writer::new().raw(head).sized(&vec![0x80; len]).finish();
            assert_eq!(Public::parse(&public).is_ok(), ok, "{len}");
        }
        for (bits, expect) in [
            (4096, Ok(())),
            (4104, Err(PublicError::from(Malformed::TooLong))),
        ] {
            let key = PublicKey::Rsa {
                bits,
                exponent: 0,
                modulus: vec![0x80; usize::from(bits) / 8],
            };
            let large = Public::new(
                Hash::Sha256,
                rsa.attributes.0,
                &[],
                rsa.symmetric,
                rsa.scheme,
                key,
            );
            let parsed = Public::parse(large.as_bytes()).map(drop);
            assert_eq!(parsed, expect, "{bits}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_encodes_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), head in 0usize..4) {
            let seed = EkTemplate::ALL[head].public(&[]);
            for input in [bytes.clone(), [&seed.as_bytes()[..20], &bytes].concat()] {
                if let Ok(public) = Public::parse(&input) {
                    prop_assert_eq!(public.encode(), input);
                }
            }
        }
    }
}
