//! What `doctor` finds in the TPM, and on the way to it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use evidence::{Hash, PcrSelection};
use tpm::{Address, WrappedKey};

use crate::anchors::Trust;
use crate::cli::TpmArguments;
use crate::description::Description;
use crate::doctor::Finding;
use crate::doctor_keys;
use crate::failure::Failure;
use crate::inspect;
use crate::judgement::Verdict;
use crate::machine::{self, Machine, Stored};
use crate::text::printable;
use crate::trial::{self, Failed};

/// All findings, as far as the TPM can be reached.
pub(crate) fn findings(arguments: &TpmArguments, trust: &Trust) -> Result<Vec<Finding>, Failure> {
    let opened = Machine::open(arguments);
    let mut machine = match opened {
        Ok(machine) => machine,
        Err(failure) if DEVICE.contains(&failure.reason) => {
            return Ok(vec![not_opened(&arguments.device, failure)]);
        }
        Err(failure) => return Err(failure),
    };
    let mut findings = vec![device(&arguments.device)];
    if let Err(error) = look_inside(&mut machine, arguments, trust, &mut findings) {
        findings.push(failed("tpm", error));
        return Ok(findings);
    }
    match reopened(machine, arguments, &mut findings) {
        Ok((machine, key)) => findings.extend(attestation(machine, trust, key)),
        Err(failure) => findings.push(not_opened(&arguments.device, failure)),
    }
    Ok(findings)
}

/// The TPM once more, after a key manager's look at it, with the key that it made: both roles have a connection of their own.
fn reopened(
    machine: Machine,
    arguments: &TpmArguments,
    findings: &mut Vec<Finding>,
) -> Result<(Machine, Option<WrappedKey>), Failure> {
    let deadline = machine.deadline;
    let (found, key) = doctor_keys::trial_key(machine);
    findings.extend(found);
    let mut machine = Machine::open(arguments)?;
    machine.deadline = deadline;
    Ok((machine, key))
}

fn look_inside(
    machine: &mut Machine,
    arguments: &TpmArguments,
    trust: &Trust,
    findings: &mut Vec<Finding>,
) -> Result<(), tpm::Error> {
    let description = Description::read(&mut *machine.tpm, machine.deadline)?;
    findings.push(Finding::ok(
        "tpm",
        format!(
            "{} {}, firmware {}",
            description.manufacturer, description.text, description.firmware
        ),
    ));
    findings.push(lockout(&description));
    findings.push(hierarchy(
        &description,
        arguments.endorsement_auth_file.is_some(),
    ));
    findings.extend(banks(machine)?);
    findings.extend(certificates(&machine.certificates()?, arguments, trust));
    findings.extend(doctor_keys::places(machine)?);
    Ok(())
}

