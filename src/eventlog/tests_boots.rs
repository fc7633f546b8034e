//! Logs of real firmware: replayed to the kernel's own values, and what they prove. See `tests/boots/README.md`.

use std::collections::BTreeMap;

use crate::forged::assert_refused;
use crate::{
    Bank, BootClaims, BootStage, EventLog, ImageKind, KernelInputKind, LogReason, PcrValues, Quirk,
    Refusal, SignatureEntry, appraise, replay,
};

struct Captured {
    name: &'static str,
    log: &'static [u8],
    pcrs: &'static str,
}

macro_rules! captured {
    ($name:literal) => {
        Captured {
            name: $name,
            log: include_bytes!(concat!("../../tests/boots/", $name, "/eventlog.bin")),
            pcrs: include_str!(concat!("../../tests/boots/", $name, "/pcrs.txt")),
        }
    };
}

const GOOD: Captured = captured!("good");
const UPDATED: Captured = captured!("updated");
const CHANGED: Captured = captured!("changed");
const INSECURE: Captured = captured!("insecure");
const GRUB: Captured = captured!("grub");
const DIRECT: Captured = captured!("direct");

impl Captured {
    /// The kernel's values.
    fn banks(&self) -> BTreeMap<&str, PcrValues> {
        let mut banks: BTreeMap<_, PcrValues> = BTreeMap::new();
        for line in self.pcrs.lines() {
            let [bank, pcr, value] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let values = banks.entry(bank).or_default();
            values.insert(pcr.parse().unwrap(), hex::decode(value).unwrap());
        }
        banks
    }

    fn judge(&self, bank: Bank, tolerated: &[Quirk]) -> Result<BootClaims, Refusal> {
        let log = EventLog::parse(self.log).unwrap();
        let tolerated = tolerated.iter().copied().collect();
        appraise(&log, bank, &self.banks()[bank.name()], &tolerated)
    }

    fn claims(&self) -> BootClaims {
        self.judge(Bank::Sha256, &[]).unwrap()
    }
}

#[test]
fn firmware_logs_replay_to_what_the_kernel_read() {
    for captured in [GOOD, UPDATED, CHANGED, INSECURE, GRUB, DIRECT] {
        let log = EventLog::parse(captured.log).unwrap();
        let banks = captured.banks();
        assert!(banks.contains_key("sha256"), "{}", captured.name);
        for (bank, mut values) in banks {
            let bank = Bank::ALL.into_iter().find(|one| one.name() == bank);
            let mut replayed = replay(&log, bank.unwrap());
            assert_eq!((values.len(), replayed.len()), (24, 24));
            // IMA has measured into it.
            assert_ne!(values.remove(&10), replayed.remove(&10));
            assert_eq!(values, replayed, "{} {bank:?}", captured.name);
        }
        assert_eq!(replay(&log, Bank::Sha512), PcrValues::new());
    }
}

#[test]
fn a_boot_menu_and_a_kernel_with_secure_boot() {
    let claims = GOOD.claims();
    let replayed: Vec<_> = claims.replayed.iter().copied().collect();
    assert_eq!(replayed, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15]);
    assert!(claims.secure_boot.enabled);
    assert_eq!(claims.firmware_version, None, "it is empty");
    for list in [
        &claims.secure_boot.pk,
        &claims.secure_boot.kek,
        &claims.secure_boot.db,
    ] {
        let [SignatureEntry::Certificate { subject, .. }] = list.as_slice() else {
            panic!("{list:?}");
        };
        let subject = subject.as_deref().unwrap();
        assert_eq!(subject, "C=US, ST=Colorado, L=Fort Collins, O=SnakeOil");
    }
    let [used] = claims.secure_boot.authorities.as_slice() else {
        panic!("{claims:#?}");
    };
    assert_eq!(
        (used.variable.as_str(), used.before_separator),
        ("db", false)
    );
    assert_eq!(used.entry.as_ref(), claims.secure_boot.db.first());
    assert_eq!(
        claims.boot_chain,
        [BootStage::SystemdBoot, BootStage::LinuxStub]
    );
    let images: Vec<_> = claims
        .images
        .iter()
        .map(|image| (image.kind, image.path.as_deref().unwrap()))
        .collect();
    assert_eq!(
        images,
        [
            (
                ImageKind::Application,
                "PciRoot(0x0)/Pci(0x2,0x0)/HD(1)/EFI/BOOT/BOOTX64.EFI"
            ),
            (
                ImageKind::Application,
                "PciRoot(0x0)/Pci(0x2,0x0)/HD(1)/linux.efi"
            ),
        ]
    );
    assert_eq!((claims.drivers.len(), claims.option_rom_events), (0, 0));
    assert!(claims.quirks.is_empty());
    let strongest = GOOD.judge(Bank::Sha384, &[]).unwrap();
    assert_eq!(strongest.images[0].digest.len(), 48);
    assert_eq!(strongest.secure_boot, claims.secure_boot);
}

