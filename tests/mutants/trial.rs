//! Runs tests, each mutant in processes of its own, and stops at the first test that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::compile::Program;
use crate::mutant::Mutant;

/// What the tests said of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A test failed, or its process died.
    Killed,
    /// A test did not end in time.
    Hung,
    /// No test noticed.
    Survived,
    /// No test comes by.
    Unreached,
}

/// Which tests reach which sites.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// By site: the programs by index, and their tests.
    sites: BTreeMap<u32, BTreeMap<usize, BTreeSet<String>>>,
    /// How long each test takes, by program and name.
    tests: BTreeMap<(usize, String), Duration>,
    /// For the temporary files of tests.
    scratch: PathBuf,
}

impl Reach {
    /// How many tests there are.
    pub(crate) fn tests(&self) -> usize {
        self.tests.len()
    }

    /// The time after which some tests of a program hang: several times what they take.
    fn limit(&self, program: usize, tests: &[String]) -> Duration {
        let usual: Duration = tests
            .iter()
            .filter_map(|test| self.tests.get(&(program, test.clone())))
            .sum();
        LEAST_LIMIT + usual * USUAL_TIMES
    }
}

/// Runs each test by itself, without a mutant; all must pass.
pub(crate) fn trace(
    programs: &[Program],
    scratch: &Path,
    choose: &dyn Fn(&str) -> bool,
) -> Result<Reach> {
    let mut reach = Reach {
        scratch: scratch.to_owned(),
        ..Reach::default()
    };
    let file = scratch.join("reached");
    for (index, program) in programs.iter().enumerate() {
        for test in list(program)?.into_iter().filter(|test| choose(test)) {
            let _absent = fs::remove_file(&file);
            let mut command = command(program, std::slice::from_ref(&test), scratch);
            command.env("MUTANTS_REACHED", &file);
            let started = Instant::now();
            if run(&mut command, BASE_LIMIT)? != Outcome::Survived {
                bail!("{}: {test} fails without any mutant", program.package);
            }
            reach.tests.insert((index, test.clone()), started.elapsed());
            for site in fs::read_to_string(&file).unwrap_or_default().lines() {
                let tests = reach.sites.entry(site.parse()?).or_default();
                tests.entry(index).or_default().insert(test.clone());
            }
        }
    }
    Ok(reach)
}

/// Tries one mutant on the tests that reach it.
pub(crate) fn try_mutant(mutant: &Mutant, programs: &[Program], reach: &Reach) -> Result<Outcome> {
    let Some(by_program) = reach.sites.get(&mutant.site) else {
        return Ok(Outcome::Unreached);
    };
    let mut order: Vec<_> = by_program.iter().collect();
    // The crate's own tests are the likeliest to notice.
    order.sort_by_key(|(index, _)| {
        programs
            .get(**index)
            .is_none_or(|program| program.package != mutant.package())
    });
    for (index, tests) in order {
        let program = programs.get(*index).context("a program that was traced")?;
        let tests: Vec<_> = tests.iter().cloned().collect();
        let mut command = command(program, &tests, &reach.scratch);
        command.env("MUTANT", mutant.number.to_string());
        let outcome = run(&mut command, reach.limit(*index, &tests))?;
        if outcome != Outcome::Survived {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Survived)
}

fn list(program: &Program) -> Result<Vec<String>> {
    let output = Command::new(&program.path)
        .arg("--list")
        .current_dir(&program.directory)
        .stderr(Stdio::null())
        .output()?;
    let listed = String::from_utf8(output.stdout)?;
    Ok(listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(ToOwned::to_owned)
        .collect())
}

fn command(program: &Program, tests: &[String], scratch: &Path) -> Command {
    let mut command = Command::new(&program.path);
    command
        .args(["--test-threads=1", "--exact"])
        .args(tests)
        .current_dir(&program.directory)
        // Properties are tried on the same cases each time, and a case that fails is enough.
        .env("PROPTEST_RNG_SEED", "1")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
        .env("RUST_BACKTRACE", "0")
        .env("TMPDIR", scratch)
        .env("CARGO_MANIFEST_DIR", &program.directory)
        // Tests that take long tell no mutants apart that others do not.
        .env_remove("TPM_ATTESTOR_FULL")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    command
}

/// Runs tests until one fails, all have passed, or time is up.
fn run(command: &mut Command, limit: Duration) -> Result<Outcome> {
    let mut child = command.spawn().context("running a program of tests")?;
    let stdout = child.stdout.take().context("its output")?;
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + limit;
    let early = loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) if line.ends_with(b"FAILED") => break Some(Outcome::Killed),
            Ok(_) => {}
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => break Some(Outcome::Hung),
        }
    };
    if early.is_some() {
        end_group(&child);
    }
    let status = child.wait()?;
    drop(lines);
    if reader.join().is_err() {
        bail!("reading the output of tests failed");
    }
    Ok(match early {
        Some(outcome) => outcome,
        None if status.success() => Outcome::Survived,
        None => Outcome::Killed,
    })
}

/// Ends a program and what it has started.
fn end_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// For a test without a mutant.
const BASE_LIMIT: Duration = Duration::from_mins(2);

/// For the tests that reach a mutant, whatever they usually take, and how many times that beside it.
const LEAST_LIMIT: Duration = Duration::from_secs(5);
const USUAL_TIMES: u32 = 4;
