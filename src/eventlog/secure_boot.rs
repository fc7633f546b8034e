//! Secure Boot: the policy that was in force and what it let through, as PCR 7 tells (rules M4 to M10).

use std::collections::BTreeSet;

use crate::authorities;
use crate::guid::{GLOBAL_VARIABLE, Guid, IMAGE_SECURITY_DATABASE};
use crate::measurement::{Measurement, Measurements};
use crate::quirk::Tolerance;
use crate::separators::SEPARATOR;
use crate::variable::{self, Variable};
use crate::{EventType, LogReason, Quirk, Refusal, SecureBoot, signature_list};

/// Reads PCR 7 event by event.
///
/// PFP 1.06, section 3.3.4.8: it holds the variables of Secure Boot, a separator, the authorities that were used, and a few
/// actions. Types are covered by no digest, so that an event of any other type cannot be skipped: it could be a true
/// variable, made invisible to make room for a forged one.
pub(crate) fn appraise(
    measurements: &Measurements<'_>,
    tolerance: &mut Tolerance<'_>,
) -> Result<SecureBoot, Refusal> {
    let mut found = Found::new(measurements.digest_of(&SEPARATOR));
    for measurement in measurements.of_pcr(7) {
        match measurement.event.kind {
            // Its data and number were checked with those of the other PCRs.
            EventType::SEPARATOR => found.is_separated = true,
            EventType::EFI_VARIABLE_DRIVER_CONFIG => found.variable(measurement, tolerance)?,
            EventType::EFI_VARIABLE_AUTHORITY => {
                let authority = authorities::read(measurement, !found.is_separated, tolerance)?;
                found.policy.authorities.push(authority);
            }
            EventType::EFI_ACTION => found.action(measurement)?,
            EventType::EFI_SPDM_DEVICE_POLICY | EventType::EFI_SPDM_DEVICE_AUTHORITY => {
                found.device(measurement)?;
            }
            _ => return measurement.refused(LogReason::UntrustedEvent, NOT_OF_PCR_7),
        }
    }
    found.policy()
}

/// What has been read of PCR 7.
struct Found {
    policy: SecureBoot,
    variables: BTreeSet<(Guid, Vec<u8>)>,
    /// Which of the five variables are there.
    known: [bool; 5],
    is_separated: bool,
    separator: Vec<u8>,
}

impl Found {
    fn new(separator: Vec<u8>) -> Self {
        Self {
            policy: SecureBoot::default(),
            variables: BTreeSet::new(),
            known: Default::default(),
            is_separated: false,
            separator,
        }
    }

    /// PFP 1.06, section 3.3.4.8: each variable is measured whole, once, before the separator (rules M5 and M7).
    fn variable(
        &mut self,
        measurement: &Measurement<'_>,
        tolerance: &mut Tolerance<'_>,
    ) -> Result<(), Refusal> {
        let variable = bound_variable(measurement)?;
        let key = (variable.guid, variable.name.to_vec());
        if !self.variables.insert(key) {
            return measurement.refused(LogReason::Duplicate, &shown(&variable));
        }
        if self.is_separated {
            let detail = format!("{} follows the separator", shown(&variable));
            return measurement.refused(LogReason::Order, &detail);
        }
        let known = KNOWN
            .iter()
            .zip(&mut self.known)
            .find(|((guid, name), _)| variable.is(*guid, name));
        let Some(((_, name), known)) = known else {
            return Ok(());
        };
        *known = true;
        self.read(name, variable.data, tolerance).or_else(|detail| {
            measurement.refused(LogReason::Malformed, &format!("{name}: {detail}"))
        })
    }

