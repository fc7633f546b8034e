//! A machine whose owner is root after the boot: PCRs can be extended further, and every entry of the log be written anew.

use evidence::Hash;
use softtpm::{
    BootLog, GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, SHIM_LOCK, boot_certificate, signature_data,
    utf16, variable_data,
};

use crate::forged::{
    APPLICATION, AUTHORITY, DRIVER_CONFIG, EFI_ACTION, IPL, S_CRTM_VERSION, SEPARATOR,
    SPDM_AUTHORITY, SPDM_POLICY, assert_refused, exit, honest, judge, move_last, place, sample,
    variable,
};
use crate::{ImageKind, LogReason};

use LogReason::{Digest, Duplicate, Malformed, Order, Separator, UntrustedEvent};

/// A boot with Secure Boot off, and a second PCR 7 extended behind it that tells of Secure Boot on.
fn second_policy() -> (BootLog, usize) {
    let mut boot = BootLog::sample_insecure(&[Hash::Sha256, Hash::Sha384]).unwrap();
    let first = boot.entries.len();
    let secure = sample();
    let policy = secure.entries.iter().filter(|entry| entry.pcr == 7);
    boot.entries.extend(policy.cloned());
    (boot, first)
}

#[test]
fn true_events_cannot_be_made_invisible() {
    let (boot, first) = second_policy();
    let case = "tpm/F07 eventlog_untrusted_event";
    for (kind, reason) in [
        (IPL, UntrustedEvent),
        (0x1, UntrustedEvent),
        (0x6, UntrustedEvent),
        (0x99, UntrustedEvent),
        (0x8000_0002, UntrustedEvent),
        (SPDM_POLICY, UntrustedEvent),
        (SPDM_AUTHORITY, UntrustedEvent),
        (EFI_ACTION, UntrustedEvent),
        (AUTHORITY, Malformed),
    ] {
        let mut told = boot.clone();
        let own = told.entries[..first].iter_mut();
        for entry in own.filter(|entry| entry.pcr == 7) {
            entry.kind = kind;
        }
        let expected = (reason, "event 4: ");
        assert_refused(
            judge(&boot, &told),
            expected,
            &format!("{case}: as {kind:#x}"),
        );
    }
    // One of them alone, with the separator as it was: the variables of the second policy come after it.
    for name in ["SecureBoot", "PK", "KEK", "db", "dbx"] {
        let mut told = boot.clone();
        let at = variable(&boot, name);
        told.entries[at].kind = IPL;
        told.entries.remove(told.entries.len() - 3);
        let mut real = boot.clone();
        real.entries.remove(real.entries.len() - 3);
        assert_refused(judge(&real, &told), (UntrustedEvent, "EV_IPL"), case);
    }
}

#[test]
fn a_separator_cannot_be_moved() {
    for pcr in [2, 4, 5, 7] {
        let mut boot = sample();
        boot.separators(&[pcr]);
        for kind in [
            IPL,
            EFI_ACTION,
            APPLICATION,
            SPDM_POLICY,
            DRIVER_CONFIG,
            0x99,
        ] {
            let mut told = boot.clone();
            let at = place(&boot, pcr, SEPARATOR);
            told.entries[at].kind = kind;
            let expected = match (pcr, kind) {
                (7, DRIVER_CONFIG) => Malformed,
                (7, _) => UntrustedEvent,
                _ => Separator,
            };
            let case = format!("tpm/F12: PCR {pcr} as {kind:#x}");
            assert_refused(judge(&boot, &told), (expected, ""), &case);
        }
    }
}

#[test]
fn some_firmware_measures_a_separators_bytes_of_itself() {
    for pcr in [0, 1, 3, 6] {
        let mut log = sample();
        log.event(pcr, 0x7, &[0; 4]);
        move_last(&mut log, 1);
        let claims = honest(&log).unwrap();
        // Whether that is a separator under another name cannot be told.
        assert_eq!(claims.firmware_version.is_some(), pcr != 0, "{pcr}");
    }
}

