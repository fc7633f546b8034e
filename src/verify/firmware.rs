//! Firmware versions as a quote shows them, and ranges of them.

use std::fmt;

use crate::Vendor;

/// firmwareVersion of a TPMS_ATTEST (TPM library part 2, section 10.12.12): vendors read its 64 bits as four numbers
/// of 16 bits, and publish the first two or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FirmwareVersion(pub u64);

/// Versions of one vendor, or of any. Both ends belong to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirmwareRange {
    /// The vendor; `None` stands for every one, known or not.
    pub vendor: Option<Vendor>,
    /// The lowest version.
    pub from: FirmwareVersion,
    /// The highest version.
    pub to: FirmwareVersion,
}

impl FirmwareVersion {
    /// The lowest.
    pub const MIN: Self = Self(0);
    /// The highest.
    pub const MAX: Self = Self(u64::MAX);

    /// The lowest version that a text of one to four decimal numbers begins: `7.85` is 7.85.0.0.
    pub fn lowest(text: &str) -> Option<Self> {
        Self::filled(text, 0)
    }

    /// The highest version that a text of one to four decimal numbers begins: `7.85` is 7.85.65535.65535.
    pub fn highest(text: &str) -> Option<Self> {
        Self::filled(text, u16::MAX)
    }

    /// The first two numbers, as in selectors: `7.85`.
    pub fn major_minor(self) -> String {
        let [major, minor, ..] = self.parts();
        format!("{major}.{minor}")
    }

    fn filled(text: &str, rest: u16) -> Option<Self> {
        let mut parts = [rest; 4];
        let mut numbers = text.split('.');
        for part in &mut parts {
            let Some(number) = numbers.next() else { break };
            // A sign would do for parse, and no digit at all will not.
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            *part = number.parse().ok().filter(|_| digits)?;
        }
        if numbers.next().is_some() {
            return None;
        }
        let [major, minor, third, fourth] = parts.map(u64::from);
        Some(Self(major << 48 | minor << 32 | third << 16 | fourth))
    }

    fn parts(self) -> [u16; 4] {
        let part = |shift: u32| u16::try_from(self.0 >> shift & 0xFFFF).unwrap_or_default();
        [part(48), part(32), part(16), part(0)]
    }
}

impl fmt::Display for FirmwareVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, third, fourth] = self.parts();
        write!(out, "{major}.{minor}.{third}.{fourth}")
    }
}

impl FirmwareRange {
    /// Whether a version of a vendor is in the range. A TPM of no known vendor is in ranges of every vendor only.
    pub fn contains(&self, vendor: Option<Vendor>, version: FirmwareVersion) -> bool {
        (self.vendor.is_none() || self.vendor == vendor) && (self.from..=self.to).contains(&version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_one_to_four_numbers() {
        for (text, lowest, highest) in [
            ("7", Some("7.0.0.0"), "7.65535.65535.65535"),
            ("7.85", Some("7.85.0.0"), "7.85.65535.65535"),
            ("7.85.4555.0", Some("7.85.4555.0"), "7.85.4555.0"),
            ("73.65535", Some("73.65535.0.0"), "73.65535.65535.65535"),
            ("", None, ""),
            ("7.", None, ""),
            ("7.65536", None, ""),
            ("+7", None, ""),
            ("7.8a", None, ""),
            ("1.2.3.4.5", None, ""),
        ] {
            let shown =
                |version: Option<FirmwareVersion>| version.map(|version| version.to_string());
            assert_eq!(
                shown(FirmwareVersion::lowest(text)).as_deref(),
                lowest,
                "{text}"
            );
            let highest = lowest.map(|_| highest);
            assert_eq!(
                shown(FirmwareVersion::highest(text)).as_deref(),
                highest,
                "{text}"
            );
        }
        // What swtpm says of itself.
        assert_eq!(
            FirmwareVersion(0x2019_1023_0016_3636).to_string(),
            "8217.4131.22.13878"
        );
        assert_eq!(FirmwareVersion(0x0007_0055_0000_0001).major_minor(), "7.85");
    }

    #[test]
    fn both_ends_belong_to_a_range_and_vendors_count() {
        let (ifx, stm) = (Vendor(*b"IFX\0"), Vendor(*b"STM "));
        let range = |vendor| FirmwareRange {
            vendor,
            from: FirmwareVersion::lowest("7.62").unwrap(),
            to: FirmwareVersion::highest("7.85").unwrap(),
        };
        for (of, vendor, version, expect) in [
            (Some(ifx), Some(ifx), "7.62", true),
            (Some(ifx), Some(ifx), "7.61.65535", false),
            (Some(ifx), Some(ifx), "7.85.65535.65535", true),
            (Some(ifx), Some(ifx), "7.86", false),
            (Some(ifx), Some(stm), "7.70", false),
            (Some(ifx), None, "7.70", false),
            (None, Some(stm), "7.70", true),
            (None, None, "7.70", true),
        ] {
            let version = FirmwareVersion::lowest(version).unwrap();
            assert_eq!(
                range(of).contains(vendor, version),
                expect,
                "{vendor:?} {version}"
            );
        }
    }
}
