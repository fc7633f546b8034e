//! From the command line to the exit code.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::cli::{Cli, Command, Inspected, PubhashCli, TpmArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::{
    bench, ca, doctor, evidence_made, fingerprint, generated, inspect, inspect_eventlog,
    inspect_evidence, inspect_quote, policy, profile, quarantine, reasons, verify_records,
};

/// Runs the tool. `arguments` begins with the name that it was called by: as `get_tpm_pubhash` it
/// behaves as that program does.
pub fn run(arguments: &[OsString], out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let format = wanted_format(arguments);
    let outcome = match called_by(arguments) {
        Some(PUBHASH) => PubhashCli::try_parse_from(arguments)
            .map(|cli| fingerprint::compatible(&cli.tpm, cli.arguments.verbose, out)),
        _ => Cli::try_parse_from(arguments).map(|cli| execute(&cli, out)),
    };
    let failure = match outcome {
        Ok(Ok(exit)) => return exit,
        Ok(Err(failure)) => failure,
        Err(error) => match answered(&error, format, out, err) {
            Ok(exit) => return exit,
            Err(failure) => failure,
        },
    };
    // Where not even stderr takes the text, the exit code still says it.
    err.write_all(failure.render(format).as_bytes()).ok();
    failure.exit
}

fn execute(cli: &Cli, out: &mut dyn Write) -> Result<Exit, Failure> {
    let tpm: &TpmArguments = &cli.tpm;
    match &cli.command {
        Command::Fingerprint { format } => fingerprint::print(tpm, *format, cli.output, out),
        Command::GetTpmPubhash(arguments) => fingerprint::compatible(tpm, arguments.verbose, out),
        Command::Inspect(what) => inspect(what, tpm, cli.output, out),
        Command::Doctor(trust) => output::write(&doctor::examine(tpm, trust)?, cli.output, out),
        Command::Reasons { code } => {
            output::write(&reasons::listing(code.as_deref()), cli.output, out)
        }
        Command::Evidence(arguments) => evidence_made::run(tpm, arguments, cli.output, out),
        Command::Verify(arguments) => {
            output::write(&verify_records::verify(arguments)?, cli.output, out)
        }
        Command::Policy(command) => policy::run(command, cli.output, out),
        Command::Profile(command) => profile::run(command, tpm, cli.output, out),
        Command::Quarantine(command) => quarantine::run(command, cli.output, out),
        Command::Ca(command) => ca::run(command, cli.output, out),
        Command::Bench(bench) => bench::run(bench, tpm, cli.output, out),
        Command::Completions { shell } => {
            output::write_bytes(&generated::completions(*shell), out).map(|()| Exit::Good)
        }
        Command::Man { dir: None } => {
            output::write_bytes(&generated::manual()?, out).map(|()| Exit::Good)
        }
        Command::Man { dir: Some(dir) } => generated::manuals(dir).map(|()| Exit::Good),
    }
}

fn inspect(
    what: &Inspected,
    tpm: &TpmArguments,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    match what {
        Inspected::Ek {
            cert: Some(file),
            trust,
        } => output::write(&inspect::file(file, trust)?, format, out),
        Inspected::Ek { cert: None, trust } => {
            output::write(&inspect::machine(tpm, trust)?, format, out)
        }
        Inspected::Eventlog(arguments) => {
            output::write(&inspect_eventlog::report(tpm, arguments)?, format, out)
        }
        Inspected::Quote { file } => output::write(&inspect_quote::report(file)?, format, out),
        Inspected::Evidence { file } => {
            output::write(&inspect_evidence::report(file)?, format, out)
        }
    }
}

/// Help and version are results; anything else is a wrong command line.
fn answered(
    error: &clap::Error,
    format: Format,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Exit, Failure> {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::write_bytes(text.as_bytes(), out).map(|()| Exit::Good)
        }
        _ if format == Format::Json => {
            let message = text.lines().next().unwrap_or_default();
            let message = message.strip_prefix("error: ").unwrap_or(message);
            Err(Failure::new(Exit::Usage, "usage", message).hint("see --help"))
        }
        _ => {
            err.write_all(text.as_bytes()).ok();
            Ok(Exit::Usage)
        }
    }
}