#[test]
fn a_version_after_the_separator_is_not_the_firmwares() {
    let forged = utf16("9.9.9\0");
    let mut boot = sample();
    boot.event(0, S_CRTM_VERSION, &forged);
    let before_exit = exit(&boot);
    move_last(&mut boot, before_exit);
    let version = honest(&boot).unwrap().firmware_version;
    assert_eq!(version.as_deref(), Some("1.21.0"));

    // A second separator behind it, and the first made invisible.
    boot.separators(&[0]);
    move_last(&mut boot, before_exit + 1);
    for hides_version in [false, true] {
        let mut told = boot.clone();
        let at = place(&told, 0, SEPARATOR);
        told.entries[at].kind = 0x1;
        if hides_version {
            let at = place(&told, 0, S_CRTM_VERSION);
            told.entries[at].kind = 0x1;
        }
        let version = judge(&boot, &told).unwrap().firmware_version;
        let expected = (!hides_version).then_some("1.21.0");
        assert_eq!(version.as_deref(), expected);
    }

    // The data is not what was measured.
    let mut told = sample();
    let at = place(&told, 0, S_CRTM_VERSION);
    told.entries[at].data = forged;
    assert_eq!(judge(&sample(), &told).unwrap().firmware_version, None);
}

#[test]
fn an_authority_can_be_added_and_not_be_taken_away() {
    let bad = signature_data(&boot_certificate("Anybody").unwrap());
    let mut boot = sample();
    let at = boot.authority(IMAGE_SECURITY_DATABASE, "db", &bad);
    let expected = (Order, "after the boot services were left");
    assert_refused(honest(&boot), expected, "tpm/F06 eventlog_order");

    let before_exit = exit(&boot);
    move_last(&mut boot, before_exit);
    let claims = honest(&boot).unwrap();
    let used = claims.secure_boot.authorities.clone();
    let own = honest(&sample()).unwrap().secure_boot.authorities.clone();
    assert_eq!(used[..own.len()], own);
    assert_eq!(used.len(), own.len() + 1);
    assert_eq!(at, boot.entries.len() - 1);

    // It was used, and is to be hidden.
    for (kind, reason) in [
        (IPL, UntrustedEvent),
        (SPDM_AUTHORITY, UntrustedEvent),
        (SPDM_POLICY, UntrustedEvent),
        (EFI_ACTION, UntrustedEvent),
        (SEPARATOR, Separator),
        (DRIVER_CONFIG, Duplicate),
        (0x1234, UntrustedEvent),
    ] {
        let mut told = boot.clone();
        told.entries[before_exit].kind = kind;
        let case = format!("tpm/F07: an authority as {kind:#x}");
        assert_refused(judge(&boot, &told), (reason, ""), &case);
    }
    let mut told = boot.clone();
    told.entries[before_exit].data = told.entries[place(&boot, 7, AUTHORITY)].data.clone();
    let expected = (Digest, "EV_EFI_VARIABLE_AUTHORITY");
    assert_refused(judge(&boot, &told), expected, "tpm/F08 eventlog_digest");
    let mut shims = sample();
    shims.authority(SHIM_LOCK, "MokListRT", &bad);
    move_last(&mut shims, before_exit);
    let mut told = shims.clone();
    told.entries[before_exit].kind = DRIVER_CONFIG;
    let expected = (Order, "MokListRT follows the separator");
    assert_refused(judge(&shims, &told), expected, "tpm/F07");
}

#[test]
fn an_image_counts_under_any_type() {
    let mut boot = sample();
    let before_exit = exit(&boot);
    boot.image(4, b"evil", &[]);
    move_last(&mut boot, before_exit);
    let evil = Hash::Sha256.digest(&[b"evil"]);
    let digests = |told: &BootLog| -> Vec<Vec<u8>> {
        let claims = judge(&boot, told).unwrap();
        let images = claims.images.into_iter();
        images.map(|image| image.digest).collect()
    };
    let own = digests(&boot);
    assert_eq!((own.len(), &own[3]), (4, &evil));
    for kind in [IPL, EFI_ACTION, 0x5, 0x1, 0x1234, 0x8000_0004, AUTHORITY] {
        let mut told = boot.clone();
        told.entries[before_exit].kind = kind;
        for data in [
            &b"Calling EFI Application from Boot Option"[..],
            b"",
            &[0; 4],
        ] {
            told.entries[before_exit].data = data.to_vec();
            assert_eq!(digests(&told), own, "{kind:#x}");
        }
    }
    let mut told = boot.clone();
    told.entries[before_exit].kind = SEPARATOR;
    let expected = (Separator, "it is the second");
    assert_refused(judge(&boot, &told), expected, "tpm/F12");
}

