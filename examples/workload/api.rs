//! The Workload API: the questions that this workload asks, and answers that say what to do.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use spiffe::{Certificate, JwtSvid, WorkloadApiClient, WorkloadApiError, X509Context, X509Svid};
use tokio::time::{Instant, sleep, timeout_at};

const PAUSE: Duration = Duration::from_millis(500);

/// Connects and waits until this workload has an X.509-SVID.
///
/// # Errors
/// The last refusal, once `limit` has passed; a malformed address at once.
pub(crate) async fn wait_for_identity(
    socket: &str,
    limit: Duration,
) -> Result<(WorkloadApiClient, X509Context)> {
    let deadline = Instant::now() + limit;
    loop {
        let answer = match timeout_at(deadline, identity(socket)).await {
            Ok(answer) => answer,
            Err(_elapsed) => return Err(anyhow!("no answer from {socket} within {limit:?}")),
        };
        match answer {
            Ok(got) => return Ok(got),
            Err(error @ WorkloadApiError::Endpoint(_)) => {
                return Err(error).with_context(|| format!("{socket} is no Workload API address"));
            }
            Err(error) if Instant::now() + PAUSE >= deadline => {
                return Err(explained(error, socket));
            }
            Err(_not_yet) => sleep(PAUSE).await,
        }
    }
}

/// Fetches a JWT-SVID and has the agent check its signature, audience and lifetime.
pub(crate) async fn jwt_svid(client: &WorkloadApiClient, audience: &str) -> Result<JwtSvid> {
    let svid = client
        .fetch_jwt_svid([audience], None)
        .await
        .context("cannot fetch a JWT-SVID")?;
    client
        .validate_jwt_token(audience, svid.token())
        .await
        .context("the JWT-SVID does not verify")
}

/// The identity to use where an agent gives several.
pub(crate) fn default_svid(context: &X509Context) -> Result<&X509Svid> {
    let svid = context.default_svid().context("no X.509-SVID was issued")?;
    Ok(svid)
}

/// The certificates that the trust domain of `svid` trusts.
pub(crate) fn authorities<'a>(
    context: &'a X509Context,
    svid: &X509Svid,
) -> Result<&'a [Certificate]> {
    let domain = svid.spiffe_id().trust_domain();
    let bundle = context
        .bundle_set()
        .get_ref(domain)
        .with_context(|| format!("no trust bundle of {domain} was delivered"))?;
    Ok(bundle.authorities())
}

async fn identity(socket: &str) -> Result<(WorkloadApiClient, X509Context), WorkloadApiError> {
    let client = WorkloadApiClient::connect_to(socket).await?;
    let context = client.fetch_x509_context().await?;
    Ok((client, context))
}

fn explained(error: WorkloadApiError, socket: &str) -> anyhow::Error {
    let hint = match error {
        WorkloadApiError::NoIdentityIssued | WorkloadApiError::PermissionDenied(_) => {
            "no registration entry matches this process: compare its selectors with `spire-server entry show`"
                .to_owned()
        }
        _ => format!("the Workload API at {socket} does not answer: does the agent run there?"),
    };
    anyhow::Error::new(error).context(hint)
}
