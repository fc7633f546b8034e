//! What firmware and boot loaders measure: variables, signature lists, images, actions, in the form of their standards.

use crate::BootLog;
use crate::boot_log::{STARTUP_LOCALITY, length};

/// A GUID as it is stored: the first three fields little-endian.
pub type Guid = [u8; 16];

/// EFI_GLOBAL_VARIABLE: SecureBoot, PK, KEK, Boot0000 (UEFI 2.10, section 3.3).
pub const GLOBAL_VARIABLE: Guid = [
    0x61, 0xDF, 0xE4, 0x8B, 0xCA, 0x93, 0xD2, 0x11, 0xAA, 0x0D, 0x00, 0xE0, 0x98, 0x03, 0x2B, 0x8C,
];
/// EFI_IMAGE_SECURITY_DATABASE_GUID: db, dbx (section 32.4.1).
pub const IMAGE_SECURITY_DATABASE: Guid = [
    0xCB, 0xB2, 0x19, 0xD7, 0x3A, 0x3D, 0x96, 0x45, 0xA3, 0xBC, 0xDA, 0xD0, 0x0E, 0x67, 0x65, 0x6F,
];
/// The GUID of shim's own variables.
pub const SHIM_LOCK: Guid = [
    0x50, 0xAB, 0x5D, 0x60, 0x46, 0xE0, 0x00, 0x43, 0xAB, 0xB6, 0x3D, 0xD8, 0x10, 0xDD, 0x8B, 0x23,
];
/// EFI_CERT_X509_GUID.
pub const CERT_X509: Guid = [
    0xA1, 0x59, 0xC0, 0xA5, 0xE4, 0x94, 0xA7, 0x4A, 0x87, 0xB5, 0xAB, 0x15, 0x5C, 0x2B, 0xF0, 0x72,
];
/// EFI_CERT_SHA256_GUID.
pub const CERT_SHA256: Guid = [
    0x26, 0x16, 0xC4, 0xC1, 0x4C, 0x50, 0x92, 0x40, 0xAC, 0xA9, 0x41, 0xF9, 0x36, 0x93, 0x43, 0x28,
];
/// EFI_CERT_X509_SHA256_GUID.
pub const CERT_X509_SHA256: Guid = [
    0x92, 0xA4, 0xD2, 0x3B, 0xC0, 0x96, 0x79, 0x40, 0xB4, 0x20, 0xFC, 0xF9, 0x8E, 0xF1, 0x03, 0xED,
];
/// Whoever put the entries there.
pub const OWNER: Guid = [0x77; 16];

impl BootLog {
    /// Appends the locality that TPM2_Startup came from; it counts for the PCR values wherever it stands.
    pub fn startup_locality(&mut self, locality: u8) -> usize {
        self.no_action(0, &[STARTUP_LOCALITY, &[locality]].concat())
    }

    /// Appends a variable of Secure Boot policy, EV_EFI_VARIABLE_DRIVER_CONFIG in PCR 7.
    pub fn variable(&mut self, guid: Guid, name: &str, data: &[u8]) -> usize {
        let data = variable_data(guid, name, data);
        self.event(7, VARIABLE_DRIVER_CONFIG, &data)
    }

    /// Appends the entry of a variable that vouched for an image, EV_EFI_VARIABLE_AUTHORITY in PCR 7.
    pub fn authority(&mut self, guid: Guid, name: &str, entry: &[u8]) -> usize {
        let data = variable_data(guid, name, entry);
        self.event(7, VARIABLE_AUTHORITY, &data)
    }

    /// Appends a separator to each of these PCRs.
    pub fn separators(&mut self, pcrs: &[u32]) {
        for pcr in pcrs {
            self.event(*pcr, SEPARATOR, &[0; 4]);
        }
    }

    /// Appends an action, EV_EFI_ACTION.
    pub fn action(&mut self, pcr: u32, text: &str) -> usize {
        self.event(pcr, EFI_ACTION, text.as_bytes())
    }

    /// Appends an image by what is hashed of it, and its device path: of EV_EFI_BOOT_SERVICES_APPLICATION in PCR 4, of
    /// EV_EFI_BOOT_SERVICES_DRIVER in PCR 2.
    pub fn image(&mut self, pcr: u32, authenticode: &[u8], path: &[u8]) -> usize {
        let kind = if pcr == 2 {
            BOOT_SERVICES_DRIVER
        } else {
            BOOT_SERVICES_APPLICATION
        };
        self.event_measuring(pcr, kind, authenticode, &image_load(path))
    }

