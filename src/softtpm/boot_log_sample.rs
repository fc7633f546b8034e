//! A boot that machines make: firmware with Secure Boot on, shim, GRUB, and a kernel with EFI stub in a unified image.

use evidence::Hash;

use crate::boot_log_events::{
    CERT_SHA256, CERT_X509, GLOBAL_VARIABLE, Guid, IMAGE_SECURITY_DATABASE, OWNER, SHIM_LOCK,
    file_path, node, option_rom_path, signature_data, signature_list, utf16,
};
use crate::{BootLog, TpmError, boot_certificate};

impl BootLog {
    /// A boot with Secure Boot on, that breaks no rule and needs no quirk: one owner's PK, KEK and db, a dbx of two hashes,
    /// shim vouched for by db, GRUB and the kernel by the certificate inside shim.
    ///
    /// # Errors
    /// As [`boot_certificate`].
    pub fn sample(hashes: &[Hash]) -> Result<Self, TpmError> {
        let mut log = Self::new(hashes);
        log.firmware();
        log.secure_boot()?;
        log.configuration();
        log.event(1, VARIABLE_BOOT, &boot_option());
        log.action(4, CALLING_EFI_APPLICATION);
        log.separators(&[0, 1, 2, 3, 4, 5, 6]);
        log.event(5, GPT_EVENT, &partition_table());
        let shim = signature_data(&boot_certificate(DB)?);
        log.authority(IMAGE_SECURITY_DATABASE, "db", &shim);
        log.image(4, b"shim", &file_path("\\EFI\\debian\\shimx64.efi"));
        log.loaders()?;
        log.kernel();
        log.exit_boot_services();
        Ok(log)
    }

    /// The same with a driver in the option ROM of a device, which db vouches for before the separator.
    ///
    /// # Errors
    /// As [`boot_certificate`].
    pub fn sample_with_option_rom(hashes: &[Hash]) -> Result<Self, TpmError> {
        let mut log = Self::sample(hashes)?;
        let mut driver = Self::new(hashes);
        let entry = signature_data(&boot_certificate(DB)?);
        driver.authority(IMAGE_SECURITY_DATABASE, "db", &entry);
        driver.image(2, b"option ROM", &option_rom_path());
        let separator = log.position(|entry| (entry.pcr, entry.kind) == (7, SEPARATOR));
        let at = separator.unwrap_or_default();
        log.entries.splice(at..at, driver.entries);
        Ok(log)
    }

    /// The same with Secure Boot off: SecureBoot is 0, the keys are there, and nothing is verified.
    ///
    /// # Errors
    /// As [`boot_certificate`].
    pub fn sample_insecure(hashes: &[Hash]) -> Result<Self, TpmError> {
        let mut log = Self::sample(hashes)?;
        let off = crate::variable_data(GLOBAL_VARIABLE, "SecureBoot", &[0]);
        log.entries.retain(|entry| entry.kind != VARIABLE_AUTHORITY);
        let first = log.entries.iter_mut().find(|entry| entry.pcr == 7);
        if let Some(secure_boot) = first {
            secure_boot.rewrite(&off);
        }
        Ok(log)
    }

    /// Appends what shim measures of its own variables.
    pub fn shim_variables(&mut self) {
        self.authority(SHIM_LOCK, "SbatLevel", b"sbat,1,2025051000\n");
        self.authority(SHIM_LOCK, "MokListTrusted", &[1]);
        self.event_measuring(14, IPL, b"moks", b"MokList\0");
    }

    /// Appends the actions that the firmware measures when the kernel takes over.
    pub fn exit_boot_services(&mut self) {
        self.action(5, "Exit Boot Services Invocation");
        self.action(5, "Exit Boot Services Returned with Success");
    }

    fn firmware(&mut self) {
        self.startup_locality(3);
        self.event(0, S_CRTM_VERSION, &utf16("1.21.0\0"));
        for volume in [0xFFE0_0000_u64, 0xFFC8_4000] {
            let blob = [volume, 0x18_0000].map(u64::to_le_bytes).concat();
            let code = [b"firmware volume", &blob[..]].concat();
            self.event_measuring(0, PLATFORM_FIRMWARE_BLOB, &code, &blob);
        }
    }

    fn secure_boot(&mut self) -> Result<(), TpmError> {
        let certificates = |names: &[&str]| {
            let list = |name: &&str| Ok(signature_list(CERT_X509, &[&boot_certificate(name)?]));
            let lists: Result<Vec<_>, TpmError> = names.iter().map(list).collect();
            lists.map(|lists| lists.concat())
        };
        let forbidden = signature_list(CERT_SHA256, &[&[0xD1; 32], &[0xD2; 32]]);
        let variables: [(Guid, &str, Vec<u8>); 5] = [
            (GLOBAL_VARIABLE, "SecureBoot", vec![1]),
            (GLOBAL_VARIABLE, "PK", certificates(&["Platform Key"])?),
            (GLOBAL_VARIABLE, "KEK", certificates(&["Key Exchange Key"])?),
            (
                IMAGE_SECURITY_DATABASE,
                "db",
                certificates(&[DB, "Other Vendor"])?,
            ),
            (IMAGE_SECURITY_DATABASE, "dbx", forbidden),
        ];
        for (guid, name, data) in variables {
            self.variable(guid, name, &data);
        }
        self.separators(&[7]);
        Ok(())
    }

