//! When the process ends: at the host's word, or when there is no host any more.

use std::{io, sync::Arc};

use rustix::process::{
    Pid, Signal, getppid, parent_process_death_signal, set_parent_process_death_signal,
};
use tokio::{
    signal::unix::{self, SignalKind},
    sync::Notify,
    time::{self, Instant},
};

use crate::{
    broker::HostServices,
    limits::{ORPHAN_WAIT, PARENT_POLL, TERM_WAIT},
};

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The host called Shutdown.
    Shutdown,
    /// The parent process is gone, or closed the connection without a word.
    HostGone,
    /// SIGTERM, and no Shutdown within the time given.
    Terminated,
}

/// The signals this process answers to, taken over from their defaults.
pub(crate) struct Signals {
    terminate: unix::Signal,
    parent: unix::Signal,
    /// Meant for the host, whose process group this is: received and thrown away.
    _ignored: [unix::Signal; 3],
}

impl Signals {
    pub(crate) fn take_over() -> io::Result<Self> {
        let on = unix::signal;
        let signals = Self {
            terminate: on(SignalKind::terminate())?,
            parent: on(SignalKind::hangup())?,
            _ignored: [
                on(SignalKind::interrupt())?,
                on(SignalKind::user_defined1())?,
                on(SignalKind::user_defined2())?,
            ],
        };
        // A wish of the host's own, SPIRE's SIGKILL, stays. Ours only makes us look: the kernel sends it when the
        // thread that started us ends, and that need not be the end of the process.
        if let Ok(None) = parent_process_death_signal() {
            set_parent_process_death_signal(Some(Signal::HUP))?;
        }
        Ok(signals)
    }
}

/// Waits for the end.
pub(crate) async fn end(
    mut signals: Signals,
    shutdown: Arc<Notify>,
    host: HostServices,
    parent: Option<Pid>,
) -> End {
    let mut poll = time::interval(PARENT_POLL);
    let abandoned = host.abandoned();
    tokio::pin!(abandoned);
    let mut connected = true;
    let mut last: Option<(Instant, End)> = None;
    loop {
        tokio::select! {
            () = shutdown.notified() => return End::Shutdown,
            _ = poll.tick() => {}
            _ = signals.parent.recv() => {}
            () = &mut abandoned, if connected => {
                connected = false;
                last = Some(earlier(last, (Instant::now() + ORPHAN_WAIT, End::HostGone)));
            }
            _ = signals.terminate.recv() => {
                last = Some(earlier(last, (Instant::now() + TERM_WAIT, End::Terminated)));
            }
            end = deadline(last) => return end,
        }
        if getppid() != parent {
            return End::HostGone;
        }
    }
}

fn earlier(one: Option<(Instant, End)>, other: (Instant, End)) -> (Instant, End) {
    match one {
        Some(one) if one.0 <= other.0 => one,
        _ => other,
    }
}

async fn deadline(last: Option<(Instant, End)>) -> End {
    match last {
        Some((at, end)) => {
            time::sleep_until(at).await;
            end
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpid, kill_process};

    use super::*;

    /// Signals go to the whole test process, so that one test takes them over and sends them.
    #[tokio::test(start_paused = true)]
    async fn ends() {
        let host = HostServices::default;
        let quiet = || Arc::new(Notify::new());
        let take_over = || Signals::take_over().unwrap();

        let shutdown = quiet();
        shutdown.notify_one();
        assert_eq!(
            end(take_over(), shutdown, host(), getppid()).await,
            End::Shutdown
        );

        let stranger = Some(getpid());
        assert_eq!(
            end(take_over(), quiet(), host(), stranger).await,
            End::HostGone
        );

        let signals = take_over();
        let began = Instant::now();
        kill_process(getpid(), Signal::TERM).unwrap();
        assert_eq!(
            end(signals, quiet(), host(), getppid()).await,
            End::Terminated
        );
        assert!(began.elapsed() >= TERM_WAIT);
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let now = Instant::now();
        let later = now + TERM_WAIT;
        assert_eq!(earlier(None, (now, End::HostGone)).1, End::HostGone);
        assert_eq!(
            earlier(Some((later, End::Terminated)), (now, End::HostGone)).1,
            End::HostGone
        );
        assert_eq!(
            earlier(Some((now, End::HostGone)), (later, End::Terminated)).1,
            End::HostGone
        );
    }
}
