//! TCG_PCClientTaggedEvent: what EV_EVENT_TAG has for data (PFP 1.06, section 10.4.2.1).

use crate::reader::Reader;

/// The tag's ID, and its data; `None` where these are not all of `data`.
pub(crate) fn parse(data: &[u8]) -> Option<(u32, &[u8])> {
    let mut reader = Reader::new(data);
    let id = reader.u32()?;
    let size = reader.size32()?;
    let tagged = reader.take(size)?;
    reader.is_empty().then_some((id, tagged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_all_of_its_event() {
        let good = [0xED, 0x22, 0x3B, 0x8F, 2, 0, 0, 0, b'o', b'k'];
        assert_eq!(parse(&good), Some((0x8F3B_22ED, &b"ok"[..])));
        for kept in 0..good.len() {
            assert_eq!(parse(&good[..kept]), None, "{kept}");
        }
        assert_eq!(parse(&[&good[..], &[0]].concat()), None);
        let mut long = good;
        long[4..8].fill(0xFF);
        assert_eq!(parse(&long), None);
    }
}
