//! Decides whether evidence proves a machine: EK chain, key attributes, credential, quote, policy.
//!
//! No IO, no clock, no logging: time and entropy are arguments, the outcome is a value. Each proof
//! type has one constructor, beside the checks that it stands for.

mod advisory;
mod again;
mod anchors;
mod attestation_key;
mod boot;
mod certificate;
mod certificate_signature;
mod chain;
mod command_line;
mod continuity;
mod creation;
mod crl;
mod crl_scope;
mod denials;
mod der;
mod distinguished_name;
mod entropy;
mod extensions;
mod facts;
mod firmware;
mod issuer;
mod key;
mod known_boot;
mod leaf;
mod machine_state;
mod policy;
mod printable;
mod profile;
mod quote;
mod rejection;
mod request;
mod requirement;
mod revocation;
mod roca;
mod rsa;
mod selectors;
mod session;
mod signature;
mod svid_key;
mod terms;
#[cfg(test)]
mod tests_chain;
mod tpm_description;
mod tpm_kind;
#[cfg(test)]
mod verdicts;

pub use advisory::{Advisory, VulnerableTpms};
pub use again::judge_again;
pub use anchors::{Anchors, UnusableCertificate};
pub use boot::Boot;
pub use certificate::EkCertificate;
pub use chain::{CertifiedEk, ChainOptions};
pub use command_line::{CommandLineRule, as_claimed};
pub use continuity::quarantine_of;
pub use denials::{DenialProblem, Denials};
pub use entropy::Entropy;
pub use firmware::{FirmwareRange, FirmwareVersion};
pub use key::parse_public_key;
pub use known_boot::{KnownBoot, KnownBoots};
pub use machine_state::{BOOT_IDS, History, MachineState, Quarantine};
pub use policy::{
    EkKind, EkTrust, Enrolment, Grant, LegacyAgents, OnChange, OnReset, Policy, SvidKeys, decide,
    is_trusted,
};
pub use profile::{Matching, Mode, Profile, ProfileFinding, StatePolicy};
pub use quote::Quoted;
pub use rejection::{Fault, Reason, Rejection};
pub use request::{Request, begin};
pub use requirement::Requirement;
pub use revocation::{CrlPolicy, InvalidCrl};
pub use selectors::{OptionalSelector, OptionalSelectors, SELECTORS, SelectorKind};
pub use session::{Attested, Certification, Method, Pending};
pub use svid_key::CertifiedKey;
pub use terms::{Anchor, Terms, Waiver};
pub use tpm_description::{TpmDescription, Vendor};
pub use tpm_kind::TpmKind;
