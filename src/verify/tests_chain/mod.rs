//! EK certificates and chains, forged in every way that the verifier must refuse or accept.

mod budget;
mod forge;
mod keys;
mod leaf_rules;
mod loading;
mod path_rules;
mod pki;
mod quirks;
mod structure;
