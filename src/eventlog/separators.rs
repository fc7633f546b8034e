//! Separators: the line in each firmware PCR between what the firmware measured and what came later (rules M6 and M8).

use crate::measurement::{Measurement, Measurements};
use crate::{EventType, LogReason, Refusal};

/// What a separator measures when nothing went wrong.
pub(crate) const SEPARATOR: [u8; 4] = [0; 4];

/// PFP 1.06, section 10.4.1: each of PCRs 0 to 7 has exactly one EV_SEPARATOR, and its data is 00000000. Other data tells
/// of an error in the firmware. Without it, or with two, what was measured later could pass for the firmware's.
pub(crate) fn check(measurements: &Measurements<'_>) -> Result<(), Refusal> {
    let digest = measurements.digest_of(&SEPARATOR);
    for pcr in 0..=7 {
        let mut count = 0_usize;
        for measurement in measurements.of_pcr(pcr) {
            if measurement.event.kind == EventType::SEPARATOR {
                count = count.saturating_add(1);
                check_one(measurement, count)?;
            } else if CODE.contains(&pcr) && measurement.digest == digest {
                return measurement
                    .refused(LogReason::Separator, "it measures what a separator does");
            }
        }
        if count == 0 {
            let detail = format!("PCR {pcr} has no separator");
            return Err(Refusal::new(LogReason::Separator, detail));
        }
    }
    Ok(())
}

fn check_one(measurement: &Measurement<'_>, count: usize) -> Result<(), Refusal> {
    if count > 1 {
        return measurement.refused(LogReason::Separator, "it is the second");
    }
    if measurement.event.data != SEPARATOR {
        return measurement.refused(LogReason::Separator, "its data is not 00000000");
    }
    if !measurement.is_bound() {
        return measurement.refused(LogReason::Digest, "its digest is another one");
    }
    Ok(())
}

/// PCRs where nothing else is ever four zero bytes, and where a separator under another type would move the line. Some
/// firmware measures such bytes as a part of itself into PCR 0; PCR 7 has its own rules for types.
const CODE: [u8; 3] = [2, 4, 5];
