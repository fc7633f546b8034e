//! The side that waits: answers the one peer that may call, and prints whom it met and whom it refused.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use spiffe::{SpiffeId, X509Source};
use spiffe_rustls::{LocalOnly, authorizer, mtls_server};
use spiffe_rustls_tokio::TlsAcceptor;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// What one call may take.
const CALL_TIME: Duration = Duration::from_secs(10);

/// Serves one call after the other, for ever.
pub(crate) async fn serve(
    source: X509Source,
    own: &SpiffeId,
    address: SocketAddr,
    peer: SpiffeId,
    out: &mut impl Write,
) -> Result<()> {
    let config = mtls_server(source)
        .authorize(authorizer::exact([peer])?)
        .trust_domain_policy(LocalOnly(own.trust_domain().clone()))
        .build()?;
    let acceptor = TlsAcceptor::new(Arc::new(config));
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    writeln!(out, "{own} listens on {}", listener.local_addr()?)?;
    out.flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        match timeout(CALL_TIME, answer(&acceptor, stream, own)).await {
            Ok(Ok((caller, said))) => writeln!(out, "{caller} says: {said}")?,
            Ok(Err(error)) => writeln!(out, "refused a call: {}", error.root_cause())?,
            Err(_elapsed) => writeln!(out, "gave a call up after {CALL_TIME:?}")?,
        }
        out.flush()?;
    }
}

async fn answer(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    own: &SpiffeId,
) -> Result<(SpiffeId, String)> {
    let (mut stream, identity) = acceptor.accept(stream).await?;
    let caller = identity.require_spiffe_id()?.clone();
    let said = crate::message(&mut stream).await?;
    let reply = format!("{own} has heard {caller}\n");
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await?;
    Ok((caller, said))
}
