//! What a TPM says about itself: its fixed and changing properties (TPM library part 2, section 6.13).

use std::time::Instant;

use tpm::{Error, Tpm};
use verify::Vendor;

use crate::text::printable;

/// Properties of a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) manufacturer: String,
    /// The vendor's own text; printable, perhaps empty.
    pub(crate) text: String,
    /// TPM_PT_FIRMWARE_VERSION_1 and _2 in hex.
    pub(crate) firmware: String,
    pub(crate) permanent: u32,
    pub(crate) startup_clear: u32,
    pub(crate) lockout_counter: u32,
    pub(crate) max_auth_fail: u32,
}

impl Description {
    pub(crate) fn read(tpm: &mut dyn Tpm, deadline: Instant) -> Result<Self, Error> {
        let mut property = |which| tpm.property(which, deadline).map(Option::unwrap_or_default);
        let manufacturer = Vendor(property(MANUFACTURER)?.to_be_bytes()).to_string();
        let mut text = Vec::new();
        for part in VENDOR_STRINGS {
            text.extend(
                property(part)?
                    .to_be_bytes()
                    .into_iter()
                    .filter(|byte| *byte != 0),
            );
        }
        let (high, low) = (property(FIRMWARE_VERSION_1)?, property(FIRMWARE_VERSION_2)?);
        Ok(Self {
            manufacturer,
            text: printable(&one_line(&String::from_utf8_lossy(&text))),
            firmware: format!("{high:08x}.{low:08x}"),
            permanent: property(PERMANENT)?,
            startup_clear: property(STARTUP_CLEAR)?,
            lockout_counter: property(LOCKOUT_COUNTER)?,
            max_auth_fail: property(MAX_AUTH_FAIL)?,
        })
    }

    /// TPMA_PERMANENT.endorsementAuthSet.
    pub(crate) fn has_endorsement_auth(&self) -> bool {
        self.permanent & (1 << 1) != 0
    }

    /// TPMA_PERMANENT.inLockout.
    pub(crate) fn is_in_lockout(&self) -> bool {
        self.permanent & (1 << 9) != 0
    }

    /// TPMA_STARTUP_CLEAR.ehEnable.
    pub(crate) fn has_endorsement_hierarchy(&self) -> bool {
        self.startup_clear & (1 << 2) != 0
    }
}

/// The four parts are filled up with spaces.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const MANUFACTURER: u32 = 0x105;
const VENDOR_STRINGS: std::ops::RangeInclusive<u32> = 0x106..=0x109;
const FIRMWARE_VERSION_1: u32 = 0x10B;
const FIRMWARE_VERSION_2: u32 = 0x10C;
const PERMANENT: u32 = 0x200;
const STARTUP_CLEAR: u32 = 0x201;
const LOCKOUT_COUNTER: u32 = 0x20E;
const MAX_AUTH_FAIL: u32 = 0x20F;
