//! `profile record`: a profile out of what machines proved about their boots.

use std::collections::BTreeSet;

use eventlog::{Bank, BootClaims, Refusal};
use serde::Serialize;

use crate::boot::Boot;
use crate::cli::TpmArguments;
use crate::eventlog_refused::Refused;
use crate::evidence_made::prove;
use crate::evidence_read::Stored;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::inspect_eventlog::bank_named;
use crate::output::Report;
use crate::profile::RecordArguments;
use crate::profile_block::{Block, Sourced};
use crate::profile_claims::{Covered, add_claims, sourced};

/// A profile to paste.
#[derive(Debug, Serialize)]
pub(crate) struct Recorded {
    name: String,
    bank: &'static str,
    boots: Vec<String>,
    /// The block as it stands in plugin_data.
    block: String,
}

/// The boots that a profile is made of.
struct Boots {
    bank: Bank,
    boots: Vec<Known>,
}

/// A boot that a quote proves.
struct Known {
    boot: Boot,
    time: String,
    /// `None` where no log came.
    claims: Option<Result<BootClaims, Refusal>>,
}

/// Makes a profile.
pub(crate) fn record(tpm: &TpmArguments, arguments: &RecordArguments) -> Result<Recorded, Failure> {
    let bank = arguments.bank.as_deref().map(bank_named);
    let stored = if arguments.records.is_empty() {
        let bank = bank.unwrap_or(Bank::Sha256);
        vec![prove(tpm, arguments.log.as_deref(), bank)?.stored]
    } else {
        let records = arguments.records.iter();
        records
            .map(|path| Stored::read(path))
            .collect::<Result<_, _>>()?
    };
    let boots = Boots::of(&stored, bank)?;
    Ok(Recorded {
        name: arguments.name.clone(),
        bank: boots.bank.name(),
        boots: boots.boots.iter().map(Known::text).collect(),
        block: boots.block(arguments)?,
    })
}

impl Known {
    fn of(stored: &Stored, bank: Option<Bank>) -> Result<Self, Failure> {
        let (boot, _) = stored.boot(bank)?;
        Ok(Self {
            claims: boot.claims(),
            time: stored.time(),
            boot,
        })
    }

    fn text(&self) -> String {
        format!("{}, {}", self.boot.source, self.time)
    }
}

impl Boots {
    fn of(stored: &[Stored], bank: Option<Bank>) -> Result<Self, Failure> {
        let boots = stored.iter().map(|stored| Known::of(stored, bank));
        let boots: Vec<_> = boots.collect::<Result<_, _>>()?;
        let banks: BTreeSet<_> = boots.iter().map(|known| known.boot.bank).collect();
        let mut banks = banks.into_iter();
        if let (Some(bank), None) = (banks.next(), banks.next()) {
            return Ok(Self { bank, boots });
        }
        let message = "the records are of several PCR banks; --bank chooses one of them";
        Err(Failure::new(Exit::Usage, "pcr_selection", message))
    }

    /// The claims of every boot; `None` where one has none.
    fn claims(&self) -> Option<Vec<&BootClaims>> {
        let each = self.boots.iter();
        each.map(|known| known.claims.as_ref()?.as_ref().ok())
            .collect()
    }

    fn block(&self, arguments: &RecordArguments) -> Result<String, Failure> {
        let mut block = Block::new(&arguments.name, &self.head());
        let claims = self.claims();
        let wanted = arguments.pcrs.as_deref();
        let mut notes = Vec::new();
        let chosen: BTreeSet<u8> = match wanted {
            Some(wanted) => wanted.iter().copied().collect(),
            None => self.default_pcrs(claims.as_deref(), &mut notes),
        };
        match &claims {
            Some(claims) => add_claims(&mut block, claims, arguments.dbx, &chosen),
            None => self.explain_no_claims(&mut block),
        }
        for note in notes {
            block.note(&note);
        }
        self.add_pcrs(&mut block, &chosen, wanted.is_some())?;
        Ok(block.finish())
    }

    fn head(&self) -> Vec<String> {
        let count = self.boots.len();
        let first = match count {
            1 => "Recorded from one boot:".to_owned(),
            _ => format!("Recorded from {count} boots:"),
        };
        let numbered = self.boots.iter().enumerate();
        let numbered = numbered.map(|(index, known)| format!("{}. {}", index + 1, known.text()));
        let other = (self.bank != Bank::Sha256)
            .then(|| format!("Needs pcr_bank = \"{}\".", self.bank.name()));
        std::iter::once(first)
            .chain(numbered)
            .chain(other)
            .collect()
    }

