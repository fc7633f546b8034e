//! Decides whether evidence proves a machine: EK chain, key attributes, credential, quote, policy.
//!
//! No IO, no clock, no logging: time and entropy are arguments, the outcome is a value. Each proof
//! type has one constructor, beside the checks that it stands for.

mod anchors;
mod attestation_key;
mod certificate;
mod certificate_signature;
mod chain;
mod creation;
mod crl;
mod crl_scope;
mod denials;
mod der;
mod distinguished_name;
mod entropy;
mod extensions;
mod issuer;
mod key;
mod leaf;
mod policy;
mod printable;
mod quote;
mod rejection;
mod revocation;
mod roca;
mod rsa;
mod session;
mod signature;
mod terms;
#[cfg(test)]
mod tests_chain;
mod tpm_description;
#[cfg(test)]
mod verdicts;

pub use anchors::{Anchors, UnusableCertificate};
pub use certificate::EkCertificate;
pub use chain::{CertifiedEk, ChainOptions};
pub use denials::{DenialProblem, Denials};
pub use entropy::Entropy;
pub use key::parse_public_key;
pub use policy::{EkKind, EkTrust, Enrolment, Grant, LegacyAgents, Policy, decide};
pub use quote::Quoted;
pub use rejection::{Fault, Reason, Rejection};
pub use revocation::{CrlPolicy, InvalidCrl};
pub use session::{Attested, Certification, Method, Pending, Request, begin};
pub use terms::{Anchor, Terms, Waiver};
pub use tpm_description::{TpmDescription, Vendor};
