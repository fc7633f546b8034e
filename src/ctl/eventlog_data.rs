//! What the data of an event says: texts, names of variables and files, as firmware and boot loaders write them.

use eventlog::{Event, EventType};

use crate::eventlog_words::{Subject, type_name};
use crate::text::printable;

/// The bytes that may have been measured so that the text is covered.
pub(crate) type Measured<'a> = Vec<&'a [u8]>;

/// What an event is about, what it says, and what may have been measured so that this is covered.
pub(crate) fn read<'a>(event: &Event<'a>) -> (Subject, String, Measured<'a>) {
    let data = event.data;
    match event.kind {
        EventType::EFI_VARIABLE_DRIVER_CONFIG | EventType::EFI_VARIABLE_BOOT2 => {
            let (subject, text, _) = variable(data);
            (subject, text, vec![data])
        }
        EventType::EFI_VARIABLE_BOOT => variable(data),
        EventType::EFI_VARIABLE_AUTHORITY => authority(data),
        EventType::EFI_BOOT_SERVICES_APPLICATION
        | EventType::EFI_BOOT_SERVICES_DRIVER
        | EventType::EFI_RUNTIME_SERVICES_DRIVER => (
            Subject::Image,
            file_path(data).unwrap_or_default(),
            Vec::new(),
        ),
        EventType::EVENT_TAG => tagged(data),
        EventType::IPL => loader_text(data),
        EventType::SEPARATOR => (Subject::Separator, hex::encode(start(data)), vec![data]),
        EventType::ACTION | EventType::EFI_ACTION => (Subject::Action, plain(data), vec![data]),
        EventType::NO_ACTION => (Subject::Note, note(data), Vec::new()),
        EventType::EFI_GPT_EVENT | EventType::EFI_GPT_EVENT2 => {
            (Subject::PartitionTable, String::new(), vec![data])
        }
        EventType::S_CRTM_VERSION | EventType::S_CRTM_CONTENTS => {
            (Subject::Firmware, plain(data), vec![data])
        }
        EventType::POST_CODE | EventType::POST_CODE2 | EventType::EFI_PLATFORM_FIRMWARE_BLOB2 => {
            (Subject::Firmware, plain(data), Vec::new())
        }
        EventType::EFI_PLATFORM_FIRMWARE_BLOB => (Subject::Firmware, volume(data), Vec::new()),
        other => (Subject::Other(type_name(other)), plain(data), vec![data]),
    }
}

/// UEFI_VARIABLE_DATA (PFP 1.06, section 10.2.6). Firmware measures the whole of it; for EV_EFI_VARIABLE_BOOT some measures the
/// value alone, and the name is a hint then.
fn variable(data: &[u8]) -> (Subject, String, Measured<'_>) {
    let Some((name, value)) = split_variable(data) else {
        return (Subject::Variable("?".to_owned()), plain(data), vec![data]);
    };
    let text = match value {
        [1] if name == SECURE_BOOT => "on".to_owned(),
        [0] if name == SECURE_BOOT => "off".to_owned(),
        [] => "empty".to_owned(),
        short if short.len() <= SHORT_VALUE => hex::encode(short),
        long => format!("{} bytes", long.len()),
    };
    (Subject::Variable(name), text, vec![data, value])
}

/// UEFI_PLATFORM_FIRMWARE_BLOB (PFP 1.06, section 10.2.4): where the code was that was measured.
fn volume(data: &[u8]) -> String {
    match data
        .split_first_chunk()
        .map(|(base, rest)| (base, rest.first_chunk()))
    {
        Some((base, Some(length))) if data.len() == 16 => {
            let (base, length) = (u64::from_le_bytes(*base), u64::from_le_bytes(*length));
            format!("{length} bytes at {base:#x}")
        }
        _ => plain(data),
    }
}

/// Some versions of shim measure one byte too few.
fn authority(data: &[u8]) -> (Subject, String, Measured<'_>) {
    let name = split_variable(data).map_or_else(|| "?".to_owned(), |(name, _)| name);
    let without_last = data.split_last().map(|(_, rest)| rest);
    let measured = [Some(data), without_last].into_iter().flatten();
    (Subject::Authority(name), String::new(), measured.collect())
}

