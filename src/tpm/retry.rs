//! Sending a command again while the TPM asks for it.

use std::thread;
use std::time::Instant;

use crate::{Error, limits};

/// Attempts until the outcome is final, or the next pause would pass the deadline: then the TPM's
/// last answer is the error.
pub(crate) fn until<T>(
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut pause = limits::FIRST_PAUSE;
    loop {
        match attempt() {
            Err(Error::Tpm { code, .. })
                if code.is_transient() && Instant::now() + pause < deadline =>
            {
                thread::sleep(pause);
                pause = limits::LAST_PAUSE.min(pause * 2);
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{CommandCode, ResponseCode};

    fn refused(code: u32) -> Error {
        Error::Tpm {
            command: CommandCode::QUOTE,
            code: ResponseCode(code),
        }
    }

    #[test]
    fn transient_answers_are_waited_out() {
        let started = Instant::now();
        let mut codes = [0x922, 0x90A, 0x908].into_iter();
        let outcome = until(started + Duration::from_mins(1), || match codes.next() {
            Some(code) => Err(refused(code)),
            None => Ok(7),
        });
        assert_eq!(outcome.unwrap(), 7);
        // 50, 100 and 200 ms.
        assert!(started.elapsed() >= Duration::from_millis(350));
    }

    #[test]
    fn the_deadline_ends_it_with_the_last_answer() {
        let started = Instant::now();
        let mut attempts = 0;
        let outcome: Result<(), _> = until(started + Duration::from_millis(200), || {
            attempts += 1;
            Err(refused(0x922))
        });
        assert_eq!(outcome.unwrap_err().code(), Some(ResponseCode::RETRY));
        assert_eq!(attempts, 3);
        assert!(started.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn final_answers_are_not_repeated() {
        for code in [0x921, 0x98E, 0x101] {
            let mut attempts = 0;
            let outcome: Result<(), _> = until(Instant::now() + Duration::from_secs(9), || {
                attempts += 1;
                Err(refused(code))
            });
            assert!(outcome.is_err());
            assert_eq!(attempts, 1, "{code:#x}");
        }
    }
}
