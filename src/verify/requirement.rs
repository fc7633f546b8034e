//! What a profile may require of a machine: each requirement is one check with one reason.

use std::collections::BTreeSet;

use eventlog::{BootClaims, SignatureEntry};

use crate::facts::Facts;
use crate::{CommandLineRule, FirmwareRange, Reason, Rejection, TpmKind, Vendor};

/// One requirement. They are checked in this order, and the first that fails says why: what is known by name comes before
/// bare PCR values, which tell that something changed and not what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// A quote, which agents of the first generation do not give.
    Quote,
    /// A verified EK certificate.
    EkCertificate,
    /// An EK certificate of one of these vendors.
    Vendors(BTreeSet<Vendor>),
    /// A certified vendor that makes one of these kinds of TPM.
    Kinds(BTreeSet<TpmKind>),
    /// A firmware version in one of these ranges.
    Firmware(Vec<FirmwareRange>),
    /// The TPM's clock did not go back.
    ClockSafe,
    /// A boot event log that leads to the quoted PCRs.
    EventLog,
    /// Secure Boot on.
    SecureBoot,
    /// Nothing in db but these, by fingerprint.
    Db(BTreeSet<[u8; 32]>),
    /// All of these in dbx, by fingerprint.
    Dbx(BTreeSet<[u8; 32]>),
    /// Nothing was verified by anything but these, by fingerprint.
    Authorities(BTreeSet<[u8; 32]>),
    /// No program was started but these, by Authenticode digest in the quoted bank.
    BootImages(BTreeSet<Vec<u8>>),
    /// Every kernel command line that was measured is allowed, and one was.
    CommandLine(CommandLineRule),
    /// No code of a device was loaded.
    NoOptionRoms,
    /// The firmware protected itself against DMA.
    DmaProtection,
    /// One of these values in a PCR of the quoted bank.
    Pcr {
        /// 0 to 23.
        pcr: u8,
        /// The good values, each of the bank's size in bytes.
        values: BTreeSet<Vec<u8>>,
    },
}

impl Requirement {
    /// The key that states it in a profile, for reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Quote => "legacy_agents",
            Self::EkCertificate => "ek_cert",
            Self::Vendors(_) => "vendors",
            Self::Kinds(_) => "tpm_kinds",
            Self::Firmware(_) => "firmware",
            Self::ClockSafe => "clock_safe",
            Self::EventLog => "event_log",
            Self::SecureBoot => "secure_boot",
            Self::Db(_) => "db",
            Self::Dbx(_) => "dbx",
            Self::Authorities(_) => "authorities",
            Self::BootImages(_) => "boot_images",
            Self::CommandLine(_) => "command_line",
            Self::NoOptionRoms => "option_roms",
            Self::DmaProtection => "dma_protection",
            Self::Pcr { .. } => "pcr",
        }
    }

    /// Whether it is about the boot event log.
    pub fn needs_log(&self) -> bool {
        (Self::EventLog..=Self::DmaProtection).contains(self)
    }

    /// Checks it against what a machine proved.
    pub(crate) fn check(&self, facts: &Facts<'_>) -> Result<(), Rejection> {
        match self {
            Self::Quote => facts.quoted().map(|_| ()),
            Self::EkCertificate => facts.certified(),
            Self::Vendors(allowed) => check_vendor(facts, allowed),
            Self::Kinds(allowed) => check_kind(facts, allowed),
            Self::Firmware(ranges) => check_firmware(facts, ranges),
            Self::ClockSafe => check_clock(facts),
            Self::EventLog => facts.boot().map(|_| ()),
            Self::SecureBoot => check_secure_boot(facts.boot()?),
            Self::Db(allowed) => check_db(facts.boot()?, allowed),
            Self::Dbx(required) => check_dbx(facts.boot()?, required),
            Self::Authorities(allowed) => check_authorities(facts.boot()?, allowed),
            Self::BootImages(allowed) => check_boot_images(facts.boot()?, allowed),
            Self::CommandLine(rule) => check_command_lines(facts.boot()?, rule),
            Self::NoOptionRoms => check_option_roms(facts.boot()?),
            Self::DmaProtection => check_dma(facts.boot()?),
            Self::Pcr { pcr, values } => check_pcr(facts, *pcr, values),
        }
    }
}

