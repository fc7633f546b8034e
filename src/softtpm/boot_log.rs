//! A boot event log in the making: entries that are open to change, and the PCR values that a boot of them leads to.

use std::collections::BTreeMap;

use evidence::{Hash, limits};

/// PCR values by bank.
pub type BootPcrs = BTreeMap<Hash, BTreeMap<u8, Vec<u8>>>;

/// A crypto-agile log (TCG PC Client Platform Firmware Profile 1.06, section 10). A boot and a log that tells something
/// else are two of these: the values of one, the bytes of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootLog {
    /// The algorithms that entries are measured with, in the order of the header.
    pub hashes: Vec<Hash>,
    /// What stands in the header: the algorithms and sizes of `hashes`, unless changed.
    pub algorithms: Vec<(u16, u16)>,
    /// The entries after the header.
    pub entries: Vec<LogEntry>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// pcrIndex.
    pub pcr: u32,
    /// eventType.
    pub kind: u32,
    /// TPM_ALG_ID and digest; the bank of each is extended by it.
    pub digests: Vec<(u16, Vec<u8>)>,
    /// The data of the entry.
    pub data: Vec<u8>,
    /// The size that stands before the data, if it is not that of the data.
    pub size: Option<u32>,
}

impl BootLog {
    /// A log without entries.
    pub fn new(hashes: &[Hash]) -> Self {
        let size = |hash: &Hash| u16::try_from(hash.size()).unwrap_or_default();
        let algorithm = |hash: &Hash| (hash.algorithm().0, size(hash));
        Self {
            hashes: hashes.to_vec(),
            algorithms: hashes.iter().map(algorithm).collect(),
            entries: Vec::new(),
        }
    }

    /// Appends an entry whose data is what is measured; returns its place.
    pub fn event(&mut self, pcr: u32, kind: u32, data: &[u8]) -> usize {
        self.event_measuring(pcr, kind, data, data)
    }

    /// Appends an entry with a digest over something else than its data.
    pub fn event_measuring(&mut self, pcr: u32, kind: u32, measured: &[u8], data: &[u8]) -> usize {
        let entry = LogEntry::new(&self.hashes, pcr, kind, measured, data);
        self.push(entry)
    }

    /// Appends an EV_NO_ACTION entry: digests of zeros, which extend nothing.
    pub fn no_action(&mut self, pcr: u32, data: &[u8]) -> usize {
        let mut entry = LogEntry::new(&self.hashes, pcr, NO_ACTION, &[], data);
        for (_, digest) in &mut entry.digests {
            digest.fill(0);
        }
        self.push(entry)
    }

    /// Appends an entry as it is.
    pub fn push(&mut self, entry: LogEntry) -> usize {
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// The place of the first entry that `is` holds for.
    pub fn position(&self, is: impl Fn(&LogEntry) -> bool) -> Option<usize> {
        self.entries.iter().position(is)
    }

    /// The log, and the PCR values after a boot that measured its entries.
    pub fn finish(&self) -> (Vec<u8>, BootPcrs) {
        (self.encode(), self.pcrs())
    }

    /// The log: header and entries.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header();
        for entry in &self.entries {
            out.extend(entry.encode());
        }
        out
    }

    /// The values of all 24 PCRs in the banks of `hashes`: PCRs start as zeros, 17 to 22 as ones, PCR 0 at the locality of
    /// startup, and all entries extend but those of EV_NO_ACTION (section 10.4.1).
    pub fn pcrs(&self) -> BootPcrs {
        let bank = |hash: &Hash| (*hash, self.bank(*hash));
        self.hashes.iter().map(bank).collect()
    }

    /// TCG_PCR_EVENT with a TCG_EfiSpecIDEvent (sections 10.2.1 and 10.4.5.1).
    pub fn header(&self) -> Vec<u8> {
        let mut data = b"Spec ID Event03\0".to_vec();
        data.extend(0u32.to_le_bytes());
        data.extend([0, 2, 106, 2]);
        data.extend(length(self.algorithms.len()));
        for (algorithm, size) in &self.algorithms {
            data.extend(algorithm.to_le_bytes());
            data.extend(size.to_le_bytes());
        }
        data.push(0);
        let mut out = [0u32, NO_ACTION].map(u32::to_le_bytes).concat();
        out.extend([0; 20]);
        out.extend(length(data.len()));
        out.extend(data);
        out
    }

