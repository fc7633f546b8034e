//! What an event of a boot event log says in words, and whether its digest covers them.

use eventlog::{Bank, Event, EventType};

use crate::eventlog_data::read;
use crate::text::printable;

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// What it is about.
    pub(crate) subject: Subject,
    /// Printable; empty where the data says nothing.
    pub(crate) text: String,
    /// Whether the digest covers the text. What it does not cover is a hint, and whoever wrote the log chose it.
    pub(crate) bound: bool,
}

/// What an event is about: the same in two boots where they differ only in what is said of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A variable of the firmware, by its name.
    Variable(String),
    /// What vouched for an image, by the variable that it stands in.
    Authority(String),
    /// A program: boot loader, kernel, driver.
    Image,
    /// A kernel command line.
    CommandLine,
    /// An initial ramdisk.
    Initrd,
    /// Firmware code.
    Firmware,
    /// The partition table.
    PartitionTable,
    /// An action of the firmware.
    Action,
    /// The end of a phase.
    Separator,
    /// What is not measured.
    Note,
    /// Text of a boot loader.
    LoaderText,
    /// Anything else, by its type.
    Other(String),
}

impl Words {
    /// Reads the data of an event. Nothing here is believed: rules are for the appraisal.
    pub(crate) fn of(event: &Event<'_>, bank: Bank) -> Self {
        let (subject, text, measured) = read(event);
        let covers = |measured: &[u8]| {
            let digest = event.digest(bank.algorithm());
            digest.is_some_and(|digest| bank.digest(&[measured]) == digest)
        };
        Self {
            subject,
            text: printable(&text),
            bound: measured.into_iter().any(covers),
        }
    }

    /// The text with a mark where nothing covers it.
    pub(crate) fn shown(&self) -> String {
        match self.text.as_str() {
            "" => String::new(),
            text if self.bound => text.to_owned(),
            text => format!("hint: {text}"),
        }
    }
}

impl Subject {
    /// For tables, such as `variable db`.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Variable(name) => format!("variable {name}"),
            Self::Authority(name) => format!("authority in {name}"),
            Self::Image => "program".to_owned(),
            Self::CommandLine => "kernel command line".to_owned(),
            Self::Initrd => "initramfs".to_owned(),
            Self::Firmware => "firmware code".to_owned(),
            Self::PartitionTable => "partition table".to_owned(),
            Self::Action => "action".to_owned(),
            Self::Separator => "separator".to_owned(),
            Self::Note => "note".to_owned(),
            Self::LoaderText => "boot loader".to_owned(),
            Self::Other(kind) => kind.clone(),
        }
    }
}

/// The name of an event's type.
pub(crate) fn type_name(kind: EventType) -> String {
    kind.name()
        .map_or_else(|| format!("{:#010x}", kind.0), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(kind: EventType, data: &[u8], measured: &[u8]) -> Words {
        let digest = Bank::Sha256.digest(&[measured]);
        let event = Event {
            index: 0,
            pcr: 1,
            kind,
            digests: vec![(Bank::Sha256.algorithm(), &digest)],
            data,
        };
        Words::of(&event, Bank::Sha256)
    }

    fn utf16_of(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn variable_of(name: &str, value: &[u8]) -> Vec<u8> {
        let characters = u64::try_from(name.len()).unwrap();
        let length = u64::try_from(value.len()).unwrap();
        let numbers = [characters, length].map(u64::to_le_bytes).concat();
        [&[9; 16], &numbers[..], &utf16_of(name), value].concat()
    }

    #[test]
    fn texts_are_shown_and_what_nothing_covers_is_a_hint() {
        let line = utf16_of("root=/dev/vda2 ro\0");
        let tag = [&0x8F3B_22ED_u32.to_le_bytes()[..], &[3, 0, 0, 0], b"abc"].concat();
        let path = [
            &[0; 32][..],
            &[4, 4, 8, 0],
            &utf16_of("\\x"),
            &[0x7F, 0xFF, 4, 0],
        ]
        .concat();
        for (kind, data, measured, subject, shown) in [
            (
                EventType::IPL,
                &line[..],
                &line[..],
                "kernel command line",
                "root=/dev/vda2 ro",
            ),
            (
                EventType::IPL,
                &line,
                b"other",
                "kernel command line",
                "hint: root=/dev/vda2 ro",
            ),
            (
                EventType::IPL,
                b"kernel_cmdline: /vmlinuz ro\0",
                b"/vmlinuz ro",
                "kernel command line",
                "kernel_cmdline: /vmlinuz ro",
            ),
            (
                EventType::IPL,
                b"(hd0)/grub.cfg\0",
                b"file",
                "boot loader",
                "hint: (hd0)/grub.cfg",
            ),
            (
                EventType::EVENT_TAG,
                &tag,
                &line,
                "kernel command line",
                "hint: abc",
            ),
            (
                EventType::EFI_ACTION,
                b"Calling",
                b"Calling",
                "action",
                "Calling",
            ),
            (
                EventType::SEPARATOR,
                &[0; 4],
                &[0; 4],
                "separator",
                "00000000",
            ),
            (
                EventType::NO_ACTION,
                b"StartupLocality\0\x03",
                b"",
                "note",
                "hint: startup at locality 3",
            ),
            (
                EventType::EFI_BOOT_SERVICES_APPLICATION,
                &path,
                b"code",
                "program",
                "hint: \\x",
            ),
            (
                EventType(0x77),
                &[0xFF; 3],
                &[0xFF; 3],
                "0x00000077",
                "3 bytes",
            ),
            (
                EventType(0x77),
                b"\x1b[2J",
                b"\x1b[2J",
                "0x00000077",
                "4 bytes",
            ),
        ] {
            let words = words(kind, data, measured);
            assert_eq!(words.subject.text(), subject, "{shown}");
            assert_eq!(words.shown(), shown);
        }
    }

    #[test]
    fn variables_have_names_and_short_values() {
        let whole = variable_of("SecureBoot", &[1]);
        let order = variable_of("BootOrder", &[0, 0]);
        let long = variable_of("db", &[7; 100]);
        let config = EventType::EFI_VARIABLE_DRIVER_CONFIG;
        for (kind, data, measured, subject, shown) in [
            (config, &whole, &whole[..], "variable SecureBoot", "on"),
            (config, &whole, &[1], "variable SecureBoot", "hint: on"),
            (config, &whole, &[0], "variable SecureBoot", "hint: on"),
            (
                EventType::EFI_VARIABLE_BOOT,
                &order,
                &[0, 0],
                "variable BootOrder",
                "0000",
            ),
            (config, &long, &long, "variable db", "100 bytes"),
        ] {
            let words = words(kind, data, measured);
            assert_eq!(
                (words.subject.text().as_str(), words.shown().as_str()),
                (subject, shown)
            );
        }
        // A byte too many, as of some versions of shim.
        let longer = [&whole[..], &[0]].concat();
        let words = words(EventType::EFI_VARIABLE_AUTHORITY, &longer, &whole);
        assert_eq!(words.subject, Subject::Authority("SecureBoot".to_owned()));
        assert!(words.bound);
    }
}