fn check_vendor(facts: &Facts<'_>, allowed: &BTreeSet<Vendor>) -> Result<(), Rejection> {
    match facts.vendor() {
        Some(vendor) if allowed.contains(&vendor) => Ok(()),
        Some(vendor) => Err(Rejection::because(
            Reason::VendorDenied,
            format!("a TPM of {vendor}"),
        )),
        None => Err(Rejection::because(
            Reason::VendorDenied,
            "no verified certificate names the vendor",
        )),
    }
}

fn check_kind(facts: &Facts<'_>, allowed: &BTreeSet<TpmKind>) -> Result<(), Rejection> {
    match facts.kind() {
        Some(kind) if allowed.contains(&kind) => Ok(()),
        kind => Err(Rejection::because(
            Reason::TpmKindDenied,
            format!("its kind is {}", kind.map_or("unknown", TpmKind::name)),
        )),
    }
}

/// TPM library part 2, section 10.12.12: firmwareVersion in the quote is what runs now, whatever the certificate said
/// when it was issued. It is not masked, since the AK is in the endorsement hierarchy.
fn check_firmware(facts: &Facts<'_>, ranges: &[FirmwareRange]) -> Result<(), Rejection> {
    let version = facts.firmware()?;
    let vendor = facts.vendor();
    if ranges.iter().any(|range| range.contains(vendor, version)) {
        return Ok(());
    }
    let vendor = vendor.map_or_else(
        || "an unknown vendor".to_owned(),
        |vendor| vendor.to_string(),
    );
    Err(Rejection::because(
        Reason::FirmwareDenied,
        format!("firmware {version} of {vendor} is in no range"),
    ))
}

/// TPM library part 1, section 36.3: `safe` is clear when the clock may have shown later times before.
fn check_clock(facts: &Facts<'_>) -> Result<(), Rejection> {
    if facts.quoted()?.clock().safe {
        Ok(())
    } else {
        Err(Reason::ClockUnsafe.into())
    }
}

/// UEFI 2.10, section 32.3; PFP 1.06, section 3.3.4.8: PCR 7 tells whether images were verified.
fn check_secure_boot(boot: &BootClaims) -> Result<(), Rejection> {
    if boot.secure_boot.enabled {
        Ok(())
    } else {
        Err(Reason::SecureBootDisabled.into())
    }
}

fn check_db(boot: &BootClaims, allowed: &BTreeSet<[u8; 32]>) -> Result<(), Rejection> {
    match first_unlisted(&boot.secure_boot.db, allowed) {
        Some(entry) => Err(Rejection::because(Reason::DbUnexpected, shown(entry))),
        None => Ok(()),
    }
}

/// A minimum and not an equality: the list only grows, and a machine may be ahead of the operator.
fn check_dbx(boot: &BootClaims, required: &BTreeSet<[u8; 32]>) -> Result<(), Rejection> {
    let present: BTreeSet<_> = boot
        .secure_boot
        .dbx
        .iter()
        .map(SignatureEntry::fingerprint)
        .collect();
    let absent: Vec<_> = required
        .iter()
        .filter(|entry| !present.contains(entry))
        .collect();
    match absent.first() {
        None => Ok(()),
        Some(first) => Err(Rejection::because(
            Reason::DbxOutdated,
            format!(
                "{} entries are missing, {} first",
                absent.len(),
                hex::encode(first)
            ),
        )),
    }
}

/// What vouched for an image means nothing where nothing had to be vouched for.
fn check_authorities(boot: &BootClaims, allowed: &BTreeSet<[u8; 32]>) -> Result<(), Rejection> {
    check_secure_boot(boot)?;
    let used = boot.secure_boot.authorities.iter();
    match first_unlisted(
        used.filter_map(|authority| authority.entry.as_ref()),
        allowed,
    ) {
        Some(entry) => Err(Rejection::because(
            Reason::AuthorityUnexpected,
            shown(entry),
        )),
        None => Ok(()),
    }
}

