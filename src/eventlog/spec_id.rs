//! The header of a crypto-agile log: a TCG_PCR_EVENT with a TCG_EfiSpecIDEvent (PFP 1.06, sections 10.2.1 and 10.4.5.1).

use crate::reader::Reader;
use crate::{EventType, LogReason, Refusal, limits};

/// TCG_EfiSpecIDEvent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecId {
    /// 0 client, 1 server.
    pub platform_class: u32,
    /// Major, minor, errata.
    pub version: (u8, u8, u8),
    /// TPM_ALG_ID and digest size in bytes, of every bank that the log has.
    pub algorithms: Vec<(u16, u16)>,
}

impl SpecId {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let first =
            First::read(reader).ok_or_else(|| malformed("the log ends inside its header"))?;
        let mut fields = Reader::new(first.data);
        if fields.take(SIGNATURE.len()) != Some(SIGNATURE) {
            return Err(first.without_spec_id());
        }
        // Section 10.4.5.1: in PCR 0, of EV_NO_ACTION, with a digest of zeros.
        if (first.pcr, first.kind, first.digest) != (0, EventType::NO_ACTION, [0; 20]) {
            return Err(malformed("the header is no EV_NO_ACTION event of PCR 0"));
        }
        let spec_id = Self::parse(fields)?;
        if spec_id.algorithms.iter().all(|(of, _)| *of == SHA1) {
            return Err(of_sha1_alone());
        }
        Ok(spec_id)
    }

    fn parse(mut fields: Reader<'_>) -> Result<Self, Refusal> {
        let truncated = || malformed("the Spec ID ends inside a field");
        let platform_class = fields.u32().ok_or_else(truncated)?;
        let version = fields.array::<4>().ok_or_else(truncated)?;
        let count = fields.size32().ok_or_else(truncated)?;
        if !(1..=limits::ALGORITHMS).contains(&count) {
            return Err(malformed(
                "the Spec ID has no algorithm, or more than any TPM",
            ));
        }
        let mut algorithms = Vec::new();
        for _ in 0..count {
            let algorithm = fields.u16().ok_or_else(truncated)?;
            let size = fields.u16().ok_or_else(truncated)?;
            if !has_size(algorithm, size) {
                return Err(malformed(
                    "an algorithm of the Spec ID is not of its digest's size",
                ));
            }
            if algorithms.iter().any(|(other, _)| *other == algorithm) {
                return Err(malformed("an algorithm is twice in the Spec ID"));
            }
            algorithms.push((algorithm, size));
        }
        let vendor = fields.u8().ok_or_else(truncated)?;
        fields.take(usize::from(vendor)).ok_or_else(truncated)?;
        if !fields.is_empty() {
            return Err(malformed("bytes follow the Spec ID in the header"));
        }
        let [minor, major, errata, _uintn_size] = version;
        Ok(Self {
            platform_class,
            version: (major, minor, errata),
            algorithms,
        })
    }
}

/// TCG_PCR_EVENT, the only form of entry in logs of SHA-1 alone.
struct First<'a> {
    pcr: u32,
    kind: EventType,
    digest: [u8; 20],
    data: &'a [u8],
}

impl<'a> First<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        Some(Self {
            pcr: reader.u32()?,
            kind: EventType(reader.u32()?),
            digest: reader.array()?,
            data: {
                let size = reader.size32()?;
                reader.take(size)?
            },
        })
    }

    /// An event of a firmware that knows SHA-1 alone, or nothing of the kind.
    fn without_spec_id(&self) -> Refusal {
        if self.pcr < PCRS {
            of_sha1_alone()
        } else {
            malformed("the log begins with no event of a PCR")
        }
    }
}

/// The sizes of the TCG algorithm registry; an algorithm that is not known here has a size that a TPM can have.
fn has_size(algorithm: u16, size: u16) -> bool {
    match KNOWN.iter().find(|(known, _)| *known == algorithm) {
        Some((_, known)) => *known == size,
        None => (1..=MAX_DIGEST).contains(&size),
    }
}

fn of_sha1_alone() -> Refusal {
    Refusal::new(LogReason::Bank, "the log is one of SHA-1 alone")
}

pub(crate) fn malformed(detail: &'static str) -> Refusal {
    Refusal::new(LogReason::Malformed, detail)
}

/// PCRs of a PC Client TPM.
pub(crate) const PCRS: u32 = 24;
const SIGNATURE: &[u8] = b"Spec ID Event03\0";
const SHA1: u16 = 0x0004;
/// TPM_ALG_ID and bytes: SHA-1, SHA-256, SHA-384, SHA-512, SM3-256, SHA3-256, SHA3-384, SHA3-512.
const KNOWN: [(u16, u16); 8] = [
    (SHA1, 20),
    (0x000B, 32),
    (0x000C, 48),
    (0x000D, 64),
    (0x0012, 32),
    (0x0027, 32),
    (0x0028, 48),
    (0x0029, 64),
];
const MAX_DIGEST: u16 = 64;

#[cfg(test)]
mod tests {
    use evidence::Hash;
    use softtpm::BootLog;

    use super::*;

    fn read(header: &[u8]) -> Result<SpecId, (LogReason, String)> {
        let refusal = |refusal: Refusal| (refusal.reason, refusal.detail);
        SpecId::read(&mut Reader::new(header)).map_err(refusal)
    }

