//! Boots for benchmarks: of a log of a size that is common in the field, or of a file.

use eventlog::{Bank, EventLog, PcrValues, limits, replay};
use evidence::{Hash, Offer, PcrBank};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use serde::Serialize;
use softtpm::{
    BootLog, CERT_SHA256, CERT_X509, GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, Key, KeyKind, Lies,
    LogEntry, Prover, Role, TpmError, file_path, signature_list, utf16, variable_data,
};

use crate::bench::Log;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;

/// What a machine has booted, as its TPM and its firmware tell.
#[derive(Clone, Debug)]
pub(crate) struct Booted {
    /// The boot event log.
    pub(crate) log: Vec<u8>,
    /// The values that it leads to, in each of its banks.
    pub(crate) pcrs: Vec<PcrBank>,
}

/// What becomes of the logs of a load's machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Logs {
    /// They have none.
    Absent,
    /// Each attestation is the first after a boot: the server does not know the log, and it travels.
    Sent,
    /// Each attestation is a later one: the server knows the log, and it stays where it is.
    Known,
}

impl Booted {
    /// What a log tells of.
    pub(crate) fn told_by(log: &Log) -> Result<Self, Failure> {
        let log = match log {
            Log::File(file) => files::read(file, u64::try_from(limits::LOG).unwrap_or(u64::MAX))?,
            Log::Made => boot().map_err(|error| bad_log(&error))?.encode(),
        };
        let parsed = EventLog::parse(&log).map_err(|refusal| bad_log(&refusal))?;
        let banks = Bank::ALL.into_iter().filter_map(|bank| {
            let values = replay(&parsed, bank);
            let hash = Hash::from_name(bank.name())?;
            (!values.is_empty()).then_some(PcrBank { hash, values })
        });
        let pcrs = banks.collect();
        Ok(Self { log, pcrs })
    }

    /// The weakest bank, which is what a server asks for by default.
    pub(crate) fn weakest(&self) -> Result<(Bank, &PcrValues), Failure> {
        let bank = self.pcrs.first().and_then(|bank| {
            let name = Bank::from_algorithm(bank.hash.algorithm().0)?;
            Some((name, &bank.values))
        });
        bank.ok_or_else(|| bad_log(&"the log has no bank that proves anything"))
    }

    /// Has a machine boot like this.
    pub(crate) fn by(&self, machine: &mut Prover, logs: Logs) {
        if logs == Logs::Absent {
            return;
        }
        machine.tpm.pcrs.clone_from(&self.pcrs);
        machine.tpm.log = Some(self.log.clone());
        if logs == Logs::Sent {
            machine.lies = Lies::none().offer(another_log);
        }
    }
}

/// Offers a log that the server has not seen: to it the machine has booted since it was here.
fn another_log(offer: &mut Offer) {
    if let Some(extension) = &mut offer.extension {
        extension.log_sha256 = Some([0; 32]);
    }
}

pub(crate) fn bad_log(error: &impl ToString) -> Failure {
    Failure::new(Exit::Environment, "bad_event_log", error.to_string())
}

/// A boot of 60 kB: the banks SHA-256 and SHA-384, Secure Boot on with the keys and the revocations of a machine of some
/// years, a driver in an option ROM, a full boot menu, shim, and a long menu of GRUB.
///
/// # Errors
/// [`TpmError::Key`] where a sample key makes no certificate.
pub(crate) fn boot() -> Result<BootLog, TpmError> {
    let mut log = BootLog::sample_with_option_rom(&[Hash::Sha256, Hash::Sha384])?;
    more_keys(&mut log)?;
    revocations(&mut log);
    boot_menu(&mut log);
    shim(&mut log);
    while log.encode().len() < SIZE {
        grub_command(&mut log);
    }
    Ok(log)
}

/// The size of the log that figures are given for, in bytes.
const SIZE: usize = 60_000;

/// Further certificates in KEK and db.
fn more_keys(log: &mut BootLog) -> Result<(), TpmError> {
    for (guid, name, owners) in [
        (GLOBAL_VARIABLE, "KEK", &["Operating System KEK CA"][..]),
        (
            IMAGE_SECURITY_DATABASE,
            "db",
            &[
                "Operating System Production PCA",
                "Third Party UEFI CA",
                "Third Party Option ROM UEFI CA",
                "Machine Vendor Firmware CA",
            ],
        ),
    ] {
        let certificates = owners.iter().map(|owner| certificate(owner));
        let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
        let lists = certificates
            .iter()
            .map(|der| signature_list(CERT_X509, &[der]));
        let more = lists.collect::<Vec<_>>().concat();
        change(log, guid, name, |contents| contents.extend(more));
    }
    Ok(())
}