fn split_variable(data: &[u8]) -> Option<(String, &[u8])> {
    let rest = data.get(16..)?;
    let (characters, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let characters = usize::try_from(u64::from_le_bytes(*characters)).ok()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (name, rest) = rest.split_at_checked(characters.checked_mul(2)?)?;
    Some((printable(&utf16(name)?), rest.get(..length)?))
}

/// What Linux's EFI stub measures has a tag of its own, and its text is not in the log.
fn tagged(data: &[u8]) -> (Subject, String, Measured<'_>) {
    let tag = data.first_chunk().map(|tag| u32::from_le_bytes(*tag));
    let subject = match tag {
        Some(LOAD_OPTIONS) => Subject::CommandLine,
        Some(INITRD) => Subject::Initrd,
        _ => Subject::Other(type_name(EventType::EVENT_TAG)),
    };
    let text = data.get(8..).map(plain).unwrap_or_default();
    (subject, text, vec![data])
}

/// GRUB puts what it does before the text that it measures.
fn loader_text(data: &[u8]) -> (Subject, String, Measured<'_>) {
    let unterminated = data.strip_suffix(&[0]).unwrap_or(data);
    let text = plain(data);
    for (prefix, subject) in [
        (&b"kernel_cmdline: "[..], Subject::CommandLine),
        (b"grub_cmd: ", Subject::LoaderText),
        (b"module_cmdline: ", Subject::LoaderText),
    ] {
        if let Some(measured) = unterminated.strip_prefix(prefix) {
            return (subject, text, vec![measured]);
        }
    }
    let subject = if ascii(data).is_none() && wide(data).is_some() {
        Subject::CommandLine
    } else {
        Subject::LoaderText
    };
    (subject, text, vec![data, unterminated])
}

/// Names of files in the device path of a UEFI_IMAGE_LOAD_EVENT (PFP 1.06, section 10.2.3; UEFI 2.10, section 10.3.5.4).
fn file_path(data: &[u8]) -> Option<String> {
    let mut rest = data.get(IMAGE_LOAD_HEADER..)?;
    let mut path = String::new();
    while let Some((header, _)) = rest.split_first_chunk::<4>() {
        let [kind, sub_kind, low, high] = *header;
        let length = usize::from(u16::from_le_bytes([low, high]));
        let node = rest.get(..length).and_then(|node| node.get(4..))?;
        if (kind, sub_kind) == MEDIA_FILE_PATH {
            path.push_str(&utf16(node)?);
        }
        rest = rest.get(length..)?;
    }
    Some(path)
}

fn note(data: &[u8]) -> String {
    match data.strip_prefix(b"StartupLocality\0") {
        Some([locality]) => format!("startup at locality {locality}"),
        _ => plain(data),
    }
}

/// The data as text if it is one, else how much there is.
fn plain(data: &[u8]) -> String {
    match ascii(data).or_else(|| wide(data)) {
        Some(text) => text,
        None => format!("{} bytes", data.len()),
    }
}

fn ascii(data: &[u8]) -> Option<String> {
    let data = data.strip_suffix(&[0]).unwrap_or(data);
    // GRUB measures commands of several lines.
    let is_text = data
        .iter()
        .all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t'));
    let text = String::from_utf8(start(data).to_vec()).ok()?;
    is_text.then_some(text)
}

/// UTF-16 that is meant as text: most pairs of bytes of any kind are a character of some script, too.
fn wide(data: &[u8]) -> Option<String> {
    let text = utf16(data)?;
    let plain = text.chars().filter(char::is_ascii).count();
    (plain.saturating_mul(2) >= text.chars().count()).then_some(text)
}

/// UTF-16LE with or without a terminator; `None` where characters are none, or control the terminal.
fn utf16(data: &[u8]) -> Option<String> {
    let (units, []) = data.as_chunks::<2>() else {
        return None;
    };
    let mut units: Vec<_> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    if units.last() == Some(&0) {
        units.pop();
    }
    units.truncate(MAX_DATA);
    let text = String::from_utf16(&units).ok()?;
    text.chars().all(|char| !char.is_control()).then_some(text)
}

fn start(data: &[u8]) -> &[u8] {
    data.get(..MAX_DATA).unwrap_or(data)
}

/// Bytes of a variable's value that are shown.
const SHORT_VALUE: usize = 8;
/// Bytes of data that may become text.
const MAX_DATA: usize = 4096;
/// Bytes before the device path: address, length, link address, length of the path.
const IMAGE_LOAD_HEADER: usize = 32;
/// Type and sub-type of a node with a file's path.
const MEDIA_FILE_PATH: (u8, u8) = (4, 4);
/// The variable that says whether images are verified.
const SECURE_BOOT: &str = "SecureBoot";
const LOAD_OPTIONS: u32 = 0x8F3B_22ED;
const INITRD: u32 = 0x8F3B_22EC;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_data_is_no_text_and_no_name() {
        let name = [b'd', 0, b'b', 0];
        let numbers = [2u64, 1].map(u64::to_le_bytes).concat();
        let whole = [&[9; 16], &numbers[..], &name, &[1]].concat();
        assert_eq!(split_variable(&whole), Some(("db".to_owned(), &[1][..])));
        for length in 0..whole.len() {
            assert_eq!(split_variable(&whole[..length]), None, "{length}");
        }
        let mut huge = whole;
        huge[16..32].fill(0xFF);
        assert_eq!(split_variable(&huge), None);
        // A node without length, or one that is longer than the path.
        for length in [0, 3, 9] {
            let path = [&[0; 32][..], &[4, 4, length, 0], &[0; 4]].concat();
            assert_eq!(file_path(&path), None, "{length}");
        }
        assert_eq!(utf16(&[0, 0xD8]), None, "half of a pair");
        assert_eq!(utf16(&[0x1B, 0, b'[', 0]), None, "an escape");
    }

    #[test]
    fn text_is_cut_before_it_fills_the_terminal() {
        let long = vec![b'a'; 3 * MAX_DATA];
        assert_eq!(plain(&long).len(), MAX_DATA);
        let wide: Vec<u8> = long.iter().flat_map(|byte| [*byte, 0]).collect();
        assert_eq!(plain(&wide).len(), MAX_DATA);
    }
}
