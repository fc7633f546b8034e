//! `evidence`: this machine attests to the tool itself, and what was said is kept as servers keep it.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use eventlog::Bank;
use serde::Serialize;
use verify::{Attested, Boot};

use crate::anchors::Trust;
use crate::cli::{TpmArguments, bank};
use crate::eventlog_refused::Refused;
use crate::eventlog_source as source;
use crate::evidence_read::{Stored, hash_of};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::inspect_eventlog::bank_named;
use crate::machine::{Machine, now};
use crate::output::{self, Format, Report, fields};
use crate::text::printable;
use crate::trial::{self, Failed, Wanted};

#[derive(Args, Clone, Debug)]
pub(crate) struct EvidenceArguments {
    /// Write the record into this file, instead of to stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The boot event log, instead of the one that the kernel shows for --device.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// The PCR bank.
    #[arg(long, value_name = "BANK", default_value = "sha256", value_parser = bank())]
    pub(crate) bank: String,
}

/// What this machine proved.
pub(crate) struct Proved {
    pub(crate) stored: Stored,
    pub(crate) attested: Attested,
    /// Why there is no log, if there is none.
    pub(crate) no_log: Option<String>,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    file: String,
    ek_hash: String,
    bank: &'static str,
    log_bytes: usize,
    /// Whether the log leads to the quoted PCRs.
    log_holds: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_refusal: Option<Refused>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_log: Option<String>,
}

/// Makes a record of this machine.
pub(crate) fn run(
    tpm: &TpmArguments,
    arguments: &EvidenceArguments,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let bank = bank_named(&arguments.bank);
    let proved = prove(tpm, arguments.log.as_deref(), bank)?;
    let bytes = proved.stored.record.encode();
    match &arguments.out {
        None => output::write_bytes(&bytes, out).map(|()| Exit::Good),
        Some(file) => {
            files::write(file, &bytes)?;
            output::write(&Written::of(&proved, file, bank), format, out)
        }
    }
}

/// Has this machine attest to the tool: all PCRs that a profile may name, and the log.
pub(crate) fn prove(tpm: &TpmArguments, log: Option<&Path>, bank: Bank) -> Result<Proved, Failure> {
    let (log, no_log) = boot_event_log(tpm, log)?;
    let machine = Machine::open(tpm)?;
    let deadline = machine.deadline;
    let mut attestor = machine.attestor()?;
    let wanted = Wanted {
        pcrs: vec![(hash_of(bank), PCRS.to_vec())],
        log,
        svid_keys: Vec::new(),
    };
    let outcome = trial::exchange(&mut attestor, &Trust::default(), &wanted, now(), deadline);
    let (record, attested) = outcome.map_err(|failed| match failed {
        Failed::Tpm(error) => error.into(),
        Failed::Refused(rejection) => {
            let message = format!("this machine proves nothing: {rejection}");
            Failure::new(Exit::Negative, rejection.reason.code(), message)
                .hint(rejection.reason.remedy())
        }
    })?;
    Ok(Proved {
        stored: Stored {
            path: "this machine".into(),
            record,
        },
        attested,
        no_log,
    })
}

/// A log that was named has to be there; the kernel's may be absent, and why is told.
fn boot_event_log(
    tpm: &TpmArguments,
    named: Option<&Path>,
) -> Result<(Option<Vec<u8>>, Option<String>), Failure> {
    if let Some(path) = named {
        return source::read(path).map(|log| (Some(log), None));
    }
    let found = source::path_of(&tpm.device).and_then(|path| source::read(&path));
    Ok(match found {
        Ok(log) if log.is_empty() => (None, Some("the kernel shows an empty log".to_owned())),
        Ok(log) => (Some(log), None),
        Err(failure) => (None, Some(failure.message)),
    })
}

impl Written {
    fn of(proved: &Proved, file: &Path, bank: Bank) -> Self {
        let log_refusal = match proved.attested.boot() {
            Boot::Refused(rejection) => Some(Refused::from(rejection)),
            Boot::Verified(_) | Boot::Absent => None,
        };
        Self {
            file: printable(&file.display().to_string()),
            ek_hash: proved.attested.ek_hash().hex(),
            bank: bank.name(),
            log_bytes: proved.stored.messages().log().map_or(0, <[u8]>::len),
            log_holds: matches!(proved.attested.boot(), Boot::Verified(_)),
            log_refusal,
            no_log: proved.no_log.clone(),
        }
    }
}

impl Report for Written {
    fn table(&self) -> String {
        let log = match (&self.no_log, &self.log_refusal) {
            (Some(why), _) => format!("none: {why}"),
            (None, Some(refused)) => format!("not believed: {}", refused.text()),
            (None, None) => format!("{} bytes, leads to the quoted PCRs", self.log_bytes),
        };
        fields(vec![
            ("written to", Some(self.file.clone())),
            ("ek hash", Some(self.ek_hash.clone())),
            ("bank", Some(self.bank.to_owned())),
            ("log", Some(log)),
        ])
    }
}

/// All but those whose values last for no time: 10 grows while the machine runs, and anybody can reset 16 and 23.
const PCRS: [u8; 21] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22,
];
