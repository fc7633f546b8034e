//! Kernel command lines: as text by GRUB (PCR 8) and systemd (PCR 12), as a digest by the kernel's EFI stub (PCR 9).

use std::collections::{BTreeMap, BTreeSet};

use crate::measurement::{Measurement, Measurements};
use crate::{
    CommandLine, EventType, KernelInput, KernelInputKind, LogReason, Refusal, limits, tagged, text,
};

/// What the log shows of the kernel's input.
pub(crate) struct Claims {
    pub(crate) lines: Vec<CommandLine>,
    pub(crate) inputs: Vec<KernelInput>,
    pub(crate) unread: BTreeSet<u8>,
}

/// Collects them, each in the order of the log. UAPI.7, and the documentation of GRUB, systemd and Linux: PCRs 8, 9 and 12
/// are extended by software that the firmware verified, or did not (rule M13): a caller has to ask for Secure Boot, too.
///
/// # Errors
/// [`LogReason::Limit`]: a line is longer than a kernel takes. A part of it would be taken for the whole.
pub(crate) fn claims(measurements: &Measurements<'_>) -> Result<Claims, Refusal> {
    let mut lines = Vec::new();
    let mut unread = BTreeSet::new();
    // What the stub's digest is for each line.
    let mut shown = BTreeMap::new();
    for measurement in &measurements.all {
        match read(measurement) {
            Read::Line(line, options) => {
                lines.push((measurement.event.index, command_line(measurement, &line)?));
                let options_digest = measurements.digest_of(&options.encoded);
                shown.insert(options_digest, options.text);
            }
            Read::Nothing => {
                unread.insert(measurement.event.pcr);
            }
            Read::Other => {}
        }
    }
    let mut inputs = Vec::new();
    for measurement in measurements.of_pcr(STUB) {
        let Some(kind) = stub_input(measurement) else {
            continue;
        };
        let known = shown.get(measurement.digest);
        let known = known.filter(|_| kind == KernelInputKind::LoadOptions);
        let line = known.map(|line| command_line(measurement, line));
        let line = line.transpose()?;
        if kind == KernelInputKind::LoadOptions && line.is_none() {
            unread.insert(STUB);
        }
        inputs.push(KernelInput {
            kind,
            digest: measurement.digest.to_vec(),
            text: line.as_ref().map(|line| line.text.clone()),
        });
        lines.extend(line.map(|line| (measurement.event.index, line)));
    }
    lines.sort_by_key(|(index, _)| *index);
    let lines = lines.into_iter().map(|(_, line)| line).collect();
    Ok(Claims {
        lines,
        inputs,
        unread,
    })
}

/// What a stub stage writes for the kernel.
pub(crate) fn stub_input(measurement: &Measurement<'_>) -> Option<KernelInputKind> {
    if measurement.event.kind != EventType::EVENT_TAG {
        return None;
    }
    match tagged::parse(measurement.event.data)? {
        (LOAD_OPTIONS, _) => Some(KernelInputKind::LoadOptions),
        (INITRD, _) => Some(KernelInputKind::Initrd),
        _ => None,
    }
}

/// A command line of systemd-boot or systemd-stub.
pub(crate) fn is_systemd_line(measurement: &Measurement<'_>) -> bool {
    measurement.event.pcr == SYSTEMD && systemd_line(measurement).is_some()
}

/// What GRUB measured of a command, if that is what this event has for data: the text behind one of the prefixes.
pub(crate) fn grub_text<'a>(measurement: &Measurement<'a>, prefixes: &[&str]) -> Option<&'a [u8]> {
    let data = measurement.event.data;
    let stripped = |prefix: &&str| data.strip_prefix(prefix.as_bytes());
    let text = prefixes.iter().find_map(stripped)?;
    let text = text.strip_suffix(&[0]).unwrap_or(text);
    measurement.measures(text).then_some(text)
}

/// The load options that the kernel's EFI stub is given for a line.
struct LoadOptions {
    text: String,
    encoded: Vec<u8>,
}

/// What an event of a loader's PCR says.
enum Read {
    Line(String, LoadOptions),
    /// Something else than a command line.
    Other,
    /// Nothing: no text is bound to the digest, and it may be that of a command line.
    Nothing,
}

/// Rule M4: types and GRUB's marks are covered by no digest. So what the text is decides, and not what it is called: in
/// PCR 12 every text is a line; in PCR 8 one that begins as the path of a kernel does, which no command of GRUB's does.
fn read(measurement: &Measurement<'_>) -> Read {
    match measurement.event.pcr {
        GRUB => match grub_text(measurement, &MARKS).or_else(|| grub_text(measurement, &[""])) {
            Some(text) if is_kernel_line(text) || is_marked(measurement) => {
                let line = String::from_utf8_lossy(text).into_owned();
                let text = format!("BOOT_IMAGE={line}");
                let encoded = utf16(&text);
                Read::Line(line, LoadOptions { text, encoded })
            }
            Some(_) => Read::Other,
            None => Read::Nothing,
        },
        SYSTEMD => match systemd_line(measurement) {
            Some(line) => {
                let encoded = measurement.event.data.to_vec();
                let text = line.clone();
                Read::Line(line, LoadOptions { text, encoded })
            }
            None => Read::Nothing,
        },
        _ => Read::Other,
    }
}

/// GRUB manual, section 6.1: the kernel is named by its absolute path, on a device or without.
fn is_kernel_line(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'/' | b'('))
}

fn is_marked(measurement: &Measurement<'_>) -> bool {
    grub_text(measurement, &KERNEL_COMMAND_LINE).is_some()
}

/// systemd measures the UTF-16 that it logs, with its terminator. What is no text is replaced, for a line that cannot be
/// read must not be one that was not there.
fn systemd_line(measurement: &Measurement<'_>) -> Option<String> {
    let (units, []) = measurement.event.data.as_chunks::<2>() else {
        return None;
    };
    if !measurement.is_bound() {
        return None;
    }
    let units = units.strip_suffix(&[[0; 2]]).unwrap_or(units);
    let units = units.iter().copied().map(u16::from_le_bytes);
    let replaced =
        char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER));
    Some(replaced.collect())
}

fn command_line(measurement: &Measurement<'_>, line: &str) -> Result<CommandLine, Refusal> {
    let text = text::printable(line, usize::MAX);
    if text.len() > limits::COMMAND_LINE {
        return measurement.refused(LogReason::Limit, "a command line is too long");
    }
    let pcr = measurement.event.pcr;
    Ok(CommandLine { pcr, text })
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// GRUB's PCR for commands.
pub(crate) const GRUB: u8 = 8;
/// The PCR of the kernel's EFI stub.
pub(crate) const STUB: u8 = 9;
/// The PCR of systemd-boot and systemd-stub for the kernel's configuration.
const SYSTEMD: u8 = 12;
/// How GRUB marks what it measures: since 2.04, and in older builds of distributions.
pub(crate) const MARKS: [&str; 5] = [
    "grub_cmd: ",
    "kernel_cmdline: ",
    "module_cmdline: ",
    "grub_cmd ",
    "grub_kernel_cmdline ",
];
/// How GRUB marks a kernel's command line: since 2.04, and in older builds of distributions.
const KERNEL_COMMAND_LINE: [&str; 2] = ["kernel_cmdline: ", "grub_kernel_cmdline "];
/// LOAD_OPTIONS_EVENT_TAG_ID of Linux.
const LOAD_OPTIONS: u32 = 0x8F3B_22ED;
/// INITRD_EVENT_TAG_ID of Linux.
const INITRD: u32 = 0x8F3B_22EC;
