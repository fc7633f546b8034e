//! One thread on one CPU for a while, and what it starts in that time.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The calling thread runs on one CPU until this is dropped on the same thread.
#[derive(Debug)]
pub struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// Moves the calling thread to a CPU, by its number.
    ///
    /// # Errors
    /// `InvalidInput` for a CPU that the thread may not run on.
    pub fn to(core: usize) -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut one = CpuSet::new();
        // The set has room for so many, and reaching beyond them would panic.
        if core < CpuSet::MAX_CPU {
            one.set(core);
        }
        sched_setaffinity(None, &one).map_err(|error| {
            let message = format!("this process may not run on CPU {core}");
            io::Error::new(io::Error::from(error).kind(), message)
        })?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Fails only where the CPUs have been taken away meanwhile; the system then chooses.
        sched_setaffinity(None, &self.before).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores() -> Vec<usize> {
        let set = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU)
            .filter(|core| set.is_set(*core))
            .collect()
    }

    #[test]
    fn a_thread_is_on_one_cpu_and_then_on_all_it_had() {
        let before = cores();
        let last = *before.last().unwrap();
        let pinned = Pinned::to(last).unwrap();
        assert_eq!(cores(), [last]);
        let first = Pinned::to(before[0]).unwrap();
        assert_eq!(cores(), [before[0]], "from there to any other");
        drop(first);
        assert_eq!(cores(), [last]);
        drop(pinned);
        assert_eq!(cores(), before);
    }

    #[test]
    fn absent_cpus_are_refused() {
        let before = cores();
        for core in [before.last().unwrap() + 1, CpuSet::MAX_CPU, usize::MAX] {
            let kind = Pinned::to(core).unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::InvalidInput, "{core}");
        }
        assert_eq!(cores(), before);
    }
}