#[test]
fn command_lines_are_text_where_the_menu_and_the_kernel_agree() {
    let lines = |captured: &Captured| {
        let claims = captured.claims();
        let lines = claims.command_lines.iter();
        let lines: Vec<_> = lines.map(|line| (line.pcr, line.text.clone())).collect();
        let [options, initrd] = claims.kernel_inputs.as_slice() else {
            panic!("{claims:#?}");
        };
        assert_eq!(options.kind, KernelInputKind::LoadOptions);
        assert_eq!(options.text.as_ref(), Some(&lines[1].1));
        assert_eq!(
            (initrd.kind, &initrd.text),
            (KernelInputKind::Initrd, &None)
        );
        (lines, initrd.digest.clone())
    };
    let good = "initrd=\\u{5c}initrd console=ttyS0 quiet panic=-1".to_owned();
    let changed = [&good, " init=/bin/sh"].concat();
    let (of_good, initrd) = lines(&GOOD);
    assert_eq!(of_good, [(12, good.clone()), (9, good.clone())]);
    assert_eq!(lines(&UPDATED).0, of_good);
    let (of_changed, changed_initrd) = lines(&CHANGED);
    assert_eq!(of_changed, [(12, changed.clone()), (9, changed)]);
    assert_ne!(initrd, changed_initrd);
}

#[test]
fn what_changes_between_boots_is_what_was_changed() {
    let (good, updated, changed) = (GOOD.claims(), UPDATED.claims(), CHANGED.claims());
    assert_eq!(good.secure_boot, updated.secure_boot);
    assert_eq!(good.secure_boot, changed.secure_boot);
    assert_eq!(good.images, changed.images);
    assert_eq!(good.images[0], updated.images[0], "the boot menu");
    assert_ne!(
        good.images[1].digest, updated.images[1].digest,
        "the kernel"
    );
}

#[test]
fn secure_boot_off_has_empty_keys_and_no_authority() {
    let claims = INSECURE.claims();
    let secure_boot = &claims.secure_boot;
    assert!(!secure_boot.enabled);
    for list in [
        &secure_boot.pk,
        &secure_boot.kek,
        &secure_boot.db,
        &secure_boot.dbx,
    ] {
        assert!(list.is_empty());
    }
    assert!(secure_boot.authorities.is_empty());
    assert_eq!(claims.images, GOOD.claims().images, "the same programs");
}

#[test]
fn debians_chain_needs_shims_variables_tolerated() {
    let refused = GRUB.judge(Bank::Sha256, &[Quirk::ShimExtraByte]);
    assert_refused(
        refused,
        (LogReason::Malformed, "no certificate"),
        "SbatLevel",
    );
    let claims = GRUB.judge(Bank::Sha256, &Quirk::ALL).unwrap();
    assert_eq!(claims.quirks, [Quirk::ShimVariables].into());
    assert_eq!(claims.boot_chain, [BootStage::Shim, BootStage::Grub]);
    let authorities = claims.secure_boot.authorities.iter();
    let authorities: Vec<_> = authorities
        .map(|used| {
            let subject = match &used.entry {
                Some(SignatureEntry::Certificate { subject, .. }) => subject.as_deref(),
                _ => None,
            };
            let name = subject.and_then(|subject| subject.rsplit("CN=").next());
            (used.variable.as_str(), name)
        })
        .collect();
    assert_eq!(
        authorities,
        [
            ("db", Some("Microsoft Corporation UEFI CA 2011")),
            ("SbatLevel", None),
            ("MokListRT", Some("Debian Secure Boot CA")),
        ]
    );
    assert_eq!(claims.command_lines.len(), 1);
    assert_eq!(claims.command_lines[0].pcr, 8);
    assert_eq!(
        claims.command_lines[0].text,
        "/vmlinuz console=ttyS0 quiet panic=-1"
    );
    assert_eq!(claims.images.len(), 4);
}

#[test]
fn a_kernel_past_the_image_loader_is_not_verified() {
    let refused = DIRECT.judge(Bank::Sha256, &Quirk::ALL);
    let expected = (LogReason::SecureBootInconsistent, "nothing was verified");
    assert_refused(refused, expected, "tpm/F15");
}
