//! Decides whether evidence proves a machine: EK chain, key attributes, credential, quote, policy.
//!
//! No IO, no clock, no logging: time and entropy are arguments, the outcome is a value. Each proof
//! type has one constructor, beside the checks that it stands for.

mod rejection;

pub use rejection::{Fault, Reason, Rejection};
