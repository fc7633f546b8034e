//! The conformance kit: the host's side of SPIRE's plugin contract, the cases that a plugin is tried with, and the reports.
//!
//! A [`Subject`] is a binary; a [`Host`] loads it and gives a [`Loaded`] plugin, on which the exchanges are held and, of a
//! key manager or a composer, the calls made by SPIRE's rules for the answers; unloading gives an [`Unloaded`], with
//! everything that can only be known at the end. A [`Candidate`] is what the kit knows of somebody's attestor; a [`Run`]
//! tries it with the cases of its [`Profile`]s, each in a [`Trial`] of its own, and gives what a [`Report`] says.

mod agent;
mod attestation;
mod candidate;
mod capabilities;
mod case;
mod cases;
mod composer;
mod empty_call;
mod handshake;
mod host;
mod host_services;
mod identity_provider;
mod key_manager;
mod listening;
mod loaded;
mod log;
mod peer;
mod peer_command;
mod peer_verifier;
mod pinned;
mod process;
mod profile;
mod report;
mod role;
mod runner;
mod selection;
mod server;
mod status;
mod subject;
mod surroundings;
mod swtpm;
mod transcript;
mod trial;

pub use agent::AidExchange;
pub use candidate::{
    BadConfiguration, BadPayload, Candidate, Expected, Implementation, Peer, Plugin,
};
pub use capabilities::Capabilities;
pub use case::{Case, Failure, Stop};
pub use composer::LoadedComposer;
pub use handshake::{BadHandshake, Handshake};
pub use host::{Broker, Host, NotLoaded};
pub use host_services::{Measured, Recorded};
pub use key_manager::LoadedKeyManager;
pub use loaded::{Loaded, Unloaded};
pub use log::{Entry, LogLine};
pub use pinned::Pinned;
pub use process::{Process, START_LIMIT};
pub use profile::{BadProfile, Described, Level, Profile};
pub use report::{CaseResult, ProfileResult, Report, SubjectFile, Verdict};
pub use role::{Capability, Role};
pub use runner::{Progress, Run, Silence};
pub use selection::Selection;
pub use server::{AttestExchange, Reply};
pub use status::code_name;
pub use subject::{Side, Subject};
pub use transcript::{Content, Event, From, Hidden, Transcript};
pub use trial::Trial;
