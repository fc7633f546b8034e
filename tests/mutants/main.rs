//! Changes each check of the crates that decide, one at a time, and demands that a test notices.
//!
//! All mutants are compiled into one copy of the workspace; the environment switches one on. See docs/testing.md.

mod compile;
mod copy;
mod finder;
mod mutant;
mod operators;
mod options;
mod rewrite;
mod site;
mod survivors;
mod syntax;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};

use crate::compile::Program;
use crate::mutant::{Mutant, Mutated};
use crate::options::Options;
use crate::survivors::Survivors;
use crate::trial::{Outcome, Reach};

fn main() -> ExitCode {
    let options = match Options::from_arguments(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(64);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    let started = Instant::now();
    let survivors = Survivors::read(&options.root.join("tests/mutants/survivors.toml"))?;
    let mut place = Place::new(options)?;
    let (mutated, programs) = place.compile(options.unit_tests())?;
    let mutants = &mutated.mutants;
    eprintln!(
        "{}: {} mutants in {} lines",
        clock(started),
        mutants.len(),
        mutated.lines()
    );
    for (file, line) in &mutated.left_out {
        eprintln!("left out, since a change has no type: {file}:{line}");
    }
    let chosen: Vec<_> = mutants
        .iter()
        .filter(|mutant| options.chooses(mutant))
        .collect();
    let reach = trial::trace(&programs, &place.scratch, &|_| true)?;
    let passed = reach.tests();
    eprintln!("{}: {passed} tests pass without a mutant", clock(started));
    let processes = options.processes.then(|| processes(&mut place, started));
    let processes = processes.transpose()?;
    let mut outcomes = try_all(&chosen, &programs, &reach, options, started)?;
    if let Some((programs, reach)) = processes {
        try_again(&mut outcomes, &programs, &reach, options, started)?;
    }
    Ok(conclude(&survivors, &outcomes, mutants, started))
}

/// Where the copy is written and built.
struct Place {
    root: PathBuf,
    copy: PathBuf,
    target: PathBuf,
    /// For the temporary files of tests, which those that are ended leave behind.
    scratch: PathBuf,
    left_out: BTreeSet<(String, usize)>,
}

impl Place {
    fn new(options: &Options) -> Result<Self> {
        let target = options.target();
        // Short, since sockets have short paths.
        let scratch = std::env::temp_dir().join(format!("mutants-{}", std::process::id()));
        fs::create_dir_all(&scratch)?;
        Ok(Self {
            root: options.root.clone(),
            copy: target.join("workspace"),
            target,
            scratch,
            left_out: BTreeSet::new(),
        })
    }

    fn compile(&mut self, arguments: &[&str]) -> Result<(Mutated, Vec<Program>)> {
        let (root, copy) = (&self.root, &self.copy);
        compile::compile(root, copy, &self.target, arguments, &mut self.left_out)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _absent = fs::remove_dir_all(&self.scratch);
    }
}

/// The tests of the server as a process, and what they reach.
fn processes(place: &mut Place, started: Instant) -> Result<(Vec<Program>, Reach)> {
    place.compile(&PLUGINS)?;
    let (_, programs) = place.compile(&PROCESS_TESTS)?;
    let of_the_server = |test: &str| OF_THE_SERVER.iter().any(|name| test.starts_with(name));
    let reach = trial::trace(&programs, &place.scratch, &of_the_server)?;
    let passed = reach.tests();
    eprintln!(
        "{}: {passed} tests of processes pass without a mutant",
        clock(started)
    );
    Ok((programs, reach))
}

/// Tries on the tests of processes what the server's own tests leave.
fn try_again(
    outcomes: &mut Vec<(&Mutant, Outcome)>,
    programs: &[Program],
    reach: &Reach,
    options: &Options,
    started: Instant,
) -> Result<()> {
    let left: Vec<_> = outcomes
        .iter()
        .filter(|(mutant, outcome)| mutant.is_of_the_server() && is_alive(*outcome))
        .map(|(mutant, _)| *mutant)
        .collect();
    let again = try_all(&left, programs, reach, options, started)?;
    outcomes.retain(|(mutant, _)| left.iter().all(|again| again.number != mutant.number));
    outcomes.extend(again);
    outcomes.sort_by_key(|(mutant, _)| mutant.number);
    Ok(())
}

/// Tries every mutant, as many at a time as there are jobs.
fn try_all<'a>(
    mutants: &[&'a Mutant],
    programs: &[Program],
    reach: &Reach,
    options: &Options,
    started: Instant,
) -> Result<Vec<(&'a Mutant, Outcome)>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = trial::try_mutant(mutant, programs, reach)?;
            let mut outcomes = outcomes
                .lock()
                .map_err(|_poisoned| anyhow!("a job panicked"))?;
            outcomes.push((*mutant, outcome));
            if outcomes.len().is_multiple_of(PROGRESS) {
                eprintln!(
                    "{}: {} of {}",
                    clock(started),
                    outcomes.len(),
                    mutants.len()
                );
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let jobs: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        for job in jobs {
            job.join().map_err(|_panic| anyhow!("a job panicked"))??;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    let mut outcomes = outcomes
        .into_inner()
        .map_err(|_poisoned| anyhow!("a job panicked"))?;
    outcomes.sort_by_key(|(mutant, _)| mutant.number);
    Ok(outcomes)
}

fn is_alive(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Survived | Outcome::Unreached)
}

fn conclude(
    survivors: &Survivors,
    outcomes: &[(&Mutant, Outcome)],
    all: &[Mutant],
    started: Instant,
) -> bool {
    let wrong = survivors.compare(outcomes, all);
    for line in &wrong {
        eprintln!("{line}");
    }
    let count = |wanted: &dyn Fn(Outcome) -> bool| {
        outcomes
            .iter()
            .filter(|(_, outcome)| wanted(*outcome))
            .count()
    };
    eprintln!(
        "{}: {} mutants tried: {} killed, {} of them by their time limit, {} survived; {} wrong",
        clock(started),
        outcomes.len(),
        count(&|outcome| !is_alive(outcome)),
        count(&|outcome| outcome == Outcome::Hung),
        count(&is_alive),
        wrong.len()
    );
    wrong.is_empty()
}

/// Minutes and seconds since the start.
fn clock(started: Instant) -> String {
    let seconds = started.elapsed().as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// What the tests of processes run.
const PLUGINS: [&str; 8] = [
    "build", "--bins", "-p", "agent", "-p", "ctl", "-p", "server",
];

/// The tests that judge what the server's own tests leave.
const PROCESS_TESTS: [&str; 6] = ["test", "--no-run", "-p", "tests", "--test", "process"];

/// Those of them that load a server and do not take long.
const OF_THE_SERVER: [&str; 12] = [
    "process_abuse_streams::attestations_cancelled_at_any_moment",
    "process_composer::",
    "process_configuration::",
    "process_continuity::",
    "process_contract::",
    "process_followed::",
    "process_grants::",
    "process_known_machines::",
    "process_limits::",
    "process_refusals::",
    "process_replays::",
    "process_trust::",
];

/// Mutants between two lines of progress.
const PROGRESS: usize = 100;
