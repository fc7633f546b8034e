//! What a store knows of machines, and what was seen of those in quarantine.

use evidence::{EkHash, Name};
use serde::Serialize;
use store::{Database, StoredMachine};
use verify::{MachineState, Quarantine};

use crate::evidence_read::time;
use crate::failure::Failure;
use crate::output::{Report, columns, fields};
use crate::quarantine_changes::{changes, duration};
use crate::quarantine_store::all_quarantined;
use crate::text::printable;

/// The machines in quarantine, in the order of their hashes.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Listing {
    machines: Vec<Shown>,
}

/// One machine.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    ek_hash: String,
    device: String,
    /// What the next attestation would be compared with, were there no quarantine.
    known: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantine: Option<Seen>,
}

/// Why a machine is in quarantine.
#[derive(Debug, Serialize)]
struct Seen {
    reason: &'static str,
    sentence: &'static str,
    remedy: &'static str,
    since: String,
    observed: State,
    /// How that differs from what is known, in words.
    changes: Vec<String>,
}

/// What a machine showed.
#[derive(Debug, Serialize)]
struct State {
    /// Its AK's Name, in hex.
    ak: String,
    /// Its storage root key's Name, in hex; `None` where no certified SVID key has shown it.
    storage_root: Option<String>,
    /// `None` of a machine that gave no quote.
    clock: Option<Clock>,
    /// The last one last; what the machine says of itself.
    boot_ids: Vec<String>,
    seen: String,
}

#[derive(Debug, Serialize)]
struct Clock {
    milliseconds: u64,
    reset_count: u32,
    restart_count: u32,
    safe: bool,
}

impl Listing {
    /// Reads them all.
    pub(crate) async fn read(database: &Database) -> Result<Self, Failure> {
        let all = all_quarantined(database).await?;
        let machines = all.iter().map(|(ek, stored)| Shown::of(ek, stored));
        Ok(Self {
            machines: machines.collect(),
        })
    }
}

impl Shown {
    pub(crate) fn of(ek: &EkHash, stored: &StoredMachine) -> Self {
        Self {
            ek_hash: ek.hex(),
            device: ek.device(),
            known: State::of(&stored.state),
            quarantine: stored
                .quarantine
                .as_ref()
                .map(|quarantine| Seen::of(&stored.state, quarantine)),
        }
    }
}

impl Seen {
    fn of(known: &MachineState, quarantine: &Quarantine) -> Self {
        let reason = quarantine.reason;
        Self {
            reason: reason.code(),
            sentence: reason.sentence(),
            remedy: reason.remedy(),
            since: instant(quarantine.since_ms),
            observed: State::of(&quarantine.observed),
            changes: changes(known, &quarantine.observed),
        }
    }
}

impl State {
    fn of(state: &MachineState) -> Self {
        Self {
            ak: hex(&state.ak),
            storage_root: state.storage_root.as_ref().map(hex),
            clock: state.clock.map(|of| Clock {
                milliseconds: of.clock,
                reset_count: of.reset_count,
                restart_count: of.restart_count,
                safe: of.safe,
            }),
            boot_ids: state.boot_ids.iter().map(|id| printable(id)).collect(),
            seen: instant(state.seen_ms),
        }
    }

    /// Texts for the rows of [`ROWS`].
    fn column(&self) -> [String; 8] {
        let clock = |text: fn(&Clock) -> String| {
            let clock = self.clock.as_ref();
            clock.map_or_else(|| "no quote".to_owned(), text)
        };
        [
            self.seen.clone(),
            short(&self.ak),
            self.storage_root
                .as_deref()
                .map_or_else(|| "not shown".to_owned(), short),
            clock(|of| of.reset_count.to_string()),
            clock(|of| of.restart_count.to_string()),
            clock(|of| duration(of.milliseconds)),
            clock(|of| if of.safe { "yes" } else { "no" }.to_owned()),
            self.boot_ids
                .last()
                .map_or_else(|| "not told".to_owned(), Clone::clone),
        ]
    }
}

/// What [`State::column`] has.
const ROWS: [&str; 8] = [
    "seen",
    "AK",
    "storage root key",
    "TPM resets",
    "TPM restarts",
    "TPM clock",
    "clock is safe",
    "boot id",
];

/// The beginning of a Name, without its algorithm; the whole of it is in the JSON.
fn short(name: &str) -> String {
    let digest = name.get(4..).unwrap_or_default();
    digest.get(..16).unwrap_or(digest).to_owned()
}

fn hex(name: &Name) -> String {
    hex::encode(name.as_bytes())
}

/// Milliseconds since the epoch as a time in UTC.
fn instant(milliseconds: i64) -> String {
    time(u64::try_from(milliseconds / 1000).unwrap_or_default())
}

impl Report for Listing {
    fn table(&self) -> String {
        let row = |machine: &Shown| {
            let quarantine = machine.quarantine.as_ref()?;
            Some([
                machine.ek_hash.clone(),
                quarantine.reason.to_owned(),
                quarantine.since.clone(),
                quarantine.changes.join("\n"),
            ])
        };
        let rows: Vec<_> = self.machines.iter().filter_map(row).collect();
        if rows.is_empty() {
            return "no machine is in quarantine\n".to_owned();
        }
        columns(["EK HASH", "REASON", "SINCE", "WHAT WAS SEEN"], rows)
    }
}

impl Report for Shown {
    fn table(&self) -> String {
        let quarantine = self.quarantine.as_ref();
        let head = fields(vec![
            ("ek hash", Some(self.ek_hash.clone())),
            ("device", Some(self.device.clone())),
            (
                "quarantine",
                Some(match quarantine {
                    Some(seen) => format!("{}: {}", seen.reason, seen.sentence),
                    None => "none".to_owned(),
                }),
            ),
            ("since", quarantine.map(|seen| seen.since.clone())),
            ("changed", quarantine.map(|seen| seen.changes.join("\n"))),
            ("remedy", quarantine.map(|seen| seen.remedy.to_owned())),
        ]);
        let known = ROWS.iter().zip(self.known.column());
        let Some(seen) = quarantine else {
            let rows = known.map(|(what, known)| [(*what).to_owned(), known]);
            return format!("{head}\n{}", columns(["WHAT", "KNOWN"], rows.collect()));
        };
        let rows = known
            .zip(seen.observed.column())
            .map(|((what, known), seen)| [(*what).to_owned(), known, seen]);
        let both = columns(["WHAT", "KNOWN", "SEEN"], rows.collect());
        format!("{head}\n{both}")
    }
}
