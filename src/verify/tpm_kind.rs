//! What a TPM is made of, as far as its certified vendor says it.

use crate::Vendor;

/// A chip, a program in the platform's firmware, or a program of a hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TpmKind {
    /// A chip of its own.
    Discrete,
    /// A part of the processor's or platform's firmware.
    Firmware,
    /// A part of a hypervisor, or another program.
    Virtual,
}

impl TpmKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Discrete, Self::Firmware, Self::Virtual];

    /// The name in configuration and selectors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Firmware => "firmware",
            Self::Virtual => "virtual",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What a vendor makes, where it makes one kind only. `None` for vendors of several kinds and for those that
    /// nobody here knows.
    pub fn of(vendor: Vendor) -> Option<Self> {
        match &vendor.0 {
            b"ATML" | b"IFX\0" | b"NSG\0" | b"NSM " | b"NTC\0" | b"NTZ\0" | b"SEAL" | b"SECE"
            | b"SMSC" | b"STM " | b"TXN\0" | b"WEC\0" => Some(Self::Discrete),
            b"AMD\0" | b"INTC" | b"QCOM" | b"HISI" => Some(Self::Firmware),
            // IBM is the vendor of the library in swtpm, whose certificates write another number.
            b"GOOG" | b"IBM\0" | b"MSFT" | b"VMW\0" | [0, 0, 0x10, 0x14] => Some(Self::Virtual),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors_of_one_kind_have_a_kind() {
        for (vendor, kind) in [
            ("IFX", Some(TpmKind::Discrete)),
            ("STM", Some(TpmKind::Discrete)),
            ("INTC", Some(TpmKind::Firmware)),
            ("AMD", Some(TpmKind::Firmware)),
            ("GOOG", Some(TpmKind::Virtual)),
            ("id:00001014", Some(TpmKind::Virtual)),
            ("HPE", None),
            ("ZZZZ", None),
        ] {
            assert_eq!(
                TpmKind::of(Vendor::from_name(vendor).unwrap()),
                kind,
                "{vendor}"
            );
        }
        for kind in TpmKind::ALL {
            assert_eq!(TpmKind::from_name(kind.name()), Some(kind));
        }
    }
}