/// Programs of the boot are of any type in the log, since nothing covers that; what is known not to be one is left
/// to the firmware's own PCRs.
fn check_boot_images(boot: &BootClaims, allowed: &BTreeSet<Vec<u8>>) -> Result<(), Rejection> {
    let unlisted = boot
        .images
        .iter()
        .find(|image| !allowed.contains(&image.digest));
    let found = match unlisted {
        Some(image) => hex::encode(&image.digest),
        None if !boot.images.is_empty() => return Ok(()),
        None => "no program was measured".to_owned(),
    };
    Err(Rejection::because(Reason::BootImageUnexpected, found))
}

fn check_command_lines(boot: &BootClaims, rule: &CommandLineRule) -> Result<(), Rejection> {
    if boot.command_lines.is_empty() {
        return Err(Rejection::because(
            Reason::CommandLinePolicy,
            "no command line was measured into PCR 8, 9 or 12",
        ));
    }
    // Whoever is root later may write beside a digest what it is not of; then no list of lines is the whole list.
    if let Some(pcr) = boot.unread.first() {
        return Err(Rejection::because(
            Reason::CommandLinePolicy,
            format!("PCR {pcr} holds what may be a command line, and the log shows no text of it"),
        ));
    }
    for line in &boot.command_lines {
        rule.check(&line.text)
            .map_err(|problem| Rejection::because(Reason::CommandLinePolicy, problem))?;
    }
    Ok(())
}

/// PFP 1.06, section 3.3.4.3: what is measured into PCR 2 is code that the platform's maker did not provide.
fn check_option_roms(boot: &BootClaims) -> Result<(), Rejection> {
    match boot.option_rom_events {
        0 => Ok(()),
        events => Err(Rejection::because(
            Reason::DriverPolicy,
            format!("{events} events in PCR 2"),
        )),
    }
}

/// PFP 1.06, section 3.3.4.8: the firmware measures into PCR 7 that it was off.
fn check_dma(boot: &BootClaims) -> Result<(), Rejection> {
    if boot.secure_boot.dma_protection_disabled {
        Err(Reason::DmaUnprotected.into())
    } else {
        Ok(())
    }
}

fn check_pcr(facts: &Facts<'_>, pcr: u8, values: &BTreeSet<Vec<u8>>) -> Result<(), Rejection> {
    // CVE-2021-42299: a bank that firmware does not extend can be filled by whoever comes later. Firmware always
    // extends PCR 0, and those that hold its own measurements (PFP 1.06, section 3.3.4).
    for firmware in [0, pcr].into_iter().filter(|pcr| *pcr < 8) {
        let untouched = |value: &[u8]| is_filled_with(value, 0x00) || is_filled_with(value, 0xFF);
        if facts.pcr(firmware)?.is_some_and(untouched) {
            return Err(Rejection::because(
                Reason::PcrBankInactive,
                format!("PCR {firmware} was never extended"),
            ));
        }
    }
    match facts.pcr(pcr)? {
        Some(value) if values.contains(value) => Ok(()),
        Some(value) => Err(Rejection::because(
            Reason::PcrPolicy,
            format!("PCR {pcr} is {}", hex::encode(value)),
        )),
        None => Err(Rejection::because(
            Reason::PcrPolicy,
            format!("PCR {pcr} was not quoted"),
        )),
    }
}

fn is_filled_with(value: &[u8], byte: u8) -> bool {
    value.iter().all(|other| *other == byte)
}

fn first_unlisted<'a>(
    entries: impl IntoIterator<Item = &'a SignatureEntry>,
    allowed: &BTreeSet<[u8; 32]>,
) -> Option<&'a SignatureEntry> {
    entries
        .into_iter()
        .find(|entry| !allowed.contains(entry.fingerprint()))
}

/// Claims hold printable text only.
fn shown(entry: &SignatureEntry) -> String {
    let fingerprint = hex::encode(entry.fingerprint());
    match entry {
        SignatureEntry::Certificate {
            subject: Some(subject),
            ..
        } => format!("{fingerprint} ({subject})"),
        _ => fingerprint,
    }
}
