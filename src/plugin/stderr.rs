//! stderr as a place that never holds the process up for long: lines are lost rather than awaited without end.

use std::{
    io::{self, ErrorKind},
    os::fd::AsFd,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, write},
};

use crate::limits::LOG_STALL;

/// Writes a line that ends in a newline. Without stderr there is nobody left to tell, and that is no reason to end.
///
/// `notice` makes the line that stands for lost ones.
pub(crate) fn put(line: &str, notice: impl FnOnce(u64) -> String) {
    static STATE: Mutex<State> = Mutex::new(State::new(LOG_STALL));
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    state.put(&io::stderr(), line, notice);
}

/// What became of the lines so far.
#[derive(Debug)]
struct State {
    patience: Duration,
    /// The reader was awaited in vain; until it reads again nothing waits for it.
    stalled: bool,
    /// Lines not written since the last that was.
    lost: u64,
    /// The last line was cut off in its middle.
    torn: bool,
}

impl State {
    const fn new(patience: Duration) -> Self {
        Self {
            patience,
            stalled: false,
            lost: 0,
            torn: false,
        }
    }

    fn put(&mut self, to: &impl AsFd, line: &str, notice: impl FnOnce(u64) -> String) {
        if self.torn || self.lost > 0 {
            let end = if self.torn { "\n" } else { "" };
            let notice = if self.lost > 0 {
                notice(self.lost)
            } else {
                String::new()
            };
            if !self.write(to, &format!("{end}{notice}")) {
                self.lost = self.lost.saturating_add(1);
                return;
            }
            self.lost = 0;
        }
        if !self.write(to, line) {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Whether all of `text` was written.
    fn write(&mut self, to: &impl AsFd, text: &str) -> bool {
        let patience = if self.stalled {
            Duration::ZERO
        } else {
            self.patience
        };
        let deadline = Instant::now() + patience;
        let mut rest = text.as_bytes();
        while let Some(piece) = rest.chunks(PIECE).next() {
            if !has_room(to, deadline) {
                self.stalled = true;
                // A text of which nothing was written leaves the last line as it was.
                self.torn |= rest.len() < text.len();
                return false;
            }
            match write(to, piece) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // A reader that is gone does not come back.
                Err(_) => return true,
            }
        }
        self.stalled = false;
        self.torn = false;
        true
    }
}

/// A pipe with room takes as much at once (POSIX: PIPE_BUF; on Linux 4,096).
const PIECE: usize = 4096;

fn has_room(to: &impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(to, PollFlags::OUT)], Some(&left)) {
            Ok(ready) => return ready > 0,
            Err(error) if io::Error::from(error).kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read as _, pipe};

    use super::*;

    fn notice(lost: u64) -> String {
        format!("{lost} lost\n")
    }

    /// A pipe that is full but for less than a line.
    fn full() -> (PipeReader, PipeWriter, usize) {
        let (reader, writer) = pipe().unwrap();
        let mut held = 0;
        while has_room(&writer, Instant::now()) {
            held += write(&writer, &[b'.'; PIECE]).unwrap();
        }
        (reader, writer, held)
    }

    fn read(reader: &mut PipeReader, length: usize) -> String {
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_reader_that_stands_still_is_awaited_once_and_told_what_it_missed() {
        let (mut reader, writer, held) = full();
        let mut state = State::new(Duration::from_millis(200));
        let begin = Instant::now();
        state.put(&writer, "one\n", notice);
        assert!(begin.elapsed() >= state.patience);
        for _ in 0..1000 {
            state.put(&writer, "more\n", notice);
        }
        assert!(
            begin.elapsed() < 3 * state.patience,
            "{:?}",
            begin.elapsed()
        );
        read(&mut reader, held);
        state.put(&writer, "again\n", notice);
        state.put(&writer, "and again\n", notice);
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "1001 lost\nagain\nand again\n");
    }

    #[test]
    fn a_line_that_was_cut_off_ends_before_the_next() {
        let (mut reader, writer, held) = full();
        read(&mut reader, PIECE);
        let mut state = State::new(Duration::ZERO);
        let long = format!("{}\n", "x".repeat(2 * PIECE));
        state.put(&writer, &long, notice);
        assert_eq!((state.lost, state.torn), (1, true));
        state.put(&writer, "next\n", notice);
        assert_eq!((state.lost, state.torn), (2, true));
        read(&mut reader, held - PIECE);
        assert_eq!(read(&mut reader, PIECE), "x".repeat(PIECE));
        state.put(&writer, "next\n", notice);
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "\n2 lost\nnext\n");
    }

    #[test]
    fn a_reader_that_is_gone_costs_nothing() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut state = State::new(Duration::from_mins(1));
        state.put(&writer, "line\n", notice);
        assert_eq!((state.stalled, state.lost), (false, 0));
    }

    #[test]
    fn a_long_line_arrives_whole() {
        let (mut reader, writer) = pipe().unwrap();
        let long = format!("{}\n", "y".repeat(300_000));
        let expect = long.clone();
        let writing = std::thread::spawn(move || {
            let mut state = State::new(Duration::from_mins(1));
            state.put(&writer, &long, notice);
            state.lost
        });
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert!(all == expect);
        assert_eq!(writing.join().unwrap(), 0);
    }
}
