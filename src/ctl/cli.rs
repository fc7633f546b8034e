//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use eventlog::Bank;
use evidence::EkTemplate;
use tpm::{Address, EkChoice};
use verify::Reason;

use crate::bench::Bench;
use crate::ca::Ca;
use crate::evidence_made::EvidenceArguments;
use crate::inspect_eventlog::EventLogArguments;
use crate::output::Format;
use crate::policy::PolicyCommand;
use crate::profile::ProfileCommand;
use crate::quarantine::QuarantineCommand;
use crate::verify_records::VerifyArguments;

/// Looks at a machine's TPM the way the SPIRE plugins of this project do.
#[derive(Debug, Parser)]
#[command(name = "tpm-attestor", version, propagate_version = true)]
#[command(arg_required_else_help = true)]
pub(crate) struct Cli {
    /// How results and errors are written.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) tpm: TpmArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which TPM, which key, and how to get at it: as in the agent plugin's configuration.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TPM")]
pub(crate) struct TpmArguments {
    /// Where the TPM is: a device path, unix:PATH or tcp:IP:PORT (a software TPM).
    #[arg(long, global = true, value_name = "ADDRESS", default_value = Address::DEFAULT)]
    pub(crate) device: String,
    /// Which endorsement key identifies the machine: auto, rsa, ecc, or a template's name.
    #[arg(long, global = true, value_name = "EK", default_value = "auto", value_parser = ek_names())]
    pub(crate) ek: String,
    /// The EK certificate (PEM or DER) of a TPM that holds none.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ek_cert: Option<PathBuf>,
    /// File with the endorsement hierarchy's authorisation.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) endorsement_auth_file: Option<PathBuf>,
    /// File with the owner hierarchy's authorisation.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) owner_auth_file: Option<PathBuf>,
    /// How long the TPM may take for all that is asked of it, such as 500ms, 90s or 2m.
    #[arg(long, global = true, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// Whom to trust: as in the server plugin's configuration.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Trust")]
pub(crate) struct TrustArguments {
    /// A file or directory with CA certificates, as the server's ca_path.
    #[arg(long, value_name = "PATH")]
    pub(crate) ca: Option<PathBuf>,
    /// A file or directory with intermediates, as the server's intermediates_path.
    #[arg(long, value_name = "PATH", requires = "ca")]
    pub(crate) intermediates: Option<PathBuf>,
    /// A file or directory with revocation lists, as the server's crl_path.
    #[arg(long, value_name = "PATH", requires = "ca")]
    pub(crate) crls: Option<PathBuf>,
    /// Accept an EK certificate that has expired, as the server's accept_expired_ek.
    #[arg(long)]
    pub(crate) accept_expired_ek: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the hash of the endorsement key, which identifies the machine.
    ///
    /// It is the SHA-256 of the key's SubjectPublicKeyInfo: the last part of the agent's SPIFFE ID,
    /// the pub_hash selector, and the name of the file that enrols the machine in hash_path.
    #[command(verbatim_doc_comment)]
    Fingerprint {
        /// How the hash is written.
        #[arg(long, value_enum, value_name = "FORM")]
        format: Option<HashForm>,
    },
    /// Print the hash as get_tpm_pubhash does; also what happens when the tool is called by that name.
    GetTpmPubhash(PubhashArguments),
    /// Show what the TPM holds, what it signed, and what the firmware logged.
    #[command(subcommand)]
    Inspect(Inspected),
    /// Look for what keeps this machine from attesting, and say what to do about it.
    ///
    /// The last check is a whole attestation of this machine against the verifier that is built in.
    Doctor(TrustArguments),
    /// Have this machine attest to the tool itself, and keep what was said as a record.
    ///
    /// It asks for the boot event log and for every PCR that a profile may name. The record is as those in the server's
    /// evidence_path, and serves `inspect evidence`, `verify`, `policy explain` and `profile` on any machine.
    #[command(verbatim_doc_comment)]
    Evidence(EvidenceArguments),
    /// Judge recorded exchanges once more by a server's configuration, without TPM and network.
    ///
    /// The checks are the server's own, as of the time of the exchange. Whether the machine was enrolled is what the record
    /// says; for a record that no server made it is looked up in hash_path. The exit code is 1 if any is refused.
    #[command(verbatim_doc_comment)]
    Verify(VerifyArguments),
    /// Check a server's configuration, and explain what it makes of a machine.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Make profiles out of what machines proved, and compare boots.
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Look at the machines that servers have put in quarantine, and let them go.
    ///
    /// It works on the server's store, also while servers use it. Only servers with a store put machines in quarantine.
    #[command(subcommand, verbatim_doc_comment)]
    Quarantine(QuarantineCommand),
    /// List the reasons for which a server refuses a machine, with cause and remedy.
    Reasons {
        /// Only this one.
        #[arg(hide_possible_values = true, value_parser = reason_codes())]
        code: Option<String>,
    },
    /// Import CA certificates of TPM makers, and look at them.
    #[command(subcommand)]
    Ca(Ca),
    /// Load a plugin, and measure what it costs.
    #[command(subcommand)]
    Bench(Bench),
    /// Print a completion script.
    Completions {
        /// For this shell.
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands.
    Man {
        /// Write one file for each command into this directory.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Inspected {
    /// Show the EK certificates: key, hash, maker, issuer, validity, and what a server would say.
    ///
    /// Without --ca only the rules that an EK certificate can break by itself are judged.
    Ek {
        /// Look at the certificate in this file (PEM or DER, intermediates after it) and at no TPM.
        #[arg(long, value_name = "FILE")]
        cert: Option<PathBuf>,
        #[command(flatten)]
        trust: TrustArguments,
    },
    /// Show a boot event log: its events, the PCR values that it leads to, and what it proves.
    ///
    /// What no digest covers is marked as a hint. Without PCR values to compare with, what is shown is what the log says of
    /// itself, which proves nothing. The exit code is 1 if the log is not believed.
    #[command(verbatim_doc_comment)]
    Eventlog(EventLogArguments),
    /// Show what a TPM signed: a TPMS_ATTEST, or the quote in a record. Signatures are not checked.
    Quote {
        /// The structure as `tpm2_quote --message` writes it, or a record.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Show a record of an exchange: who, when, what was said, and what of it is proved.
    Evidence {
        /// A file of the server's evidence_path, or one that `evidence` wrote.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
pub(crate) struct PubhashArguments {
    /// Print the key in PEM before its hash.
    #[arg(long)]
    pub(crate) verbose: bool,
}

/// The command line of the name get_tpm_pubhash.
#[derive(Debug, Parser)]
#[command(name = "get_tpm_pubhash", version)]
pub(crate) struct PubhashCli {
    #[command(flatten)]
    pub(crate) arguments: PubhashArguments,
    #[command(flatten)]
    pub(crate) tpm: TpmArguments,
}

/// The forms of an EK hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HashForm {
    /// 64 hex digits.
    Hex,
    /// 52 characters of base32, which fit a Kubernetes label: the device selector.
    Device,
    /// Both, with the kind of the key, as JSON.
    Json,
}

impl TpmArguments {
    /// The parser takes known names only.
    pub(crate) fn choice(&self) -> EkChoice {
        EkChoice::from_name(&self.ek).unwrap_or_default()
    }
}

fn ek_names() -> PossibleValuesParser {
    let templates = EkTemplate::ALL.into_iter().map(EkTemplate::name);
    ["auto", "rsa", "ecc"]
        .into_iter()
        .chain(templates)
        .collect::<Vec<_>>()
        .into()
}

/// The PCR banks that boot event logs are replayed in.
pub(crate) fn bank() -> PossibleValuesParser {
    Bank::ALL.map(Bank::name).to_vec().into()
}

fn reason_codes() -> PossibleValuesParser {
    let codes = Reason::ALL.iter().map(|reason| reason.code());
    codes.collect::<Vec<_>>().into()
}

/// A whole number and a unit.
fn duration(text: &str) -> Result<Duration, &'static str> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits) {
        Some("ms") => 1,
        Some("s") => 1_000,
        Some("m") => 60_000,
        _ => return Err("write a whole number with ms, s or m"),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_bad| "write a whole number with ms, s or m")?;
    let duration = Duration::from_millis(number.saturating_mul(unit));
    if duration.is_zero() || duration > MAX_TIMEOUT {
        return Err("it must be between 1ms and 60m");
    }
    Ok(duration)
}

/// Longer than any TPM needs, and far from the end of the clock.
const MAX_TIMEOUT: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
        PubhashCli::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit_and_bounds() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("90s", Some(90_000)),
            ("2m", Some(120_000)),
            ("60m", Some(3_600_000)),
            ("61m", None),
            ("0s", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615m", None),
        ] {
            assert_eq!(
                duration(text).ok(),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn names_of_keys_are_those_of_the_configuration() {
        let choice = |name| {
            let cli = Cli::try_parse_from(["tpm-attestor", "doctor", "--ek", name]);
            cli.ok().map(|cli| cli.tpm.choice())
        };
        assert_eq!(choice("auto"), Some(EkChoice::Auto));
        assert_eq!(choice("ecc"), Some(EkChoice::Ecc));
        assert_eq!(choice("H-3"), Some(EkChoice::Template(EkTemplate::H3)));
        assert_eq!(choice("dsa"), None);
    }
}
