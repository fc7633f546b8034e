//! What a boot event log proves, as a table and as JSON.

use eventlog::{BootClaims, BootStage, Image, ImageKind, KernelInputKind, Quirk, SignatureEntry};
use serde::Serialize;

use crate::output::fields;

/// The claims of a log.
#[derive(Debug, Serialize)]
pub(crate) struct Claims {
    bank: &'static str,
    /// The PCRs that the log accounts for.
    replayed: Vec<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firmware_version: Option<String>,
    secure_boot: bool,
    pk: Vec<Entry>,
    kek: Vec<Entry>,
    db: Vec<Entry>,
    dbx: Vec<Entry>,
    authorities: Vec<Authority>,
    dma_protection_disabled: bool,
    boot_chain: Vec<&'static str>,
    boot_images: Vec<Program>,
    drivers: Vec<Program>,
    option_rom_events: usize,
    command_lines: Vec<Line>,
    kernel_inputs: Vec<Input>,
    actions: Vec<Line>,
    quirks: Vec<&'static str>,
}

/// An entry of a signature list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    /// What a profile names it by.
    pub(crate) fingerprint: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
}

#[derive(Debug, Serialize)]
struct Authority {
    variable: String,
    #[serde(flatten)]
    entry: Option<Entry>,
    before_separator: bool,
}

#[derive(Debug, Serialize)]
struct Program {
    kind: &'static str,
    digest: String,
    /// Nothing covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    option_rom: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    pcr: u8,
    text: String,
}

#[derive(Debug, Serialize)]
struct Input {
    kind: &'static str,
    digest: String,
}

impl Claims {
    pub(crate) fn of(claims: &BootClaims) -> Self {
        let boot = &claims.secure_boot;
        let entries = |list: &[SignatureEntry]| list.iter().map(Entry::of).collect();
        let programs = |list: &[Image]| list.iter().map(Program::of).collect();
        let line = |(pcr, text): (u8, &String)| Line {
            pcr,
            text: text.clone(),
        };
        Self {
            bank: claims.bank.name(),
            replayed: claims.replayed.iter().copied().collect(),
            firmware_version: claims.firmware_version.clone(),
            secure_boot: boot.enabled,
            pk: entries(&boot.pk),
            kek: entries(&boot.kek),
            db: entries(&boot.db),
            dbx: entries(&boot.dbx),
            authorities: boot
                .authorities
                .iter()
                .map(|used| Authority {
                    variable: used.variable.clone(),
                    entry: used.entry.as_ref().map(Entry::of),
                    before_separator: used.before_separator,
                })
                .collect(),
            dma_protection_disabled: boot.dma_protection_disabled,
            boot_chain: claims
                .boot_chain
                .iter()
                .map(|stage| BootStage::name(*stage))
                .collect(),
            boot_images: programs(&claims.images),
            drivers: programs(&claims.drivers),
            option_rom_events: claims.option_rom_events,
            command_lines: claims
                .command_lines
                .iter()
                .map(|of| line((of.pcr, &of.text)))
                .collect(),
            kernel_inputs: claims
                .kernel_inputs
                .iter()
                .map(|input| Input {
                    kind: input_name(input.kind),
                    digest: hex::encode(&input.digest),
                })
                .collect(),
            actions: claims
                .actions
                .iter()
                .map(|of| line((of.pcr, &of.text)))
                .collect(),
            quirks: claims
                .quirks
                .iter()
                .map(|quirk| Quirk::name(*quirk))
                .collect(),
        }
    }