/// The format that errors take, also those of the command line itself.
fn wanted_format(arguments: &[OsString]) -> Format {
    let pairs = arguments.iter().zip(arguments.iter().skip(1));
    let apart = pairs
        .into_iter()
        .any(|(option, value)| (option == "-o" || option == "--output") && value == "json");
    let joined = ["-ojson", "-o=json", "--output=json"];
    let together = arguments
        .iter()
        .any(|argument| joined.iter().any(|form| argument == form));
    if apart || together {
        Format::Json
    } else {
        Format::Table
    }
}

fn called_by(arguments: &[OsString]) -> Option<&str> {
    Path::new(arguments.first()?)
        .file_name()
        .and_then(OsStr::to_str)
}

/// The name of the community TPM plugin's own tool, which deployments call.
const PUBHASH: &str = "get_tpm_pubhash";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str]) -> (Exit, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        let exit = run(&arguments, &mut out, &mut err);
        (
            exit,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[test]
    fn help_and_version_are_results() {
        for arguments in [
            &["tpm-attestor", "--help"][..],
            &["tpm-attestor", "inspect", "ek", "--help"],
            &["tpm-attestor", "--version"],
            &["/app/get_tpm_pubhash", "--help"],
        ] {
            let (exit, out, err) = check(arguments);
            assert_eq!((exit, err.as_str()), (Exit::Good, ""), "{arguments:?}");
            assert!(!out.is_empty());
        }
    }

    #[test]
    fn wrong_command_lines_are_usage_errors_on_stderr() {
        for arguments in [
            &["tpm-attestor"][..],
            &["tpm-attestor", "finger"],
            &["tpm-attestor", "reasons", "no_such_code"],
            &["tpm-attestor", "inspect", "ek", "--intermediates", "/x"],
            &["tpm-attestor", "fingerprint", "--device", "tpm0"],
            &["tpm-attestor", "fingerprint", "--timeout", "5"],
            &["get_tpm_pubhash", "--nonsense"],
        ] {
            let (exit, out, err) = check(arguments);
            assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{arguments:?}");
            assert!(!err.is_empty());
        }
    }

    #[test]
    fn errors_are_json_when_results_are() {
        for (arguments, reason) in [
            (&["tpm-attestor", "-o", "json", "finger"][..], "usage"),
            (
                &[
                    "tpm-attestor",
                    "fingerprint",
                    "--output=json",
                    "--device",
                    "tpm0",
                ],
                "bad_address",
            ),
            (
                &[
                    "tpm-attestor",
                    "fingerprint",
                    "-ojson",
                    "--device",
                    "/absent",
                ],
                "tpm_not_opened",
            ),
        ] {
            let (_, out, err) = check(arguments);
            let error: serde_json::Value = serde_json::from_str(&err).unwrap();
            assert_eq!(error["reason"], reason, "{err}");
            assert!(
                error["message"]
                    .as_str()
                    .is_some_and(|message| !message.is_empty())
            );
            assert_eq!(out, "");
        }
    }

    #[test]
    fn an_absent_tpm_is_the_environment_s_fault_and_has_a_hint() {
        for arguments in [
            &["tpm-attestor", "fingerprint", "--device", "/absent"][..],
            &["tpm-attestor", "inspect", "ek", "--device", "/absent"],
            &["/app/get_tpm_pubhash", "--device", "/absent"],
            &[
                "tpm-attestor",
                "get-tpm-pubhash",
                "--device",
                "unix:/absent",
            ],
        ] {
            let (exit, out, err) = check(arguments);
            assert_eq!(
                (exit, out.as_str()),
                (Exit::Environment, ""),
                "{arguments:?}"
            );
            assert!(err.starts_with("error: cannot open the TPM at "), "{err}");
            assert!(err.contains("\nhint: "), "{err}");
        }
    }
}
