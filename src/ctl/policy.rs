//! The server's rules, checked and explained: the commands under `policy`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use verify::Enrolment;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::{policy_check, policy_explain};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Look for mistakes in a server's configuration, as the server does when it starts.
    ///
    /// The problems and their places are those that the server gives. Bounds of its timeouts and of its load are left to it.
    #[command(verbatim_doc_comment)]
    Check {
        #[command(flatten)]
        config: ConfigArgument,
    },
    /// Say what a server's rules make of a recorded exchange: which rule decides, and what would have to change.
    ///
    /// Every requirement of every profile is judged, also after one that is not met.
    #[command(verbatim_doc_comment)]
    Explain {
        /// A record: a file of the server's evidence_path, or one that `evidence` wrote.
        #[arg(value_name = "RECORD")]
        record: PathBuf,
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        enrolment: EnrolmentArguments,
    },
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigArgument {
    /// What stands in the server's plugin_data, HCL or JSON. The files that it names are read.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct EnrolmentArguments {
    /// Judge as if the machine were on the allow-list, whatever the record says.
    #[arg(long, conflicts_with = "not_enrolled")]
    enrolled: bool,
    /// Judge as if the machine were not on the allow-list, whatever the record says.
    #[arg(long)]
    not_enrolled: bool,
}

impl EnrolmentArguments {
    /// What was said; `None` leaves it to the record.
    pub(crate) fn said(self) -> Option<Enrolment> {
        match (self.enrolled, self.not_enrolled) {
            (true, _) => Some(Enrolment::Enrolled),
            (false, true) => Some(Enrolment::Absent),
            (false, false) => None,
        }
    }
}

/// Runs a command under `policy`.
pub(crate) fn run(
    command: &PolicyCommand,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Check { config } => {
            output::write(&policy_check::check(&config.config)?, format, out)
        }
        PolicyCommand::Explain {
            record,
            config,
            enrolment,
        } => {
            let report = policy_explain::explain(record, &config.config, *enrolment)?;
            output::write(&report, format, out)
        }
    }
}
