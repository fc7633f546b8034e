//! The command line: what to try, and how much of it at once.

use std::path::PathBuf;
use std::thread;

use crate::mutant::Mutant;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// The workspace.
    pub(crate) root: PathBuf,
    /// Only places that decide over a refusal.
    pub(crate) checks: bool,
    /// Whether tests of processes judge what the server's own tests leave.
    pub(crate) processes: bool,
    /// Only mutants whose line has this text.
    pub(crate) only: Option<String>,
    /// Mutants at the same time.
    pub(crate) jobs: usize,
}

impl Options {
    /// Reads the arguments, or says how to use them.
    pub(crate) fn from_arguments(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Self, &'static str> {
        let mut options = Self {
            root: PathBuf::from("."),
            checks: false,
            processes: false,
            only: None,
            jobs: thread::available_parallelism().map_or(1, usize::from),
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--checks" => options.checks = true,
                "--processes" => options.processes = true,
                "--only" => options.only = Some(arguments.next().ok_or(USAGE)?),
                "--jobs" => {
                    let jobs = arguments.next().and_then(|jobs| jobs.parse().ok());
                    options.jobs = jobs.filter(|jobs| *jobs > 0).ok_or(USAGE)?;
                }
                _ => return Err(USAGE),
            }
        }
        options.root = std::env::current_dir().map_err(|_gone| "the working directory is gone")?;
        Ok(options)
    }

    /// Where everything is built: a directory of its own, so that no other build is disturbed.
    pub(crate) fn target(&self) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        self.root
            .join(target.unwrap_or_else(|| PathBuf::from("target")))
            .join("mutants")
    }

    /// What cargo builds the tests with that judge every mutant.
    pub(crate) fn unit_tests(&self) -> &'static [&'static str] {
        // Those of what the server alone runs are the last.
        match UNIT_TESTS.split_last_chunk::<4>() {
            Some((others, _)) if !self.processes => others,
            _ => &UNIT_TESTS,
        }
    }

    /// Whether a mutant is to be tried.
    pub(crate) fn chooses(&self, mutant: &Mutant) -> bool {
        (mutant.is_check || !self.checks)
            && (!mutant.is_of_the_server() || self.processes)
            && self
                .only
                .as_ref()
                .is_none_or(|only| mutant.to_string().contains(only))
    }
}

const UNIT_TESTS: [&str; 14] = [
    "test", "--no-run", "-p", "evidence", "-p", "eventlog", "-p", "verify", "-p", "softtpm", "-p",
    "policy", "-p", "server",
];

const USAGE: &str = "\
usage: mutants [--checks] [--processes] [--only TEXT] [--jobs N], in the root of the workspace

  --checks      only places that decide over a refusal
  --processes   also the server's, judged by its own tests and by those of the plugin as a process
  --only TEXT   only mutants whose line holds TEXT
  --jobs N      mutants at the same time; as many as there are processors if left out";
