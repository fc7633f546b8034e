//! The judgement over a log: does it lead to the quoted PCRs, and what does it then prove?

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::measurement::Measurements;
use crate::quirk::Tolerance;
use crate::{
    Bank, BootClaims, EventLog, PcrValues, Quirk, Refusal, actions, boot_chain, command_line,
    firmware_version, images, replay, secure_boot, separators,
};

/// Replays a log against quoted PCRs and collects what it proves. `quoted` must hold PCRs 0 to 7; `tolerated` are the
/// departures that count as none.
///
/// The machine chooses every byte of the log; the quote is all that it has to agree with. So nothing here believes a type,
/// a PCR's neighbour or a text that no digest covers, unless the claim says that it is a hint.
///
/// # Errors
/// The first rule that the log breaks, in this order: it has the bank; TPM2_Startup; the firmware extended the bank; the
/// log leads to PCRs 0 to 7; separators, by PCR; the events of PCR 7, in the order of the log, and what they amount to;
/// nothing of the firmware's follows ExitBootServices; no command line is longer than a kernel takes.
pub fn appraise(
    log: &EventLog<'_>,
    bank: Bank,
    quoted: &PcrValues,
    tolerated: &BTreeSet<Quirk>,
) -> Result<BootClaims, Refusal> {
    let mut tolerance = Tolerance::new(tolerated);
    let mut measurements = Measurements::of(log, bank)?;
    let startup = replay::startup_locality(log)?;
    replay::check_active(bank, quoted)?;
    let replayed = replay::check(&measurements, startup, quoted, &mut tolerance)?;
    separators::check(&measurements)?;
    let secure_boot = secure_boot::appraise(&measurements, &mut tolerance)?;
    actions::check_order(&measurements)?;

    measurements.keep(&replayed.pcrs);
    let has_left = replayed.unlogged_exit || actions::exit_boot_services(&measurements).is_some();
    let kernel = command_line::claims(&measurements)?;
    Ok(BootClaims {
        bank,
        firmware_version: firmware_version::claim(&measurements),
        secure_boot: Arc::new(secure_boot),
        images: images::boot_images(&measurements, has_left),
        drivers: images::drivers(&measurements),
        option_rom_events: images::option_rom_events(&measurements),
        command_lines: kernel.lines,
        kernel_inputs: kernel.inputs,
        unread: kernel.unread,
        boot_chain: boot_chain::claims(&measurements),
        actions: actions::claims(&measurements),
        replayed: replayed.pcrs,
        quirks: tolerance.met(),
    })
}
