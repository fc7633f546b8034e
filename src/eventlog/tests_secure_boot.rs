//! The rules of PCR 7, one broken at a time, and the one reason for it.

use evidence::Hash;
use softtpm::{
    BootLog, CERT_SHA256, CERT_X509, GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, SHIM_LOCK,
    boot_certificate, signature_data, signature_list, variable_data,
};

use crate::forged::{
    AUTHORITY, SEPARATOR, SPDM_AUTHORITY, SPDM_POLICY, assert_refused, exit, honest, judge_bytes,
    move_last, pcrs, place, sample, set_secure_boot, variable,
};
use crate::{ImageKind, LogReason, Quirk};

use LogReason::{
    Digest, Duplicate, Malformed, Order, SecureBootDebug, SecureBootInconsistent, UntrustedEvent,
};

type Change = fn(&mut BootLog);
type Expected = (LogReason, &'static str);

#[test]
fn pcr_7_is_read_event_by_event() {
    let cases: [(&str, Change, Expected); 20] = [
        (
            "tpm/F08 eventlog_digest: SecureBoot",
            |log| {
                let at = variable(log, "SecureBoot");
                log.entries[at].measure(&variable_data(GLOBAL_VARIABLE, "SecureBoot", &[0]));
            },
            (Digest, "EV_EFI_VARIABLE_DRIVER_CONFIG"),
        ),
        (
            "tpm/F08 eventlog_digest: an authority",
            |log| {
                let at = place(log, 7, AUTHORITY);
                log.entries[at].measure(b"another");
            },
            (Digest, "EV_EFI_VARIABLE_AUTHORITY"),
        ),
        (
            "tpm/F08 eventlog_digest: an action",
            |log| {
                let at = log.action(7, "DMA Protection Disabled");
                log.entries[at].measure(b"UEFI Debug Mode");
            },
            (Digest, "EV_EFI_ACTION"),
        ),
        (
            "tpm/F09 eventlog_duplicate: SecureBoot twice",
            |log| {
                log.variable(GLOBAL_VARIABLE, "SecureBoot", &[1]);
                let at = variable(log, "PK");
                move_last(log, at);
            },
            (Duplicate, "SecureBoot"),
        ),
        (
            "tpm/F09 eventlog_duplicate: at the end",
            |log| {
                log.variable(GLOBAL_VARIABLE, "SecureBoot", &[1]);
            },
            (Duplicate, "SecureBoot"),
        ),
        (
            "tpm/F09 eventlog_duplicate: another variable",
            |log| {
                for _ in 0..2 {
                    log.variable(GLOBAL_VARIABLE, "Other", &[1]);
                    move_last(log, 0);
                }
            },
            (Duplicate, "Other"),
        ),
        (
            "tpm/F10 eventlog_order: SecureBoot after the separator",
            |log| {
                let at = variable(log, "SecureBoot");
                let late = log.entries.remove(at);
                let at = place(log, 7, SEPARATOR);
                log.entries.insert(at + 1, late);
            },
            (Order, "SecureBoot follows the separator"),
        ),
        (
            "tpm/F10 eventlog_order: any variable",
            |log| {
                log.variable(GLOBAL_VARIABLE, "Other", &[1]);
                let at = exit(log);
                move_last(log, at);
            },
            (Order, "Other follows the separator"),
        ),
        (
            "tpm/F13 eventlog_malformed: no byte",
            |log| set_secure_boot(log, &[]),
            (Malformed, "SecureBoot: it is not one byte"),
        ),
        (
            "tpm/F13 eventlog_malformed: two bytes",
            |log| set_secure_boot(log, &[1, 0]),
            (Malformed, "SecureBoot: it is not one byte"),
        ),
        (
            "tpm/F13 eventlog_malformed: neither 0 nor 1",
            |log| set_secure_boot(log, &[2]),
            (Malformed, "SecureBoot: it is not one byte"),
        ),
        (
            "tpm/F16 secure_boot_debug",
            |log| {
                log.action(7, "UEFI Debug Mode");
                move_last(log, 0);
            },
            (SecureBootDebug, "debugger"),
        ),
        (
            "tpm/F07 eventlog_untrusted_event: another action",
            |log| {
                log.action(7, "DMA Protection Enabled");
                move_last(log, 0);
            },
            (UntrustedEvent, "not an action of PCR 7"),
        ),
        (
            "tpm/F19 eventlog_malformed: db is no list",
            |log| {
                let at = variable(log, "db");
                let data = variable_data(IMAGE_SECURITY_DATABASE, "db", &[1]);
                log.entries[at].rewrite(&data);
            },
            (Malformed, "db: a signature list"),
        ),
        (
            "eventlog_malformed: no variable",
            |log| {
                let at = variable(log, "PK");
                log.entries[at].rewrite(b"PK");
            },
            (Malformed, "shorter than a variable"),
        ),
        (
            "eventlog_malformed: an authority without an entry",
            |log| {
                log.authority(IMAGE_SECURITY_DATABASE, "db", &[0x30; 20]);
                let at = exit(log);
                move_last(log, at);
            },
            (Malformed, "no certificate and no hash"),
        ),
        (
            "eventlog_malformed: an authority without a name",
            |log| {
                log.authority(IMAGE_SECURITY_DATABASE, "d\0b", &[0x30; 48]);
                let at = exit(log);
                move_last(log, at);
            },
            (Malformed, "name is no text"),
        ),
        (
            "tpm/F15 secure_boot_inconsistent: nothing was verified",
            |log| log.entries.retain(|entry| entry.kind != AUTHORITY),
            (SecureBootInconsistent, "nothing was verified"),
        ),
        (
            "tpm/F15 secure_boot_inconsistent: db is empty",
            |log| {
                let at = variable(log, "db");
                let data = variable_data(IMAGE_SECURITY_DATABASE, "db", &[]);
                log.entries[at].rewrite(&data);
            },
            (SecureBootInconsistent, "no entry in db"),
        ),
        (
            "tpm/F30: a name that is no text is no known one",
            |log| {
                let at = variable(log, "SecureBoot");
                let data = variable_data(GLOBAL_VARIABLE, "SecureBoot\0", &[1]);
                log.entries[at].rewrite(&data);
            },
            (SecureBootInconsistent, "PCR 7 has no SecureBoot"),
        ),
    ];
    for (case, change, expected) in cases {
        let mut log = sample();
        change(&mut log);
        assert_refused(honest(&log), expected, case);
    }
}

#[test]
fn secure_boot_on_needs_all_that_makes_it() {
    for (guid, name) in [
        (GLOBAL_VARIABLE, "SecureBoot"),
        (GLOBAL_VARIABLE, "PK"),
        (GLOBAL_VARIABLE, "KEK"),
        (IMAGE_SECURITY_DATABASE, "db"),
        (IMAGE_SECURITY_DATABASE, "dbx"),
    ] {
        let case = format!("tpm/F15 secure_boot_inconsistent: {name}");
        let mut log = sample();
        let at = variable(&log, name);
        log.entries.remove(at);
        let expected = format!("PCR 7 has no {name}");
        assert_refused(honest(&log), (SecureBootInconsistent, &expected), &case);

        let mut log = sample();
        let data = log.entries[at].data.clone();
        log.entries[at].rewrite(&[&SHIM_LOCK, &data[16..]].concat());
        assert_refused(honest(&log), (SecureBootInconsistent, &expected), &case);

        let mut log = sample();
        log.entries[at].rewrite(&variable_data(guid, name, &[]));
        match name {
            "SecureBoot" => assert_refused(honest(&log), (Malformed, ""), "tpm/F13"),
            "dbx" => assert_eq!(honest(&log).unwrap().secure_boot.dbx, []),
            _ => {
                let expected = format!("no entry in {name}");
                assert_refused(honest(&log), (SecureBootInconsistent, &expected), &case);
            }
        }
    }
    let mut only_settings = sample();
    only_settings
        .entries
        .retain(|entry| entry.kind != AUTHORITY);
    only_settings.authority(SHIM_LOCK, "SbatLevel", b"sbat,1,2025051000\n");
    let at = exit(&only_settings);
    move_last(&mut only_settings, at);
    let bytes = only_settings.encode();
    let verdict = judge_bytes(&pcrs(&only_settings), &bytes, &Quirk::ALL);
    let expected = (SecureBootInconsistent, "nothing was verified");
    assert_refused(verdict, expected, "tpm/F15: settings vouch for nothing");
}

#[test]
fn authorities_are_kept_apart_by_the_separator() {
    let log = BootLog::sample_with_option_rom(&[Hash::Sha256]).unwrap();
    let claims = honest(&log).unwrap();
    let used = claims.secure_boot.authorities.iter();
    let used: Vec<_> = used
        .map(|used| (used.variable.as_str(), used.before_separator))
        .collect();
    assert_eq!(used, [("db", true), ("db", false), ("Shim", false)]);
    let [driver] = claims.drivers.as_slice() else {
        panic!("{claims:#?}");
    };
    assert_eq!(
        (driver.kind, driver.option_rom),
        (ImageKind::BootDriver, true)
    );
    assert_eq!(claims.option_rom_events, 1, "tpm/F29");
    assert_eq!(honest(&sample()).unwrap().option_rom_events, 0, "tpm/F29");

    let mut log = sample();
    let entry = signature_data(&[0xDB; 32]);
    log.authority(IMAGE_SECURITY_DATABASE, "db", &entry);
    let at = exit(&log);
    move_last(&mut log, at);
    let claims = honest(&log).unwrap();
    let last = claims.secure_boot.authorities.last().unwrap();
    assert_eq!(last.entry.as_ref().unwrap().fingerprint(), &[0xDB; 32]);
}

#[test]
fn missing_dma_protection_is_a_claim() {
    let mut log = sample();
    log.action(7, "DMA Protection Disabled");
    move_last(&mut log, 0);
    let claims = honest(&log).unwrap();
    assert!(claims.secure_boot.dma_protection_disabled);
    assert_eq!(claims.actions[0].text, "DMA Protection Disabled");
    assert!(
        !honest(&sample())
            .unwrap()
            .secure_boot
            .dma_protection_disabled
    );
}

#[test]
fn devices_with_databases_of_their_own_are_nothing_else() {
    const DEVICES: [u8; 16] = [
        0xF4, 0xB4, 0xC2, 0xB9, 0x5F, 0xBF, 0x2D, 0x46, 0x8A, 0xDF, 0xC5, 0xC7, 0x0A, 0xC3, 0x5D,
        0xAD,
    ];
    for kind in [SPDM_POLICY, SPDM_AUTHORITY] {
        let mut log = sample();
        log.event(7, kind, &variable_data(DEVICES, "devdb", &[]));
        move_last(&mut log, 0);
        let claims = honest(&log).unwrap();
        assert_eq!(claims.secure_boot, honest(&sample()).unwrap().secure_boot);
        log.entries[0].measure(b"another");
        assert_refused(honest(&log), (Digest, "SPDM"), "tpm/F08 eventlog_digest");
        log.entries[0].rewrite(&variable_data(SHIM_LOCK, "devdb", &[]));
        assert_refused(honest(&log), (UntrustedEvent, "SPDM"), "tpm/F07");
    }
}

#[test]
fn lists_have_what_the_variables_have() {
    let mut log = sample();
    let at = variable(&log, "dbx");
    let certificate = boot_certificate("Revoked").unwrap();
    let lists = [
        signature_list(CERT_X509, &[&certificate]),
        signature_list(CERT_SHA256, &[&[7; 32]]),
    ];
    let data = variable_data(IMAGE_SECURITY_DATABASE, "dbx", &lists.concat());
    log.entries[at].rewrite(&data);
    let dbx = honest(&log).unwrap().secure_boot.dbx.clone();
    let fingerprints: Vec<_> = dbx
        .iter()
        .map(|entry| entry.fingerprint().to_vec())
        .collect();
    let expected = [Hash::Sha256.digest(&[&certificate]), vec![7; 32]];
    assert_eq!(fingerprints, expected);
}
