//! Load for a plugin, and what it costs: the commands under `bench`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::TpmArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format, Report};
use crate::{bench_agent, bench_eventlog, bench_key_manager, bench_server, bench_store, files};

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Load a server plugin as SPIRE does, and measure it.
    ///
    /// Machines with TPMs in software attest over one connection, on any number of streams. Each has an endorsement key
    /// of its own, of the kind that --ek names (RSA-2048 by default); attestation keys come from a pool of 64, since
    /// nothing on a server is kept for one. Every run starts the plugin anew. The exit code is 1 if any attestation failed.
    #[command(verbatim_doc_comment)]
    Server(ServerArguments),
    /// Let an agent plugin attest with a TPM, and measure it.
    ///
    /// The plugin is given the TPM that --device, --ek, --ek-cert and the authorisation files name; this tool is its
    /// server and verifies what it says. Where the TPM is a socket, the tool stands between and times its commands.
    #[command(verbatim_doc_comment)]
    Agent(AgentArguments),
    /// Let a key manager make and sign with SVID keys in a TPM, and measure it.
    ///
    /// The agent plugin is loaded as a key manager, then as a node attestor whose every attestation has the keys certified.
    /// Where the TPM is a socket, the tool stands between and times its commands; the two roles take turns, since a TPM in
    /// software serves one connection at a time. Further lines of configuration are the key manager's.
    #[command(verbatim_doc_comment)]
    Keys(KeysArguments),
    /// Write and read a server's store as a server does, and measure it.
    ///
    /// Each operation is what one attestation and the SVID after it cost: what is known of the machine is looked up, its
    /// new state and its certified keys are recorded, and the composer matches one of them. All machines are known before.
    #[command(verbatim_doc_comment)]
    Store(StoreBenchArguments),
    /// Judge boot event logs as a server does, and measure it.
    ///
    /// Each log is parsed, and appraised against the PCR values that it leads to, in this process and on one CPU.
    #[command(verbatim_doc_comment)]
    Eventlog(LogArguments),
}

