//! What it costs to judge a boot event log: parsing it, and appraising it against quoted PCRs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use eventlog::{Bank, EventLog, PcrValues, Quirk, Refusal, appraise};
use serde::Serialize;

use crate::bench::{Log, LogArguments};
use crate::bench_boot::{Booted, bad_log};
use crate::bench_facts::Facts;
use crate::bench_server::on_core;
use crate::bench_statistics::{Latency, median};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Report};
use crate::text::printable;

/// The whole result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LogReport {
    pub(crate) machine: Facts,
    pub(crate) runs: usize,
    pub(crate) repetitions: usize,
    pub(crate) logs: Vec<Measured>,
}

/// One log. Times are in microseconds, medians of the runs' medians.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    /// The file; none for the log that this tool makes.
    pub(crate) file: Option<String>,
    pub(crate) bytes: usize,
    pub(crate) events: usize,
    /// The bank that was replayed: of the log's the weakest, which is what a server asks for by default.
    pub(crate) bank: &'static str,
    /// Why the log is refused, if it is.
    pub(crate) refused: Option<String>,
    #[serde(rename = "parse_us")]
    pub(crate) parse: f64,
    /// Replay, and all that the log then proves.
    #[serde(rename = "appraise_us")]
    pub(crate) appraise: f64,
    /// Both in one.
    #[serde(rename = "judge_us")]
    pub(crate) judge: f64,
}

/// Measures all logs that the arguments name.
pub(crate) fn measure(arguments: &LogArguments) -> Result<LogReport, Failure> {
    let logs = arguments.logs.iter().map(|log| measured(log, arguments));
    Ok(LogReport {
        machine: Facts::gather(),
        runs: arguments.runs,
        repetitions: arguments.repetitions,
        logs: logs.collect::<Result<_, _>>()?,
    })
}

impl Report for LogReport {
    fn table(&self) -> String {
        let cpu = format!("{} ({} CPUs)", self.machine.cpu, self.machine.cpus);
        let mut table = output::fields(vec![("cpu", Some(cpu))]);
        table += "\n";
        let rows = self.logs.iter().map(|log| {
            [
                log.file.clone().unwrap_or_else(|| "made".to_owned()),
                log.bytes.to_string(),
                log.events.to_string(),
                log.bank.to_owned(),
                format!("{:.1}", log.parse),
                format!("{:.1}", log.appraise),
                format!("{:.1}", log.judge),
                log.refused.clone().unwrap_or_default(),
            ]
        });
        table += &output::columns(HEADER, rows.collect());
        table
    }

    fn exit(&self) -> Exit {
        if self.logs.iter().all(|log| log.refused.is_none()) {
            Exit::Good
        } else {
            Exit::Negative
        }
    }
}

const HEADER: [&str; 8] = [
    "LOG",
    "BYTES",
    "EVENTS",
    "BANK",
    "PARSE µs",
    "APPRAISE µs",
    "BOTH µs",
    "REFUSED",
];

fn measured(log: &Log, arguments: &LogArguments) -> Result<Measured, Failure> {
    let booted = Booted::told_by(log)?;
    let (bank, quoted) = booted.weakest()?;
    let parse = || EventLog::parse(&booted.log);
    let parsed = parse().map_err(|refusal| bad_log(&refusal))?;
    let _pinned = on_core(arguments.driver_core)?;
    let time = |work: &dyn Fn()| {
        let runs = (0..arguments.runs).map(|_| run(arguments.repetitions, work));
        median(runs)
    };
    Ok(Measured {
        file: match log {
            Log::Made => None,
            Log::File(file) => Some(printable(&file.display().to_string())),
        },
        bytes: booted.log.len(),
        events: parsed.events.len(),
        bank: bank.name(),
        refused: judge(&parsed, bank, quoted)
            .err()
            .map(|refusal| refusal.to_string()),
        parse: time(&|| drop(black_box(parse()))),
        appraise: time(&|| drop(black_box(judge(&parsed, bank, quoted)))),
        judge: time(&|| drop(black_box(parse().map(|log| judge(&log, bank, quoted))))),
    })
}

/// The median of some repetitions in microseconds, after as many tenths that warm up.
fn run(repetitions: usize, work: &dyn Fn()) -> f64 {
    for _ in 0..repetitions.div_ceil(10) {
        work();
    }
    let took = (0..repetitions).map(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    });
    Latency::of(took.collect::<Vec<Duration>>()).p50
}

/// With every departure tolerated: what is measured is a whole appraisal.
fn judge(log: &EventLog<'_>, bank: Bank, quoted: &PcrValues) -> Result<(), Refusal> {
    let claims = appraise(log, bank, quoted, &Quirk::ALL.into_iter().collect())?;
    drop(black_box(claims));
    Ok(())
}
