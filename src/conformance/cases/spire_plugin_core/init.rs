//! Init and Deinit.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    case::{Stop, failed, hold},
    host::{Broker, Host, NotLoaded},
    role::Role,
    status::told,
    trial::{CONFIG, Trial},
};

pub(super) async fn names_its_service(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.load().await?;
    let due = trial.role().service();
    hold(
        loaded.services().iter().any(|name| name == due),
        || format!("{:?}", loaded.services()),
        due,
    )
}

pub(super) async fn names_config(trial: &mut Trial) -> Result<(), Stop> {
    let is_configured = !trial.plugin(trial.role())?.good.is_empty();
    let loaded = trial.load().await?;
    hold(
        !is_configured || loaded.services().iter().any(|name| name == CONFIG),
        || format!("{:?}", loaded.services()),
        format!("{CONFIG} too, since there is a configuration"),
    )
}

pub(super) async fn names_nothing_else(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.load().await?;
    let due = [trial.role().service(), CONFIG];
    let other: Vec<_> = loaded
        .services()
        .iter()
        .filter(|name| !due.contains(&name.as_str()))
        .collect();
    hold(
        other.is_empty(),
        || format!("{other:?}"),
        "services that SPIRE loads from here, and no others",
    )
}

/// Init and the address of the host's services travel on different streams.
pub(super) async fn waits_for_no_host_service(trial: &mut Trial) -> Result<(), Stop> {
    let host = Host::new().broker(Broker::Silent);
    let subject = trial.subject()?;
    let loading = timeout(Duration::from_secs(10), host.load(&subject)).await;
    match loading {
        Err(_elapsed) => Err(failed("nothing within 10 s", "an answer to Init")),
        Ok(Err(error)) => Err(failed(error.to_string(), "an answer to Init")),
        Ok(Ok(_)) => Ok(()),
    }
}

pub(super) async fn answers_without_host_services(trial: &mut Trial) -> Result<(), Stop> {
    let host = Host::new().broker(Broker::Absent);
    let subject = trial.subject()?;
    let loading = timeout(Duration::from_secs(10), host.load(&subject)).await;
    match loading {
        Err(_elapsed) => Err(failed("nothing within 10 s", "an answer to Init")),
        // A plugin that needs a service says so.
        Ok(Ok(_) | Err(NotLoaded::Init(_))) => Ok(()),
        Ok(Err(error)) => Err(failed(error.to_string(), "OK, or a status")),
    }
}

pub(super) async fn minds_no_unknown_service(trial: &mut Trial) -> Result<(), Stop> {
    let host = Host::new().offering("spire.hostservice.common.later.v1.Later");
    let loaded = trial.load_with(&host, &trial.subject()?).await?;
    hold(
        !loaded.services().is_empty(),
        || "no services".to_owned(),
        "as with known services",
    )
}

/// SPIRE's own services are not ready before all plugins are configured.
pub(super) async fn calls_nobody(trial: &mut Trial) -> Result<(), Stop> {
    let loaded = trial.configured().await?;
    let calls = loaded.host_calls();
    hold(
        calls.is_empty(),
        || format!("{calls:?}"),
        "no call of the host before an attestation",
    )
}

pub(super) async fn ends_well(trial: &mut Trial) -> Result<(), Stop> {
    let unloaded = trial.configured().await?.unload().await;
    unloaded.deinit.or_else(|status| tolerated(&status))
}

pub(super) async fn ends_well_unconfigured(trial: &mut Trial) -> Result<(), Stop> {
    let unloaded = trial.load().await?.unload().await;
    unloaded.deinit.or_else(|status| tolerated(&status))?;
    hold(
        unloaded.exit.is_some(),
        || "it runs 2 s after Shutdown".to_owned(),
        "it ends though it was never configured",
    )
}

fn tolerated(status: &plugin::Status) -> Result<(), Stop> {
    let tolerated = status.code() == plugin::Code::Unimplemented;
    hold(
        tolerated,
        || told(status),
        "OK within 10 s, or UNIMPLEMENTED",
    )
}

/// Calls what the plugin is there for, with a request that is none.
pub(super) async fn poke(
    trial: &Trial,
    loaded: &crate::loaded::Loaded,
) -> Result<(), plugin::Status> {
    match trial.role() {
        Role::Server => {
            let mut exchange = loaded.attest(&[]).await?;
            exchange.payload(b"conformance").await;
            exchange.reply().await.map(drop)
        }
        Role::Agent => loaded.aid().await?.payload().await.map(drop),
        Role::KeyManager => loaded.key_manager().public_keys().await.map(drop),
        Role::CredentialComposer => {
            let id = "spiffe://example.org/spire/agent/conformance/1";
            let attributes = plugin::proto::credential_composer::X509svidAttributes::default();
            let composer = loaded.composer();
            composer
                .compose_agent_x509_svid(id, b"", &attributes)
                .await
                .map(drop)
        }
    }
}