/// What both commands about plugins take.
#[derive(Args, Clone, Debug)]
pub(crate) struct CommonArguments {
    /// The plugin's binary.
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: PathBuf,
    /// How often each measurement is repeated; the median is shown.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub(crate) runs: usize,
    /// The CPU that the plugin runs on alone; "any" leaves it to the system.
    #[arg(long, value_name = "CPU", default_value = "0", value_parser = core)]
    pub(crate) plugin_core: Core,
    /// The CPU that this tool runs on while it measures.
    #[arg(long, value_name = "CPU", default_value = "1", value_parser = core)]
    pub(crate) driver_core: Core,
    /// Further lines of the plugin's configuration.
    #[arg(long, value_name = "HCL", default_value = "")]
    pub(crate) config: String,
    /// What the host offers to the plugin.
    #[arg(long, value_enum, value_name = "SWITCH", default_value = "on")]
    pub(crate) host_metrics: Switch,
    /// Also write the result as JSON into this file; "-" writes it to stdout instead of the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArguments {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    /// How many machines there are.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = at_least_one)]
    pub(crate) identities: usize,
    /// How many attestations are measured in each run.
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = at_least_one)]
    pub(crate) attestations: usize,
    /// How many attestations run before that, unmeasured.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub(crate) warm_up: usize,
    /// How many attestations are under way at once; each number is a setting of its own.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,64", value_parser = at_least_one)]
    pub(crate) streams: Vec<usize>,
    /// Attestations that begin in a second, on all streams together; without it each stream begins the next one at once.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) rate: Option<usize>,
    /// By what machines are known.
    #[arg(long, value_enum, value_name = "MODE", default_value = "both")]
    pub(crate) mode: Mode,
    /// Which agents are played.
    #[arg(long, value_enum, value_name = "WIRE", default_value = "current")]
    pub(crate) wire: Wire,
    /// The attestation keys: by default ecc for the current wire format and rsa for the first.
    #[arg(long, value_enum, value_name = "KEY")]
    pub(crate) ak: Option<KeyType>,
    /// The keys of the certificate authorities.
    #[arg(long, value_enum, value_name = "KEY", default_value = "rsa")]
    pub(crate) ca_key: KeyType,
    /// How many files ca_path holds, each with an authority that certifies its share of the machines.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,60,300", value_parser = at_least_one)]
    pub(crate) ca_files: Vec<usize>,
    /// Streams that wait for ever beside the honest ones.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) idle: usize,
    /// Streams that attack beside the honest ones, each again as soon as it was refused.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) hostile: usize,
    /// Attacks in a second, of all hostile streams together; without it as many as are answered.
    #[arg(long, value_name = "N", requires = "hostile", value_parser = at_least_one)]
    pub(crate) hostile_rate: Option<usize>,
    /// Measure each setting also with machines that have a boot event log: a file's, or the one of 60 kB that this tool makes.
    ///
    /// Their PCRs are what the log leads to. Machines without a log, machines that send it each time, as after a boot, and
    /// machines whose log the server knows take turns. There are 1000 of each at most, since a server remembers 1024.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "made", value_parser = log)]
    pub(crate) event_log: Option<Log>,
    /// Measure each setting also with machines that offer so many SVID keys each, at a server with a store.
    #[arg(long, value_name = "N", value_parser = svid_keys)]
    pub(crate) svid_keys: Option<usize>,
    /// The store for that: an absolute path or a postgres:// URL, of a database that serves nothing else. By default each
    /// setting has an SQLite file of its own in the directory for temporary files.
    #[arg(long, value_name = "ADDRESS", requires = "svid_keys")]
    pub(crate) store: Option<String>,
    /// Keep the keys of the machines in this directory: making them takes minutes.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct AgentArguments {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    /// How many attestations follow the first in each run.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = at_least_one)]
    pub(crate) attestations: usize,
    /// Do not stand between plugin and TPM, even where the TPM is a socket.
    #[arg(long)]
    pub(crate) direct: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct KeysArguments {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    /// How many signatures are measured in each run.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one)]
    pub(crate) signatures: usize,
    /// How many keys are made in each run after the first two, each in the place of the older one.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least_one)]
    pub(crate) rotations: usize,
    /// How many attestations follow the first in each run.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least_one)]
    pub(crate) attestations: usize,
    /// Do not stand between plugin and TPM, even where the TPM is a socket.
    #[arg(long)]
    pub(crate) direct: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct StoreBenchArguments {
    /// The store: an absolute path or a postgres:// URL, of a database that serves nothing else: what is written stays in it.
    /// By default it is an SQLite file in the directory for temporary files.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) store: Option<String>,
    /// How many machines are known.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = at_least_one)]
    pub(crate) machines: usize,
    /// How many operations are measured in each run.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = at_least_one)]
    pub(crate) operations: usize,
    /// How many keys are certified in each attestation; one of them is matched.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = svid_keys)]
    pub(crate) svid_keys: usize,
    /// How often each measurement is repeated; the median is shown.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub(crate) runs: usize,
    /// The CPU that this tool runs on while it measures, all of its threads; "any" leaves it to the system.
    #[arg(long, value_name = "CPU", default_value = "any", value_parser = core)]
    pub(crate) driver_core: Core,
    /// Also write the result as JSON into this file; "-" writes it to stdout instead of the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct LogArguments {
    /// The logs: files, or made for the one of 60 kB that this tool makes.
    #[arg(value_name = "FILE", default_value = "made", value_parser = log)]
    pub(crate) logs: Vec<Log>,
    /// How often each measurement is repeated; the median is shown.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub(crate) runs: usize,
    /// How often each log is judged in each run.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one)]
    pub(crate) repetitions: usize,
    /// The CPU that this tool runs on while it measures; "any" leaves it to the system.
    #[arg(long, value_name = "CPU", default_value = "1", value_parser = core)]
    pub(crate) driver_core: Core,
    /// Also write the result as JSON into this file; "-" writes it to stdout instead of the table.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl ServerArguments {
    /// How many machines there are, as many as a server remembers where their boots matter.
    pub(crate) fn machines(&self) -> usize {
        if self.event_log.is_some() {
            self.identities.min(REMEMBERED)
        } else {
            self.identities
        }
    }
}

/// Machines whose boots a server certainly remembers all.
const REMEMBERED: usize = 1000;

/// A CPU, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Core(pub(crate) Option<usize>);

/// A boot event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// The one that this tool makes.
    Made,
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Metrics, and to a server plugin the list of agents.
    On,
    /// Nothing.
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Their hashes are in hash_path; they have no certificates.
    Hash,
    /// Their certificates lead to an authority in ca_path.
    Ca,
    /// One after the other.
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    /// The community TPM plugin's: a credential and no quote.
    First,
    /// This project's: a quote over the PCRs that the server asks for.
    Current,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyType {
    /// RSA-2048.
    Rsa,
    /// P-256.
    Ecc,
}

/// Runs one of the commands.
pub(crate) fn run(
    bench: &Bench,
    tpm: &TpmArguments,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    match bench {
        Bench::Server(arguments) => {
            let report = bench_server::measure(arguments, tpm)?;
            deliver(&report, arguments.common.json.as_deref(), format, out)
        }
        Bench::Agent(arguments) => {
            let report = bench_agent::measure(arguments, tpm)?;
            deliver(&report, arguments.common.json.as_deref(), format, out)
        }
        Bench::Keys(arguments) => {
            let report = bench_key_manager::measure(arguments, tpm)?;
            deliver(&report, arguments.common.json.as_deref(), format, out)
        }
        Bench::Store(arguments) => {
            let report = bench_store::measure(arguments)?;
            deliver(&report, arguments.json.as_deref(), format, out)
        }
        Bench::Eventlog(arguments) => {
            let report = bench_eventlog::measure(arguments)?;
            deliver(&report, arguments.json.as_deref(), format, out)
        }
    }
}

fn deliver(
    report: &impl Report,
    json: Option<&Path>,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    match json {
        Some(path) if path.as_os_str() == "-" => output::write(report, Format::Json, out),
        Some(path) => {
            let mut json = Vec::new();
            output::write(report, Format::Json, &mut json)?;
            files::write(path, &json)?;
            output::write(report, format, out)
        }
        None => output::write(report, format, out),
    }
}

fn at_least_one(text: &str) -> Result<usize, &'static str> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=MOST).contains(number));
    number.ok_or("write a whole number from 1 to 1000000")
}

/// An agent offers no more.
fn svid_keys(text: &str) -> Result<usize, &'static str> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=evidence::limits::SVID_KEYS).contains(number));
    number.ok_or("write a whole number from 1 to 4")
}

fn core(text: &str) -> Result<Core, &'static str> {
    match text {
        "any" => Ok(Core(None)),
        _ => match text.parse() {
            Ok(core) => Ok(Core(Some(core))),
            Err(_bad) => Err("write the number of a CPU, or any"),
        },
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a parser of values may fail")]
fn log(text: &str) -> Result<Log, &'static str> {
    Ok(match text {
        "made" => Log::Made,
        file => Log::File(file.into()),
    })
}

/// Of anything that is counted on the command line.
const MOST: usize = 1_000_000;
