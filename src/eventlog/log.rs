//! The log as the firmware wrote it: header and entries (PFP 1.06, sections 10.2 and 10.4).

use crate::reader::Reader;
use crate::spec_id::{PCRS, malformed};
use crate::{Event, EventType, LogReason, Refusal, SpecId};

/// Bounds on a log.
pub mod limits {
    /// Bytes of a log.
    pub const LOG: usize = 704 * 1024;
    /// Events of a log.
    pub const EVENTS: usize = 8192;
    /// Bytes of one event's data.
    pub const EVENT_DATA: usize = 256 * 1024;
    /// Algorithms in the header.
    pub const ALGORITHMS: usize = 8;
    /// Characters of any text in claims and refusals, but for command lines.
    pub const TEXT: usize = 256;
    /// Characters of a command line.
    pub const COMMAND_LINE: usize = 4096;
    /// Entries of one signature list variable.
    pub const SIGNATURES: usize = 4096;
}

/// A crypto-agile log. All slices are of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog<'a> {
    /// The header.
    pub spec_id: SpecId,
    /// The entries after the header, in order.
    pub events: Vec<Event<'a>>,
}

impl<'a> EventLog<'a> {
    /// Parses a whole log.
    ///
    /// # Errors
    /// [`LogReason::Malformed`], [`LogReason::Limit`], or [`LogReason::Bank`] for one of SHA-1 alone.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if bytes.len() > limits::LOG {
            return Err(limit("the log is longer than any machine's"));
        }
        let mut reader = Reader::new(bytes);
        let spec_id = SpecId::read(&mut reader)?;
        let mut events = Vec::new();
        while !reader.is_empty() {
            if events.len() == limits::EVENTS {
                return Err(limit("the log has more events than any machine's"));
            }
            let index = events.len();
            let event = event(&mut reader, index, &spec_id.algorithms);
            events.push(event.map_err(|refusal| refusal.at(index))?);
        }
        Ok(Self { spec_id, events })
    }
}

/// TCG_PCR_EVENT2.
fn event<'a>(
    reader: &mut Reader<'a>,
    index: usize,
    algorithms: &[(u16, u16)],
) -> Result<Event<'a>, Refusal> {
    let truncated = || malformed("the log ends inside an event");
    let pcr = reader.u32().ok_or_else(truncated)?;
    let kind = EventType(reader.u32().ok_or_else(truncated)?);
    let pcr = u8::try_from(pcr).ok().filter(|pcr| u32::from(*pcr) < PCRS);
    let pcr = pcr.ok_or_else(|| malformed("an event is of a PCR that no TPM has"))?;
    let digests = digests(reader, algorithms)?;
    let size = reader.size32().ok_or_else(truncated)?;
    let data = reader.take(size).ok_or_else(truncated)?;
    if data.len() > limits::EVENT_DATA {
        return Err(limit("an event is longer than any machine's"));
    }
    Ok(Event {
        index,
        pcr,
        kind,
        digests,
        data,
    })
}

