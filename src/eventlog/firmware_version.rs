//! The firmware's version, as it measured it of itself.

use crate::measurement::{Measurement, Measurements};
use crate::separators::SEPARATOR;
use crate::{EventType, guid, text};

/// The first EV_S_CRTM_VERSION whose data is what was measured: UTF-16, or a GUID (PFP 1.06, section 10.4.1).
///
/// Only what comes before PCR 0's first separator, by its digest, is the firmware's. The type is covered by no digest: what
/// is proved is that the firmware measured this, and not that it meant it for a version.
pub(crate) fn claim(measurements: &Measurements<'_>) -> Option<String> {
    let separator = measurements.digest_of(&SEPARATOR);
    measurements
        .of_pcr(0)
        .take_while(|one| one.digest != separator)
        .find(|one| one.event.kind == EventType::S_CRTM_VERSION && one.is_bound())
        .and_then(version)
}

fn version(measurement: &Measurement<'_>) -> Option<String> {
    let data = measurement.event.data;
    // A text of seven characters has as many bytes as a GUID, but then it has a terminator, or it is readable throughout.
    let is_text = |text: &String| !text.is_empty() && !text.contains('\\');
    let guid = || data.try_into().ok().map(guid::text);
    text::utf16(data).filter(is_text).or_else(guid)
}
