//! Actions: strings that the firmware measures when something happens, and what may not follow leaving the boot services.

use crate::measurement::{Measurement, Measurements};
use crate::{Action, EventType, LogReason, Refusal, limits, text};

/// PFP 1.06, section 3.3.4.5: a boot option is tried.
pub(crate) const CALLING_EFI_APPLICATION: &str = "Calling EFI Application from Boot Option";
/// PFP 1.06, section 3.3.4.6: the operating system takes over.
pub(crate) const EXIT_BOOT_SERVICES_INVOCATION: &str = "Exit Boot Services Invocation";
/// It has.
pub(crate) const EXIT_BOOT_SERVICES_SUCCESS: &str = "Exit Boot Services Returned with Success";
const EXIT_BOOT_SERVICES_FAILURE: &str = "Exit Boot Services Returned with Failure";

/// The actions in PCRs 0 to 7. Those whose data is not what was measured are none; in PCR 7 they refuse the log.
pub(crate) fn claims(measurements: &Measurements<'_>) -> Vec<Action> {
    let firmware = measurements.all.iter().filter(|one| one.event.pcr <= 7);
    let actions = firmware.filter(|one| is_action(one) && one.is_bound());
    actions
        .filter_map(|one| {
            Some(Action {
                pcr: one.event.pcr,
                text: text::utf8(one.event.data)?,
            })
        })
        .collect()
}

/// The place of the first event that tells of leaving the boot services, by its digest: types are covered by none.
pub(crate) fn exit_boot_services(measurements: &Measurements<'_>) -> Option<usize> {
    let exits = exits(measurements);
    measurements.all.iter().position(|one| is_exit(one, &exits))
}

/// PFP 1.06, section 3.3.4.6: after ExitBootServices the firmware measures nothing. So an event of PCRs 0 to 7 that the log
/// has behind it was extended by the operating system, and proves nothing about the boot (rule M6).
///
/// This orders a log that is honest. Digests do not cover the order between PCRs: who is root later can extend PCR 4 and
/// write the entry further up. What a machine gains by that is an image or an authority more, never one less.
pub(crate) fn check_order(measurements: &Measurements<'_>) -> Result<(), Refusal> {
    let exits = exits(measurements);
    let mut has_left = false;
    for measurement in &measurements.all {
        if is_exit(measurement, &exits) {
            has_left = true;
        } else if has_left && measurement.event.pcr <= 7 {
            let detail = "it was measured after the boot services were left";
            return measurement.refused(LogReason::Order, detail);
        }
    }
    Ok(())
}

/// Text of printable ASCII that is what was measured. At this length it is no image: those have a header that is no text.
pub(crate) fn is_short_text(measurement: &Measurement<'_>) -> bool {
    let data = measurement.event.data;
    data.len() <= limits::TEXT
        && data.iter().all(|byte| (b' '..=b'~').contains(byte))
        && measurement.is_bound()
}

fn is_action(measurement: &Measurement<'_>) -> bool {
    [EventType::EFI_ACTION, EventType::ACTION].contains(&measurement.event.kind)
}

fn is_exit(measurement: &Measurement<'_>, exits: &[Vec<u8>; 3]) -> bool {
    measurement.event.pcr == 5 && exits.iter().any(|exit| exit == measurement.digest)
}

fn exits(measurements: &Measurements<'_>) -> [Vec<u8>; 3] {
    [
        EXIT_BOOT_SERVICES_INVOCATION,
        EXIT_BOOT_SERVICES_SUCCESS,
        EXIT_BOOT_SERVICES_FAILURE,
    ]
    .map(|action| measurements.digest_of(action.as_bytes()))
}
