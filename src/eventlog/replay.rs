//! Replay: the PCR values that a log leads to, and whether they are the quoted ones (rules M2 and M3).

use std::collections::{BTreeMap, BTreeSet};

use crate::actions::{self, EXIT_BOOT_SERVICES_INVOCATION, EXIT_BOOT_SERVICES_SUCCESS};
use crate::measurement::Measurements;
use crate::quirk::Tolerance;
use crate::{Bank, EventLog, EventType, LogReason, Quirk, Refusal, locality};

/// PCR values by PCR, each of the bank's digest size.
pub type PcrValues = BTreeMap<u8, Vec<u8>>;

/// The values of all 24 PCRs after the events of a log, or none if the log lacks the bank. A log that breaks the rules of
/// StartupLocality, which [`crate::appraise`] refuses, is replayed as if PCR 0 had started at zero.
pub fn replay(log: &EventLog<'_>, bank: Bank) -> PcrValues {
    let Ok(measurements) = Measurements::of(log, bank) else {
        return PcrValues::new();
    };
    values(&measurements, startup_locality(log).unwrap_or(0))
}

/// What a replay has to agree with.
pub(crate) struct Replayed {
    /// The PCRs whose contents are believed.
    pub(crate) pcrs: BTreeSet<u8>,
    /// ExitBootServices was measured, and the log does not say so: [`Quirk::MissingExitBootServices`].
    pub(crate) unlogged_exit: bool,
}

/// Replays against quoted values.
pub(crate) fn check(
    measurements: &Measurements<'_>,
    startup: u8,
    quoted: &PcrValues,
    tolerance: &mut Tolerance<'_>,
) -> Result<Replayed, Refusal> {
    let mut unlogged_exit = false;
    let mut pcrs = BTreeSet::new();
    for (pcr, value) in values(measurements, startup) {
        // UAPI.7: PCR 10 is the kernel's (IMA), at run time; 16 and 23 can be reset by software, 17 to 22 by a late launch.
        if pcr > LOADERS || pcr == IMA {
            continue;
        }
        let quoted = quoted.get(&pcr);
        if quoted == Some(&value) {
            pcrs.insert(pcr);
        } else if pcr == 5 && is_unlogged_exit(measurements, &value, quoted) {
            // Only by name: a log with an entry less than the TPM is no whole log (rule M16).
            if !tolerance.permits(Quirk::MissingExitBootServices) {
                return Err(not_reached(
                    pcr,
                    "the entries of ExitBootServices are missing",
                ));
            }
            unlogged_exit = true;
            pcrs.insert(pcr);
        } else if pcr <= FIRMWARE {
            // Also for PCRs without events, whose quoted value must be that after reset (rule M2): a filtered log is none.
            let found = quoted.map_or("is not quoted", |_| "has another value");
            return Err(not_reached(pcr, found));
        }
    }
    Ok(Replayed {
        pcrs,
        unlogged_exit,
    })
}

/// PFP 1.06, section 3.3.4: firmware extends PCRs 0 to 7, at least by separators. A bank of which 0 or 7 are as after
/// reset was switched on and not extended (CVE-2021-42299), and whoever comes later can fill it (rule M3).
pub(crate) fn check_active(bank: Bank, quoted: &PcrValues) -> Result<(), Refusal> {
    for pcr in [0, 7] {
        let Some(value) = quoted.get(&pcr) else {
            continue;
        };
        // PCR 0 starts as the locality of TPM2_Startup.
        let (head, last) = value.split_at(value.len().saturating_sub(1));
        let is_reset = last
            .iter()
            .all(|last| *last == 0 || (pcr == 0 && *last <= HCRTM));
        if is_reset && head.iter().all(|byte| *byte == 0) {
            let detail = format!("PCR {pcr} of {} was never extended", bank.name());
            return Err(Refusal::new(LogReason::BankInactive, detail));
        }
    }
    Ok(())
}

/// The locality of TPM2_Startup: 0 unless the log says otherwise.
///
/// PFP 1.06, section 10.4.5.3: the event comes before any that extends PCR 0, and at most once. TPM library part 3,
/// TPM2_Startup: it is possible at localities 0 and 3; after an H-CRTM sequence PCR 0 starts as if at 4.
pub(crate) fn startup_locality(log: &EventLog<'_>) -> Result<u8, Refusal> {
    let malformed =
        |detail: &str, at: usize| Err(Refusal::new(LogReason::Malformed, detail).at(at));
    let mut found = None;
    let mut is_extended = false;
    for event in &log.events {
        if event.kind != EventType::NO_ACTION {
            is_extended |= event.pcr == 0;
            continue;
        }
        let locality = match locality::parse(event.data) {
            Ok(None) => continue,
            Ok(Some(locality)) => locality,
            Err(detail) => return malformed(detail, event.index),
        };
        if found.is_some() {
            return malformed("there are two startup localities", event.index);
        }
        if is_extended {
            return malformed("a startup locality follows an event of PCR 0", event.index);
        }
        if ![0, 3, HCRTM].contains(&locality) {
            return malformed("TPM2_Startup is possible at no such locality", event.index);
        }
        found = Some(locality);
    }
    Ok(found.unwrap_or(0))
}

fn values(measurements: &Measurements<'_>, startup: u8) -> PcrValues {
    let bank = measurements.bank;
    let mut values: PcrValues = (0..PCRS)
        .map(|pcr| (pcr, reset_value(bank, pcr, startup)))
        .collect();
    for measurement in &measurements.all {
        if let Some(value) = values.get_mut(&measurement.event.pcr) {
            bank.extend(value, measurement.digest);
        }
    }
    values
}

/// PC Client Platform TPM Profile, PCR attributes: what a PCR is after a reset.
fn reset_value(bank: Bank, pcr: u8, startup: u8) -> Vec<u8> {
    let byte = if (17..=22).contains(&pcr) { 0xFF } else { 0 };
    let mut value = vec![byte; bank.size()];
    if let (0, Some(last)) = (pcr, value.last_mut()) {
        *last = startup;
    }
    value
}

/// The quoted value is the replayed one, and then the two actions of a successful ExitBootServices.
fn is_unlogged_exit(
    measurements: &Measurements<'_>,
    value: &[u8],
    quoted: Option<&Vec<u8>>,
) -> bool {
    let bank = measurements.bank;
    let exit = [EXIT_BOOT_SERVICES_INVOCATION, EXIT_BOOT_SERVICES_SUCCESS];
    let after = exit.iter().fold(value.to_vec(), |value, action| {
        bank.digest(&[&value, &bank.digest(&[action.as_bytes()])])
    });
    quoted == Some(&after) && actions::exit_boot_services(measurements).is_none()
}

fn not_reached(pcr: u8, found: &str) -> Refusal {
    let detail = format!("the log does not lead to PCR {pcr}, which {found}");
    Refusal::new(LogReason::Replay, detail)
}

/// PCRs of the PC client profile.
const PCRS: u8 = 24;
/// The last PCR that firmware extends.
const FIRMWARE: u8 = 7;
/// The last PCR that boot loaders extend.
const LOADERS: u8 = 15;
/// What the kernel measures at run time.
const IMA: u8 = 10;
/// The locality of a hardware core root of trust.
const HCRTM: u8 = 4;
