//! Images: what was started from devices (PCR 2) and as boot loader or kernel (PCR 4), by Authenticode digest.

use crate::actions::{self, CALLING_EFI_APPLICATION};
use crate::measurement::{Measurement, Measurements};
use crate::{EventType, Image, ImageKind, device_path, image_load};

/// The images of PCR 4 (PFP 1.06, section 3.3.4.5).
///
/// Rule M11: they are believed where the log shows that a boot option was tried, before PCR 4's separator, and that the
/// boot services were left. It proves that the firmware got that far, and no more: the separator keeps a boot option that
/// was made up later apart from a true one, but an image that was made up later stands in PCR 4 as a true one does. A
/// policy has to allow all of them.
pub(crate) fn boot_images(measurements: &Measurements<'_>, has_left: bool) -> Vec<Image> {
    if has_left && has_boot_option(measurements) {
        images(measurements, 4)
    } else {
        Vec::new()
    }
}

/// The images of PCR 2 (PFP 1.06, section 3.3.4.3).
pub(crate) fn drivers(measurements: &Measurements<'_>) -> Vec<Image> {
    images(measurements, 2)
}

/// Events of PCR 2 besides its separator.
pub(crate) fn option_rom_events(measurements: &Measurements<'_>) -> usize {
    let events = measurements.of_pcr(2);
    events
        .filter(|one| one.event.kind != EventType::SEPARATOR)
        .count()
}

fn has_boot_option(measurements: &Measurements<'_>) -> bool {
    let calling = measurements.digest_of(CALLING_EFI_APPLICATION.as_bytes());
    measurements
        .of_pcr(4)
        .take_while(|one| one.event.kind != EventType::SEPARATOR)
        .any(|one| one.digest == calling)
}

/// Types are covered by no digest (rule M4): if they were asked what an image is, a forbidden one could be given another.
/// So all counts as one that is not known to be none.
fn images(measurements: &Measurements<'_>, pcr: u8) -> Vec<Image> {
    let counted = |one: &&Measurement<'_>| match kind(one.event.kind) {
        ImageKind::Other => one.event.kind != EventType::SEPARATOR && !actions::is_short_text(one),
        _ => true,
    };
    measurements
        .of_pcr(pcr)
        .filter(counted)
        .map(image)
        .collect()
}

fn image(measurement: &Measurement<'_>) -> Image {
    let kind = kind(measurement.event.kind);
    let described = match kind {
        ImageKind::Other => None,
        _ => image_load::device_path(measurement.event.data).and_then(device_path::describe),
    };
    let (path, option_rom) = described.unzip();
    Image {
        kind,
        digest: measurement.digest.to_vec(),
        path,
        option_rom: option_rom.unwrap_or(false),
    }
}

fn kind(kind: EventType) -> ImageKind {
    match kind {
        EventType::EFI_BOOT_SERVICES_APPLICATION => ImageKind::Application,
        EventType::EFI_BOOT_SERVICES_DRIVER => ImageKind::BootDriver,
        EventType::EFI_RUNTIME_SERVICES_DRIVER => ImageKind::RuntimeDriver,
        _ => ImageKind::Other,
    }
}
