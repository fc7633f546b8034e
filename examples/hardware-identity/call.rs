//! The side that calls: says one thing to the one peer that it wants to reach, and prints the answer.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustls_pki_types::ServerName;
use spiffe::{SpiffeId, X509Source};
use spiffe_rustls::{LocalOnly, authorizer, mtls_client};
use spiffe_rustls_tokio::TlsConnector;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

/// What the call may take.
const CALL_TIME: Duration = Duration::from_secs(10);

/// Calls the peer at `address`.
pub(crate) async fn once(
    source: X509Source,
    own: &SpiffeId,
    address: SocketAddr,
    peer: SpiffeId,
    out: &mut impl Write,
) -> Result<()> {
    let config = mtls_client(source)
        .authorize(authorizer::exact([peer])?)
        .trust_domain_policy(LocalOnly(own.trust_domain().clone()))
        .build()?;
    let connector = TlsConnector::new(Arc::new(config));
    // Who answers is told by the SPIFFE ID in its certificate, not by a name of a host.
    let name = ServerName::from(address.ip());
    let talk = async {
        let (mut stream, identity) = connector.connect_addr(address, name).await?;
        let answerer = identity.require_spiffe_id()?.clone();
        stream
            .write_all(format!("greetings from {own}\n").as_bytes())
            .await?;
        stream.shutdown().await?;
        anyhow::Ok((answerer, crate::message(&mut stream).await?))
    };
    let (answerer, said) = timeout(CALL_TIME, talk)
        .await
        .with_context(|| format!("no answer from {address} within {CALL_TIME:?}"))?
        .map_err(|error| anyhow!("no talk with {address}: {}", error.root_cause()))?;
    writeln!(out, "{answerer} answers: {said}")?;
    Ok(out.flush()?)
}
