//! Panics: caught per RPC, and reported as a log line.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{self, AssertUnwindSafe},
    pin::pin,
};

use tonic::Status;

use crate::log;

/// Runs `work`; a panic in it becomes INTERNAL and ends nothing else.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let mut work = pin!(work);
    poll_fn(
        |context| match panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(_reported_by_the_hook) => Err(internal()).into(),
        },
    )
    .await
}

/// What the host is told of a panic: nothing but that it was one.
pub(crate) fn internal() -> Status {
    Status::internal("internal error")
}

/// Replaces the default hook, whose plain text the host would log at debug level only.
pub(crate) fn report_as_log_lines() {
    panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map(|at| format!("{}:{}", at.file(), at.line()));
        log::panicked(
            message(info.payload()),
            place.as_deref().unwrap_or("unknown"),
        );
    }));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
