//! A thread that owns a TPM and does one thing after the other with it, and the queue in front of it.

use std::fmt;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::failure::Failure;

/// Hands work to the thread, whose own state is an `S`. The thread ends when this is dropped.
pub(crate) struct TpmThread<S>(SyncSender<Work<S>>);

type Work<S> = Box<dyn FnOnce(&mut S) + Send>;

/// What was made of an open TPM, and the settings it was made with.
pub(crate) struct Opened<C, T> {
    settings: C,
    made: T,
}

impl<S: Default + 'static> TpmThread<S> {
    /// Starts the thread, for which at most `queue` pieces of work may wait.
    pub(crate) fn start(queue: usize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Work<S>>(queue);
        thread::Builder::new()
            .name("tpm".to_owned())
            .spawn(move || {
                let mut state = S::default();
                while let Ok(work) = receiver.recv() {
                    work(&mut state);
                }
            })?;
        Ok(Self(sender))
    }

    /// Has the thread do something when it gets to it; not at all when the queue is full.
    pub(crate) fn tell(&self, work: impl FnOnce(&mut S) + Send + 'static) {
        self.0.try_send(Box::new(work)).ok();
    }

    /// Has the thread find an answer. A caller that is gone by then wants none, and the TPM no work.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        let work = move |state: &mut S| {
            if !reply.is_closed() {
                reply.send(work(state)).ok();
            }
        };
        self.0
            .try_send(Box::new(work))
            .map_err(|refused| match refused {
                TrySendError::Full(_) => Failure::Busy,
                TrySendError::Disconnected(_) => Failure::NoWorker,
            })?;
        answer.await.map_err(|_gone| Failure::NoWorker)?
    }

    /// Has the thread drop what it holds, so that no key stays in a TPM which frees nothing by itself. A TPM that does
    /// not answer keeps nobody from ending.
    pub(crate) async fn let_go(&self) {
        let dropped = self.ask(|state| {
            *state = S::default();
            Ok(())
        });
        timeout(LETTING_GO, dropped).await.ok();
    }
}

/// Less than the host gives a plugin to end.
const LETTING_GO: Duration = Duration::from_millis(500);

impl<S> fmt::Debug for TpmThread<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TpmThread")
    }
}

impl<C: PartialEq + Clone, T> Opened<C, T> {
    /// What was made with these settings; made now where that has not happened yet, or with others.
    pub(crate) fn with<'a>(
        opened: &'a mut Option<Self>,
        settings: &C,
        make: impl FnOnce() -> Result<T, tpm::Error>,
    ) -> Result<&'a mut T, tpm::Error> {
        let current = match opened.take() {
            Some(current) if current.settings == *settings => current,
            other => {
                // A raw device and a software TPM take one connection at a time.
                drop(other);
                Self {
                    made: make()?,
                    settings: settings.clone(),
                }
            }
        };
        Ok(&mut opened.insert(current).made)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn more_than_may_wait_are_turned_away() {
        let thread = TpmThread::<u32>::start(1).unwrap();
        let ((started, starts), (go_on, goes_on)) = (channel(), channel::<()>());
        thread.tell(move |count| {
            started.send(()).unwrap();
            goes_on.recv().unwrap();
            *count += 1;
        });
        starts.recv().unwrap();
        thread.tell(|count| *count += 10);
        let refused = wait(thread.ask(|count| Ok(*count)));
        assert!(matches!(refused, Err(Failure::Busy)), "{refused:?}");
        // Lost, and nobody is told.
        thread.tell(|count| *count += 100);
        go_on.send(()).unwrap();
        let waiting = Duration::from_mins(1);
        let answer = async {
            loop {
                match thread.ask(|count| Ok(*count)).await {
                    Err(Failure::Busy) => tokio::task::yield_now().await,
                    answer => return answer,
                }
            }
        };
        let answer = wait(async { timeout(waiting, answer).await.unwrap() });
        assert_eq!(answer.unwrap(), 11);
    }

    #[test]
    fn nothing_is_done_for_a_caller_that_is_gone() {
        let thread = TpmThread::<u32>::start(4).unwrap();
        let (go_on, goes_on) = channel::<()>();
        thread.tell(move |_| goes_on.recv().unwrap());
        let given_up = wait(async {
            let asking = thread.ask(|count| {
                *count += 1;
                Ok(())
            });
            timeout(Duration::from_millis(50), asking).await
        });
        assert!(given_up.is_err(), "the thread is busy");
        go_on.send(()).unwrap();
        assert_eq!(wait(thread.ask(|count| Ok(*count))).unwrap(), 0);
    }

    #[test]
    fn a_thread_that_has_ended_is_told() {
        let thread = TpmThread::<u32>::start(4).unwrap();
        thread.tell(|_| std::panic::resume_unwind(Box::new(())));
        let lost = wait(thread.ask(|count| Ok(*count)));
        assert!(matches!(lost, Err(Failure::NoWorker)), "{lost:?}");
    }

    #[test]
    fn what_is_held_is_let_go_of_and_a_thread_that_hangs_is_not_awaited() {
        let thread = TpmThread::<Vec<Arc<()>>>::start(4).unwrap();
        let (held, kept) = (Arc::new(()), Arc::new(()));
        let given = Arc::clone(&held);
        thread.tell(move |state| state.push(given));
        wait(thread.let_go());
        assert_eq!(Arc::strong_count(&held), 1);
        let (go_on, goes_on) = channel::<()>();
        let given = Arc::clone(&kept);
        thread.tell(move |state| {
            state.push(given);
            goes_on.recv().unwrap();
        });
        wait(thread.let_go());
        assert_eq!(Arc::strong_count(&kept), 2, "it did not wait");
        go_on.send(()).unwrap();
    }

    #[test]
    fn other_settings_open_anew_and_the_same_do_not() {
        let mut opened = None;
        for (settings, made, expect) in [(1, 10, 10), (1, 20, 10), (2, 30, 30), (1, 40, 40)] {
            let current = Opened::with(&mut opened, &settings, || Ok(made)).unwrap();
            assert_eq!(*current, expect);
        }
        let failed = Opened::with(&mut opened, &3, || Err(tpm::Error::Tpm12));
        assert!(failed.is_err() && opened.is_none());
    }
}
