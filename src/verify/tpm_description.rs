//! What an EK certificate says about the TPM: manufacturer, model and version.

use std::fmt;

use x509_parser::extensions::{GeneralName, SubjectAlternativeName};
use x509_parser::x509::AttributeTypeAndValue;

use crate::printable::printable;

/// The TPM attributes of a subject alternative name (TCG EK Credential Profile 2.6, section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmDescription {
    vendor: Vendor,
    model: String,
    version: String,
}

/// A TPM vendor ID (TCG TPM Vendor ID Registry): four bytes, mostly a short name in ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vendor(pub [u8; 4]);

impl fmt::Display for Vendor {
    /// The name without its padding, such as `IFX`; `id:` and eight hex digits where the bytes are
    /// no name.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = std::str::from_utf8(&self.0)
            .unwrap_or_default()
            .trim_end_matches(['\0', ' ']);
        if name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            out.write_str(name)
        } else {
            write!(out, "id:{:08X}", u32::from_be_bytes(self.0))
        }
    }
}

impl Vendor {
    /// The vendor of a name as [`fmt::Display`] writes it: two to four letters or digits, padded with
    /// zeros where the registry does not pad with a space, or `id:` and eight hex digits.
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(vendor) = read_vendor(name) {
            return Some(vendor);
        }
        // TCG TPM Vendor ID Registry: these two are padded with spaces.
        match name {
            "STM" => return Some(Self(*b"STM ")),
            "NSM" => return Some(Self(*b"NSM ")),
            _ => {}
        }
        let is_name =
            (2..=4).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let mut id = [0; 4];
        for (to, from) in id.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        is_name.then_some(Self(id))
    }
}

impl TpmDescription {
    /// Who made the TPM.
    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// The model as its maker writes it; printable ASCII, 1 to 128 characters.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The firmware version when the certificate was issued, such as `id:00010002`; printable
    /// ASCII, 1 to 128 characters.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The description in a subject alternative name, or what is wrong with it.
    ///
    /// TCG EK Credential Profile 2.6, section 3: a directory name carries each of the three
    /// attributes once. Vendors put them into one relative distinguished name or into three.
    pub(crate) fn read(name: &SubjectAlternativeName<'_>) -> Result<Self, &'static str> {
        let mut attributes = Vec::new();
        for general in &name.general_names {
            match general {
                GeneralName::DirectoryName(name) => attributes.extend(name.iter_attributes()),
                GeneralName::Invalid(..) => return Err("holds a malformed name"),
                _ => {}
            }
        }
        let vendor = single(&attributes, MANUFACTURER)?;
        Ok(Self {
            vendor: read_vendor(vendor).ok_or("has a malformed manufacturer")?,
            model: described(single(&attributes, MODEL)?)?,
            version: described(single(&attributes, VERSION)?)?,
        })
    }
}

/// The text of the only attribute of a type.
fn single<'a>(
    attributes: &[&AttributeTypeAndValue<'a>],
    oid: &str,
) -> Result<&'a str, &'static str> {
    let mut found = attributes
        .iter()
        .filter(|attribute| attribute.attr_type().to_id_string() == oid);
    match (found.next(), found.next()) {
        (None, _) => Err("lacks manufacturer, model or version"),
        (Some(_), Some(_)) => Err("has manufacturer, model or version twice"),
        // The profile's syntax is UTF8String; PrintableString, a subset, occurs.
        (Some(one), None) => match one.attr_value().tag().0 {
            UTF8_STRING | PRINTABLE_STRING => one.as_str().ok().ok_or(NOT_TEXT),
            _ => Err(NOT_TEXT),
        },
    }
}

/// TCG EK Credential Profile 2.6, section 3: `id:` and the vendor ID as eight hex digits.
fn read_vendor(text: &str) -> Option<Vendor> {
    let digits = text.strip_prefix("id:")?;
    if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let id = u32::from_str_radix(digits, 16).ok()?;
    Some(Vendor(id.to_be_bytes()))
}

/// Model and version are free text: versions shorter than the profile's eight digits exist.
fn described(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        Err("has an empty model or version")
    } else {
        Ok(printable(text, MAX_TEXT))
    }
}

const MANUFACTURER: &str = "2.23.133.2.1";
const MODEL: &str = "2.23.133.2.2";
const VERSION: &str = "2.23.133.2.3";
const UTF8_STRING: u32 = 12;
const PRINTABLE_STRING: u32 = 19;
const NOT_TEXT: &str = "has a manufacturer, model or version that is no UTF8String";
const MAX_TEXT: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_read_as_names_where_they_are_names() {
        for (id, expected) in [
            (0x4946_5800_u32, "IFX"),
            (0x5354_4D20, "STM"),
            (0x4E53_4D20, "NSM"),
            (0x494E_5443, "INTC"),
            (0x414D_4400, "AMD"),
            (0x4142_0000, "AB"),
            (0x0000_1014, "id:00001014"),
            (0x4100_0000, "id:41000000"),
            (0x613A_6200, "id:613A6200"),
            (0xFFFF_FFFF, "id:FFFFFFFF"),
        ] {
            let vendor = Vendor(id.to_be_bytes());
            assert_eq!(vendor.to_string(), expected);
            assert_eq!(Vendor::from_name(expected), Some(vendor));
        }
    }

    #[test]
    fn what_is_no_vendor_has_no_name() {
        for name in [
            "",
            "A",
            "INTEL",
            "A B",
            "IF\u{58}\u{301}",
            "id:1014",
            "id:0000101g",
        ] {
            assert_eq!(Vendor::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn vendor_ids_are_eight_digits() {
        assert_eq!(read_vendor("id:4946580a"), Some(Vendor(*b"IFX\n")));
        for text in [
            "id:ZZ",
            "id:4E5443",
            "id:4E54430000",
            "4E544300",
            "ID:4E544300",
            "id:+4E54430",
            "id:4E54430é",
        ] {
            assert_eq!(read_vendor(text), None, "{text}");
        }
    }
}
