//! One entry of the log: a PCR, a type that no digest covers, digests, and data that one may cover.

/// An entry. All slices are of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Counted from zero after the header.
    pub index: usize,
    /// 0 to 23.
    pub pcr: u8,
    /// What the firmware says it is.
    pub kind: EventType,
    /// TPM_ALG_ID and digest, one for each algorithm of the header, in its order.
    pub digests: Vec<(u16, &'a [u8])>,
    /// What was measured, or a hint to it.
    pub data: &'a [u8],
}

impl<'a> Event<'a> {
    /// The digest in a bank, if the log has that bank.
    pub fn digest(&self, algorithm: u16) -> Option<&'a [u8]> {
        self.digests
            .iter()
            .find(|(of, _)| *of == algorithm)
            .map(|(_, digest)| *digest)
    }
}

/// TCG_EVENTTYPE (PFP 1.06, section 10.4.1) as it stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(pub u32);

macro_rules! types {
    ($($name:ident $value:literal;)*) => {
        #[expect(missing_docs, reason = "the names are the profile's, without the prefix EV_")]
        impl EventType {
            $(pub const $name: Self = Self($value);)*

            /// The profile's name, such as `EV_SEPARATOR`.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(concat!("EV_", stringify!($name))),)*
                    _ => None,
                }
            }
        }
    };
}

types! {
    POST_CODE 0x1;
    NO_ACTION 0x3;
    SEPARATOR 0x4;
    ACTION 0x5;
    EVENT_TAG 0x6;
    S_CRTM_CONTENTS 0x7;
    S_CRTM_VERSION 0x8;
    CPU_MICROCODE 0x9;
    PLATFORM_CONFIG_FLAGS 0xA;
    TABLE_OF_DEVICES 0xB;
    COMPACT_HASH 0xC;
    IPL 0xD;
    IPL_PARTITION_DATA 0xE;
    NONHOST_CODE 0xF;
    NONHOST_CONFIG 0x10;
    NONHOST_INFO 0x11;
    OMIT_BOOT_DEVICE_EVENTS 0x12;
    POST_CODE2 0x13;
    EFI_VARIABLE_DRIVER_CONFIG 0x8000_0001;
    EFI_VARIABLE_BOOT 0x8000_0002;
    EFI_BOOT_SERVICES_APPLICATION 0x8000_0003;
    EFI_BOOT_SERVICES_DRIVER 0x8000_0004;
    EFI_RUNTIME_SERVICES_DRIVER 0x8000_0005;
    EFI_GPT_EVENT 0x8000_0006;
    EFI_ACTION 0x8000_0007;
    EFI_PLATFORM_FIRMWARE_BLOB 0x8000_0008;
    EFI_HANDOFF_TABLES 0x8000_0009;
    EFI_PLATFORM_FIRMWARE_BLOB2 0x8000_000A;
    EFI_HANDOFF_TABLES2 0x8000_000B;
    EFI_VARIABLE_BOOT2 0x8000_000C;
    EFI_GPT_EVENT2 0x8000_000D;
    EFI_HCRTM_EVENT 0x8000_0010;
    EFI_VARIABLE_AUTHORITY 0x8000_00E0;
    EFI_SPDM_FIRMWARE_BLOB 0x8000_00E1;
    EFI_SPDM_FIRMWARE_CONFIG 0x8000_00E2;
    EFI_SPDM_DEVICE_POLICY 0x8000_00E3;
    EFI_SPDM_DEVICE_AUTHORITY 0x8000_00E4;
}
