//! Firmware versions that an advisory says are vulnerable.

use crate::{FirmwareRange, FirmwareVersion, Vendor};

/// What is published about firmware versions of a vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advisory {
    /// The name, such as `CVE-2017-15361`.
    pub name: String,
    /// The versions it is about.
    pub affected: Vec<FirmwareRange>,
}

/// What becomes of a machine whose TPM is in an advisory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VulnerableTpms {
    /// It is accepted, and the operator warned.
    #[default]
    Warn,
    /// It is refused: `firmware_denied`.
    Reject,
}

/// The advisories that a TPM is in, by name. A TPM of no known vendor is in those about every vendor only.
pub(crate) fn advisories_about(
    advisories: &[Advisory],
    vendor: Option<Vendor>,
    version: FirmwareVersion,
) -> Vec<String> {
    let affects = |advisory: &&Advisory| {
        advisory
            .affected
            .iter()
            .any(|range| range.contains(vendor, version))
    };
    advisories
        .iter()
        .filter(affects)
        .map(|advisory| advisory.name.clone())
        .collect()
}
