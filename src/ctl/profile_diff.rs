//! `profile diff`: what changed between two boots of a machine, in words.

use std::path::Path;

use eventlog::Bank;
use evidence::EkHash;
use serde::Serialize;
use verify::{FirmwareVersion, Quoted};

use crate::boot::{Boot, Vouched};
use crate::eventlog_refused::Refused;
use crate::eventlog_source as source;
use crate::evidence_read::{Stored, is_record};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::inspect_eventlog::bank_named;
use crate::output::{Report, columns, fields};
use crate::profile::DiffArguments;
use crate::profile_changes::{Change, PcrChange, Told, changes};
use crate::text::printable;

/// What changed.
#[derive(Debug, Serialize)]
pub(crate) struct Difference {
    old: Side,
    new: Side,
    bank: &'static str,
    pcrs: Vec<PcrChange>,
    /// PCRs that one side does not know.
    incomparable: Vec<u8>,
    tpm: Vec<Change>,
}

/// One of the two boots.
#[derive(Debug, Serialize)]
struct Side {
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    values: Vouched,
    log: bool,
    /// Why its log is not believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Refused>,
}

/// A boot, and what a quote says beside it.
struct Known {
    boot: Boot,
    quote: Option<Quote>,
}

struct Quote {
    time: String,
    machine: EkHash,
    quoted: Quoted,
}

/// A file that was named, and what it is.
enum File {
    Record(Box<Stored>),
    Log(Vec<u8>),
}

/// Compares two boots.
pub(crate) fn diff(arguments: &DiffArguments) -> Result<Difference, Failure> {
    let files = [File::read(&arguments.old)?, File::read(&arguments.new)?];
    let bank = bank(arguments.bank.as_deref(), &files)?;
    let [old, new] = files;
    let old = old.known(&arguments.old, arguments.old_pcrs.as_deref(), bank)?;
    let new = new.known(&arguments.new, arguments.new_pcrs.as_deref(), bank)?;
    Ok(Difference::of(&old, &new))
}

/// The bank that was named; else the strongest that both quotes cover, and SHA-256 where there is a log alone.
fn bank(named: Option<&str>, files: &[File; 2]) -> Result<Bank, Failure> {
    if let Some(name) = named {
        return Ok(bank_named(name));
    }
    let covers = |bank: Bank| {
        files.iter().all(|file| match file {
            File::Record(stored) => stored.boot(Some(bank)).is_ok(),
            File::Log(_) => bank == Bank::Sha256,
        })
    };
    if let Some(bank) = Bank::ALL.into_iter().rev().find(|bank| covers(*bank)) {
        return Ok(bank);
    }
    // Why a record is of no use says more than that there is no bank.
    for file in files {
        if let File::Record(stored) = file {
            stored.boot(None)?;
        }
    }
    let message = "the boots have no PCR bank in common";
    Err(Failure::new(Exit::Usage, "pcr_selection", message))
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = files::read(path, MAX_FILE)?;
        if is_record(&bytes) {
            Ok(Self::Record(Box::new(Stored::of(path, &bytes)?)))
        } else {
            Ok(Self::Log(bytes))
        }
    }

    fn known(self, path: &Path, pcrs: Option<&Path>, bank: Bank) -> Result<Known, Failure> {
        match self {
            Self::Record(_) if pcrs.is_some() => {
                let message = format!("{} is a record, which has PCR values", path.display());
                Err(Failure::new(Exit::Usage, "usage", message))
            }
            Self::Record(stored) => {
                let (boot, quoted) = stored.boot(Some(bank))?;
                let machine = stored.prove().map(|attested| attested.ek_hash());
                let time = stored.time();
                let quote = machine.ok().map(|machine| Quote {
                    time,
                    machine,
                    quoted,
                });
                Ok(Known { boot, quote })
            }
            Self::Log(log) => {
                let values = pcrs
                    .map(|path| source::values_of_file(path, bank))
                    .transpose()?;
                let source = printable(&path.display().to_string());
                let boot = Boot::of_log(source, log, bank, values).map_err(|refusal| {
                    let refused = Refused::from(&refusal);
                    let message = format!(
                        "{}: no record, and no log: {}",
                        path.display(),
                        refused.detail
                    );
                    Failure::new(Exit::Negative, refused.reason, message)
                })?;
                Ok(Known { boot, quote: None })
            }
        }
    }
}

