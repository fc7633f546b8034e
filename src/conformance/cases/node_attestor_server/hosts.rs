//! What the host adds to an attestation, and what it offers.

use crate::{
    attestation::verdict,
    case::{Stop, failed, hold},
    host::{Broker, Host},
    role::Role,
    server::Reply,
    status::told,
    trial::Trial,
};

/// Both are set by who connects, or by whoever stands between.
const HOSTILE: [(&str, &str); 2] = [
    ("x-untrusted-forwarded-host", "admin.example.org\\u{202e}"),
    ("x-forwarded-client-ip", "not an address"),
];

pub(super) async fn headers_decide_nothing(trial: &mut Trial) -> Result<(), Stop> {
    with_headers(trial, &HOSTILE).await
}

pub(super) async fn headers_may_be_absent(trial: &mut Trial) -> Result<(), Stop> {
    let none = [
        ("x-untrusted-forwarded-host", ""),
        ("x-forwarded-client-ip", ""),
    ];
    with_headers(trial, &none).await?;
    with_headers(trial, &[]).await
}

async fn with_headers(trial: &mut Trial, headers: &[(&'static str, &str)]) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let plain = trial.attest(&server).await?.attributes;
    let opened = server.attest(headers).await;
    let mut exchange = opened.map_err(|status| failed(told(&status), "the stream is opened"))?;
    let mut agent = trial.agent_part().await?;
    exchange.payload(&agent.payload().await?).await;
    let attributes = verdict(&mut exchange, &mut agent).await?;
    hold(
        attributes.spiffe_id == plain.spiffe_id,
        || format!("{attributes:?}"),
        format!("the same agent as without these headers: {plain:?}"),
    )
}

/// Who lets nobody attest twice asks the host; who lets everybody does not mind.
pub(super) async fn an_agent_that_is_known(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let first = trial.attest(&server).await?.attributes;
    server.unload().await;
    let text = trial.good_text(Role::Server).await?;
    let host = Host::new().agent(first.spiffe_id.clone());
    let server = trial
        .load_with(&host, &trial.subject_of(Role::Server)?)
        .await?;
    trial.configure(&server, &text).await?;
    let mut exchange = trial.open(&server).await?;
    let mut agent = trial.agent_part().await?;
    exchange.payload(&agent.payload().await?).await;
    let mut end = exchange.reply().await;
    while let Ok(Reply::Challenge(challenge)) = &end {
        exchange.respond(&agent.answer(challenge).await?).await;
        end = exchange.reply().await;
    }
    let right = if first.can_reattest {
        "a verdict: it said that this agent may attest again"
    } else {
        "PERMISSION_DENIED: it said that this agent may not attest again"
    };
    let is_right = match &end {
        Ok(Reply::Attributes(_)) => first.can_reattest,
        Err(status) => !first.can_reattest && status.code() == plugin::Code::PermissionDenied,
        Ok(_) => false,
    };
    hold(is_right, || format!("{end:?}"), right)
}

/// A host may offer its services later than promised: nothing of an attestation may wait for metrics.
pub(super) async fn nothing_but_the_needed_services(trial: &mut Trial) -> Result<(), Stop> {
    let text = trial.good_text(Role::Server).await?;
    let host = Host::new().broker(Broker::Silent);
    let server = trial
        .load_with(&host, &trial.subject_of(Role::Server)?)
        .await?;
    trial.configure(&server, &text).await?;
    let mut exchange = trial.open(&server).await?;
    exchange.payload(b"conformance").await;
    let reply = tokio::time::timeout(crate::trial::PATIENCE, exchange.reply()).await;
    hold(reply.is_ok(), || "nothing".to_owned(), "an answer")
}
