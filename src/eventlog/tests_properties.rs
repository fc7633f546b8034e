//! Whatever is done to a log, what it claims stays as it was or the log is refused. Hints may change, and what proves too
//! little may be left off; nothing is claimed that was not booted.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use evidence::Hash;
use proptest::prelude::*;
use softtpm::{
    BootLog, GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, LogEntry, boot_certificate, signature_data,
    utf16, variable_data,
};

use crate::forged::{
    APPLICATION, AUTHORITY, DRIVER_CONFIG, EFI_ACTION, IPL, S_CRTM_VERSION, SEPARATOR,
    SPDM_AUTHORITY, SPDM_POLICY, judge_bytes, move_last, pcrs, sample,
};
use crate::{BootClaims, Image, PcrValues, Quirk};

/// A boot that has something of everything.
static BOOT: LazyLock<BootLog> = LazyLock::new(|| {
    let mut log = BootLog::sample_with_option_rom(&[Hash::Sha256]).unwrap();
    log.action(7, "DMA Protection Disabled");
    move_last(&mut log, 5);
    let exit = log.entries.split_off(crate::forged::exit(&log));
    log.shim_variables();
    log.entries.extend(exit);
    log
});

static INSECURE: LazyLock<BootLog> =
    LazyLock::new(|| BootLog::sample_insecure(&[Hash::Sha256]).unwrap());