impl Difference {
    fn of(old: &Known, new: &Known) -> Self {
        let (before, after) = (&old.boot.values, &new.boot.values);
        let in_both = |pcr: &u8| before.contains_key(pcr) && after.contains_key(pcr);
        let all: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let incomparable = all.into_iter().filter(|pcr| !in_both(pcr)).copied();
        let quotes = old.quote.as_ref().zip(new.quote.as_ref());
        Self {
            old: Side::of(old),
            new: Side::of(new),
            bank: new.boot.bank.name(),
            pcrs: changes(&Told::of(&old.boot), &Told::of(&new.boot)),
            incomparable: incomparable.collect(),
            tpm: quotes
                .map(|(old, new)| of_the_tpm(old, new))
                .unwrap_or_default(),
        }
    }
}

impl Side {
    fn of(known: &Known) -> Self {
        let boot = &known.boot;
        Self {
            source: boot.source.clone(),
            time: known.quote.as_ref().map(|quote| quote.time.clone()),
            values: boot.vouched,
            log: boot.log.is_some(),
            refusal: boot
                .claims()
                .and_then(Result::err)
                .map(|refusal| Refused::from(&refusal)),
        }
    }

    fn text(&self) -> String {
        let time = self.time.as_ref().map(|time| format!(", {time}"));
        let log = match (&self.refusal, self.log) {
            (Some(refused), _) => format!("\nits log is not believed: {}", refused.text()),
            (None, true) => String::new(),
            (None, false) => "\nwithout a log: nothing explains a change".to_owned(),
        };
        let values = self.values.text();
        format!(
            "{}{}\nPCR values: {values}{log}",
            self.source,
            time.unwrap_or_default()
        )
    }
}

/// Of what the quotes say besides PCRs.
fn of_the_tpm(old: &Quote, new: &Quote) -> Vec<Change> {
    let firmware = |quote: &Quote| FirmwareVersion(quote.quoted.firmware()).to_string();
    let clock = |quote: &Quote| quote.quoted.clock();
    let safe = |quote: &Quote| {
        if clock(quote).safe {
            "safe"
        } else {
            "not safe"
        }
        .to_owned()
    };
    let facts = [
        ("machine (EK)", old.machine.hex(), new.machine.hex()),
        ("TPM firmware", firmware(old), firmware(new)),
        (
            "TPM resets",
            clock(old).reset_count.to_string(),
            clock(new).reset_count.to_string(),
        ),
        (
            "TPM restarts",
            clock(old).restart_count.to_string(),
            clock(new).restart_count.to_string(),
        ),
        ("TPM clock", safe(old), safe(new)),
    ];
    let changed = facts.into_iter().filter(|(_, old, new)| old != new);
    changed
        .map(|(what, old, new)| Change::new(what, old, new))
        .collect()
}

impl PcrChange {
    /// A row for each change, and one that says what nothing explains.
    fn rows(&self) -> Vec<[String; 3]> {
        let mut rows = Vec::new();
        let row = |what: &str, text: String| [self.pcr.to_string(), what.to_owned(), text];
        rows.push(row("value", format!("- {}\n+ {}", self.old, self.new)));
        if !self.explained {
            let note = self.note.map(|note| format!(": {note}"));
            let text = format!(
                "PCR {} changed and the log does not explain it{}",
                self.pcr,
                note.unwrap_or_default()
            );
            rows.push(row("?", text));
        }
        rows.extend(
            self.changes
                .iter()
                .map(|change| row(&change.what, change.text())),
        );
        rows
    }
}

impl Report for Difference {
    fn table(&self) -> String {
        let mut parts = vec![fields(vec![
            ("old", Some(self.old.text())),
            ("new", Some(self.new.text())),
            ("bank", Some(self.bank.to_owned())),
        ])];
        if self.pcrs.is_empty() {
            parts.push("no PCR changed\n".to_owned());
        } else {
            let rows = self.pcrs.iter().flat_map(PcrChange::rows).collect();
            parts.push(columns(["PCR", "WHAT", "CHANGE"], rows));
        }
        if !self.incomparable.is_empty() {
            let pcrs: Vec<_> = self.incomparable.iter().map(ToString::to_string).collect();
            parts.push(format!("not known of both: PCRs {}\n", pcrs.join(", ")));
        }
        if !self.tpm.is_empty() {
            let row = |change: &Change| [change.what.clone(), change.text()];
            parts.push(columns(
                ["TPM", "CHANGE"],
                self.tpm.iter().map(row).collect(),
            ));
        }
        parts.join("\n")
    }

    /// As of programs that compare: whether anything that was measured differs.
    fn exit(&self) -> Exit {
        if self.pcrs.is_empty() {
            Exit::Good
        } else {
            Exit::Negative
        }
    }
}

/// Bytes of a record, the longer of the two forms.
const MAX_FILE: u64 = 1536 * 1024;
