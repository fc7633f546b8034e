//! What SPIRE's plugin contract asks of both binaries as processes.

use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use conformance::{Broker, Loaded, Side, Subject};
use plugin::Code;
use tempfile::TempDir;
use tests::{Signal, binary};

use crate::process_grants::machine;
use crate::process_plugin::{
    LIMIT, Records, TRUST_DOMAIN, attest, challenge, configured, host, load, name, unload,
    well_formed,
};

const SIDES: [Side; 2] = [Side::Agent, Side::Server];

/// A good configuration; the agent's names a TPM that is not there, which is no fault of the text.
fn good(side: Side, records: &Records) -> String {
    match side {
        Side::Agent => "device = \"unix:/does/not/exist\"".to_owned(),
        Side::Server => records.enrolment(""),
    }
}

/// The cookie of a role that only the other binary has.
fn other_side_s(side: Side) -> (&'static str, &'static str) {
    match side {
        Side::Agent => ("CredentialComposer", "CredentialComposer"),
        Side::Server => ("KeyManager", "KeyManager"),
    }
}

#[test]
fn without_a_host_there_is_one_sentence_and_no_service() {
    for side in SIDES {
        for cookie in [None, Some(("NodeAttestor", "no")), Some(other_side_s(side))] {
            let mut command = Command::new(binary(name(side)));
            command
                .env_remove("NodeAttestor")
                .envs(cookie)
                .stdin(Stdio::null());
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{side:?} {cookie:?}");
            assert_eq!(output.stdout, b"");
            let said = String::from_utf8(output.stderr).unwrap();
            let expected = match side {
                Side::Agent => "This program is a SPIRE plugin (NodeAttestor, KeyManager).",
                Side::Server => {
                    "This program is a SPIRE plugin (NodeAttestor, CredentialComposer)."
                }
            };
            assert!(
                said.starts_with(expected) && said.lines().count() == 1,
                "{said}"
            );
        }
    }
}

#[test]
fn the_version_goes_to_stderr() {
    for side in SIDES {
        let output = Command::new(binary(name(side)))
            .arg("--version")
            .output()
            .unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"");
        let said = String::from_utf8(output.stderr).unwrap();
        let version = said.trim().strip_prefix(name(side)).unwrap().trim();
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
    }
}

#[tokio::test]
async fn services_and_health_are_as_the_host_expects() {
    for side in SIDES {
        let plugin = load(side).await;
        let service = match side {
            Side::Agent => "spire.plugin.agent.nodeattestor.v1.NodeAttestor",
            Side::Server => "spire.plugin.server.nodeattestor.v1.NodeAttestor",
        };
        assert!(
            plugin.services().iter().any(|found| found == service),
            "{:?}",
            plugin.services()
        );
        let config = "spire.service.common.config.v1.Config";
        assert!(
            plugin.services().iter().any(|found| found == config),
            "{:?}",
            plugin.services()
        );
        assert_eq!(plugin.health().await.unwrap(), 1);
        unload(plugin).await;
    }
}

#[tokio::test]
async fn nothing_is_attested_before_configure() {
    let server = load(Side::Server).await;
    let status = attest(&server, &mut machine()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "not configured");
    unload(server).await;
    let agent = load(Side::Agent).await;
    let status = match agent.aid().await {
        Ok(mut exchange) => exchange.payload().await.unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "not configured");
    unload(agent).await;
}

#[tokio::test]
async fn an_interrupt_is_for_the_host() {
    let records = Records::new();
    for side in SIDES {
        let mut plugin = configured(side, &good(side, &records)).await;
        plugin.process().signal(Signal::INT).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(plugin.process().runs(), "{side:?}");
        assert_eq!(plugin.health().await.unwrap(), 1);
        unload(plugin).await;
    }
}

#[tokio::test]
async fn it_works_for_a_host_without_services() {
    let records = Records::new();
    for broker in [Broker::Absent, Broker::Silent] {
        let subject = Subject::node_attestor(binary(name(Side::Server)), Side::Server);
        let server = host().broker(broker).load(&subject).await.unwrap();
        server
            .configure(Some(TRUST_DOMAIN), &records.enrolment(""))
            .await
            .unwrap();
        let mut prover = machine();
        records.enrol(prover.tpm.ek_hash());
        attest(&server, &mut prover).await.unwrap();
        unload(server).await;
    }
}

/// Leaves within the two seconds of the host.
async fn leaves(plugin: Loaded, what: &str) {
    let unloaded = plugin.unload().await;
    assert_eq!(
        unloaded.deinit.as_ref().err().map(ToString::to_string),
        None,
        "{what}"
    );
    let exit = unloaded
        .exit
        .unwrap_or_else(|| panic!("{what}: still there"));
    assert!(exit.success(), "{what}: {exit}");
    assert!(
        unloaded.took < Duration::from_secs(2),
        "{what}: {:?}",
        unloaded.took
    );
    well_formed(&unloaded);
}

#[tokio::test]
async fn it_leaves_in_time_whatever_it_is_doing() {
    let records = Records::new();
    for side in SIDES {
        leaves(load(side).await, "not configured").await;
        leaves(configured(side, &good(side, &records)).await, "idle").await;
    }
    let server = configured(Side::Server, &records.enrolment("")).await;
    let mut waiting = server.attest(&[]).await.unwrap();
    waiting.payload(&machine().payload().unwrap()).await;
    challenge(&mut waiting).await.unwrap();
    leaves(server, "server with an open attestation").await;

    // A TPM that takes commands and never answers.
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("tpm");
    let listener = UnixListener::bind(&socket).unwrap();
    let text = format!(
        "device = \"unix:{}\"\ntpm_timeout = \"10m\"",
        socket.display()
    );
    let agent = configured(Side::Agent, &text).await;
    let _connection = listener.accept().unwrap();
    let _waiting = agent.aid().await.unwrap();
    leaves(agent, "agent with a hung TPM").await;
}

#[tokio::test]
async fn it_ends_with_its_host() {
    for side in SIDES {
        let mut process = load(side).await.hang_up();
        let exit = process.exit_within(LIMIT).await;
        assert!(exit.is_some(), "{side:?}");
    }
}

#[tokio::test]
async fn a_hung_tpm_ends_at_the_deadline_of_the_configuration() {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("tpm");
    let _listener = UnixListener::bind(&socket).unwrap();
    let text = format!(
        "device = \"unix:{}\"\ntpm_timeout = \"300ms\"",
        socket.display()
    );
    let agent = configured(Side::Agent, &text).await;
    let started = Instant::now();
    let status = agent.aid().await.unwrap().payload().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().starts_with("tpm_failed: "), "{status}");
    assert!(
        status.message().contains("look who has the device open"),
        "{status}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
    unload(agent).await;
}
