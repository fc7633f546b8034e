//! EK certificates and chains, forged in every way that the verifier must refuse or accept.

mod boundaries;
mod budget;
mod crl_forge;
mod forge;
mod keys;
mod leaf_rules;
mod lists;
mod loading;
mod machine;
mod path_rules;
mod pki;
mod quirks;
mod revocation;
mod structure;
mod terms;

pub(crate) use machine::Chain;
pub(crate) use pki::NOW;
