//! Tests of the harness itself: each real part starts, answers and ends.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

mod harness_commands;
mod harness_resource_manager;
mod harness_secrets;
mod harness_spire;
mod harness_stp;
mod harness_swtpm;

use std::time::Duration;

/// Far more than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
