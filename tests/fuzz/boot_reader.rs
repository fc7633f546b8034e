//! Another reader of boot event logs and of what Secure Boot measures in them: by hand, and with no rule but the format's.

/// An entry after the header.
pub(crate) struct Entry<'a> {
    /// Its first byte, and the one after its last.
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) pcr: u32,
    pub(crate) kind: u32,
    /// In ascending order of the algorithms.
    pub(crate) digests: Vec<(u16, &'a [u8])>,
    pub(crate) data: &'a [u8],
}

/// The entries of a log (PFP 1.06, section 10.2), however many; of SHA-1 alone, too, if it has a Spec ID.
pub(crate) fn read(log: &[u8]) -> Option<Vec<Entry<'_>>> {
    let (mut at, algorithms) = header(log)?;
    let mut entries = Vec::new();
    while at < log.len() {
        let start = at;
        let (pcr, kind, count) = (word(log, at)?, word(log, at + 4)?, word(log, at + 8)?);
        if pcr >= 24 || usize::try_from(count) != Ok(algorithms.len()) {
            return None;
        }
        at += 12;
        let mut digests = Vec::new();
        for _ in 0..count {
            let of = half(log, at)?;
            let (_, size) = algorithms.iter().find(|(known, _)| *known == of)?;
            digests.push((of, log.get(at + 2..at + 2 + size)?));
            at += 2 + size;
        }
        digests.sort_unstable();
        if !digests.is_sorted_by(|one, next| one.0 < next.0) {
            return None;
        }
        let size = usize::try_from(word(log, at)?).ok()?;
        let data = log.get(at + 4..)?.get(..size)?;
        at += 4 + size;
        entries.push(Entry {
            start,
            end: at,
            pcr,
            kind,
            digests,
            data,
        });
    }
    Some(entries)
}

/// Where the entries begin, and the sizes of digests.
fn header(log: &[u8]) -> Option<(usize, Vec<(u16, usize)>)> {
    let size = usize::try_from(word(log, 28)?).ok()?;
    let data = log.get(32..)?.get(..size)?;
    let starts_as_it_must =
        log[..4] == [0; 4] && log[4..8] == [3, 0, 0, 0] && log[8..28] == [0; 20];
    let count = usize::try_from(word(data, 24)?).ok()?;
    if !starts_as_it_must || !data.starts_with(b"Spec ID Event03\0") || count == 0 || count > 8 {
        return None;
    }
    let mut algorithms = Vec::new();
    for at in (28..).step_by(4).take(count) {
        let (of, size) = (half(data, at)?, half(data, at + 2)?);
        let known = match of {
            0x4 => 20,
            0xB | 0x12 | 0x27 => 32,
            0xC | 0x28 => 48,
            0xD | 0x29 => 64,
            _ => size,
        };
        let again = algorithms.iter().any(|(other, _)| *other == of);
        if size != known || size == 0 || size > 64 || again {
            return None;
        }
        algorithms.push((of, usize::from(size)));
    }
    let vendor = 28 + 4 * count;
    let end = vendor + 1 + usize::from(*data.get(vendor)?);
    (end == data.len()).then_some((32 + size, algorithms))
}

/// GUID, name and value of a variable that is all of some data (section 10.2.6).
pub(crate) fn variable(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let name = long(data, 16)?.checked_mul(2)?;
    let value = data.get(32..)?.get(name..)?;
    (long(data, 24)? == value.len()).then_some((&data[..16], &data[32..32 + name], value))
}

/// The signatures in lists, without their owners (UEFI 2.10, section 32.4.1).
pub(crate) fn signatures(mut lists: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !lists.is_empty() {
        let sizes = [word(lists, 16)?, word(lists, 20)?, word(lists, 24)?];
        let [list, header, size] = sizes.map(|size| usize::try_from(size).expect("32 bits"));
        let entries = lists.get(28..list)?.get(header..)?;
        if size <= 16 || entries.len() % size != 0 {
            return None;
        }
        found.extend(entries.chunks(size).map(|entry| &entry[16..]));
        lists = &lists[list..];
    }
    Some(found)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u64::from_le_bytes(*bytes)).ok()
}