/// TPML_DIGEST_VALUES, in the order of the header, whichever the event has.
///
/// PFP 1.06, section 10.2.2: an event has a digest of each algorithm that the header lists, and no other. The digest of
/// an algorithm that is not listed has no known size.
fn digests<'a>(
    reader: &mut Reader<'a>,
    algorithms: &[(u16, u16)],
) -> Result<Vec<(u16, &'a [u8])>, Refusal> {
    let truncated = || malformed("the log ends inside an event");
    if reader.size32().ok_or_else(truncated)? != algorithms.len() {
        return Err(malformed(
            "an event has more or fewer digests than the header lists",
        ));
    }
    let mut found = [None; limits::ALGORITHMS];
    for _ in algorithms {
        let algorithm = reader.u16().ok_or_else(truncated)?;
        let mut listed = algorithms.iter().zip(&mut found);
        let listed = listed.find(|((of, _), _)| *of == algorithm);
        let Some(((_, size), place @ None)) = listed else {
            return Err(malformed(
                "an event has a digest that the header does not list, or one twice",
            ));
        };
        *place = Some(reader.take(usize::from(*size)).ok_or_else(truncated)?);
    }
    let digest = |((of, _), digest): (&(u16, u16), Option<&'a [u8]>)| Some((*of, digest?));
    Ok(algorithms.iter().zip(found).filter_map(digest).collect())
}

fn limit(detail: &'static str) -> Refusal {
    Refusal::new(LogReason::Limit, detail)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use evidence::Hash;
    use softtpm::{BootLog, LogEntry};

    use super::*;

    const BANKS: [Hash; 2] = [Hash::Sha256, Hash::Sha384];

    fn parse(bytes: &[u8]) -> Result<usize, (LogReason, Option<usize>, String)> {
        let refusal = |refusal: Refusal| (refusal.reason, refusal.event, refusal.detail);
        EventLog::parse(bytes)
            .map(|log| log.events.len())
            .map_err(refusal)
    }

    fn malformed(event: usize, detail: &str) -> Result<usize, (LogReason, Option<usize>, String)> {
        Err((LogReason::Malformed, Some(event), detail.to_owned()))
    }

    /// Three events, one of which is altered.
    fn with(alter: impl FnOnce(&mut LogEntry)) -> Vec<u8> {
        let mut log = BootLog::new(&BANKS);
        log.separators(&[0, 1, 2]);
        alter(&mut log.entries[1]);
        log.encode()
    }

    #[test]
    fn a_log_is_what_was_written() {
        let forged = BootLog::sample(&BANKS).unwrap();
        let bytes = forged.encode();
        let log = EventLog::parse(&bytes).unwrap();
        assert_eq!(log.spec_id.algorithms, forged.algorithms);
        assert_eq!(log.events.len(), forged.entries.len());
        for ((index, event), entry) in (0..).zip(&log.events).zip(&forged.entries) {
            assert_eq!((event.index, u32::from(event.pcr)), (index, entry.pcr));
            assert_eq!(
                (event.kind, event.data),
                (EventType(entry.kind), &entry.data[..])
            );
            let digests = event
                .digests
                .iter()
                .map(|(of, digest)| (*of, digest.to_vec()));
            assert_eq!(digests.collect::<Vec<_>>(), entry.digests);
            let sha384 = event.digest(Hash::Sha384.algorithm().0);
            assert_eq!(sha384, entry.digest(Hash::Sha384));
        }
        assert_eq!(log.events[0].digest(Hash::Sha1.algorithm().0), None);
    }

    #[test]
    fn a_cut_inside_an_event_is_seen() {
        let forged = BootLog::sample(&BANKS).unwrap();
        let bytes = forged.encode();
        let mut end = forged.header().len();
        let mut ends = BTreeSet::from([end]);
        for entry in &forged.entries {
            end += entry.encode().len();
            ends.insert(end);
        }
        for kept in 0..bytes.len() {
            let found = parse(&bytes[..kept]);
            if ends.contains(&kept) {
                assert!(
                    found.is_ok(),
                    "{kept}: between events, which only replay shows"
                );
            } else {
                let (reason, ..) = found.unwrap_err();
                assert_eq!(
                    reason,
                    LogReason::Malformed,
                    "tpm/F02: eventlog_malformed, cut at {kept}"
                );
            }
        }
        for more in [&[0][..], &[0; 11], &[0xFF; 400]] {
            let (reason, ..) = parse(&[&bytes, more].concat()).unwrap_err();
            assert_eq!(
                reason,
                LogReason::Malformed,
                "tpm/F02: eventlog_malformed, {} more",
                more.len()
            );
        }
    }

    #[test]
    fn no_size_leads_beyond_the_log() {
        let inside = malformed(1, "the log ends inside an event");
        for size in [u32::MAX, 1 << 31, 1 << 20, 1000] {
            let log = with(|entry| entry.size = Some(size));
            assert_eq!(
                parse(&log),
                inside,
                "tpm/F21: eventlog_malformed for {size}"
            );
        }
        // What follows is data then, and no more than that.
        let follows = LogEntry::new(&BANKS, 2, 4, &[0; 4], &[0; 4]).encode().len();
        let swallowing = |size: usize| with(|entry| entry.size = u32::try_from(size).ok());
        assert_eq!(parse(&swallowing(4 + follows)), Ok(2));
        assert_eq!(parse(&swallowing(5 + follows)), inside, "tpm/F21");
    }

    #[test]
    fn an_event_has_the_digests_that_the_header_lists() {
        let count = "an event has more or fewer digests than the header lists";
        let listed = "an event has a digest that the header does not list, or one twice";
        let (sha256, sha384) = (BANKS[0].algorithm().0, BANKS[1].algorithm().0);
        let digest = |of, size| (of, vec![7; size]);
        let cases = [
            (vec![], count),
            (vec![digest(sha256, 32)], count),
            (vec![digest(sha384, 48)], count),
            (
                vec![digest(sha256, 32), digest(sha384, 48), digest(4, 20)],
                count,
            ),
            (vec![digest(sha256, 32), digest(sha256, 32)], listed),
            (vec![digest(sha256, 32), digest(4, 20)], listed),
            (vec![digest(4, 20), digest(sha256, 32)], listed),
            (vec![digest(0x0D, 64), digest(sha384, 48)], listed),
            (vec![digest(0, 32), digest(sha384, 48)], listed),
        ];
        for (digests, expected) in cases {
            let algorithms: Vec<_> = digests.iter().map(|(of, _)| *of).collect();
            let log = with(|entry| entry.digests = digests);
            assert_eq!(
                parse(&log),
                malformed(1, expected),
                "tpm/F23: {algorithms:?}"
            );
        }
        let mut log = BootLog::new(&BANKS);
        log.separators(&[0]);
        let mut many = log.encode();
        let at = log.header().len() + 8;
        many[at..at + 4].fill(0xFF);
        assert_eq!(
            parse(&many),
            malformed(0, count),
            "tpm/F23: 2^32 - 1 digests"
        );
    }

    #[test]
    fn digests_come_in_the_order_of_the_header() {
        let other = with(|entry| entry.digests.reverse());
        let same = with(|_| ());
        assert_ne!(other, same);
        assert_eq!(
            EventLog::parse(&other).unwrap(),
            EventLog::parse(&same).unwrap()
        );
    }

    #[test]
    fn an_event_is_of_a_pcr_that_a_tpm_has() {
        let no_pcr = malformed(1, "an event is of a PCR that no TPM has");
        for pcr in [24, 255, 256, 1 << 16, u32::MAX] {
            for kind in [EventType::SEPARATOR, EventType::NO_ACTION] {
                let log = with(|entry| (entry.pcr, entry.kind) = (pcr, kind.0));
                assert_eq!(parse(&log), no_pcr, "tpm/F24: {pcr} {kind:?}");
            }
        }
        for pcr in [0, 16, 23] {
            assert_eq!(parse(&with(|entry| entry.pcr = pcr)), Ok(3));
        }
    }

    #[test]
    fn events_and_bytes_are_bounded() {
        let limit = |event, detail: &str| Err((LogReason::Limit, event, detail.to_owned()));
        let many = |count: usize| {
            let mut log = BootLog::new(&[Hash::Sha256]);
            let entry = LogEntry::new(&log.hashes, 1, 1, &[], &[]);
            log.entries = vec![entry; count];
            log.encode()
        };
        let events = "the log has more events than any machine's";
        assert_eq!(parse(&many(limits::EVENTS)), Ok(limits::EVENTS));
        let more = many(limits::EVENTS + 1);
        assert!(more.len() < limits::LOG);
        assert_eq!(
            parse(&more),
            limit(None, events),
            "tpm/F28: eventlog_limit for one more"
        );
        let long = limit(None, "the log is longer than any machine's");
        assert_eq!(parse(&many(1_000_000)), long, "tpm/F28: a million");
        let filled = |size: usize| {
            let mut log = BootLog::new(&[Hash::Sha256]);
            log.event(1, 1, &vec![0; limits::EVENT_DATA]);
            log.event(1, 1, &vec![0; limits::EVENT_DATA]);
            let left = size - log.encode().len() - 50;
            log.event(1, 1, &vec![0; left]);
            log.encode()
        };
        assert_eq!(filled(limits::LOG).len(), limits::LOG);
        assert_eq!(parse(&filled(limits::LOG)), Ok(3));
        assert_eq!(
            parse(&filled(limits::LOG + 1)),
            long,
            "tpm/F28: a byte more"
        );
        let mut log = BootLog::new(&[Hash::Sha256]);
        log.event(1, 1, &vec![0; limits::EVENT_DATA + 1]);
        let event = "an event is longer than any machine's";
        assert_eq!(parse(&log.encode()), limit(Some(0), event));
    }

    #[test]
    fn logs_of_sha1_alone_are_refused() {
        let log = BootLog::sample(&[Hash::Sha1]).unwrap().encode();
        let (reason, event, _) = parse(&log).unwrap_err();
        assert_eq!(
            (reason, event),
            (LogReason::Bank, None),
            "tpm/F25: eventlog_bank"
        );
        let both = BootLog::sample(&[Hash::Sha1, Hash::Sha256]).unwrap();
        assert_eq!(parse(&both.encode()), Ok(both.entries.len()));
        // Events of an old log, which have one digest and no name for its algorithm.
        let mut old = [0u32, EventType::S_CRTM_VERSION.0]
            .map(u32::to_le_bytes)
            .concat();
        old.extend([7; 20]);
        old.extend([2, 0, 0, 0, b'1', 0]);
        assert_eq!(
            parse(&old.repeat(3)).unwrap_err().0,
            LogReason::Bank,
            "tpm/F25"
        );
        assert_eq!(parse(&[]).unwrap_err().0, LogReason::Malformed);
    }

    /// What a firmware wrote: see the README there.
    #[test]
    fn logs_of_real_boots_are_parsed() {
        let cases = [
            ("good", 2, 30),
            ("updated", 2, 30),
            ("changed", 2, 30),
            ("insecure", 2, 29),
            ("grub", 2, 47),
            ("direct", 1, 22),
        ];
        for (boot, banks, events) in cases {
            let boots = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/boots");
            let bytes = fs::read(format!("{boots}/{boot}/eventlog.bin")).unwrap();
            let log = EventLog::parse(&bytes).unwrap();
            assert_eq!(log.spec_id.algorithms.len(), banks, "{boot}");
            assert_eq!(log.spec_id.version, (2, 0, 0), "{boot}");
            assert_eq!(log.events.len(), events, "{boot}");
            let names = log.events.iter().all(|event| event.kind.name().is_some());
            assert!(names, "{boot}");
        }
    }
}
