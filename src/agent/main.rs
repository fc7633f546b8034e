//! The binary `tpm-attestor-agent`: serves the role that SPIRE Agent asks for.

use std::io;
use std::process::ExitCode;

use agent::{Attestor, KeyManager};
use plugin::{Launch, Role, Service};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        eprintln!("tpm-attestor-agent {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let launch = match Launch::from_environment(&[Role::NodeAttestor, Role::KeyManager]) {
        Ok(launch) => launch,
        Err(refusal) => return refusal.report(),
    };
    plugin::log::install();
    serve(launch).unwrap_or_else(|error| {
        plugin::log::error(&format!("cannot start: {error}"));
        ExitCode::FAILURE
    })
}

fn serve(launch: Launch) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(if launch.role() == Role::KeyManager {
        let service = Service::new(KeyManager::new()?);
        runtime.block_on(service.serve_key_manager(launch))
    } else {
        let service = Service::new(Attestor::new()?);
        runtime.block_on(service.serve_agent(launch))
    })
}
