//! States of machines, turned into rules and compared: the commands under `profile`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{TpmArguments, bank};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::{profile_diff, profile_record};

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Write a profile for the server's configuration out of what machines proved.
    ///
    /// Without records this machine attests to the tool itself. From several records, of one machine before and after an
    /// update or of several machines, the profile accepts what any of them proved.
    ///
    /// Where the boot event logs hold, the profile names keys, programs and command lines, which survive updates of what
    /// is not in it, and values only of PCRs that nothing else in the profile speaks for: 0 (firmware), 2 (code of
    /// devices), and 8, 9, 12 where the log accounts for them (command line, initramfs: no signature covers these). PCR 7
    /// is left out, since it changes with each update of dbx, unless Secure Boot was off. Without logs it is 0, 2, 4, 7.
    #[command(verbatim_doc_comment)]
    Record(RecordArguments),
    /// Explain what changed between two boots: which event, which program, which variable.
    ///
    /// OLD and NEW are records, or boot event logs. The exit code is 1 if a PCR changed.
    #[command(verbatim_doc_comment)]
    Diff(DiffArguments),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct RecordArguments {
    /// Records: files of the server's evidence_path, or those that `evidence` wrote.
    #[arg(value_name = "RECORD")]
    pub(crate) records: Vec<PathBuf>,
    /// The name of the profile: 1 to 32 of a-z, 0-9, ".", "_", "-".
    #[arg(long, value_name = "NAME", default_value = "recorded", value_parser = name)]
    pub(crate) name: String,
    /// The PCRs whose values the profile lists, instead of those that are chosen as said above.
    #[arg(long, value_name = "PCR,…", value_delimiter = ',', value_parser = pcr)]
    pub(crate) pcrs: Option<Vec<u8>>,
    /// Also require what is in dbx of all machines now, so that none may fall behind.
    #[arg(long)]
    pub(crate) dbx: bool,
    /// The PCR bank, the server's pcr_bank; by default the strongest that was quoted, SHA-256 of this machine.
    #[arg(long, value_name = "BANK", value_parser = bank())]
    pub(crate) bank: Option<String>,
    /// The boot event log of this machine, instead of the one that the kernel shows for --device.
    #[arg(long, value_name = "FILE", conflicts_with = "records")]
    pub(crate) log: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct DiffArguments {
    /// A record or a log of the boot before.
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// A record or a log of the boot after.
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,
    /// PCR values that go with OLD, if it is a log: a line for each, sha256 7 and the value in hex.
    #[arg(long, value_name = "FILE")]
    pub(crate) old_pcrs: Option<PathBuf>,
    /// PCR values that go with NEW, if it is a log.
    #[arg(long, value_name = "FILE")]
    pub(crate) new_pcrs: Option<PathBuf>,
    /// The PCR bank; by default the strongest that both quotes cover, SHA-256 where there is a log without a quote.
    #[arg(long, value_name = "BANK", value_parser = bank())]
    pub(crate) bank: Option<String>,
}

/// Runs a command under `profile`.
pub(crate) fn run(
    command: &ProfileCommand,
    tpm: &TpmArguments,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    match command {
        ProfileCommand::Record(arguments) => {
            output::write(&profile_record::record(tpm, arguments)?, format, out)
        }
        ProfileCommand::Diff(arguments) => {
            output::write(&profile_diff::diff(arguments)?, format, out)
        }
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    let is_plain = |char: char| matches!(char, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
    if (1..=32).contains(&text.len()) && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("write 1 to 32 of a-z, 0-9, \".\", \"_\", \"-\"")
    }
}

/// As servers refuse some of them in a profile.
fn pcr(text: &str) -> Result<u8, &'static str> {
    match text.parse() {
        Ok(10) => Err("PCR 10 grows while the machine runs: no value of it lasts"),
        Ok(16 | 23) => Err("anybody on the machine can reset PCRs 16 and 23"),
        Ok(pcr @ 0..=22) => Ok(pcr),
        _ => Err("write a number from 0 to 22"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_pcrs_are_those_that_servers_take() {
        for (text, good) in [
            ("a", true),
            ("web-1.x_y", true),
            ("", false),
            ("A", false),
            ("a b", false),
        ] {
            assert_eq!(name(text).is_ok(), good, "{text}");
        }
        assert!(name(&"a".repeat(32)).is_ok() && name(&"a".repeat(33)).is_err());
        for (text, good) in [
            ("0", true),
            ("22", true),
            ("10", false),
            ("16", false),
            ("23", false),
            ("24", false),
            ("x", false),
        ] {
            assert_eq!(pcr(text).is_ok(), good, "{text}");
        }
    }
}
