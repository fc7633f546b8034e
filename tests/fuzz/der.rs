//! DER by hand: as much as it takes to make certificates and lists, and to take apart those that were read.

use std::ops::Range;

/// An element.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let [.., high, low] = contents.len().to_be_bytes();
    let header = match contents.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [header, contents.to_vec()].concat()
}

/// An INTEGER that is not negative.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let sign: &[u8] = match digits.first() {
        Some(0..0x80) => &[],
        _ => &[0],
    };
    element(0x02, &[sign, digits].concat())
}

/// Where the members of the element at a place are; none where it has other contents than elements.
pub(crate) fn members(der: &[u8], place: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = place.start + header(&der[place.clone()]).0;
    while at < place.end {
        let (header, contents) = header(&der[at..place.end]);
        let end = at + header + contents;
        if end > place.end {
            return Vec::new();
        }
        found.push(at..end);
        at = end;
    }
    found
}

/// The first member of a certificate or list: what its issuer signed.
pub(crate) fn signed_part(der: &[u8]) -> &[u8] {
    let signed = members(der, 0..der.len()).into_iter().next();
    &der[signed.expect("a signed part")]
}

/// Octets of the tag and the length, and of the contents.
fn header(der: &[u8]) -> (usize, usize) {
    let octet = |at: usize| usize::from(der.get(at).copied().unwrap_or_default());
    match octet(1) {
        length @ 0..0x80 => (2, length),
        many => {
            let octets = many & 0x7F;
            let length = (2..2 + octets.min(4)).fold(0, |length, at| length << 8 | octet(at));
            (2 + octets, length)
        }
    }
}
