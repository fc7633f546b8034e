//! `inspect eventlog`: the events of a boot event log, the PCR values that it leads to, and what it proves.

use std::path::PathBuf;

use clap::Args;
use eventlog::{Bank, EventLog, PcrValues, Refusal, replay};
use serde::Serialize;

use crate::boot::{Boot, Vouched};
use crate::cli::{TpmArguments, bank};
use crate::eventlog_claims::Claims;
use crate::eventlog_refused::Refused;
use crate::eventlog_source as source;
use crate::eventlog_words::{Words, type_name};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Report, columns, fields};
use crate::profile_changes::extended_later;
use crate::text::printable;

#[derive(Args, Clone, Debug)]
pub(crate) struct EventLogArguments {
    /// The log; without it the one that the kernel shows for --device.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// PCR values to compare with, a line for each: sha256 7 and the value in hex.
    ///
    /// Without it those of this machine are taken for this machine's log, where the kernel shows them.
    #[arg(long, value_name = "FILE")]
    pub(crate) pcrs: Option<PathBuf>,
    /// The PCR bank.
    #[arg(long, value_name = "BANK", default_value = "sha256", value_parser = bank())]
    pub(crate) bank: String,
}

/// Everything about a log.
#[derive(Debug, Serialize)]
pub(crate) struct EventLogReport {
    source: String,
    bank: &'static str,
    banks: Vec<String>,
    events: Vec<EventRow>,
    /// What the PCR values of the comparison are.
    values: Vouched,
    pcrs: Vec<PcrRow>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
struct EventRow {
    event: usize,
    pcr: u8,
    #[serde(rename = "type")]
    kind: String,
    digest: String,
    subject: String,
    text: String,
    /// Whether the digest covers the text.
    bound: bool,
    #[serde(skip)]
    shown: String,
}

#[derive(Debug, Serialize)]
struct PcrRow {
    pcr: u8,
    replayed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    given: Option<String>,
    agrees: bool,
}

/// What comes of the log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Claims(Box<Claims>),
    Refusal(Refused),
}

/// Looks at a log.
pub(crate) fn report(
    tpm: &TpmArguments,
    arguments: &EventLogArguments,
) -> Result<EventLogReport, Failure> {
    let bank = bank_named(&arguments.bank);
    let path = match &arguments.file {
        Some(path) => path.clone(),
        None => source::path_of(&tpm.device)?,
    };
    let log = source::read(&path)?;
    let given = match (&arguments.pcrs, &arguments.file) {
        (Some(path), _) => Some(source::values_of_file(path, bank)?),
        (None, None) => source::values_of_machine(&tpm.device, bank),
        (None, Some(_)) => None,
    };
    Ok(EventLogReport::of(
        printable(&path.display().to_string()),
        log,
        bank,
        given,
    ))
}

/// The parser takes the names of banks only.
pub(crate) fn bank_named(name: &str) -> Bank {
    let mut banks = Bank::ALL.into_iter();
    banks
        .find(|bank| bank.name() == name)
        .unwrap_or(Bank::Sha256)
}

impl EventLogReport {
    fn of(source: String, log: Vec<u8>, bank: Bank, given: Option<PcrValues>) -> Self {
        match Boot::of_log(source.clone(), log, bank, given) {
            Ok(boot) => Self::of_boot(&boot),
            Err(refusal) => Self::unreadable(source, bank, Vouched::Replayed, &refusal),
        }
    }

    fn of_boot(boot: &Boot) -> Self {
        let log = EventLog::parse(boot.log.as_deref().unwrap_or_default());
        let log = match log {
            Ok(log) => log,
            Err(refusal) => {
                return Self::unreadable(boot.source.clone(), boot.bank, boot.vouched, &refusal);
            }
        };
        Self {
            source: boot.source.clone(),
            bank: boot.bank.name(),
            banks: log
                .spec_id
                .algorithms
                .iter()
                .map(|of| bank_name(*of))
                .collect(),
            events: events(&log, boot.bank),
            values: boot.vouched,
            pcrs: pcrs(&replay(&log, boot.bank), boot),
            outcome: match boot.claims() {
                Some(Ok(claims)) => Outcome::Claims(Box::new(Claims::of(&claims))),
                Some(Err(refusal)) => Outcome::Refusal(Refused::from(&refusal)),
                None => Outcome::Refusal(Refused {
                    reason: "eventlog_missing",
                    detail: String::new(),
                }),
            },
        }
    }

