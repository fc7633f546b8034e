//! Where boot event logs and PCR values come from: the kernel of this machine, and files.

use std::path::{Path, PathBuf};

use eventlog::{Bank, PcrValues};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;

/// The file that holds the log of the TPM that is at `device`, where Linux shows it.
pub(crate) fn path_of(device: &str) -> Result<PathBuf, Failure> {
    let number = number_of(device).ok_or_else(|| {
        let message = format!("the kernel has no boot event log of {device}");
        Failure::new(Exit::Usage, "no_event_log", message).hint("name the file that holds the log")
    })?;
    Ok(format!("/sys/kernel/security/tpm{number}/binary_bios_measurements").into())
}

/// A log.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    files::read(path, LOG)
}

/// PCR values of a bank out of a file with lines such as `sha256 7 <hex>`; what begins with `#` is a comment.
pub(crate) fn values_of_file(path: &Path, bank: Bank) -> Result<PcrValues, Failure> {
    let bytes = files::read(path, VALUES)?;
    let text = String::from_utf8_lossy(&bytes);
    let malformed = |line: usize, problem: &str| {
        let message = format!("{}: line {line}: {problem}", path.display());
        Failure::new(Exit::Usage, "malformed_pcrs", message)
            .hint("write a line for each PCR: sha256 7 and the value in hex")
    };
    let mut values = PcrValues::new();
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().collect();
        let (name, pcr, value) = match words.as_slice() {
            [] => continue,
            [name, pcr, value] => (*name, *pcr, *value),
            _ => return Err(malformed(number, "not a bank, a PCR and a value")),
        };
        if name != bank.name() {
            continue;
        }
        let pcr = pcr.parse().ok().filter(|pcr| *pcr < PCRS);
        let pcr = pcr.ok_or_else(|| malformed(number, "no PCR"))?;
        let value = hex::decode(value).ok();
        let value = value.filter(|value| value.len() == bank.size());
        let value = value.ok_or_else(|| malformed(number, "no value of this bank"))?;
        if values.insert(pcr, value).is_some() {
            return Err(malformed(number, "the PCR was there before"));
        }
    }
    if values.is_empty() {
        let message = format!("{} has no PCR of the bank {}", path.display(), bank.name());
        return Err(Failure::new(Exit::Usage, "malformed_pcrs", message));
    }
    Ok(values)
}

/// The values that the kernel shows now, of the TPM that is at `device`.
pub(crate) fn values_of_machine(device: &str, bank: Bank) -> Option<PcrValues> {
    let number = number_of(device)?;
    let directory = format!("/sys/class/tpm/tpm{number}/pcr-{}", bank.name());
    values_in(Path::new(&directory), bank)
}

fn values_in(directory: &Path, bank: Bank) -> Option<PcrValues> {
    let value = |pcr: u8| {
        let text = files::read(&directory.join(pcr.to_string()), VALUES).ok()?;
        let value = hex::decode(text.trim_ascii()).ok()?;
        (value.len() == bank.size()).then_some((pcr, value))
    };
    (0..PCRS).map(value).collect()
}

/// Linux numbers its TPMs.
fn number_of(device: &str) -> Option<u16> {
    let device = device.strip_prefix("tss:").unwrap_or(device);
    let device = device.strip_prefix("device:").unwrap_or(device);
    let name = device.strip_prefix("/dev/tpm")?;
    name.strip_prefix("rm").unwrap_or(name).parse().ok()
}

/// Bytes of a log: what a parser takes.
const LOG: u64 = 704 * 1024;
/// Bytes of a file with PCR values: all PCRs of all banks, and comments.
const VALUES: u64 = 64 * 1024;
/// The PCRs that a PC Client TPM has.
const PCRS: u8 = 24;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_kernel_s_log_goes_with_the_device() {
        for (device, expect) in [
            (
                "/dev/tpmrm0",
                Some("/sys/kernel/security/tpm0/binary_bios_measurements"),
            ),
            (
                "/dev/tpm12",
                Some("/sys/kernel/security/tpm12/binary_bios_measurements"),
            ),
            (
                "tss:device:/dev/tpmrm1",
                Some("/sys/kernel/security/tpm1/binary_bios_measurements"),
            ),
            ("unix:/run/tpm", None),
            ("/dev/tpmrmx", None),
        ] {
            let path = path_of(device).ok();
            assert_eq!(path.as_deref(), expect.map(Path::new), "{device}");
        }
    }

    #[test]
    fn values_are_read_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pcrs.txt");
        let (one, two) = ("01".repeat(32), "02".repeat(48));
        for (text, expect) in [
            (
                format!("# of a boot\n\nsha256 7 {one} # Secure Boot\nsha384 7 {two}\n"),
                Ok(vec![7]),
            ),
            (format!("sha256 0 {one}\nsha256 23 {one}"), Ok(vec![0, 23])),
            (format!("sha256 24 {one}"), Err("line 1: no PCR")),
            (format!("sha256 x {one}"), Err("line 1: no PCR")),
            (
                format!("sha256 7 {two}"),
                Err("line 1: no value of this bank"),
            ),
            (
                format!("\nsha256 7 {one}0"),
                Err("line 2: no value of this bank"),
            ),
            (
                format!("sha256 7 {one}\nsha256 7 {one}"),
                Err("line 2: the PCR was there before"),
            ),
            (
                "sha256 7".to_owned(),
                Err("line 1: not a bank, a PCR and a value"),
            ),
            (format!("sha384 7 {two}"), Err("no PCR of the bank sha256")),
            (String::new(), Err("no PCR of the bank sha256")),
        ] {
            fs::write(&file, &text).unwrap();
            let values = values_of_file(&file, Bank::Sha256);
            let found = values.map(|values| values.into_keys().collect::<Vec<_>>());
            match (found, expect) {
                (Ok(found), Ok(expect)) => assert_eq!(found, expect, "{text}"),
                (Err(failure), Err(part)) => assert!(failure.message.contains(part), "{text}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_the_kernel_shows_counts_only_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        for pcr in 0..PCRS {
            let text = format!("{}\n", "AB".repeat(32));
            fs::write(directory.path().join(pcr.to_string()), text).unwrap();
        }
        let values = values_in(directory.path(), Bank::Sha256).unwrap();
        assert_eq!((values.len(), &values[&23]), (24, &vec![0xAB; 32]));
        assert_eq!(values_in(directory.path(), Bank::Sha384), None);
        fs::remove_file(directory.path().join("9")).unwrap();
        assert_eq!(values_in(directory.path(), Bank::Sha256), None);
        assert_eq!(values_of_machine("unix:/x", Bank::Sha256), None);
    }
}
