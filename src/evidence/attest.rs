//! TPMS_ATTEST: what a TPM signs about itself and its objects (TPM library part 2, section 10.12).

use crate::pcr::{PcrSelection, parse_selections};
use crate::{Malformed, Name, Reader, Writer, limits};

/// TPM_GENERATED_VALUE: no external data that a restricted key signs may start with it.
pub const TPM_GENERATED: u32 = 0xFF54_4347;

/// TPM_ST values of attestation structures.
#[expect(missing_docs, reason = "the names are the library's")]
pub mod tag {
    pub const ATTEST_NV: u16 = 0x8014;
    pub const ATTEST_COMMAND_AUDIT: u16 = 0x8015;
    pub const ATTEST_SESSION_AUDIT: u16 = 0x8016;
    pub const ATTEST_CERTIFY: u16 = 0x8017;
    pub const ATTEST_QUOTE: u16 = 0x8018;
    pub const ATTEST_TIME: u16 = 0x8019;
    pub const ATTEST_CREATION: u16 = 0x801A;
}

/// A parsed attestation structure. Magic and type are reported, not judged, so that the verifier
/// can say which of them is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attest {
    /// magic.
    pub magic: u32,
    /// type, a TPM_ST.
    pub kind: u16,
    /// qualifiedSigner.
    pub qualified_signer: Name,
    /// extraData.
    pub extra_data: Vec<u8>,
    /// clockInfo.
    pub clock: ClockInfo,
    /// firmwareVersion.
    pub firmware: u64,
    /// attested.
    pub attested: Attested,
}

/// TPMS_CLOCK_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds that the TPM has been powered.
    pub clock: u64,
    /// TPM resets since the last clear.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether `clock` has certainly never been higher.
    pub safe: bool,
}

/// TPMU_ATTEST, the members that this project reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attested {
    /// TPMS_QUOTE_INFO.
    Quote {
        /// pcrSelect.
        selections: Vec<PcrSelection>,
        /// pcrDigest.
        digest: Vec<u8>,
    },
    /// TPMS_CREATION_INFO.
    Creation {
        /// objectName.
        name: Name,
        /// creationHash.
        hash: Vec<u8>,
    },
    /// TPMS_CERTIFY_INFO.
    Certify {
        /// name.
        name: Name,
        /// qualifiedName.
        qualified_name: Name,
    },
    /// Any other member, or what follows a wrong magic; not parsed.
    Other(Vec<u8>),
}

impl Attest {
    /// Parses a TPMS_ATTEST that is all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limits::ATTEST {
            return Err(Malformed::TooLong);
        }
        let mut reader = Reader::new(bytes);
        let magic = reader.u32()?;
        let kind = reader.u16()?;
        let qualified_signer = Name::from_bytes(reader.sized(MAX_NAME)?);
        let extra_data = reader.sized(MAX_DATA)?.to_vec();
        let clock = ClockInfo {
            clock: reader.u64()?,
            reset_count: reader.u32()?,
            restart_count: reader.u32()?,
            safe: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed::Value),
            },
        };
        let firmware = reader.u64()?;
        let attested = match kind {
            tag::ATTEST_QUOTE => Attested::Quote {
                selections: parse_selections(&mut reader)?,
                digest: reader.sized(MAX_DATA)?.to_vec(),
            },
            tag::ATTEST_CREATION => Attested::Creation {
                name: Name::from_bytes(reader.sized(MAX_NAME)?),
                hash: reader.sized(MAX_DATA)?.to_vec(),
            },
            tag::ATTEST_CERTIFY => Attested::Certify {
                name: Name::from_bytes(reader.sized(MAX_NAME)?),
                qualified_name: Name::from_bytes(reader.sized(MAX_NAME)?),
            },
            _ => Attested::Other(reader.take(reader.rest().len())?.to_vec()),
        };
        reader.end()?;
        Ok(Self {
            magic,
            kind,
            qualified_signer,
            extra_data,
            clock,
            firmware,
            attested,
        })
    }

    /// The TPMS_ATTEST of these fields.
    pub fn encode(&self) -> Vec<u8> {
        let out = Writer::new()
            .u32(self.magic)
            .u16(self.kind)
            .sized(self.qualified_signer.as_bytes())
            .sized(&self.extra_data)
            .u64(self.clock.clock)
            .u32(self.clock.reset_count)
            .u32(self.clock.restart_count)
            .u8(u8::from(self.clock.safe))
            .u64(self.firmware);
        match &self.attested {
            Attested::Quote { selections, digest } => out
                .raw(&PcrSelection::encode_list(selections))
                .sized(digest),
            Attested::Creation { name, hash } => out.sized(name.as_bytes()).sized(hash),
            Attested::Certify {
                name,
                qualified_name,
            } => out.sized(name.as_bytes()).sized(qualified_name.as_bytes()),
            Attested::Other(bytes) => out.raw(bytes),
        }
        .finish()
    }
}