    fn unreadable(source: String, bank: Bank, values: Vouched, refusal: &Refusal) -> Self {
        Self {
            source,
            bank: bank.name(),
            banks: Vec::new(),
            events: Vec::new(),
            values,
            pcrs: Vec::new(),
            outcome: Outcome::Refusal(Refused::from(refusal)),
        }
    }
}

fn events(log: &EventLog<'_>, bank: Bank) -> Vec<EventRow> {
    let row = |event: &eventlog::Event<'_>| {
        let words = Words::of(event, bank);
        EventRow {
            event: event.index,
            pcr: event.pcr,
            kind: type_name(event.kind),
            digest: hex::encode(event.digest(bank.algorithm()).unwrap_or_default()),
            subject: words.subject.text(),
            shown: words.shown(),
            text: words.text,
            bound: words.bound,
        }
    };
    log.events.iter().map(row).collect()
}

/// PCRs that anything says anything about.
fn pcrs(replayed: &PcrValues, boot: &Boot) -> Vec<PcrRow> {
    let row = |(pcr, value): (&u8, &Vec<u8>)| {
        let given = boot.values.get(pcr);
        let is_given = boot.vouched != Vouched::Replayed;
        PcrRow {
            pcr: *pcr,
            replayed: hex::encode(value),
            given: given.filter(|_| is_given).map(hex::encode),
            agrees: given == Some(value),
        }
    };
    let is_measured = |(pcr, _): &(&u8, &Vec<u8>)| **pcr < FIRST_OF_NO_LOG;
    replayed.iter().filter(is_measured).map(row).collect()
}

fn bank_name((algorithm, _): (u16, u16)) -> String {
    evidence::Hash::from_algorithm(evidence::Algorithm(algorithm)).map_or_else(
        || format!("{algorithm:#06x}"),
        |hash| hash.name().to_owned(),
    )
}

/// Events as a table: the digest's first bytes are enough to tell them apart.
fn events_table(events: &[EventRow]) -> String {
    let row = |event: &EventRow| {
        [
            event.event.to_string(),
            event.pcr.to_string(),
            event.kind.clone(),
            event.digest.chars().take(SHORT_DIGEST).collect(),
            event.subject.clone(),
            event.shown.clone(),
        ]
    };
    let header = ["EVENT", "PCR", "TYPE", "DIGEST", "ABOUT", "DATA"];
    columns(header, events.iter().map(row).collect())
}

fn pcrs_table(pcrs: &[PcrRow]) -> String {
    let row = |pcr: &PcrRow| {
        let says = match (&pcr.given, pcr.agrees) {
            (None, true) => String::new(),
            (None, false) => "not given".to_owned(),
            (Some(_), true) => "agrees".to_owned(),
            (Some(given), false) => match extended_later(pcr.pcr) {
                Some(note) => format!("differs: {note}"),
                None => format!("differs: {given}"),
            },
        };
        [pcr.pcr.to_string(), pcr.replayed.clone(), says]
    };
    columns(
        ["PCR", "THE LOG LEADS TO", "VALUE"],
        pcrs.iter().map(row).collect(),
    )
}

impl Report for EventLogReport {
    fn table(&self) -> String {
        let head = fields(vec![
            ("log", Some(self.source.clone())),
            (
                "banks",
                (!self.banks.is_empty()).then(|| self.banks.join(", ")),
            ),
            ("bank", Some(self.bank.to_owned())),
            ("PCR values", Some(self.values.text().to_owned())),
        ]);
        let mut parts = vec![head];
        if !self.events.is_empty() {
            parts.push(events_table(&self.events));
        }
        if !self.pcrs.is_empty() {
            parts.push(pcrs_table(&self.pcrs));
        }
        parts.push(match &self.outcome {
            Outcome::Claims(claims) => claims.table(),
            Outcome::Refusal(refused) => format!("not believed: {}\n", refused.text()),
        });
        parts.join("\n")
    }

    fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Claims(_) => Exit::Good,
            Outcome::Refusal(_) => Exit::Negative,
        }
    }
}

/// Firmware and boot loaders measure into those before.
const FIRST_OF_NO_LOG: u8 = 16;
/// Hex digits of a digest in a table.
const SHORT_DIGEST: usize = 16;
