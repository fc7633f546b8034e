//! Replay of the logs that real firmware wrote: ours, that of tpm2-tools, and what the kernel reads from the TPM agree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use eventlog::{Bank, EventLog};
use tests::run;

use crate::boot_machine::{Files, boots};

/// PCRs that others than the firmware and its boot loaders extend: the kernel (10), and a dynamic launch (17 to 22).
const NOT_IN_THE_LOG: [u8; 7] = [10, 17, 18, 19, 20, 21, 22];

type Pcrs = BTreeMap<(String, u8), String>;

fn captured() -> Vec<PathBuf> {
    let boots = Path::new(env!("CARGO_MANIFEST_DIR")).join("boots");
    let mut found: Vec<_> = fs::read_dir(boots)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    assert_eq!(found.len(), 6, "{found:?}");
    found
}

/// Lines of bank, index and value.
fn kernels(text: &str) -> Pcrs {
    let line = |line: &str| {
        let [bank, index, value] = line.split(' ').collect::<Vec<_>>()[..] else {
            unreachable!("{line}")
        };
        ((bank.to_owned(), index.parse().unwrap()), value.to_owned())
    };
    text.lines().map(line).collect()
}

/// What tpm2-tools say: only the PCRs that the log extends.
fn theirs(log: &Path) -> Pcrs {
    let text = run("tpm2", &["eventlog", &log.display().to_string()], &[]);
    let (_, pcrs) = text.split_once("\npcrs:\n").unwrap();
    let mut bank = "";
    let mut found = Pcrs::new();
    for line in pcrs.lines() {
        match line.trim().split_once(" : 0x") {
            Some((index, value)) => {
                let index = index.trim().parse().unwrap();
                found.insert((bank.to_owned(), index), value.to_lowercase());
            }
            None => bank = line.trim().trim_end_matches(':'),
        }
    }
    found
}

fn ours(log: &[u8], banks: &[&str]) -> Pcrs {
    let log = EventLog::parse(log).unwrap();
    let mut found = Pcrs::new();
    for name in banks {
        let bank = match *name {
            "sha256" => Bank::Sha256,
            "sha384" => Bank::Sha384,
            other => unreachable!("{other}"),
        };
        for (index, value) in &eventlog::replay(&log, bank) {
            found.insert(((*name).to_owned(), *index), hex::encode(value));
        }
    }
    found
}

fn check(name: &str, log: &Path, kernels: &Pcrs) {
    let banks: Vec<_> = ["sha256", "sha384"]
        .into_iter()
        .filter(|bank| kernels.contains_key(&((*bank).to_owned(), 0)))
        .collect();
    let mut replayed = ours(&fs::read(log).unwrap(), &banks);
    assert_eq!(replayed.len(), 24 * banks.len(), "{name}");
    let theirs = theirs(log);
    assert!(theirs.len() >= 9 * banks.len(), "{name}: {theirs:?}");
    for (pcr, value) in &theirs {
        assert_eq!(
            &replayed[pcr], value,
            "{name}: {pcr:?} as tpm2-tools replay it"
        );
    }
    replayed.retain(|(_, index), _| !NOT_IN_THE_LOG.contains(index));
    for (pcr, value) in &replayed {
        assert_eq!(
            &kernels[pcr], value,
            "{name}: {pcr:?} as the kernel reads it"
        );
    }
}

#[test]
fn captured_logs_replay_alike() {
    for directory in captured() {
        let pcrs = fs::read_to_string(directory.join("pcrs.txt")).unwrap();
        let name = directory.display().to_string();
        check(&name, &directory.join("eventlog.bin"), &kernels(&pcrs));
    }
}

#[test]
fn logs_of_new_boots_replay_alike() {
    let (boots, files) = (boots(), Files::new());
    for (name, boot) in [
        ("good", &boots.good),
        ("updated", &boots.updated),
        ("changed", &boots.changed),
        ("insecure", &boots.insecure),
    ] {
        let file = files.write(name, &boot.log);
        check(name, Path::new(&file), &kernels(&boot.pcrs));
    }
}
