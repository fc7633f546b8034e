//! The binary `tpm-attestor-agent`: serves the role that SPIRE Agent asks for.

use std::process::ExitCode;

use agent::Attestor;
use plugin::{Launch, Role, Service};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        eprintln!("tpm-attestor-agent {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let launch = match Launch::from_environment(&[Role::NodeAttestor]) {
        Ok(launch) => launch,
        Err(refusal) => return refusal.report(),
    };
    plugin::log::install();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime.and_then(|runtime| Ok((runtime, Attestor::new()?))) {
        Ok((runtime, attestor)) => runtime.block_on(Service::new(attestor).serve_agent(launch)),
        Err(error) => {
            plugin::log::error(&format!("cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}