    fn header(algorithms: &[(u16, u16)]) -> Vec<u8> {
        let mut log = BootLog::new(&[]);
        log.algorithms = algorithms.to_vec();
        log.header()
    }

    fn malformed(detail: &str) -> Result<SpecId, (LogReason, String)> {
        Err((LogReason::Malformed, detail.to_owned()))
    }

    #[test]
    fn a_header_says_what_the_log_is_of() {
        let spec_id = read(&BootLog::new(&[Hash::Sha1, Hash::Sha256]).header()).unwrap();
        assert_eq!(spec_id.version, (2, 0, 106));
        assert_eq!(spec_id.platform_class, 0);
        assert_eq!(spec_id.algorithms, [(4, 20), (0xB, 32)]);
        let mut vendor = BootLog::new(&[Hash::Sha256]).header();
        vendor.pop();
        vendor.extend([3, 1, 2, 3]);
        vendor[28] += 3;
        assert!(read(&vendor).is_ok(), "with vendor information");
    }

    #[test]
    fn algorithms_are_few_known_by_their_size_and_once_each() {
        let of = |count: u16| -> Vec<_> { (0..count).map(|id| (0x100 + id, 32)).collect() };
        let many = "the Spec ID has no algorithm, or more than any TPM";
        let sized = "an algorithm of the Spec ID is not of its digest's size";
        let twice = "an algorithm is twice in the Spec ID";
        let cases: [(&[(u16, u16)], &str); 13] = [
            (&[], many),
            (&of(9), many),
            (&of(1000), many),
            (&[(0xB, 20)], sized),
            (&[(4, 32)], sized),
            (&[(0xC, 32)], sized),
            (&[(0xD, 48)], sized),
            (&[(0x12, 64)], sized),
            (&[(0x27, 20), (0xB, 32)], sized),
            (&[(0xB, 0)], sized),
            (&[(0x100, 0)], sized),
            (&[(0x100, 65)], sized),
            (&[(0xB, 32), (0xC, 48), (0xB, 32)], twice),
        ];
        for (algorithms, expected) in cases {
            let found = read(&header(algorithms));
            assert_eq!(
                found,
                malformed(expected),
                "tpm/F22: eventlog_malformed for {algorithms:?}"
            );
        }
        for algorithms in [
            of(8),
            vec![(0x12, 32), (0x29, 64)],
            vec![(0xB, 32), (0x100, 1), (0x101, 64)],
            vec![(0x100, 64), (0xB, 32)],
        ] {
            assert_eq!(read(&header(&algorithms)).unwrap().algorithms, algorithms);
        }
        let mut huge = header(&[(0xB, 32)]);
        huge[56..60].fill(0xFF);
        assert_eq!(read(&huge), malformed(many), "tpm/F22: a count of 2^32 - 1");
    }

    #[test]
    fn logs_of_sha1_alone_are_named_as_such() {
        let alone = Err((LogReason::Bank, "the log is one of SHA-1 alone".to_owned()));
        assert_eq!(
            read(&header(&[(4, 20)])),
            alone,
            "tpm/F25: eventlog_bank by the Spec ID"
        );
        for signature in [&b"Spec ID Event00\0"[..], b"Spec ID Event02\0", b""] {
            let size = u32::try_from(signature.len()).unwrap().to_le_bytes();
            let event = [&[0, 0, 0, 0, 3, 0, 0, 0], &[0; 20][..], &size, signature].concat();
            assert_eq!(read(&event), alone, "tpm/F25: {signature:?}");
        }
        let version = [
            &[0, 0, 0, 0, 8, 0, 0, 0],
            &[7; 20][..],
            &[2, 0, 0, 0, b'1', 0],
        ]
        .concat();
        assert_eq!(read(&version), alone, "tpm/F25: no header at all");
        let last = [&[23, 0, 0, 0, 8, 0, 0, 0], &[7; 20][..], &[0; 4]].concat();
        assert_eq!(read(&last), alone);
        let far = [&[24, 0, 0, 0, 8, 0, 0, 0], &[7; 20][..], &[0; 4]].concat();
        assert_eq!(
            read(&far),
            malformed("the log begins with no event of a PCR")
        );
    }

    #[test]
    fn the_header_is_strict() {
        let good = header(&[(0xB, 32)]);
        for kept in 0..good.len() {
            let cut = read(&good[..kept]);
            assert_eq!(
                cut,
                malformed("the log ends inside its header"),
                "tpm/F02: {kept}"
            );
        }
        let of_pcr_0 = "the header is no EV_NO_ACTION event of PCR 0";
        for (at, expected) in [(0, of_pcr_0), (4, of_pcr_0), (8, of_pcr_0), (27, of_pcr_0)] {
            let mut header = good.clone();
            header[at] ^= 5;
            assert_eq!(read(&header), malformed(expected), "{at}");
        }
        let data = good.len() - 32;
        for size in 16..data {
            let mut short = good[..32 + size].to_vec();
            short[28] = u8::try_from(size).unwrap();
            assert_eq!(
                read(&short),
                malformed("the Spec ID ends inside a field"),
                "{size}"
            );
        }
        let mut long = [good.as_slice(), &[0]].concat();
        long[28] += 1;
        assert_eq!(
            read(&long),
            malformed("bytes follow the Spec ID in the header")
        );
        let mut vendor = good;
        *vendor.last_mut().unwrap() = 1;
        assert_eq!(read(&vendor), malformed("the Spec ID ends inside a field"));
    }
}
