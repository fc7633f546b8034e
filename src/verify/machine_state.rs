//! What a server keeps of a machine from one attestation to the next, and what it makes of it.

use evidence::{ClockInfo, Name};

use crate::Reason;

/// What a machine showed when it last attested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineState {
    /// The Name of its AK.
    pub ak: Name,
    /// The Name of its storage root key, proved by the certification of an SVID key; `None` where none was certified yet.
    pub storage_root: Option<Name>,
    /// The TPM's clock and counters by the last quote; `None` for a machine that has never given one.
    pub clock: Option<ClockInfo>,
    /// The kernel's ids of the boots that it said it was in, the last one last; at most [`BOOT_IDS`]. They prove nothing.
    pub boot_ids: Vec<String>,
    /// When it attested, in milliseconds since the epoch.
    pub seen_ms: i64,
}

/// A machine that is refused until an operator has looked at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// Why; one of those that [`Reason::quarantines`].
    pub reason: Reason,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: i64,
    /// What the machine showed then. An operator who accepts it makes this the state that the next one is compared with.
    pub observed: MachineState,
}

/// What is known of a machine before it attests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each decision, and most are of a known machine"
)]
pub enum History {
    /// Nothing is kept of any machine.
    NotKept,
    /// It has never attested.
    New,
    /// It has.
    Known {
        /// What it showed.
        state: MachineState,
        /// Why it is refused, if it is.
        quarantine: Option<Quarantine>,
    },
}

/// Boots of a machine that are remembered by their ids.
pub const BOOT_IDS: usize = 8;