/// What is done to the log, or to its bytes.
#[derive(Debug, Clone)]
enum Damage {
    Swap(usize, usize),
    Move(usize, usize),
    Drop(usize),
    Repeat(usize, usize),
    Insert(usize, usize),
    Relabel(usize, u32),
    Elsewhere(usize, u32),
    Data(usize, usize),
    Flip(usize, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || 0..64_usize;
    prop_oneof![
        (at(), at()).prop_map(|(one, other)| Damage::Swap(one, other)),
        (at(), at()).prop_map(|(from, to)| Damage::Move(from, to)),
        at().prop_map(Damage::Drop),
        (at(), at()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        (at(), at()).prop_map(|(forged, to)| Damage::Insert(forged, to)),
        (at(), kind()).prop_map(|(at, kind)| Damage::Relabel(at, kind)),
        (at(), 0..24_u32).prop_map(|(at, pcr)| Damage::Elsewhere(at, pcr)),
        (at(), at()).prop_map(|(to, from)| Damage::Data(to, from)),
        (0..65_536_usize, 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
    ]
}

fn kind() -> impl Strategy<Value = u32> {
    let known = vec![
        0x1,
        0x3,
        SEPARATOR,
        0x5,
        0x6,
        0x7,
        S_CRTM_VERSION,
        0xA,
        IPL,
        0x99,
        DRIVER_CONFIG,
        0x8000_0002,
        APPLICATION,
        0x8000_0004,
        0x8000_0006,
        EFI_ACTION,
        0x8000_0008,
        AUTHORITY,
        SPDM_POLICY,
        SPDM_AUTHORITY,
    ];
    prop::sample::select(known)
}

/// Entries that would tell of another boot.
static FORGED: LazyLock<Vec<LogEntry>> = LazyLock::new(|| {
    let mut log = BootLog::new(&[Hash::Sha256]);
    let entry = signature_data(&boot_certificate("Anybody").unwrap());
    let db = softtpm::signature_list(softtpm::CERT_X509, &[&boot_certificate("Anybody").unwrap()]);
    log.variable(GLOBAL_VARIABLE, "SecureBoot", &[0]);
    log.variable(GLOBAL_VARIABLE, "SecureBoot", &[1]);
    log.variable(IMAGE_SECURITY_DATABASE, "db", &db);
    log.variable(IMAGE_SECURITY_DATABASE, "dbx", &[]);
    log.authority(IMAGE_SECURITY_DATABASE, "db", &entry);
    log.action(7, "DMA Protection Disabled");
    log.separators(&[0, 2, 4, 5, 7]);
    log.image(4, b"forged", &[]);
    log.image(2, b"forged", &[]);
    log.action(4, "Calling EFI Application from Boot Option");
    log.exit_boot_services();
    log.event(0, S_CRTM_VERSION, &utf16("9.9\0"));
    log.ipl(8, "kernel_cmdline: ", "forged");
    log.event(12, IPL, &utf16("forged\0"));
    log.tagged(9, 0x8F3B_22ED, b"forged", b"LOADED_IMAGE::LoadOptions\0");
    let config = variable_data(GLOBAL_VARIABLE, "BootOrder", &[1, 0]);
    log.event(1, 0x8000_0002, &config);
    log.entries
});

fn apply(log: &mut BootLog, bytes: &mut Vec<(usize, u8)>, damage: &Damage) {
    let count = log.entries.len();
    match *damage {
        _ if count == 0 => {}
        Damage::Swap(one, other) => log.entries.swap(one % count, other % count),
        Damage::Move(from, to) => {
            let entry = log.entries.remove(from % count);
            log.entries.insert(to % count, entry);
        }
        Damage::Drop(at) => drop(log.entries.remove(at % count)),
        Damage::Repeat(from, to) => {
            let entry = log.entries[from % count].clone();
            log.entries.insert(to % count, entry);
        }
        Damage::Insert(one, to) => {
            let entry = FORGED[one % FORGED.len()].clone();
            log.entries.insert(to % count, entry);
        }
        Damage::Relabel(at, kind) => log.entries[at % count].kind = kind,
        Damage::Elsewhere(at, pcr) => log.entries[at % count].pcr = pcr,
        Damage::Data(to, from) => {
            let data = log.entries[from % count].data.clone();
            log.entries[to % count].data = data;
        }
        Damage::Flip(at, bit) => bytes.push((at, 1 << bit)),
    }
}

fn judge(quoted: &PcrValues, log: &BootLog, flips: &[(usize, u8)]) -> Option<BootClaims> {
    let mut bytes = log.encode();
    for (at, bit) in flips {
        let size = bytes.len();
        bytes[at % size] ^= bit;
    }
    judge_bytes(quoted, &bytes, &Quirk::ALL).ok()
}

fn digests(images: &[Image]) -> Vec<&[u8]> {
    images.iter().map(|image| image.digest.as_slice()).collect()
}

/// All of `own` stands in `found`, in this order.
fn holds<T: PartialEq>(found: &[T], own: &[T]) -> bool {
    let mut found = found.iter();
    own.iter().all(|own| found.any(|one| one == own))
}

/// What no damage to a log changes. Each texts' claim is one of the truth's, or is not there.
fn assert_same_boot(found: &BootClaims, own: &BootClaims) {
    assert_eq!(found.secure_boot, own.secure_boot);
    assert_eq!(found.option_rom_events, own.option_rom_events);
    assert!(found.replayed.is_subset(&own.replayed));
    assert_no_less(found, own);
    assert!(found.images.is_empty() || found.images.len() <= own.images.len() + 1);
    let inputs: BTreeSet<_> = own.kernel_inputs.iter().map(|one| &one.digest).collect();
    assert!(
        found
            .kernel_inputs
            .iter()
            .all(|one| inputs.contains(&one.digest))
    );
    for line in &found.command_lines {
        assert!(own.command_lines.contains(line), "{line:?}");
    }
}

/// What nobody can take away, and no text made up.
fn assert_no_less(found: &BootClaims, own: &BootClaims) {
    assert!(found.images.is_empty() || holds(&digests(&found.images), &digests(&own.images)));
    assert!(holds(&digests(&found.drivers), &digests(&own.drivers)));
    assert!(found.option_rom_events >= own.option_rom_events);
    assert!(found.firmware_version.is_none() || found.firmware_version == own.firmware_version);
    for pcr in [8, 12] {
        let lines = |claims: &BootClaims| {
            let of_pcr = claims.command_lines.iter().filter(|line| line.pcr == pcr);
            of_pcr.cloned().collect::<Vec<_>>()
        };
        let is_read = found.replayed.contains(&pcr) && !found.unread.contains(&pcr);
        assert!(!is_read || holds(&lines(found), &lines(own)), "PCR {pcr}");
    }
    let (found, own) = (&found.secure_boot, &own.secure_boot);
    assert!(found.authorities.starts_with(&own.authorities));
    assert_eq!(found.enabled, own.enabled);
    for (found, own) in [
        (&found.pk, &own.pk),
        (&found.kek, &own.kek),
        (&found.db, &own.db),
        (&found.dbx, &own.dbx),
    ] {
        assert_eq!(found, own);
    }
    assert!(found.dma_protection_disabled >= own.dma_protection_disabled);
}

/// What of actions no damage makes up: each is an event's data, and was measured into this PCR.
fn assert_measured(found: &BootClaims, boot: &BootLog) {
    for action in &found.actions {
        let was_measured = boot.entries.iter().any(|entry| {
            entry.pcr == u32::from(action.pcr)
                && entry.digests[0].1 == Hash::Sha256.digest(&[action.text.as_bytes()])
        });
        assert!(was_measured, "{action:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_damaged_log_claims_the_same_or_is_refused(
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let boot = &*BOOT;
        let quoted = pcrs(boot);
        let own = judge(&quoted, boot, &[]).unwrap();
        let (mut told, mut flips) = (boot.clone(), Vec::new());
        for damage in &damages {
            apply(&mut told, &mut flips, damage);
        }
        if let Some(found) = judge(&quoted, &told, &flips) {
            assert_same_boot(&found, &own);
            assert_measured(&found, boot);
        }
    }

    #[test]
    fn whoever_is_root_later_takes_nothing_away(
        secure in any::<bool>(),
        later in prop::collection::vec((0..64_usize, 0..64_usize), 0..8),
        relabelled in prop::collection::vec((0..64_usize, kind()), 0..6),
    ) {
        let boot: &BootLog = if secure { &BOOT } else { &INSECURE };
        let own = judge(&pcrs(boot), boot, &[]).unwrap();
        let mut told = boot.clone();
        for (one, to) in later {
            let entry = FORGED[one % FORGED.len()].clone();
            // Behind all that its PCR has already: elsewhere the log would not lead to the values.
            let last = told.entries.iter().rposition(|other| other.pcr == entry.pcr);
            let first = last.map_or(0, |last| last + 1);
            let at = first + to % (told.entries.len() + 1 - first);
            told.entries.insert(at, entry);
        }
        let quoted = pcrs(&told);
        for (at, kind) in relabelled {
            let count = told.entries.len();
            told.entries[at % count].kind = kind;
        }
        if let Some(found) = judge(&quoted, &told, &[]) {
            assert_no_less(&found, &own);
        }
    }
}

#[test]
fn the_boot_itself_is_believed() {
    let boot = &*BOOT;
    let own = judge(&pcrs(boot), boot, &[]).unwrap();
    assert_same_boot(&own, &own);
    assert!(own.secure_boot.enabled && own.secure_boot.dma_protection_disabled);
    assert_eq!((own.images.len(), own.drivers.len()), (3, 1));
    assert!(own.firmware_version.is_some() && own.command_lines.len() == 3);
    assert_ne!(own, judge(&pcrs(&sample()), &sample(), &[]).unwrap());
}
