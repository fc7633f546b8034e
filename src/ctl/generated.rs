//! What is generated from the definition of the command line: completions, manual pages, documentation.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::Failure;

/// A completion script.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    script
}

/// The manual page of the tool.
pub(crate) fn manual() -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| Failure::new(Exit::Internal, "internal_error", error.to_string()))?;
    Ok(page)
}

/// The manual pages of the tool and of every command, one file each.
pub(crate) fn manuals(directory: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(Cli::command(), directory).map_err(|error| {
        let message = format!("cannot write to {}: {error}", directory.display());
        Failure::new(Exit::Environment, "output_failed", message)
    })
}

/// The documentation of the command line in Markdown, as it stands in docs/cli.md.
pub fn markdown() -> String {
    let mut tool = Cli::command().disable_help_subcommand(true);
    tool.build();
    let mut out = format!("# `{NAME}`\n\nThe options below are taken by every command.\n");
    section(&mut out, tool, NAME);
    out.push_str("\n## Exit codes\n\n| Code | Meaning |\n|---|---|\n");
    for exit in Exit::ALL {
        writeln!(out, "| {} | {} |", exit.code(), exit.meaning()).ok();
    }
    out + NOTES
}

/// A command, then those below it.
fn section(out: &mut String, mut command: Command, path: &str) {
    if path != NAME {
        write!(out, "\n## `{path}`\n").ok();
        // Every command takes the options of the tool; they are documented there.
        command = command.mut_args(|option| {
            let is_common = option.is_global_set() || COMMON.contains(&option.get_id().as_str());
            let hide = is_common || option.is_hide_set();
            option.hide(hide)
        });
    }
    let help = command.render_long_help().to_string();
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    write!(out, "\n```text\n{}\n```\n", lines.join("\n").trim_end()).ok();
    let below: Vec<_> = command
        .get_subcommands()
        .filter(|below| below.get_name() != "help")
        .cloned()
        .collect();
    for below in below {
        let path = format!("{path} {}", below.get_name());
        section(out, below, &path);
    }
}

const NAME: &str = "tpm-attestor";
/// Options that every command has.
const COMMON: [&str; 2] = ["help", "version"];
const NOTES: &str = "
## Output

Results go to stdout and nothing else does. Failures go to stderr; with `-o json` as one JSON object
with `reason` (stable), `message` and, where there is something to do, `hint`. Nothing is coloured, so
there is nothing for `NO_COLOR` to turn off. What a TPM or a certificate says is shown in printable
ASCII, everything else in it as `\\u{…}`.

## As `get_tpm_pubhash`

Called by this name, by a link say, the tool prints the EK's hash as 64 hex digits on one line, as the
program of that name in the community TPM plugin does. `--verbose` prints the key in PEM before it.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_documented_once() {
        let text = markdown();
        for heading in [
            "fingerprint",
            "get-tpm-pubhash",
            "inspect ek",
            "inspect eventlog",
            "inspect quote",
            "inspect evidence",
            "evidence",
            "verify",
            "policy check",
            "policy explain",
            "profile record",
            "profile diff",
            "doctor",
            "reasons",
            "bench server",
            "bench agent",
            "bench eventlog",
            "completions",
            "man",
        ] {
            let heading = format!("\n## `{NAME} {heading}`\n");
            assert_eq!(text.matches(&heading).count(), 1, "{heading}");
        }
        assert_eq!(text.matches("--device <ADDRESS>").count(), 1);
        assert_eq!(text.matches("--ca <PATH>").count(), 2);
        for exit in Exit::ALL {
            assert!(text.contains(&format!("| {} | ", exit.code())));
        }
        assert!(text.lines().all(|line| line.trim_end() == line));
        assert_eq!(text, markdown());
    }

    #[test]
    fn completions_and_manuals_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(shell)).unwrap();
            assert!(
                script.contains("fingerprint") && script.contains("doctor"),
                "{shell}"
            );
        }
        assert!(
            String::from_utf8(manual().unwrap())
                .unwrap()
                .contains(".TH tpm-attestor 1")
        );
        let directory = tempfile::tempdir().unwrap();
        manuals(directory.path()).unwrap();
        for page in [
            "tpm-attestor.1",
            "tpm-attestor-inspect-ek.1",
            "tpm-attestor-doctor.1",
        ] {
            assert!(directory.path().join(page).exists(), "{page}");
        }
        let absent = manuals(&directory.path().join("absent")).unwrap_err();
        assert_eq!(absent.exit, Exit::Environment);
    }
}