#[test]
fn what_an_image_is_hashed_from_is_no_short_text() {
    let header = [&b"MZ"[..], &[0x90, 0, 3, 0], &[0; 64]].concat();
    let long = [b'M'; 257];
    let with_control = b"two\nlines".to_vec();
    let empty = Vec::new();
    for (measured, count) in [
        (header, 4),
        (long.to_vec(), 4),
        (with_control, 4),
        (
            b"Returning from EFI Application from Boot Option".to_vec(),
            3,
        ),
        (vec![b'M'; 256], 3),
        (empty, 3),
    ] {
        for kind in [EFI_ACTION, IPL] {
            let mut log = sample();
            log.event(4, kind, &measured);
            let at = exit(&log);
            move_last(&mut log, at);
            let images = honest(&log).unwrap().images;
            assert_eq!(images.len(), count, "{measured:?}");
            let last = images.last().unwrap();
            assert_eq!(last.kind == ImageKind::Other, count == 4);
        }
    }
    let mut log = sample();
    log.event(4, APPLICATION, b"a text as well");
    let at = exit(&log);
    move_last(&mut log, at);
    assert_eq!(honest(&log).unwrap().images.len(), 4);
}

#[test]
fn code_of_devices_counts_under_any_type() {
    let boot = BootLog::sample_with_option_rom(&[Hash::Sha256]).unwrap();
    let at = place(&boot, 2, 0x8000_0004);
    for (kind, expected) in [
        (0x8000_0003, ImageKind::Application),
        (0x8000_0004, ImageKind::BootDriver),
        (0x8000_0005, ImageKind::RuntimeDriver),
        (0x8000_0006, ImageKind::Other),
    ] {
        let mut told = boot.clone();
        told.entries[at].kind = kind;
        let claims = judge(&boot, &told).unwrap();
        let driver = &claims.drivers[0];
        assert_eq!(driver.kind, expected);
        assert_eq!(driver.path.is_some(), expected != ImageKind::Other);
    }
    for kind in [IPL, EFI_ACTION, 0x1, 0x8000_0005] {
        let mut told = boot.clone();
        told.entries[at].kind = kind;
        told.entries[at].data = b"nothing".to_vec();
        let claims = judge(&boot, &told).unwrap();
        assert_eq!(claims.option_rom_events, 1, "tpm/F29: {kind:#x}");
        assert_eq!(
            claims.drivers[0].digest,
            Hash::Sha256.digest(&[b"option ROM"])
        );
        assert!(!claims.drivers[0].option_rom, "a hint");
    }
}

#[test]
fn a_boot_option_that_is_made_up_later_brings_no_images() {
    let mut boot = sample();
    let at = place(&boot, 4, EFI_ACTION);
    boot.entries.remove(at);
    boot.action(4, "Calling EFI Application from Boot Option");
    let at = exit(&boot);
    move_last(&mut boot, at);
    assert_eq!(honest(&boot).unwrap().images, []);
    boot.separators(&[4]);
    move_last(&mut boot, at + 1);
    let mut told = boot.clone();
    let at = place(&boot, 4, SEPARATOR);
    told.entries[at].kind = IPL;
    assert_refused(
        judge(&boot, &told),
        (Separator, "what a separator does"),
        "tpm/F12",
    );
}

#[test]
fn a_variable_that_is_extended_later_is_refused() {
    let on = variable_data(GLOBAL_VARIABLE, "SecureBoot", &[1]);
    let mut boot = BootLog::sample_insecure(&[Hash::Sha256, Hash::Sha384]).unwrap();
    boot.event(7, DRIVER_CONFIG, &on);
    assert_refused(honest(&boot), (Duplicate, "SecureBoot"), "tpm/F09");
    let mut told = boot.clone();
    let own = variable(&boot, "SecureBoot");
    told.entries[own].data = on;
    assert_refused(judge(&boot, &told), (Digest, ""), "tpm/F08 eventlog_digest");
}

#[test]
fn a_command_line_can_be_added_and_its_text_is_what_was_measured() {
    let mut boot = sample();
    boot.ipl(8, "kernel_cmdline: ", "/vmlinuz good");
    let lines = |told: &BootLog| {
        let lines = judge(&boot, told).unwrap().command_lines.into_iter();
        lines
            .filter(|line| line.pcr == 8)
            .map(|line| line.text)
            .collect::<Vec<_>>()
    };
    let both = ["/vmlinuz root=/dev/vda2 ro", "/vmlinuz good"];
    assert_eq!(lines(&boot), both);
    let mut told = boot.clone();
    let last = told.entries.last_mut().unwrap();
    last.data = b"kernel_cmdline: /vmlinuz better\0".to_vec();
    assert_eq!(lines(&told), both[..1]);
}