    /// The claims by the keys of a profile where there is one.
    pub(crate) fn table(&self) -> String {
        let numbers: Vec<_> = self.replayed.iter().map(ToString::to_string).collect();
        let dma = if self.dma_protection_disabled {
            "off, as the firmware says"
        } else {
            "not reported off"
        };
        fields(vec![
            ("PCRs accounted for", Some(numbers.join(", "))),
            ("firmware", self.firmware_version.clone()),
            ("secure_boot", Some(on_off(self.secure_boot).to_owned())),
            ("PK", Some(texts(&self.pk, Entry::text))),
            ("KEK", Some(texts(&self.kek, Entry::text))),
            ("db", Some(texts(&self.db, Entry::text))),
            (
                "dbx",
                Some(match self.dbx.len() {
                    0 => NONE.to_owned(),
                    1 => "1 entry".to_owned(),
                    entries => format!("{entries} entries"),
                }),
            ),
            (
                "authorities",
                Some(texts(&self.authorities, Authority::text)),
            ),
            (
                "boot chain",
                Some(if self.boot_chain.is_empty() {
                    NONE.to_owned()
                } else {
                    self.boot_chain.join(", ")
                }),
            ),
            ("boot_images", Some(texts(&self.boot_images, Program::text))),
            ("drivers", Some(texts(&self.drivers, Program::text))),
            (
                "option ROMs",
                Some(match self.option_rom_events {
                    0 => NONE.to_owned(),
                    events => format!("{events} events in PCR 2"),
                }),
            ),
            ("command_line", Some(texts(&self.command_lines, Line::text))),
            (
                "kernel inputs",
                Some(texts(&self.kernel_inputs, |input| {
                    format!("{} {}", input.kind, input.digest)
                })),
            ),
            ("DMA protection", Some(dma.to_owned())),
            (
                "quirks",
                (!self.quirks.is_empty()).then(|| self.quirks.join(", ")),
            ),
        ])
    }
}

impl Entry {
    pub(crate) fn of(entry: &SignatureEntry) -> Self {
        let (kind, subject) = match entry {
            SignatureEntry::Certificate { subject, .. } => ("certificate", subject.clone()),
            SignatureEntry::Sha256 { source, .. } => (source_name(*source), None),
            SignatureEntry::Other { kind, .. } => ("other", Some(kind.clone())),
        };
        Self {
            fingerprint: hex::encode(entry.fingerprint()),
            kind,
            subject,
        }
    }

    /// All but the fingerprint.
    pub(crate) fn about(&self) -> String {
        let subject = self.subject.iter().map(String::as_str);
        let parts = std::iter::once(self.kind).chain(subject);
        parts.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn text(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{} {} ({subject})", self.kind, self.fingerprint),
            None => format!("{} {}", self.kind, self.fingerprint),
        }
    }
}

impl Authority {
    fn text(&self) -> String {
        let place = if self.before_separator {
            ", for a driver"
        } else {
            ""
        };
        match &self.entry {
            Some(entry) => format!("{}: {}{place}", self.variable, entry.text()),
            None => format!("{}{place}", self.variable),
        }
    }
}

impl Program {
    fn of(image: &Image) -> Self {
        Self {
            kind: image_name(image.kind),
            digest: hex::encode(&image.digest),
            path: image.path.clone(),
            option_rom: image.option_rom,
        }
    }

    fn text(&self) -> String {
        let path = self.path.as_deref().map(|path| format!(" (hint: {path})"));
        format!("{}{}", self.digest, path.unwrap_or_default())
    }
}

impl Line {
    fn text(&self) -> String {
        format!("PCR {}: {}", self.pcr, self.text)
    }
}

/// `on` or `off`.
pub(crate) fn on_off(flag: bool) -> &'static str {
    if flag { "on" } else { "off" }
}

fn texts<T>(list: &[T], text: impl Fn(&T) -> String) -> String {
    if list.is_empty() {
        return NONE.to_owned();
    }
    list.iter().map(text).collect::<Vec<_>>().join("\n")
}

fn source_name(source: eventlog::SignatureSource) -> &'static str {
    match source {
        eventlog::SignatureSource::Image => "image",
        eventlog::SignatureSource::Certificate => "certificate_tbs",
    }
}

fn image_name(kind: ImageKind) -> &'static str {
    match kind {
        ImageKind::Application => "application",
        ImageKind::BootDriver => "boot_driver",
        ImageKind::RuntimeDriver => "runtime_driver",
        ImageKind::Other => "other",
    }
}

fn input_name(kind: KernelInputKind) -> &'static str {
    match kind {
        KernelInputKind::LoadOptions => "command_line",
        KernelInputKind::Initrd => "initrd",
    }
}

const NONE: &str = "none";