fn device(address: &str) -> Finding {
    let path = match address.parse() {
        Ok(Address::Device(path)) => path,
        _ => PathBuf::new(),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = name.strip_prefix("tpm").unwrap_or_default();
    let is_raw = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if is_raw {
        return Finding::warning(
            "device",
            format!(
                "{} opens, but only one program can use it at a time",
                printable(address)
            ),
            format!("use the kernel's resource manager, {}", Address::DEFAULT),
        );
    }
    Finding::ok("device", format!("{} opens", printable(address)))
}

/// The failure has the reason; who owns the device tells the operator which group is meant.
fn not_opened(address: &str, failure: Failure) -> Finding {
    let path = Path::new(address.strip_prefix("device:").unwrap_or(address));
    let owner = match fs::metadata(path) {
        Ok(metadata) => format!(
            " (it belongs to user {} and group {}, mode {:04o})",
            metadata.uid(),
            metadata.gid(),
            metadata.mode() & 0o7777
        ),
        Err(_absent) => String::new(),
    };
    let hint = failure
        .hint
        .unwrap_or_else(|| "look at the kernel's log".to_owned());
    Finding::problem("device", format!("{}{owner}", failure.message), hint)
}

fn failed(check: &'static str, error: tpm::Error) -> Finding {
    failed_as(check, Finding::problem, error)
}

/// A failure of the TPM, as bad as `level` makes it.
pub(crate) fn failed_as(
    check: &'static str,
    level: impl FnOnce(&'static str, String, String) -> Finding,
    error: tpm::Error,
) -> Finding {
    let failure = Failure::from(error);
    let hint = failure
        .hint
        .unwrap_or_else(|| "restart the machine; if that does not help, report it".to_owned());
    level(check, failure.message, hint)
}

fn lockout(description: &Description) -> Finding {
    let (count, most) = (description.lockout_counter, description.max_auth_fail);
    if description.is_in_lockout() {
        return Finding::warning(
            "lockout",
            format!("the TPM is in dictionary-attack lockout after {count} wrong passwords"),
            "attestation goes on, other uses of the TPM do not: find the program with the wrong password, then wait or reset it with tpm2_dictionarylockout",
        );
    }
    Finding::ok(
        "lockout",
        format!("not in lockout, {count} of {most} wrong passwords"),
    )
}

fn hierarchy(description: &Description, has_auth_file: bool) -> Finding {
    if !description.has_endorsement_hierarchy() {
        return Finding::problem(
            "hierarchy",
            "the endorsement hierarchy is disabled",
            "enable it in the firmware's setup, and restart the machine",
        );
    }
    match (description.has_endorsement_auth(), has_auth_file) {
        (true, false) => Finding::problem(
            "hierarchy",
            "the endorsement hierarchy has a password",
            "give it with --endorsement-auth-file, and to the agent with endorsement_auth_path",
        ),
        (true, true) => Finding::ok(
            "hierarchy",
            "the endorsement hierarchy has a password, and one is given",
        ),
        (false, _) => Finding::ok(
            "hierarchy",
            "the endorsement hierarchy is enabled and has no password",
        ),
    }
}

fn banks(machine: &mut Machine) -> Result<Vec<Finding>, tpm::Error> {
    let mut active = Vec::new();
    for hash in Hash::ALL {
        let selection = PcrSelection::new(hash, &[0]);
        match machine.tpm.read_pcrs(&[selection], machine.deadline) {
            Ok(_value) => active.push(hash),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let names: Vec<_> = active.iter().map(|hash| hash.name()).collect();
    if !active.contains(&Hash::Sha256) {
        return Ok(vec![Finding::problem(
            "pcr-banks",
            format!(
                "the SHA-256 bank is not active; active: {}",
                names.join(", ")
            ),
            "activate it in the firmware's setup or with tpm2_pcrallocate sha256:all, and restart the machine",
        )]);
    }
    let mut findings = vec![Finding::ok(
        "pcr-banks",
        format!("active: {}", names.join(", ")),
    )];
    findings.extend(measurements(machine)?);
    Ok(findings)
}

/// Firmware that measures extends PCR 0 before anything else runs.
fn measurements(machine: &mut Machine) -> Result<Option<Finding>, tpm::Error> {
    let selection = PcrSelection::new(Hash::Sha256, &[0]);
    let banks = machine.tpm.read_pcrs(&[selection], machine.deadline)?;
    let is_untouched = banks
        .iter()
        .flat_map(|bank| bank.values.values())
        .all(|value| value.iter().all(|byte| *byte == 0));
    Ok(is_untouched.then(|| Finding::warning(
        "measured-boot",
        "PCR 0 is zero: the firmware measures nothing into the SHA-256 bank",
        "the machine proves which one it is, but not what it booted: look for a firmware update or setting",
    )))
}

/// A bank that is not active, or a hash that the TPM does not know.
fn is_absent(error: &tpm::Error) -> bool {
    match error {
        tpm::Error::PcrAbsent { .. } => true,
        other => other
            .code()
            .is_some_and(|code| code.name() == "TPM_RC_HASH"),
    }
}

fn certificates(stored: &[Stored], arguments: &TpmArguments, trust: &Trust) -> Vec<Finding> {
    if stored.is_empty() && arguments.ek_cert.is_none() {
        return vec![Finding::warning(
            CERTIFICATE,
            "the TPM holds no EK certificate",
            "enrol the machine by the hash that `tpm-attestor fingerprint` prints, or give a certificate with ek_cert_path",
        )];
    }
    stored
        .iter()
        .map(|stored| certificate(stored, trust))
        .collect()
}

/// A single certificate is no problem: the machine may have another, or be enrolled by hash. The
/// trial says what becomes of the one that counts. Its chain is judged there, with the
/// intermediates that go with it.
fn certificate(stored: &Stored, trust: &Trust) -> Finding {
    let without_chain = trust.without_anchors();
    let report = inspect::of_index(stored, &[], &without_chain);
    let place = format!("{}, template {}", report.source, stored.template.name());
    match (report.judgement, report.problem) {
        (Some(judgement), _) if judgement.verdict == Verdict::Refused => Finding::warning(
            CERTIFICATE,
            format!("{place}: {}", judgement.reason.unwrap_or_default()),
            judgement.remedy.unwrap_or_default(),
        ),
        (Some(_), _) => {
            let key = report.details.map(|details| details.fingerprint.key);
            Finding::ok(CERTIFICATE, format!("{place}: {}", key.unwrap_or_default()))
        }
        (None, problem) => Finding::warning(
            CERTIFICATE,
            format!("{place}: {}", problem.unwrap_or_default()),
            "give the owner's authorisation with --owner-auth-file, and to the agent with owner_auth_path",
        ),
    }
}

/// Everything at once, as it will be; then the same with an SVID key, if there is one.
fn attestation(machine: Machine, trust: &Trust, key: Option<WrappedKey>) -> Vec<Finding> {
    let (started, deadline) = (Instant::now(), machine.deadline);
    let mut attestor = match machine.attestor() {
        Ok(attestor) => attestor,
        Err(error) => return vec![failed(ATTESTATION, error)],
    };
    let outcome = trial::attest(&mut attestor, trust, machine::now(), deadline);
    let mut findings = vec![attested(outcome, trust, started.elapsed())];
    findings.extend(key.map(|key| doctor_keys::certification(&mut attestor, key, deadline)));
    findings
}

fn attested(outcome: Result<(), Failed>, trust: &Trust, took: Duration) -> Finding {
    let milliseconds = took.as_millis();
    match outcome {
        Ok(()) if trust.is_given() => Finding::ok(
            ATTESTATION,
            format!("the verifier accepts this machine; it took {milliseconds} ms"),
        ),
        Ok(()) => Finding::ok(
            ATTESTATION,
            format!(
                "the machine proves itself; it took {milliseconds} ms. Its certificate is judged with --ca"
            ),
        ),
        Err(Failed::Tpm(error)) => failed(ATTESTATION, error),
        Err(Failed::Refused(rejection)) => {
            let reason = rejection.reason;
            let detail = rejection.detail.as_deref().map(printable);
            let detail = detail.unwrap_or_else(|| reason.cause().to_owned());
            let finding = format!(
                "the verifier refuses this machine: {}: {detail}",
                reason.code()
            );
            Finding::problem(ATTESTATION, finding, reason.remedy())
        }
    }
}

/// Failures that are findings about the device.
const DEVICE: [&str; 2] = ["tpm_not_opened", "not_a_device"];
const CERTIFICATE: &str = "ek-certificate";
const ATTESTATION: &str = "attestation";

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::doctor::Level;

    fn described(permanent: u32, startup_clear: u32) -> Description {
        Description {
            manufacturer: "IBM".into(),
            text: String::new(),
            firmware: String::new(),
            permanent,
            startup_clear,
            lockout_counter: 3,
            max_auth_fail: 3,
        }
    }

    #[test]
    fn states_of_the_tpm_are_told_apart() {
        for (permanent, startup_clear, has_file, expected) in [
            (0, 0b100, false, [Level::Ok, Level::Ok]),
            (1 << 9, 0b100, false, [Level::Warning, Level::Ok]),
            (1 << 1, 0b100, false, [Level::Ok, Level::Problem]),
            (1 << 1, 0b100, true, [Level::Ok, Level::Ok]),
            (0, 0b011, false, [Level::Ok, Level::Problem]),
        ] {
            let description = described(permanent, startup_clear);
            let found = [lockout(&description), hierarchy(&description, has_file)];
            assert_eq!(
                found.map(|finding| finding.level),
                expected,
                "{permanent:b}"
            );
        }
    }

    #[test]
    fn the_raw_device_is_a_warning() {
        for (address, level) in [
            ("/dev/tpm0", Level::Warning),
            ("device:/dev/tpm12", Level::Warning),
            ("/dev/tpmrm0", Level::Ok),
            ("/dev/tpm", Level::Ok),
            ("unix:/run/tpm0", Level::Ok),
        ] {
            assert_eq!(device(address).level, level, "{address}");
        }
    }

    #[test]
    fn causes_of_a_closed_device_have_their_own_remedies() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tpmrm0");
        fs::write(&path, "").unwrap();
        let address = path.display().to_string();
        for (errno, remedy) in [
            (13, "group"),
            (1, "cgroup"),
            (2, "driver"),
            (16, "resource manager"),
        ] {
            let error = tpm::Error::Open {
                address: address.clone(),
                source: io::Error::from_raw_os_error(errno),
            };
            let finding = not_opened(&address, error.into());
            assert_eq!(finding.level, Level::Problem);
            assert!(finding.remedy.unwrap().contains(remedy), "{errno}");
            assert!(
                finding.summary.contains("and group "),
                "{}",
                finding.summary
            );
        }
    }

    #[test]
    fn a_tpm_without_certificates_is_a_warning() {
        let cli = <crate::cli::Cli as clap::Parser>::parse_from(["tpm-attestor", "doctor"]);
        let found = certificates(&[], &cli.tpm, &Trust::default());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].level, Level::Warning);
        assert!(found[0].remedy.as_ref().unwrap().contains("fingerprint"));
    }

    #[test]
    fn a_certificate_that_breaks_a_rule_is_a_warning_with_the_reason() {
        let pem = evidence::parse_pem(include_str!("vectors/ek-p384.pem"), 1).unwrap();
        for (contents, level, word) in [
            (pem[0].contents.clone(), Level::Ok, "p-384"),
            (vec![0x30, 3, 1], Level::Warning, "malformed_cert"),
        ] {
            let stored = Stored {
                template: evidence::EkTemplate::H3,
                contents: Ok(contents),
            };
            let finding = certificate(&stored, &Trust::default());
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.summary.ends_with(word), "{finding:?}");
        }
    }

    #[test]
    fn a_certificate_that_may_not_be_read_is_a_warning() {
        let stored = Stored {
            template: evidence::EkTemplate::L1,
            contents: Err(tpm::Error::NvUnreadable { index: 0x01C0_0002 }),
        };
        let finding = certificate(&stored, &Trust::default());
        assert_eq!(finding.level, Level::Warning);
        assert!(
            finding.summary.contains("0x01c00002"),
            "{}",
            finding.summary
        );
        assert!(finding.remedy.unwrap().contains("--owner-auth-file"));
    }
}