/// As many images as are revoked in the field by their hashes.
fn revocations(log: &mut BootLog) {
    let hashes = (0..REVOKED).map(|image: u32| Hash::Sha256.digest(&[&image.to_le_bytes()]));
    let hashes: Vec<_> = hashes.collect();
    let entries: Vec<_> = hashes.iter().map(Vec::as_slice).collect();
    change(log, IMAGE_SECURITY_DATABASE, "dbx", |contents| {
        *contents = signature_list(CERT_SHA256, &entries);
    });
}

/// The boot options, each a variable in PCR 1.
fn boot_menu(log: &mut BootLog) {
    let hashes = log.hashes.clone();
    let options = (1..=OPTIONS).map(|number| {
        let path = file_path(&format!("\\EFI\\system{number}\\shimx64.efi"));
        let size = u16::try_from(path.len()).unwrap_or(u16::MAX);
        let mut option = 1u32.to_le_bytes().to_vec();
        option.extend(size.to_le_bytes());
        option.extend(utf16(&format!("UEFI: operating system {number}, disk 0\0")));
        option.extend(path);
        let name = format!("Boot{number:04X}");
        let data = variable_data(GLOBAL_VARIABLE, &name, &option);
        LogEntry::new(&hashes, 1, VARIABLE_BOOT, &data, &data)
    });
    let options: Vec<_> = options.collect();
    let last = log
        .entries
        .iter()
        .rposition(|entry| entry.kind == VARIABLE_BOOT);
    let at = last.map_or(0, |last| last + 1);
    log.entries.splice(at..at, options);
}

/// What shim measures of its own variables, before it starts GRUB.
fn shim(log: &mut BootLog) {
    let mut variables = BootLog::new(&log.hashes);
    variables.shim_variables();
    let at = grub(log);
    log.entries.splice(at..at, variables.entries);
}

/// One more command of GRUB's.
fn grub_command(log: &mut BootLog) {
    let number = log.entries.len();
    let mut command = BootLog::new(&log.hashes);
    let text = format!("menuentry Debian GNU/Linux, with Linux 6.12.{number}-amd64 --class debian");
    command.ipl(8, "grub_cmd: ", &text);
    let at = grub(log);
    log.entries.splice(at..at, command.entries);
}

/// The place of GRUB's first command.
fn grub(log: &BootLog) -> usize {
    log.position(|entry| entry.pcr == 8).unwrap_or_default()
}

/// Measures a variable of Secure Boot with other contents.
fn change(log: &mut BootLog, guid: softtpm::Guid, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    // The GUID, the two lengths, the name and the contents.
    let head = variable_data(guid, name, &[]);
    let (named, name) = (head.get(..24), head.get(32..).unwrap_or_default());
    let mut entries = log.entries.iter_mut().filter(|entry| entry.pcr == 7);
    let found = entries.find_map(|entry| {
        let (fields, rest) = entry.data.split_at_checked(32)?;
        let contents = rest.strip_prefix(name)?.to_vec();
        (fields.get(..24) == named).then_some((entry, contents))
    });
    if let Some((entry, mut contents)) = found {
        change(&mut contents);
        let size = u64::try_from(contents.len()).unwrap_or(u64::MAX);
        let head = [named.unwrap_or_default(), &size.to_le_bytes(), name];
        entry.rewrite(&[&head.concat(), &contents[..]].concat());
    }
}

/// A certificate with the names and extensions that those of firmware have.
fn certificate(common_name: &str) -> Result<Vec<u8>, TpmError> {
    let key = Key::sample(Role::Other, KeyKind::Rsa2048)?;
    let key = KeyPair::try_from(key.pkcs8()).map_err(|_unusable| TpmError::Key)?;
    let mut parameters = CertificateParams::default();
    for (kind, value) in [
        (DnType::CountryName, "US"),
        (DnType::StateOrProvinceName, "Somewhere"),
        (DnType::LocalityName, "Some City"),
        (DnType::OrganizationName, "Some Maker of Operating Systems"),
        (DnType::CommonName, common_name),
    ] {
        parameters.distinguished_name.push(kind, value);
    }
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    parameters.crl_distribution_points = vec![CrlDistributionPoint {
        uris: vec!["http://crl.invalid/pki/certificates/root.crl".to_owned()],
    }];
    let certificate = parameters
        .self_signed(&key)
        .map_err(|_unusable| TpmError::Key)?;
    Ok(certificate.der().to_vec())
}

/// Hashes in dbx.
const REVOKED: u32 = 400;
/// Entries of the boot menu, besides the one that is started.
const OPTIONS: u32 = 10;
/// EV_EFI_VARIABLE_BOOT (PFP 1.06, section 10.4.1).
const VARIABLE_BOOT: u32 = 0x8000_0002;
