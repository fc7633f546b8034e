//! The boot chain: which known programs the log shows by what they measure, as far as it can be said.

use crate::command_line::{self, GRUB, MARKS, STUB};
use crate::guid::SHIM_LOCK;
use crate::measurement::{Measurement, Measurements};
use crate::{BootStage, EventType, tagged, text, variable};

/// The stages in the order in which they run. A stage is one that extends its PCR with what no other is known to: a hint
/// where nothing but the entry's data tells so, and any program could measure the like.
pub(crate) fn claims(measurements: &Measurements<'_>) -> Vec<BootStage> {
    let any = |is: fn(&Measurement<'_>) -> bool| measurements.all.iter().any(is);
    let has_stub = any(is_systemd_stub);
    // A stub measures its sections before a command line, so that a line without them is of a boot menu.
    let has_menu = any(is_loader_conf) || (any(command_line::is_systemd_line) && !has_stub);
    let stages = [
        (BootStage::Shim, any(is_shim)),
        (BootStage::Grub, any(is_grub)),
        (BootStage::SystemdBoot, has_menu),
        (BootStage::SystemdStub, has_stub),
        (BootStage::LinuxStub, any(is_linux_stub)),
    ];
    let shown = stages.into_iter().filter(|(_, is_shown)| *is_shown);
    shown.map(|(stage, _)| stage).collect()
}

/// Shim's variables are in PCR 7 with their GUID, which is bound there, and by name in PCR 14, which is not.
fn is_shim(measurement: &Measurement<'_>) -> bool {
    let event = measurement.event;
    match event.pcr {
        7 => {
            event.kind == EventType::EFI_VARIABLE_AUTHORITY
                && variable::parse(event.data).is_ok_and(|variable| variable.guid == SHIM_LOCK)
        }
        14 => event.kind == EventType::IPL && event.data.starts_with(b"MokList"),
        _ => false,
    }
}

/// GRUB manual, measured boot: commands in PCR 8.
fn is_grub(measurement: &Measurement<'_>) -> bool {
    measurement.event.pcr == GRUB && command_line::grub_text(measurement, &MARKS).is_some()
}

/// systemd, TPM2 PCR measurements: loader.conf in PCR 5.
fn is_loader_conf(measurement: &Measurement<'_>) -> bool {
    let event = measurement.event;
    event.pcr == 5
        && event.kind == EventType::EVENT_TAG
        && tagged::parse(event.data).is_some_and(|(id, _)| id == LOADER_CONF)
}

/// systemd, TPM2 PCR measurements: a section's name is measured into PCR 11, in ASCII with its terminator, and logged in
/// UTF-16.
fn is_systemd_stub(measurement: &Measurement<'_>) -> bool {
    let event = measurement.event;
    let is_section = event.pcr == 11 && event.kind == EventType::IPL;
    let name = is_section.then(|| text::utf16(event.data));
    name.flatten().is_some_and(|name| {
        name.starts_with('.') && measurement.measures(&[name.as_bytes(), &[0]].concat())
    })
}

fn is_linux_stub(measurement: &Measurement<'_>) -> bool {
    measurement.event.pcr == STUB && command_line::stub_input(measurement).is_some()
}

/// LOADER_CONF_EVENT_TAG_ID of systemd.
const LOADER_CONF: u32 = 0xF5BC_582A;
