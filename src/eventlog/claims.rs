//! What a log proves about a boot: each claim is bound to a quoted PCR by a digest, or says that it is a hint.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{Bank, Quirk};

/// What a log that replays to the quoted PCRs proves. Texts are printable ASCII, escaped, of at most 256 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootClaims {
    /// The bank that was replayed.
    pub bank: Bank,
    /// The PCRs whose values the log leads to. 0 to 7 are always among them. One of 8 to 15 that is not has been
    /// extended by software that writes no firmware log, and nothing of it is in these claims.
    pub replayed: BTreeSet<u8>,
    /// The firmware's version as it says itself (EV_S_CRTM_VERSION), if there is one.
    pub firmware_version: Option<String>,
    /// The Secure Boot policy, of PCR 7.
    pub secure_boot: Arc<SecureBoot>,
    /// Images that the firmware or a loader started, in the order of the log: all that was measured into PCR 4 but its
    /// separator and short texts, whatever types the events claim. None unless the log shows, in PCR 4, that a boot option
    /// was tried and, in PCR 5, that the boot services were left (rule M11).
    pub images: Vec<Image>,
    /// Drivers that came from devices, or that the boot options name, in the order of the log: all that was measured into
    /// PCR 2 but its separator and short texts.
    pub drivers: Vec<Image>,
    /// Events in PCR 2 other than its separator, whatever their types say: code that came with devices. Types and
    /// device paths are hints, so that this alone shows that there was none.
    pub option_rom_events: usize,
    /// Kernel command lines, of PCRs 8, 9 and 12. Their digests are bound; that nothing else was the command line is
    /// not: who is root later can extend these PCRs further, and no digest covers what an event calls its data.
    pub command_lines: Vec<CommandLine>,
    /// What the kernel's EFI stub was given, in the order of the log, of PCR 9. As hard to deny as command lines.
    pub kernel_inputs: Vec<KernelInput>,
    /// Those of PCRs 8, 9 and 12 that hold what may be a command line and shows no text: without them, the lines above are
    /// all that there are in PCRs 8 and 12, whatever types and labels the log gives them.
    pub unread: BTreeSet<u8>,
    /// Stages that the boot went through, as far as it can be said, in order.
    pub boot_chain: Vec<BootStage>,
    /// Actions in any of PCRs 0 to 7, in the order of the log.
    pub actions: Vec<Action>,
    /// The departures that were met and tolerated.
    pub quirks: BTreeSet<Quirk>,
}

/// The Secure Boot policy that was in force; off by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecureBoot {
    /// Images were verified: rule M9.
    pub enabled: bool,
    /// Contents of the variable PK.
    pub pk: Vec<SignatureEntry>,
    /// Contents of the variable KEK.
    pub kek: Vec<SignatureEntry>,
    /// Contents of the variable db: who may sign.
    pub db: Vec<SignatureEntry>,
    /// Contents of the variable dbx: what is forbidden.
    pub dbx: Vec<SignatureEntry>,
    /// What vouched for an image before the separator (drivers) and after it (loaders), in the order of the log.
    pub authorities: Vec<VerifiedBy>,
    /// Protection against DMA is off, as the firmware says.
    pub dma_protection_disabled: bool,
}

/// One entry of a signature list (UEFI 2.10, section 32.4.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureEntry {
    /// An X.509 certificate.
    Certificate {
        /// SHA-256 of its DER.
        sha256: [u8; 32],
        /// Its subject; `None` where the certificate cannot be read.
        subject: Option<String>,
    },
    /// SHA-256: of an image (Authenticode), or of a certificate's to-be-signed part, as `source` says.
    Sha256 {
        /// What is hashed.
        source: SignatureSource,
        /// The hash.
        hash: [u8; 32],
    },
    /// One of another type.
    Other {
        /// The type's GUID in its usual text form.
        kind: String,
        /// SHA-256 of the entry's data, without the owner.
        sha256: [u8; 32],
    },
}

/// What a hash in a signature list is a hash of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureSource {
    /// EFI_CERT_SHA256_GUID: an image.
    Image,
    /// EFI_CERT_X509_SHA256_GUID: the to-be-signed part of a certificate.
    Certificate,
}

/// What vouched for an image (EV_EFI_VARIABLE_AUTHORITY).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBy {
    /// The variable that it stands in, such as `db`, `MokList`, `Shim`, `SbatLevel`.
    pub variable: String,
    /// The entry. `None` for a variable that holds none, such as SbatLevel.
    pub entry: Option<SignatureEntry>,
    /// Before PCR 7's separator: for a driver, not for the boot loader.
    pub before_separator: bool,
}

/// A program that was loaded. Its digest is bound; its path is a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What the firmware says it is.
    pub kind: ImageKind,
    /// The Authenticode digest in the replayed bank.
    pub digest: Vec<u8>,
    /// The device path as a short text; nothing covers it.
    pub path: Option<String>,
    /// The path names a PCI device's option ROM.
    pub option_rom: bool,
}

/// A kind of image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageKind {
    /// EV_EFI_BOOT_SERVICES_APPLICATION: a boot loader or a kernel.
    Application,
    /// EV_EFI_BOOT_SERVICES_DRIVER.
    BootDriver,
    /// EV_EFI_RUNTIME_SERVICES_DRIVER.
    RuntimeDriver,
    /// Another type. No digest covers types, so an image could hide behind it.
    Other,
}

/// A kernel command line that was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// Where: 8 (GRUB), 9 (the kernel's EFI stub, where the log shows the text elsewhere), 12 (systemd-boot, systemd-stub).
    pub pcr: u8,
    /// The text as it was measured, without its terminator; escaped, and up to 4,096 characters.
    pub text: String,
}

/// Something that a Linux kernel's EFI stub was given. Its digest is bound; what it is, is a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelInput {
    /// What the stub says it is.
    pub kind: KernelInputKind,
    /// The digest in the replayed bank: of the command line in UTF-16, or of the initramfs.
    pub digest: Vec<u8>,
    /// The command line, if the log shows a text of this digest; it is among the command lines, too.
    pub text: Option<String>,
}

/// What a kernel's EFI stub measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KernelInputKind {
    /// The command line.
    LoadOptions,
    /// The initramfs.
    Initrd,
}

/// A program of the boot chain that the log shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BootStage {
    /// shim: it measured its own variables into PCR 7 or 14.
    Shim,
    /// GRUB: it measured its commands into PCR 8.
    Grub,
    /// systemd-boot: it measured its configuration.
    SystemdBoot,
    /// systemd-stub, of a unified kernel image.
    SystemdStub,
    /// A Linux kernel's EFI stub: it measured its command line or initramfs into PCR 9.
    LinuxStub,
}

/// An action string (EV_EFI_ACTION, EV_ACTION), whose digest was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The PCR.
    pub pcr: u8,
    /// The string.
    pub text: String,
}

impl BootStage {
    /// The name in selectors and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shim => "shim",
            Self::Grub => "grub",
            Self::SystemdBoot => "systemd-boot",
            Self::SystemdStub => "systemd-stub",
            Self::LinuxStub => "linux-stub",
        }
    }
}

impl SignatureEntry {
    /// What a policy names it by: the SHA-256 of a certificate or of an unknown entry, or the hash itself.
    pub fn fingerprint(&self) -> &[u8; 32] {
        match self {
            Self::Certificate { sha256, .. } | Self::Other { sha256, .. } => sha256,
            Self::Sha256 { hash, .. } => hash,
        }
    }
}