    /// Appends a string of a boot loader, EV_IPL: the data is the string with a prefix, and a NUL; measured is the string.
    pub fn ipl(&mut self, pcr: u32, prefix: &str, text: &str) -> usize {
        let data = [prefix, text, "\0"].concat();
        self.event_measuring(pcr, IPL, text.as_bytes(), data.as_bytes())
    }

    /// Appends EV_EVENT_TAG: measured is `measured`, the data a TCG_PCClientTaggedEvent.
    pub fn tagged(&mut self, pcr: u32, id: u32, measured: &[u8], data: &[u8]) -> usize {
        let tagged = [id.to_le_bytes(), length(data.len())].concat();
        self.event_measuring(pcr, EVENT_TAG, measured, &[tagged, data.to_vec()].concat())
    }
}

/// UEFI_VARIABLE_DATA (PFP 1.06, section 10.2.6).
pub fn variable_data(guid: Guid, name: &str, data: &[u8]) -> Vec<u8> {
    let units: Vec<u16> = name.encode_utf16().collect();
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes();
    let mut out = guid.to_vec();
    out.extend(count(units.len()));
    out.extend(count(data.len()));
    out.extend(units.into_iter().flat_map(u16::to_le_bytes));
    out.extend(data);
    out
}

/// EFI_SIGNATURE_LIST of entries of one size (UEFI 2.10, section 32.4.1).
pub fn signature_list(kind: Guid, entries: &[&[u8]]) -> Vec<u8> {
    let size = 16 + entries.first().map_or(0, |entry| entry.len());
    let mut out = kind.to_vec();
    out.extend(length(28 + size * entries.len()));
    out.extend(length(0));
    out.extend(length(size));
    for entry in entries {
        out.extend(signature_data(entry));
    }
    out
}

/// EFI_SIGNATURE_DATA: the owner, and the entry.
pub fn signature_data(entry: &[u8]) -> Vec<u8> {
    [&OWNER, entry].concat()
}

/// UEFI_IMAGE_LOAD_EVENT (PFP 1.06, section 10.2.3).
pub fn image_load(path: &[u8]) -> Vec<u8> {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes();
    let mut out = 0x7E5F_0018_u64.to_le_bytes().to_vec();
    out.extend([count(0x2_4000), count(0), count(path.len())].concat());
    out.extend(path);
    out
}

/// The device path of a file on a partition of a disk (UEFI 2.10, section 10.3).
pub fn file_path(file: &str) -> Vec<u8> {
    let mut partition = 1u32.to_le_bytes().to_vec();
    partition.extend([0x800_u64, 0x10_0000].map(u64::to_le_bytes).concat());
    partition.extend([0x5A; 16]);
    partition.extend([2, 2]);
    [
        pci(0x1F, 2),
        node(3, 0x12, &[0, 0, 0xFF, 0xFF, 0, 0]),
        node(4, 1, &partition),
        node(4, 4, &utf16(&[file, "\0"].concat())),
        node(0x7F, 0xFF, &[]),
    ]
    .concat()
}

/// The device path of a driver in the option ROM of a PCI device.
pub fn option_rom_path() -> Vec<u8> {
    let mut range = vec![0; 4];
    range.extend([0x1_0000_u64, 0x2_F9FF].map(u64::to_le_bytes).concat());
    [pci(3, 0), node(4, 8, &range), node(0x7F, 0xFF, &[])].concat()
}

/// One node of a device path.
pub fn node(kind: u8, subtype: u8, data: &[u8]) -> Vec<u8> {
    let size = u16::try_from(4 + data.len()).unwrap_or(u16::MAX);
    [&[kind, subtype], &size.to_le_bytes()[..], data].concat()
}

/// UTF-16, little-endian.
pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// PciRoot(0x0)/Pci(device,function).
fn pci(device: u8, function: u8) -> Vec<u8> {
    let root = [0x0A03_41D0_u32, 0].map(u32::to_le_bytes).concat();
    [node(2, 1, &root), node(1, 1, &[function, device])].concat()
}

// PFP 1.06, section 10.4.1.
const SEPARATOR: u32 = 0x4;
const EVENT_TAG: u32 = 0x6;
const IPL: u32 = 0xD;
const VARIABLE_DRIVER_CONFIG: u32 = 0x8000_0001;
const BOOT_SERVICES_APPLICATION: u32 = 0x8000_0003;
const BOOT_SERVICES_DRIVER: u32 = 0x8000_0004;
const EFI_ACTION: u32 = 0x8000_0007;
const VARIABLE_AUTHORITY: u32 = 0x8000_00E0;