    fn bank(&self, hash: Hash) -> BTreeMap<u8, Vec<u8>> {
        let mut values = reset_values(hash);
        if let (Some(locality), Some(last)) = (
            self.locality(),
            values.get_mut(&0).and_then(|value| value.last_mut()),
        ) {
            *last = locality;
        }
        for entry in &self.entries {
            let digest = entry.digest(hash);
            let value = u8::try_from(entry.pcr)
                .ok()
                .and_then(|pcr| values.get_mut(&pcr));
            if let (true, Some(digest), Some(value)) = (entry.kind != NO_ACTION, digest, value) {
                *value = hash.digest(&[value, digest]);
            }
        }
        values
    }

    fn locality(&self) -> Option<u8> {
        let mut events = self
            .entries
            .iter()
            .filter(|entry| entry.kind == NO_ACTION && entry.pcr == 0);
        events.find_map(|entry| match entry.data.strip_prefix(STARTUP_LOCALITY) {
            Some([locality]) => Some(*locality),
            _ => None,
        })
    }
}

impl LogEntry {
    /// An entry that measures something in all banks.
    pub fn new(hashes: &[Hash], pcr: u32, kind: u32, measured: &[u8], data: &[u8]) -> Self {
        let digest = |hash: &Hash| (hash.algorithm().0, hash.digest(&[measured]));
        Self {
            pcr,
            kind,
            digests: hashes.iter().map(digest).collect(),
            data: data.to_vec(),
            size: None,
        }
    }

    /// The digest for a bank.
    pub fn digest(&self, hash: Hash) -> Option<&[u8]> {
        let own = |(algorithm, _): &&(u16, Vec<u8>)| *algorithm == hash.algorithm().0;
        self.digests
            .iter()
            .find(own)
            .map(|(_, digest)| digest.as_slice())
    }

    /// Measures something else, in the banks that the entry has.
    pub fn measure(&mut self, measured: &[u8]) {
        for (algorithm, digest) in &mut self.digests {
            if let Some(hash) = Hash::from_algorithm(evidence::Algorithm(*algorithm)) {
                *digest = hash.digest(&[measured]);
            }
        }
    }

    /// Has other data, and measures it.
    pub fn rewrite(&mut self, data: &[u8]) {
        self.measure(data);
        self.data = data.to_vec();
    }

    /// TCG_PCR_EVENT2 (section 10.2.2).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = [self.pcr, self.kind].map(u32::to_le_bytes).concat();
        out.extend(length(self.digests.len()));
        for (algorithm, digest) in &self.digests {
            out.extend(algorithm.to_le_bytes());
            out.extend(digest);
        }
        let size = self.size.map(u32::to_le_bytes);
        out.extend(size.unwrap_or_else(|| length(self.data.len())));
        out.extend(&self.data);
        out
    }
}

/// What PCRs hold after a reset at locality 0.
pub(crate) fn reset_values(hash: Hash) -> BTreeMap<u8, Vec<u8>> {
    let last = u8::try_from(limits::PCRS).unwrap_or_default();
    let value = |pcr| match pcr {
        17..=22 => vec![0xFF; hash.size()],
        _ => vec![0; hash.size()],
    };
    (0..last).map(|pcr| (pcr, value(pcr))).collect()
}

pub(crate) fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()
}