    fn configuration(&mut self) {
        self.event(1, PLATFORM_CONFIG_FLAGS, b"setup");
        self.event_measuring(1, HANDOFF_TABLES, b"SMBIOS", &[0x5B; 16]);
        let order = crate::variable_data(GLOBAL_VARIABLE, "BootOrder", &[0, 0]);
        self.event_measuring(1, VARIABLE_BOOT, &[0, 0], &order);
    }

    fn loaders(&mut self) -> Result<(), TpmError> {
        let vendor = signature_data(&boot_certificate(SHIM_VENDOR)?);
        self.authority(SHIM_LOCK, "Shim", &vendor);
        self.image(4, b"grub", &file_path("\\EFI\\debian\\grubx64.efi"));
        self.ipl(8, "grub_cmd: ", "linux /vmlinuz root=/dev/vda2 ro");
        self.event_measuring(9, IPL, b"kernel file", b"(hd0,gpt2)/vmlinuz\0");
        self.ipl(8, "kernel_cmdline: ", "/vmlinuz root=/dev/vda2 ro");
        self.image(4, b"kernel", &memory_path());
        Ok(())
    }

    /// A unified image's systemd-stub, and the EFI stub of the kernel in it, which logs no text of what it measures.
    fn kernel(&mut self) {
        for section in [".linux", ".cmdline", ".initrd"] {
            let name = utf16(&[section, "\0"].concat());
            self.event_measuring(11, IPL, &[section, "\0"].concat().into_bytes(), &name);
            self.event_measuring(11, IPL, section.as_bytes(), &name);
        }
        let line = utf16("root=/dev/vda2 ro quiet\0");
        self.event(12, IPL, &line);
        self.tagged(9, LOAD_OPTIONS, &line, b"LOADED_IMAGE::LoadOptions\0");
        self.tagged(9, INITRD, b"initrd", b"Linux initrd\0");
    }
}

/// EFI_LOAD_OPTION of Boot0000 (UEFI 2.10, section 3.1.3).
fn boot_option() -> Vec<u8> {
    let path = file_path("\\EFI\\debian\\shimx64.efi");
    let size = u16::try_from(path.len()).unwrap_or(u16::MAX);
    let mut option = 1u32.to_le_bytes().to_vec();
    option.extend(size.to_le_bytes());
    option.extend(utf16("debian\0"));
    option.extend(path);
    crate::variable_data(GLOBAL_VARIABLE, "Boot0000", &option)
}

/// UEFI_GPT_DATA (PFP 1.06, section 10.2.5) of one partition.
fn partition_table() -> Vec<u8> {
    let mut header = b"EFI PART".to_vec();
    header.resize(92, 0x11);
    let partition = [&OWNER, &[0x5A; 112][..]].concat();
    [header, 1u64.to_le_bytes().to_vec(), partition].concat()
}

/// MemoryMapped, as of an image that a loader has read.
fn memory_path() -> Vec<u8> {
    let mut range = 2u32.to_le_bytes().to_vec();
    range.extend(
        [0x7E00_0000_u64, 0x7EFF_FFFF]
            .map(u64::to_le_bytes)
            .concat(),
    );
    [node(1, 3, &range), node(0x7F, 0xFF, &[])].concat()
}

const DB: &str = "Image Signing CA";
const SHIM_VENDOR: &str = "Distribution CA";
const CALLING_EFI_APPLICATION: &str = "Calling EFI Application from Boot Option";
/// What the EFI stub of Linux tags its entries with.
const LOAD_OPTIONS: u32 = 0x8F3B_22ED;
const INITRD: u32 = 0x8F3B_22EC;

// PFP 1.06, section 10.4.1.
const SEPARATOR: u32 = 0x4;
const S_CRTM_VERSION: u32 = 0x8;
const PLATFORM_CONFIG_FLAGS: u32 = 0xA;
const IPL: u32 = 0xD;
const VARIABLE_BOOT: u32 = 0x8000_0002;
const GPT_EVENT: u32 = 0x8000_0006;
const PLATFORM_FIRMWARE_BLOB: u32 = 0x8000_0008;
const HANDOFF_TABLES: u32 = 0x8000_0009;
const VARIABLE_AUTHORITY: u32 = 0x8000_00E0;
