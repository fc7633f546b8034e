//! The KeyManager with fault points: tests make it crash where no kill would hit it.

use std::process::ExitCode;

use agent::KeyManager;
use plugin::{Launch, Role, Service};

fn main() -> ExitCode {
    let launch = match Launch::from_environment(&[Role::KeyManager]) {
        Ok(launch) => launch,
        Err(refusal) => return refusal.report(),
    };
    plugin::log::install();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match (runtime, KeyManager::new()) {
        (Ok(runtime), Ok(keys)) => runtime.block_on(Service::new(keys).serve_key_manager(launch)),
        _ => ExitCode::FAILURE,
    }
}