/// A Name: an algorithm and the largest digest.
const MAX_NAME: usize = 66;
/// TPM2B_DATA and TPM2B_DIGEST: the largest digest and an algorithm.
const MAX_DATA: usize = 66;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Hash;

    fn quote() -> Attest {
        Attest {
            magic: TPM_GENERATED,
            kind: tag::ATTEST_QUOTE,
            qualified_signer: Name::from_bytes(&[0, 11, 1]),
            extra_data: vec![7; 32],
            clock: ClockInfo {
                clock: 5,
                reset_count: 2,
                restart_count: 1,
                safe: true,
            },
            firmware: 9,
            attested: Attested::Quote {
                selections: vec![PcrSelection::new(Hash::Sha256, &[0, 7])],
                digest: vec![3; 32],
            },
        }
    }

    #[test]
    fn quotes_round_trip_and_every_prefix_is_malformed() {
        let bytes = quote().encode();
        assert_eq!(Attest::parse(&bytes), Ok(quote()));
        for len in 0..bytes.len() {
            assert!(Attest::parse(&bytes[..len]).is_err(), "prefix of {len}");
        }
        assert_eq!(
            Attest::parse(&[&bytes[..], &[0]].concat()),
            Err(Malformed::Trailing)
        );
    }

    #[test]
    fn every_field_is_bounded() {
        let with = |change: &dyn Fn(&mut Attest)| {
            let mut attest = quote();
            change(&mut attest);
            Attest::parse(&attest.encode()).map(drop)
        };
        let name = |size| Name::from_bytes(&vec![1; size]);
        let creation = |name_size, hash_size| {
            with(&|attest| {
                attest.kind = tag::ATTEST_CREATION;
                attest.attested = Attested::Creation {
                    name: name(name_size),
                    hash: vec![1; hash_size],
                };
            })
        };
        let certify = |of, qualified| {
            with(&|attest| {
                attest.kind = tag::ATTEST_CERTIFY;
                attest.attested = Attested::Certify {
                    name: name(of),
                    qualified_name: name(qualified),
                };
            })
        };
        let digest = |size| {
            with(&|attest| {
                let (selections, digest) = (Vec::new(), vec![1; size]);
                attest.attested = Attested::Quote { selections, digest };
            })
        };
        for (size, expect) in [(66, Ok(())), (67, Err(Malformed::TooLong))] {
            assert_eq!(with(&|attest| attest.qualified_signer = name(size)), expect);
            assert_eq!(with(&|attest| attest.extra_data = vec![1; size]), expect);
            assert_eq!(digest(size), expect);
            assert_eq!(creation(size, 1), expect);
            assert_eq!(creation(1, size), expect);
            assert_eq!(certify(size, 1), expect);
            assert_eq!(certify(1, size), expect);
        }
        let other = with(&|attest| {
            attest.kind = tag::ATTEST_TIME;
            attest.attested = Attested::Other(vec![0; limits::ATTEST]);
        });
        assert_eq!(other, Err(Malformed::TooLong));
    }

    #[test]
    fn safe_is_yes_or_no() {
        let mut bytes = quote().encode();
        let safe = 4 + 2 + 2 + 3 + 2 + 32 + 8 + 4 + 4;
        assert_eq!(bytes[safe], 1);
        bytes[safe] = 2;
        assert_eq!(Attest::parse(&bytes), Err(Malformed::Value));
    }

    proptest! {
        #[test]
        fn what_parses_encodes_to_the_same_bytes(at in 0usize..110, byte in any::<u8>()) {
            let mut bytes = quote().encode();
            if let Some(slot) = bytes.get_mut(at) { *slot = byte; }
            if let Ok(attest) = Attest::parse(&bytes) {
                prop_assert_eq!(attest.encode(), bytes);
            }
        }
    }
}