    fn read(
        &mut self,
        name: &str,
        data: &[u8],
        tolerance: &mut Tolerance<'_>,
    ) -> Result<(), &'static str> {
        let policy = &mut self.policy;
        match name {
            "SecureBoot" => policy.enabled = enabled(data, tolerance)?,
            "PK" => policy.pk = signature_list::parse(data)?,
            "KEK" => policy.kek = signature_list::parse(data)?,
            "db" => policy.db = signature_list::parse(data)?,
            _ => policy.dbx = signature_list::parse(data)?,
        }
        Ok(())
    }

    /// PFP 1.06, section 3.3.4.8: a debugger, or no protection against DMA (rule M10).
    fn action(&mut self, measurement: &Measurement<'_>) -> Result<(), Refusal> {
        if !measurement.is_bound() {
            return measurement.refused(LogReason::Digest, NOT_MEASURED);
        }
        match measurement.event.data {
            b"DMA Protection Disabled" => {
                self.policy.dma_protection_disabled = true;
                Ok(())
            }
            b"UEFI Debug Mode" => {
                measurement.refused(LogReason::SecureBootDebug, "a debugger was there")
            }
            _ => measurement.refused(LogReason::UntrustedEvent, "it is not an action of PCR 7"),
        }
    }

    /// PFP 1.06, section 3.3.4.8: SPDM devices are verified by a database of their own. Another variable, or a separator, in
    /// an event of these types is one that is to be overlooked.
    fn device(&self, measurement: &Measurement<'_>) -> Result<(), Refusal> {
        if measurement.digest == self.separator {
            return measurement.refused(LogReason::UntrustedEvent, NOT_OF_PCR_7);
        }
        if bound_variable(measurement)?.guid != DEVICE_SIGNATURE_DATABASE {
            return measurement.refused(LogReason::UntrustedEvent, NOT_OF_PCR_7);
        }
        Ok(())
    }

    /// PFP 1.06, section 3.3.4.8: the five variables are measured even if they are empty. UEFI 2.10, section 32.3: with
    /// Secure Boot on there are a platform key and what it leads to, and what was started was verified (rule M9).
    fn policy(self) -> Result<SecureBoot, Refusal> {
        let inconsistent = |detail: String| {
            let refusal = Refusal::new(LogReason::SecureBootInconsistent, detail);
            Err(refusal)
        };
        let mut variables = KNOWN.iter().zip(self.known);
        if let Some(((_, name), _)) = variables.find(|(_, known)| !known) {
            return inconsistent(format!("PCR 7 has no {name}"));
        }
        let policy = self.policy;
        if !policy.enabled {
            return Ok(policy);
        }
        let lists = [("PK", &policy.pk), ("KEK", &policy.kek), ("db", &policy.db)];
        if let Some((name, _)) = lists.iter().find(|(_, list)| list.is_empty()) {
            return inconsistent(format!("Secure Boot is on with no entry in {name}"));
        }
        let mut used = policy.authorities.iter();
        if !used.any(|authority| authority.entry.is_some()) {
            return inconsistent("Secure Boot is on and nothing was verified".to_owned());
        }
        Ok(policy)
    }
}

/// UEFI 2.10, section 3.3: SecureBoot is one byte, 0 or 1.
fn enabled(data: &[u8], tolerance: &mut Tolerance<'_>) -> Result<bool, &'static str> {
    match data {
        [1] => Ok(true),
        [0] => Ok(false),
        [] if tolerance.permits(Quirk::EmptySecureBoot) => Ok(false),
        _ => Err("it is not one byte of 0 or 1"),
    }
}

/// The variable that an event measured whole.
fn bound_variable<'a>(measurement: &Measurement<'a>) -> Result<Variable<'a>, Refusal> {
    if !measurement.is_bound() {
        return measurement.refused(LogReason::Digest, NOT_MEASURED);
    }
    variable::parse(measurement.event.data)
        .or_else(|detail| measurement.refused(LogReason::Malformed, detail))
}

fn shown(variable: &Variable<'_>) -> String {
    variable
        .name()
        .unwrap_or_else(|| "a variable whose name is no text".to_owned())
}

/// The variables of rule M7.
const KNOWN: [(Guid, &str); 5] = [
    (GLOBAL_VARIABLE, "SecureBoot"),
    (GLOBAL_VARIABLE, "PK"),
    (GLOBAL_VARIABLE, "KEK"),
    (IMAGE_SECURITY_DATABASE, "db"),
    (IMAGE_SECURITY_DATABASE, "dbx"),
];
/// EFI_DEVICE_SIGNATURE_DATABASE_GUID (PFP 1.06, section 3.3.4.8): b9c2b4f4-bf5f-462d-8adf-c5c70ac35dad as it is stored.
const DEVICE_SIGNATURE_DATABASE: Guid = [
    0xF4, 0xB4, 0xC2, 0xB9, 0x5F, 0xBF, 0x2D, 0x46, 0x8A, 0xDF, 0xC5, 0xC7, 0x0A, 0xC3, 0x5D, 0xAD,
];
const NOT_OF_PCR_7: &str = "PCR 7 has no such events";
pub(crate) const NOT_MEASURED: &str = "its data is not what was measured";
