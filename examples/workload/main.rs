//! A workload: fetches its X.509-SVID and a JWT-SVID from the agent on this machine, checks them, and prints what it got.

mod api;
mod chain;
mod print;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use spiffe::{X509Context, X509Source};

/// Fetches this workload's identities from the SPIFFE Workload API, checks and prints them.
#[derive(Debug, Parser)]
#[command(name = "workload", version)]
struct Arguments {
    /// The Workload API, as in unix:///run/spire/agent/public/api.sock.
    #[arg(long, env = "SPIFFE_ENDPOINT_SOCKET", value_name = "URI")]
    socket: String,

    /// Who the JWT-SVID is for.
    #[arg(long, default_value = "example-audience")]
    audience: String,

    /// Seconds to wait for an identity: the agent learns of a new registration within a few.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    timeout: u64,

    /// Stay, and print each X.509-SVID that replaces the last.
    #[arg(long)]
    watch: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse(), &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("workload: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let timeout = Duration::from_secs(arguments.timeout);
    let (client, context) = api::wait_for_identity(&arguments.socket, timeout).await?;
    show(&context, out)?;
    let jwt = api::jwt_svid(&client, &arguments.audience).await?;
    print::jwt(&jwt, out)?;
    if arguments.watch {
        watch(&arguments.socket, timeout, &context, out).await?;
    }
    Ok(())
}

/// Prints each new X.509-SVID; the source connects again by itself when the agent was away.
async fn watch(
    socket: &str,
    timeout: Duration,
    first: &X509Context,
    out: &mut impl Write,
) -> Result<()> {
    let source = X509Source::builder()
        .endpoint(socket)
        .initial_sync_timeout(timeout)
        .build()
        .await
        .context("cannot watch for rotations")?;
    let mut updates = source.updated();
    let mut shown = api::default_svid(first)?.leaf().clone();
    loop {
        let context = source.x509_context().context("the identity is gone")?;
        let current = api::default_svid(&context)?.leaf();
        // An update may bring nothing but another trust bundle.
        if *current != shown {
            show(&context, out)?;
            shown = current.clone();
        }
        updates
            .changed()
            .await
            .context("cannot watch for rotations")?;
    }
}

fn show(context: &X509Context, out: &mut impl Write) -> Result<()> {
    let svid = api::default_svid(context)?;
    let authorities = api::authorities(context, svid)?;
    let expiry = chain::verify(svid.cert_chain(), authorities, chain::now()?)
        .with_context(|| format!("the X.509-SVID of {} does not verify", svid.spiffe_id()))?;
    print::x509(svid, expiry, authorities.len(), out)
}