pub(crate) const NO_ACTION: u32 = 3;
pub(crate) const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyKind, SoftTpm};
    use evidence::AkTemplate;

    #[test]
    fn entries_extend_the_banks_that_they_have_digests_for() {
        let mut log = BootLog::new(&[Hash::Sha256, Hash::Sha384]);
        log.no_action(0, b"nothing");
        let zeros = log.pcrs();
        assert_eq!(zeros[&Hash::Sha384][&7], [0; 48]);
        assert_eq!(zeros[&Hash::Sha256][&17], [0xFF; 32]);
        log.event(7, 4, &[0; 4]);
        let place = log.event_measuring(24, 1, b"measured", b"data");
        assert_eq!(
            log.entries[place].digests[0].1,
            Hash::Sha256.digest(&[b"measured"])
        );
        log.entries[1].digests.pop();
        let (_, after) = log.finish();
        let digest = Hash::Sha256.digest(&[&[0; 4]]);
        assert_eq!(
            after[&Hash::Sha256][&7],
            Hash::Sha256.digest(&[&[0; 32], &digest])
        );
        assert_eq!(after[&Hash::Sha384], zeros[&Hash::Sha384]);
    }

    #[test]
    fn a_locality_is_where_pcr_0_starts() {
        let mut log = BootLog::new(&[Hash::Sha256]);
        log.startup_locality(3);
        let mut value = [0; 32];
        value[31] = 3;
        assert_eq!(log.pcrs()[&Hash::Sha256][&0], value);
        let digest = Hash::Sha256.digest(&[b"code"]);
        log.event(0, 7, b"code");
        assert_eq!(
            log.pcrs()[&Hash::Sha256][&0],
            Hash::Sha256.digest(&[&value, &digest])
        );
    }

    #[test]
    fn the_layout_is_the_profiles() {
        let mut log = BootLog::new(&[Hash::Sha1]);
        log.event(4, 0x8000_0007, b"go");
        let header = log.header();
        assert_eq!(header.len(), 32 + 16 + 4 + 4 + 4 + 4 + 1);
        assert_eq!(header[28..32], [33, 0, 0, 0]);
        assert_eq!(header[56..], [1, 0, 0, 0, 4, 0, 20, 0, 0]);
        let entry = &log.encode()[header.len()..];
        assert_eq!(entry[..14], [4, 0, 0, 0, 7, 0, 0, 0x80, 1, 0, 0, 0, 4, 0]);
        assert_eq!(entry[14..34], Hash::Sha1.digest(&[b"go"]));
        assert_eq!(entry[34..], [2, 0, 0, 0, b'g', b'o']);
        log.entries[0].size = Some(u32::MAX);
        assert_eq!(log.entries[0].encode()[34..38], [0xFF; 4]);
    }

    #[test]
    fn a_machine_boots_what_the_log_tells_and_boots_it_again() {
        let mut tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
        let log = BootLog::sample(&[Hash::Sha256]).unwrap();
        tpm.boot(&log);
        let (bytes, pcrs) = log.finish();
        assert_eq!(tpm.log, Some(bytes));
        assert_eq!(tpm.pcrs[0].values, pcrs[&Hash::Sha256]);
        assert_eq!(
            tpm.pcrs[1].values,
            reset_values(Hash::Sha384),
            "not measured"
        );
        let booted = tpm.pcrs.clone();
        tpm.extend(8, b"at run time");
        assert_ne!(tpm.pcrs, booted);
        tpm.reset();
        assert_eq!((tpm.pcrs, tpm.clock.reset_count), (booted, 8));
    }

    #[test]
    fn samples_differ_in_what_they_are_named_for() {
        let pcrs = |log: Result<BootLog, _>| log.unwrap().pcrs().remove(&Hash::Sha256).unwrap();
        let hashes = [Hash::Sha256];
        let plain = pcrs(BootLog::sample(&hashes));
        assert_eq!(plain, pcrs(BootLog::sample(&hashes)));
        let differ = |other: BTreeMap<u8, Vec<u8>>| -> Vec<u8> {
            (0..24).filter(|pcr| plain[pcr] != other[pcr]).collect()
        };
        assert_eq!(
            differ(pcrs(BootLog::sample_with_option_rom(&hashes))),
            [2, 7]
        );
        assert_eq!(differ(pcrs(BootLog::sample_insecure(&hashes))), [7]);
        let mut shim = BootLog::sample(&hashes).unwrap();
        shim.shim_variables();
        assert_eq!(differ(pcrs(Ok(shim))), [7, 14]);
    }
}
