//! A workload that talks mutual TLS with its X.509-SVID, and with nobody but the peer that it is told of.

mod call;
mod listen;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use spiffe::{SpiffeId, X509Source};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of a message, at most.
const MESSAGE: u64 = 1024;

/// Talks mutual TLS with the X.509-SVID that the SPIFFE Workload API gives.
#[derive(Debug, Parser)]
#[command(name = "mutual-tls", version)]
struct Arguments {
    /// The Workload API, as in unix:///run/spire/agent/public/api.sock.
    #[arg(
        long,
        env = "SPIFFE_ENDPOINT_SOCKET",
        value_name = "URI",
        global = true
    )]
    socket: Option<String>,

    /// Seconds to wait for an identity: the agent learns of a new registration within a few.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", global = true)]
    timeout: u64,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Waits for the peer and answers it, again and again.
    Listen {
        /// Where to listen; port 0 takes a free one, which is printed.
        #[arg(long, default_value = "127.0.0.1:0")]
        address: SocketAddr,

        /// The one SPIFFE ID that may call.
        #[arg(long, value_name = "SPIFFE_ID")]
        peer: SpiffeId,
    },
    /// Calls the peer once and prints its answer.
    Call {
        /// Where the peer listens.
        address: SocketAddr,

        /// The SPIFFE ID that must answer there.
        #[arg(long, value_name = "SPIFFE_ID")]
        peer: SpiffeId,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mutual-tls: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let limit = Duration::from_secs(arguments.timeout);
    let Some(socket) = arguments.socket else {
        bail!("no Workload API: --socket or SPIFFE_ENDPOINT_SOCKET says where it is");
    };
    let source = identity(&socket, limit).await?;
    let own = source.svid()?.spiffe_id().clone();
    match arguments.command {
        Command::Listen { address, peer } => {
            listen::serve(source, &own, address, peer, &mut io::stdout()).await
        }
        Command::Call { address, peer } => {
            call::once(source, &own, address, peer, &mut io::stdout()).await
        }
    }
}

/// Waits for the first X.509-SVID; the source follows its rotations from there on.
async fn identity(socket: &str, limit: Duration) -> Result<X509Source> {
    X509Source::builder()
        .endpoint(socket)
        .initial_sync_timeout(limit)
        .build()
        .await
        .with_context(|| format!("no X.509-SVID from {socket}"))
}

/// Reads what the peer says until it is done, as text for a terminal.
async fn message(from: impl AsyncRead + Unpin) -> Result<String> {
    let mut bytes = Vec::new();
    from.take(MESSAGE).read_to_end(&mut bytes).await?;
    let text = String::from_utf8(bytes).context("the message is not UTF-8")?;
    Ok(text.trim_end().escape_debug().to_string())
}
