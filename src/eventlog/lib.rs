//! The TCG boot event log: parse it, replay it against quoted PCRs, and say what it proves about the boot.
//!
//! No IO, no clock, no logging. A log is a claim by the machine; only what a digest binds to a quoted PCR is
//! believed. Sources: TCG PC Client Platform Firmware Profile (PFP) 1.06, UEFI 2.10, UAPI.7.

mod actions;
mod appraisal;
mod authorities;
mod bank;
mod boot_chain;
mod claims;
mod command_line;
mod device_path;
mod event;
mod firmware_version;
mod guid;
mod image_load;
mod images;
mod locality;
mod log;
mod measurement;
mod quirk;
mod reader;
mod refusal;
mod replay;
mod secure_boot;
mod separators;
mod signature_list;
mod spec_id;
mod tagged;
mod text;
mod variable;

#[cfg(test)]
mod forged;
#[cfg(test)]
mod tests_boots;
#[cfg(test)]
mod tests_claims;
#[cfg(test)]
mod tests_properties;
#[cfg(test)]
mod tests_quirks;
#[cfg(test)]
mod tests_replay;
#[cfg(test)]
mod tests_run_time;
#[cfg(test)]
mod tests_secure_boot;
#[cfg(test)]
mod tests_verdicts;

pub use appraisal::appraise;
pub use bank::Bank;
pub use claims::{
    Action, BootClaims, BootStage, CommandLine, Image, ImageKind, KernelInput, KernelInputKind,
    SecureBoot, SignatureEntry, SignatureSource, VerifiedBy,
};
pub use event::{Event, EventType};
pub use log::{EventLog, limits};
pub use quirk::Quirk;
pub use refusal::{LogReason, Refusal};
pub use replay::{PcrValues, replay};
pub use spec_id::SpecId;
