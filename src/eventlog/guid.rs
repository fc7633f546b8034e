//! GUIDs as UEFI stores them: the first three fields little-endian (UEFI 2.10, appendix A).

/// The stored form.
pub(crate) type Guid = [u8; 16];

/// EFI_GLOBAL_VARIABLE: SecureBoot, PK, KEK (section 3.3).
pub(crate) const GLOBAL_VARIABLE: Guid = stored(0x8BE4_DF61_93CA_11D2_AA0D_00E0_9803_2B8C);
/// EFI_IMAGE_SECURITY_DATABASE_GUID: db, dbx (section 32.6.1).
pub(crate) const IMAGE_SECURITY_DATABASE: Guid = stored(0xD719_B2CB_3D3A_4596_A3BC_DAD0_0E67_656F);
/// The variables of shim.
pub(crate) const SHIM_LOCK: Guid = stored(0x605D_AB50_E046_4300_ABB6_3DD8_10DD_8B23);
/// EFI_CERT_X509_GUID (section 32.4.1).
pub(crate) const CERT_X509: Guid = stored(0xA5C0_59A1_94E4_4AA7_87B5_AB15_5C2B_F072);
/// EFI_CERT_SHA256_GUID.
pub(crate) const CERT_SHA256: Guid = stored(0xC1C4_1626_504C_4092_ACA9_41F9_3693_4328);
/// EFI_CERT_X509_SHA256_GUID.
pub(crate) const CERT_X509_SHA256: Guid = stored(0x3BD2_A492_96C0_4079_B420_FCF9_8EF1_03ED);

/// The usual text form, lower case.
pub(crate) fn text(guid: &Guid) -> String {
    let digits = u128::from_be_bytes(swapped(*guid));
    let group = |from: u32, mask: u128| (digits >> from) & mask;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        group(96, 0xFFFF_FFFF),
        group(80, 0xFFFF),
        group(64, 0xFFFF),
        group(48, 0xFFFF),
        group(0, 0xFFFF_FFFF_FFFF),
    )
}

/// What is stored for a GUID's 32 digits.
const fn stored(digits: u128) -> Guid {
    swapped(digits.to_be_bytes())
}

/// The first three fields in the other order of their bytes.
const fn swapped(of: Guid) -> Guid {
    [
        of[3], of[2], of[1], of[0], of[5], of[4], of[7], of[6], of[8], of[9], of[10], of[11],
        of[12], of[13], of[14], of[15],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_stored_and_shown_as_in_the_standard() {
        assert_eq!(GLOBAL_VARIABLE, softtpm::GLOBAL_VARIABLE);
        assert_eq!(IMAGE_SECURITY_DATABASE, softtpm::IMAGE_SECURITY_DATABASE);
        assert_eq!(SHIM_LOCK, softtpm::SHIM_LOCK);
        assert_eq!(CERT_X509, softtpm::CERT_X509);
        assert_eq!(CERT_SHA256, softtpm::CERT_SHA256);
        assert_eq!(CERT_X509_SHA256, softtpm::CERT_X509_SHA256);
        assert_eq!(
            text(&GLOBAL_VARIABLE),
            "8be4df61-93ca-11d2-aa0d-00e098032b8c"
        );
    }
}