    fn explain_no_claims(&self, block: &mut Block) {
        for known in &self.boots {
            let why = match &known.claims {
                None => "came without a boot event log".to_owned(),
                Some(Err(refusal)) => {
                    format!(
                        "has a log that is not believed: {}",
                        Refused::from(refusal).text()
                    )
                }
                Some(Ok(_)) => continue,
            };
            block.note(&format!(
                "Nothing about keys and programs: {} {why}.",
                known.boot.source
            ));
        }
    }

    fn add_pcrs(
        &self,
        block: &mut Block,
        chosen: &BTreeSet<u8>,
        is_asked_for: bool,
    ) -> Result<(), Failure> {
        for pcr in chosen.iter().copied() {
            let mut values = Sourced::new();
            for (index, known) in self.boots.iter().enumerate() {
                match known.boot.values.get(&pcr) {
                    Some(value) => sourced(&mut values, index, hex::encode(value), String::new()),
                    None if is_asked_for => return Err(not_quoted(known, pcr)),
                    None => values.clear(),
                }
            }
            let is_whole = self
                .boots
                .iter()
                .all(|known| known.boot.values.contains_key(&pcr));
            if is_whole {
                let head = format!("pcr \"{pcr}\"");
                block.block(&head, "values", &values, self.boots.len(), holds(pcr));
            } else {
                block.note(&format!(
                    "PCR {pcr} is left out: it was not quoted everywhere."
                ));
            }
        }
        Ok(())
    }

    /// What no claim speaks for. Those that the kernel and loaders extend only where the log accounts for the whole of
    /// them: what else goes into them may change while the machine runs.
    fn default_pcrs(
        &self,
        claims: Option<&[&BootClaims]>,
        notes: &mut Vec<String>,
    ) -> BTreeSet<u8> {
        let Some(claims) = claims else {
            return [0, 2, 4, 7].into();
        };
        let covered = Covered::by(claims);
        let mut pcrs = BTreeSet::from([0, 2]);
        pcrs.extend((!covered.boot_images).then_some(4));
        pcrs.extend((!covered.secure_boot).then_some(7));
        for pcr in [8, 9, 12].into_iter().filter(|pcr| self.is_used(*pcr)) {
            if claims.iter().all(|of| of.replayed.contains(&pcr)) {
                pcrs.insert(pcr);
            } else {
                notes.push(format!(
                    "PCR {pcr} is left out: a log does not account for it, so that it may change while the machine runs."
                ));
            }
        }
        pcrs
    }

    /// Whether anything was measured into a PCR.
    fn is_used(&self, pcr: u8) -> bool {
        let mut values = self
            .boots
            .iter()
            .filter_map(|known| known.boot.values.get(&pcr));
        values.any(|value| value.iter().any(|byte| *byte != 0))
    }
}

fn not_quoted(known: &Known, pcr: u8) -> Failure {
    let message = format!("{} has no value of PCR {pcr}", known.boot.source);
    Failure::new(Exit::Usage, "pcr_selection", message)
        .hint("`tpm-attestor evidence` on the machine asks for every PCR that a profile may name")
}

/// What a PCR holds, and when it changes (PFP 1.06, section 3.3.4; UAPI.7).
fn holds(pcr: u8) -> &'static str {
    match pcr {
        0 => "Firmware code: changes with updates of the firmware.",
        1 => "Configuration of the firmware and boot order: changes with them.",
        2 => "Code of devices: changes with devices and their firmware.",
        3 => "Configuration of devices.",
        4 => "Boot loader and kernel: changes with updates of either.",
        5 => "Partition table and configuration of the boot manager: changes often.",
        7 => "Secure Boot: state, keys, and who vouched; changes with updates of db and dbx.",
        8 => "Commands of GRUB and the kernel command line: changes with updates of the kernel.",
        9 => "Command line and initramfs as the kernel got them, files of GRUB: changes with both.",
        11 => "Unified kernel image and phases of the boot: changes while the machine runs.",
        12 => "Kernel command line and credentials by systemd's loader and stub.",
        14 => "Keys of shim: changes with them.",
        _ => "Set by the platform or by the operating system.",
    }
}

impl Report for Recorded {
    fn table(&self) -> String {
        self.block.clone()
    }
}
