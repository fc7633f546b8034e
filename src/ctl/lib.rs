//! The operator's hand tool: the fingerprint of a machine, its EK certificates, what is wrong with it, and why it is refused.
//!
//! [`run`] is the whole tool. Results go to stdout and nothing else does; failures go to stderr, and
//! the exit code is one of [`Exit`]. Text that a TPM or a certificate supplied is escaped.

mod anchors;
mod bench;
mod bench_agent;
mod bench_agent_report;
mod bench_facts;
mod bench_fleet;
mod bench_keys;
mod bench_load;
mod bench_pki;
mod bench_process;
mod bench_server;
mod bench_server_report;
mod bench_statistics;
mod bench_tap;
mod bench_trouble;
mod ca;
mod ca_certificate;
mod ca_import;
mod ca_import_report;
mod ca_show;
mod cli;
mod description;
mod doctor;
mod doctor_host;
mod doctor_tpm;
mod elf;
mod exit;
mod failure;
mod files;
mod fingerprint;
mod generated;
mod inspect;
mod inspect_report;
mod judgement;
mod machine;
mod output;
mod reasons;
mod run;
mod text;
mod trial;

pub use exit::Exit;
pub use generated::markdown;
pub use run::run;
