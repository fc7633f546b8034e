//! The binary `tpm-attestor-server`: serves the role that SPIRE Server asks for.

use std::process::ExitCode;

use dlmalloc::GlobalDlmalloc;
use plugin::{Launch, Limits, Role, Service};
use server::{Attestor, Composer};

/// The allocator of musl, with which this file is built for release, costs an attestation a third more.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        eprintln!("tpm-attestor-server {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let launch = match Launch::from_environment(&[Role::NodeAttestor, Role::CredentialComposer]) {
        Ok(launch) => launch,
        Err(refusal) => return refusal.report(),
    };
    plugin::log::install();
    // One thread for the streams: handing small work from thread to thread costs more than the work.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(launch)),
        Err(error) => {
            plugin::log::error(&format!("cannot start the runtime: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(launch: Launch) -> ExitCode {
    let metrics = launch.metrics();
    if launch.role() == Role::CredentialComposer {
        let composer = Service::new(Composer::new(metrics));
        return composer.serve_credential_composer(launch).await;
    }
    let limits = Limits {
        exchanges: server::config::MAX_STREAMS,
        message_bytes: server::config::MAX_MESSAGE,
        ..Limits::default()
    };
    let attestor = Service::new(Attestor::new(metrics)).limits(limits);
    attestor.serve_server(launch).await
}
