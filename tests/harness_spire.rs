//! Tests of SPIRE's server and agent as the harness runs them.

use std::fs;

use tests::{Agent, AgentOptions, Plugin, PluginData, Server, ServerOptions, Spire};

use crate::LIMIT;

/// A server, an agent that attested with a join token, and a workload's SVIDs.
fn attest_with_join_token(version: &str) {
    let spire = Spire::version(version);
    let server = Server::start(&spire, join_token_server());
    let options = AgentOptions {
        join_token: Some(server.join_token()),
        ..AgentOptions::default()
    };
    let mut agent = Agent::start(&spire, &server, &options);
    agent.ready(LIMIT);

    let attested = server.agents();
    assert_eq!(attested.len(), 1);
    assert_eq!(attested[0].attestation_type, "join_token");
    assert!(
        !attested[0].can_reattest && !attested[0].banned,
        "{attested:?}"
    );

    assert_eq!(agent.try_fetch_x509(), None);
    let user = format!("unix:uid:{}", rustix::process::getuid().as_raw());
    server.create_entry(&attested[0].id, "spiffe://example.org/workload", &[&user]);
    assert_eq!(agent.fetch_x509(LIMIT), ["spiffe://example.org/workload"]);
    assert_eq!(agent.fetch_jwt("audience", LIMIT).split('.').count(), 3);

    // A banned agent ends as soon as it hears of it.
    server.ban(&attested[0].id);
    assert!(server.agent(&attested[0].id).unwrap().banned);
    agent.wait_exit(LIMIT);

    // With its key in memory alone it attests again, and a join token works once.
    agent.restart();
    agent
        .process
        .log_contains("join token does not exist or has already been used", LIMIT);

    server.evict(&attested[0].id);
    assert_eq!(server.agent(&attested[0].id), None);
}

fn join_token_server() -> ServerOptions {
    let plugins = vec![Plugin::built_in("NodeAttestor", "join_token", "")];
    ServerOptions {
        plugins,
        ..ServerOptions::default()
    }
}

#[test]
fn the_current_spire_attests_with_a_join_token() {
    attest_with_join_token(Spire::CURRENT);
}

#[test]
fn the_older_spire_attests_with_a_join_token() {
    attest_with_join_token(Spire::OLDER);
}

#[test]
fn a_server_keeps_its_keys_and_reloads_data_files() {
    let spire = Spire::version(Spire::CURRENT);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.hcl");
    fs::write(&data, "").unwrap();
    let mut options = join_token_server();
    options.plugins[0].data = PluginData::File(data.clone());
    let mut server = Server::start(&spire, options);
    let bundle = server.bundle();
    server.restart();
    assert_eq!(server.bundle(), bundle);
    fs::write(&data, "# changed\n").unwrap();
    server.reload();
    server.process.log_contains("reconfigur", LIMIT);
    let records = server.process.log_records();
    assert!(
        records
            .iter()
            .any(|record| record["msg"] == "Plugin loaded"),
        "{records:?}"
    );
}

#[test]
fn a_configuration_can_be_validated_without_a_server() {
    let spire = Spire::version(Spire::CURRENT);
    let right = join_token_server();
    assert!(Server::validate(&spire, &right).success);
    let wrong = ServerOptions {
        settings: "  agent_ttl = 7\n".to_owned(),
        ..right
    };
    assert!(!Server::validate(&spire, &wrong).success);
    assert!(Agent::validate(&spire, "example.org", &AgentOptions::default()).success);
}
