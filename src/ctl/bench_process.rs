//! What a process costs: its CPU time to the nanosecond, and its memory.

use std::fs;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;
use serde::Serialize;

/// A process that is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    pid: u32,
    clock: ClockId,
}

/// Memory in KiB. The kernel counts pages for each CPU and adds up late: only the walk of /proc/PID/smaps_rollup is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that ever was, VmHWM in /proc/PID/status: inexact.
    pub(crate) peak: u64,
    /// Of what is resident now, what no file backs.
    pub(crate) anonymous: u64,
}

impl Watched {
    /// A process by its number; none if there is no such process.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let number = i32::try_from(pid).ok()?;
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(number)).ok()?;
        Some(Self { pid, clock })
    }

    /// The CPU time of all its threads so far, also of those that have ended; none once the process has.
    pub(crate) fn cpu(self) -> Option<Duration> {
        self.clock.now().ok().map(Duration::from)
    }

    /// Its memory; none once it has ended.
    pub(crate) fn memory(self) -> Option<Memory> {
        let read = |file| fs::read_to_string(format!("/proc/{}/{file}", self.pid)).ok();
        let (rollup, status) = (read("smaps_rollup")?, read("status")?);
        Some(Memory {
            resident: field(&rollup, "Rss:")?,
            peak: field(&status, "VmHWM:")?,
            anonymous: field(&rollup, "Anonymous:")?,
        })
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn ended_threads_count_and_sleep_does_not() {
        let this = Watched::of(std::process::id()).unwrap();
        let before = this.cpu().unwrap();
        let busy = thread::spawn(|| {
            let own = ClockId::CLOCK_THREAD_CPUTIME_ID;
            while Duration::from(own.now().unwrap()) < Duration::from_millis(30) {
                black_box(Instant::now());
            }
        });
        busy.join().unwrap();
        let used = this.cpu().unwrap().checked_sub(before).unwrap();
        assert!(used >= Duration::from_millis(30), "{used:?}");
        let mut sleeper = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let watched = Watched::of(sleeper.id()).unwrap();
        thread::sleep(Duration::from_millis(200));
        let used = watched.cpu().unwrap();
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(used < Duration::from_millis(150), "{used:?}");
        assert_eq!((watched.cpu(), watched.memory()), (None, None));
    }

    #[test]
    fn memory_that_is_touched_is_resident() {
        let this = Watched::of(std::process::id()).unwrap();
        let before = this.memory().unwrap();
        let touched = black_box(vec![1u8; 32 << 20]);
        let with = this.memory().unwrap();
        assert!(
            with.resident >= before.resident + (30 << 10),
            "{before:?} {with:?}"
        );
        assert!(with.anonymous >= before.anonymous + (30 << 10));
        drop(touched);
        assert!(this.memory().unwrap().peak >= before.resident + (30 << 10));
    }
}
