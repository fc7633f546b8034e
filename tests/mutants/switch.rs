//! Which of the mutants compiled into this copy is on: the environment says so, once for the process.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Mutex, OnceLock};

/// The number of the mutant that is on, or 0. `site` is the first number of the place that asks: a
/// trace lists the places that were reached.
pub(crate) fn at(site: u32) -> u32 {
    static SWITCH: OnceLock<Switch> = OnceLock::new();
    let switch = SWITCH.get_or_init(Switch::from_environment);
    if let Some(trace) = &switch.trace
        && let Ok(mut trace) = trace.lock()
    {
        let (reached, file) = &mut *trace;
        if reached.insert(site) {
            let _written = file.write_all(format!("{site}\n").as_bytes());
        }
    }
    switch.active
}

struct Switch {
    active: u32,
    trace: Option<Mutex<(BTreeSet<u32>, File)>>,
}

impl Switch {
    fn from_environment() -> Self {
        let active = std::env::var("MUTANT").ok().and_then(|number| number.parse().ok());
        let trace = std::env::var_os("MUTANTS_REACHED")
            .and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok());
        Self {
            active: active.unwrap_or(0),
            trace: trace.map(|file| Mutex::new((BTreeSet::new(), file))),
        }
    }
}
