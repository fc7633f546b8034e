//! Authorities: what vouched for an image, as the firmware or shim measured it into PCR 7 (EV_EFI_VARIABLE_AUTHORITY).

use crate::guid::{Guid, SHIM_LOCK};
use crate::measurement::Measurement;
use crate::quirk::Tolerance;
use crate::reader::Reader;
use crate::secure_boot::NOT_MEASURED;
use crate::variable::{self, Variable};
use crate::{LogReason, Quirk, Refusal, SignatureEntry, VerifiedBy, signature_list};

/// PFP 1.06, section 3.3.4.8: the event is the variable in which the entry was found, with the entry alone for data, and
/// measured whole.
pub(crate) fn read(
    measurement: &Measurement<'_>,
    before_separator: bool,
    tolerance: &mut Tolerance<'_>,
) -> Result<VerifiedBy, Refusal> {
    let variable = variable(measurement, tolerance)?;
    let Ok(entry) = entry(&variable, tolerance) else {
        let detail = "it has no certificate and no hash";
        return measurement.refused(LogReason::Malformed, detail);
    };
    let Some(variable) = variable.name() else {
        return measurement.refused(LogReason::Malformed, "the variable's name is no text");
    };
    Ok(VerifiedBy {
        variable,
        entry,
        before_separator,
    })
}

/// The variable, whose bytes are what was measured.
fn variable<'a>(
    measurement: &Measurement<'a>,
    tolerance: &mut Tolerance<'_>,
) -> Result<Variable<'a>, Refusal> {
    let parsed = if measurement.is_bound() {
        variable::parse(measurement.event.data)
    } else {
        match with_extra_byte(measurement) {
            Some(whole) if tolerance.permits(Quirk::ShimExtraByte) => variable::parse(whole),
            _ => return measurement.refused(LogReason::Digest, NOT_MEASURED),
        }
    };
    parsed.or_else(|detail| measurement.refused(LogReason::Malformed, detail))
}

/// Old versions of shim count the padding of a structure in: zeros that are measured follow the variable, and one byte more
/// that is not. What is left of the data is the variable, and was measured.
fn with_extra_byte<'a>(measurement: &Measurement<'a>) -> Option<&'a [u8]> {
    let (_, measured) = measurement.event.data.split_last()?;
    let (variable, padding) = measured.split_at_checked(variable_size(measured)?)?;
    let is_padding = padding.len() < PADDING && padding.iter().all(|byte| *byte == 0);
    (is_padding && measurement.measures(measured)).then_some(variable)
}

/// The size that UEFI_VARIABLE_DATA says it has.
fn variable_size(data: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(data);
    reader.take(size_of::<Guid>())?;
    let name = reader.size64()?.checked_mul(2)?;
    let value = reader.size64()?;
    HEADER.checked_add(name)?.checked_add(value)
}

/// What vouched. Shim measures variables of its own in the same way that hold no entry: they are named, or the event has
/// no entry where one must be.
fn entry(
    variable: &Variable<'_>,
    tolerance: &mut Tolerance<'_>,
) -> Result<Option<SignatureEntry>, NoEntry> {
    let is_state = SHIM_STATE.iter().any(|name| variable.is(SHIM_LOCK, name));
    let entry = (!is_state).then(|| signature_list::authority(variable.data));
    match entry.flatten() {
        Some(entry) => Ok(Some(entry)),
        None if variable.guid == SHIM_LOCK && tolerance.permits(Quirk::ShimVariables) => Ok(None),
        None => Err(NoEntry),
    }
}

struct NoEntry;

/// Variables of shim that are settings, of any size.
const SHIM_STATE: [&str; 2] = ["SbatLevel", "MokListTrusted"];
/// Bytes of VariableName's length and VariableData's, and of the GUID before them.
const HEADER: usize = 32;
/// The structure's alignment.
const PADDING: usize = 8;
