//! Strict reading of DER (X.690): definite minimal lengths, primitive strings, nothing left over.

/// Levels of nesting; a certificate with a directory name in an extension needs 10.
const MAX_DEPTH: usize = 32;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// One element: identifier octet and contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// The identifier octet.
    pub(crate) tag: u8,
    /// The contents octets.
    pub(crate) contents: &'a [u8],
    /// Identifier, length and contents.
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The first element of `bytes`, and what follows it.
    pub(crate) fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&tag, rest) = bytes.split_first()?;
        // X.690, 8.1.2.4: tag numbers from 31 take several octets; X.509 has none.
        if tag & 0x1F == 0x1F {
            return None;
        }
        let (length, rest) = length(rest)?;
        let (contents, after) = rest.split_at_checked(length)?;
        let whole = bytes.get(..bytes.len().checked_sub(after.len())?)?;
        Some((
            Self {
                tag,
                contents,
                whole,
            },
            after,
        ))
    }

    /// The element that is all of `bytes`.
    pub(crate) fn only(bytes: &'a [u8]) -> Option<Self> {
        match Self::first(bytes)? {
            (element, []) => Some(element),
            _ => None,
        }
    }

    /// The elements that are all of `bytes`, one after the other.
    pub(crate) fn list(mut bytes: &'a [u8]) -> Option<Vec<Self>> {
        let mut elements = Vec::new();
        while !bytes.is_empty() {
            let (element, rest) = Self::first(bytes)?;
            elements.push(element);
            bytes = rest;
        }
        Some(elements)
    }

    /// The members, if this is an element with `tag`.
    pub(crate) fn members(&self, tag: u8) -> Option<Vec<Self>> {
        if self.tag == tag {
            Self::list(self.contents)
        } else {
            None
        }
    }
}

/// X.690, 10.1: lengths are definite and take the fewest octets.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((usize::from(first), rest));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
    if digits.len() > 3 || digits.first().is_none_or(|digit| *digit == 0) {
        return None;
    }
    let length = digits
        .iter()
        .fold(0, |length, digit| length << 8 | usize::from(*digit));
    if length < 0x80 {
        None
    } else {
        Some((length, rest))
    }
}

/// Whether `bytes` are one element that is DER all the way down. Two rules are left out because
/// vendors break them and nothing hangs on them: the order of a SET (X.690, 11.6) and the shortest
/// form of an INTEGER (8.3.2), which serial numbers depart from.
pub(crate) fn is_der(bytes: &[u8]) -> bool {
    let Some(root) = Element::only(bytes) else {
        return false;
    };
    let mut open = vec![(root, 0)];
    while let Some((element, depth)) = open.pop() {
        let is_constructed = element.tag & 0x20 != 0;
        if depth >= MAX_DEPTH || !is_well_formed(&element, is_constructed) {
            return false;
        }
        if is_constructed {
            let Some(members) = Element::list(element.contents) else {
                return false;
            };
            open.extend(members.into_iter().map(|member| (member, depth + 1)));
        }
    }
    true
}

fn is_well_formed(element: &Element<'_>, is_constructed: bool) -> bool {
    let contents = element.contents;
    match element.tag {
        SEQUENCE | SET => true,
        // A SEQUENCE or SET is constructed (8.9.1), and end-of-contents belongs to BER.
        0x00 | 0x10 | 0x11 => false,
        // Universal types other than those two are primitive (10.2).
        tag if tag & 0xC0 == 0 && is_constructed => false,
        // 8.2 and 11.1.
        BOOLEAN => matches!(contents, [0x00 | 0xFF]),
        INTEGER => !contents.is_empty(),
        // 8.6.2 and 11.2.1: the count of unused bits, which are zero.
        BIT_STRING => match contents {
            [0] => true,
            [unused @ 0..=7, .., last] => last & !(0xFF << unused) == 0,
            _ => false,
        },
        NULL => contents.is_empty(),
        // 8.19.2: the last octet ends a subidentifier.
        OBJECT_IDENTIFIER => contents.last().is_some_and(|last| last & 0x80 == 0),
        // Universal and context-specific are all that X.509 uses.
        tag => tag & 0x40 == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_encoding_of_each_value_is_der() {
        for (bytes, expected) in [
            (&[0x30, 0x00][..], true),
            (&[0x30, 0x03, 0x01, 0x01, 0xFF], true),
            (&[0xA3, 0x02, 0x05, 0x00], true),
            (&[0x02, 0x02, 0x00, 0x01], true),
            (&[], false),
            (&[0x30], false),
            (&[0x30, 0x01], false),
            (&[0x30, 0x00, 0x00], false),
            (&[0x30, 0x80, 0x00, 0x00], false),
            (&[0x30, 0x81, 0x00], false),
            (&[0x30, 0x81, 0x02, 0x05, 0x00], false),
            (&[0x30, 0x82, 0x00, 0x02, 0x05, 0x00], false),
            (&[0x30, 0x84, 0x00, 0x00, 0x00, 0x02, 0x05, 0x00], false),
            (&[0x24, 0x02, 0x04, 0x00], false),
            (&[0x10, 0x00], false),
            (&[0x01, 0x01, 0x01], false),
            (&[0x01, 0x00], false),
            (&[0x02, 0x00], false),
            (&[0x03, 0x00], false),
            (&[0x03, 0x01, 0x01], false),
            (&[0x03, 0x02, 0x05, 0xA0], true),
            (&[0x03, 0x02, 0x06, 0xA0], false),
            (&[0x03, 0x02, 0x08, 0x00], false),
            (&[0x05, 0x01, 0x00], false),
            (&[0x06, 0x01, 0x80], false),
            (&[0x1F, 0x01, 0x00], false),
            (&[0x41, 0x00], false),
            (&[0x30, 0x02, 0x30, 0x80], false),
        ] {
            assert_eq!(is_der(bytes), expected, "{bytes:02X?}");
        }
        let long = |length: &[u8]| is_der(&[&[0x04], length, &[7; 128]].concat());
        assert!(long(&[0x81, 0x80]));
        assert!(!long(&[0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0x80]));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            (0..depth).fold(vec![0x05, 0x00], |inner, _| {
                [&[0x30, u8::try_from(inner.len()).unwrap()][..], &inner].concat()
            })
        };
        assert!(is_der(&nested(MAX_DEPTH - 1)));
        assert!(!is_der(&nested(MAX_DEPTH)));
    }
}
