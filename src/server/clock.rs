//! The time of day: it dates what is written down and judges certificates; no deadline rests on it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch; a clock before it counts as the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    now_ms().div_euclid(1000)
}
