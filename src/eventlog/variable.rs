//! UEFI_VARIABLE_DATA: a variable as it is measured (PFP 1.06, section 10.2.6).

use crate::guid::Guid;
use crate::reader::Reader;
use crate::text;

/// A variable. Its slices are of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variable<'a> {
    /// The vendor GUID, as it is stored.
    pub(crate) guid: Guid,
    /// The name in UTF-16, little-endian, of any units.
    pub(crate) name: &'a [u8],
    /// The value.
    pub(crate) data: &'a [u8],
}

impl Variable<'_> {
    /// It is the variable of this GUID and name, unit for unit.
    pub(crate) fn is(&self, guid: Guid, name: &str) -> bool {
        let units = name.encode_utf16().flat_map(u16::to_le_bytes);
        self.guid == guid && units.eq(self.name.iter().copied())
    }

    /// The name as text; `None` where it is none.
    pub(crate) fn name(&self) -> Option<String> {
        text::utf16(self.name)
    }
}

/// Parses a variable that is all of `data`: the sizes of name, in units of two bytes, and value must be what is there.
pub(crate) fn parse(data: &[u8]) -> Result<Variable<'_>, &'static str> {
    let mut reader = Reader::new(data);
    let guid = reader.array().ok_or(TRUNCATED)?;
    let units = reader.size64().ok_or(TRUNCATED)?;
    let size = reader.size64().ok_or(TRUNCATED)?;
    let name = units.checked_mul(2).and_then(|name| reader.take(name));
    let name = name.ok_or("the name of a variable is longer than its event")?;
    let data = reader.take(size);
    let data = data.ok_or("the value of a variable is longer than its event")?;
    if !reader.is_empty() {
        return Err("bytes follow a variable in its event");
    }
    Ok(Variable { guid, name, data })
}

const TRUNCATED: &str = "an event is shorter than a variable";

#[cfg(test)]
mod tests {
    use softtpm::variable_data;

    use super::*;
    use crate::guid::{GLOBAL_VARIABLE, SHIM_LOCK};

    #[test]
    fn variables_are_guid_name_and_value() {
        let data = variable_data(GLOBAL_VARIABLE, "SecureBoot", &[1]);
        let variable = parse(&data).unwrap();
        assert!(variable.is(GLOBAL_VARIABLE, "SecureBoot"));
        for (guid, name) in [
            (SHIM_LOCK, "SecureBoot"),
            (GLOBAL_VARIABLE, "SecureBoo"),
            (GLOBAL_VARIABLE, "SecureBoot\0"),
            (GLOBAL_VARIABLE, "secureboot"),
        ] {
            assert!(!variable.is(guid, name), "{name:?}");
        }
        assert_eq!(variable.name().as_deref(), Some("SecureBoot"));
        assert_eq!(variable.data, [1]);
        let empty = variable_data(GLOBAL_VARIABLE, "", &[]);
        assert!(parse(&empty).unwrap().data.is_empty());
    }

    #[test]
    fn names_that_are_no_text_are_opaque() {
        for units in [&[0xD800_u16][..], &[0x41, 0, 0x42], &[0xDC00, 0x41]] {
            let name: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let mut data = variable_data(GLOBAL_VARIABLE, &"x".repeat(units.len()), &[1]);
            data[32..32 + name.len()].copy_from_slice(&name);
            let variable = parse(&data).unwrap();
            assert_eq!(variable.name(), None, "tpm/F30: {units:?}");
            assert!(!variable.is(GLOBAL_VARIABLE, "A"), "tpm/F30: {units:?}");
        }
    }

    #[test]
    fn sizes_are_what_is_there() {
        let good = variable_data(GLOBAL_VARIABLE, "db", &[1, 2, 3]);
        let name = 16;
        let value = 24;
        let long = "the name of a variable is longer than its event";
        let cases: [(usize, u64, &str); 7] = [
            (name, 1 << 63, long),
            (name, (1 << 63) + 2, long),
            (name, u64::MAX, long),
            (name, 4, long),
            (name, 1, "bytes follow a variable in its event"),
            (value, 4, "the value of a variable is longer than its event"),
            (
                value,
                u64::MAX,
                "the value of a variable is longer than its event",
            ),
        ];
        for (at, size, expected) in cases {
            let mut data = good.clone();
            data[at..at + 8].copy_from_slice(&size.to_le_bytes());
            assert_eq!(
                parse(&data),
                Err(expected),
                "tpm/F20: eventlog_malformed for {at} {size}"
            );
        }
        for kept in 0..good.len() {
            assert!(parse(&good[..kept]).is_err(), "{kept}");
        }
        assert!(parse(&[good.as_slice(), &[0]].concat()).is_err());
    }
}
