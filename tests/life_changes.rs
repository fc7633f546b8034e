//! What changes while SPIRE runs: CA files, configuration, the server itself.

use std::fs;

use tests::{
    Agent, AgentOptions, Manufacturer, Model, Plugin, Server, ServerOptions, Spire, binary,
};

use crate::{LIMIT, Site, agent_options, attested_again, only_agent, server_options, trust};

#[test]
fn a_ca_added_later_counts_and_a_damaged_one_does_no_harm() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.machine();
    let server = site.server("1h", "");
    let mut agent = site.agent(&server, &tpm, "");
    agent
        .process
        .log_contains("untrusted_chain: could not verify cert", LIMIT);
    agent.wait_exit(LIMIT);
    site.trust_manufacturer();
    server
        .process
        .log_contains("took over changed CA certificates", LIMIT);
    agent.restart();
    agent.ready(LIMIT);

    let file = fs::read_dir(site.cas())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(file, "-----BEGIN CERTIFICATE-----\nMII").unwrap();
    server
        .process
        .log_contains("keeping the last good ones", LIMIT);
    let before = only_agent(&server);
    agent.restart();
    agent.ready(LIMIT);
    attested_again(&server, &before);
}

#[test]
fn both_may_be_required() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.machine();
    site.trust_manufacturer();
    let server = site.server("1h", "ek_trust = \"both\"");
    let mut agent = site.agent(&server, &tpm, "");
    agent
        .process
        .log_contains("ek_not_allowed: could not validate EK", LIMIT);
    agent.wait_exit(LIMIT);
    let records = server.process.log_records();
    let refused = records
        .iter()
        .find(|record| record["msg"] == "attestation refused")
        .unwrap();
    assert_eq!(refused["ek_trust"], "certificate");
    fs::write(site.hashes().join(refused["ek_hash"].as_str().unwrap()), "").unwrap();
    agent.restart();
    agent.ready(LIMIT);
}

#[test]
fn sigusr1_replaces_the_configuration_and_a_bad_one_is_refused() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.machine();
    site.trust_manufacturer();
    let data = site.files.path().join("server.hcl");
    fs::write(&data, site.server_data("ek_profiles = [\"p-256\"]")).unwrap();
    let plugin = Plugin::external("NodeAttestor", "tpm", &binary("tpm-attestor-server"), "");
    let options = ServerOptions {
        plugins: vec![plugin.with_data_file(&data)],
        ..server_options("1h", "")
    };
    let server = Server::start(&site.spire, options);
    let mut agent = site.agent(&server, &tpm, "");
    agent.process.log_contains("ek_profile_denied", LIMIT);
    agent.wait_exit(LIMIT);

    fs::write(&data, site.server_data("ek_profils = []")).unwrap();
    server.reload();
    server.process.log_contains("did you mean", LIMIT);
    agent.restart();
    agent
        .process
        .log_contains_times("ek_profile_denied", 2, LIMIT);
    agent.wait_exit(LIMIT);

    fs::write(&data, site.server_data("ek_profiles = [\"rsa-2048\"]")).unwrap();
    server.reload();
    server.process.log_contains_times("configured", 2, LIMIT);
    agent.restart();
    agent.ready(LIMIT);
}

#[test]
fn an_agent_reconfigured_by_sigusr1_uses_the_other_key() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.manufacturer.make(&Model {
        certificates: vec![tests::EkCertificate::Rsa2048, tests::EkCertificate::P256],
        ..Model::default()
    });
    site.trust_manufacturer();
    let server = site.server("20s", "");
    let data = site.files.path().join("agent.hcl");
    let device = format!("device = \"unix:{}\"\n", tpm.socket().display());
    fs::write(&data, format!("{device}ek = \"rsa\"")).unwrap();
    let plugin = Plugin::external("NodeAttestor", "tpm", &binary("tpm-attestor-agent"), "");
    let options = AgentOptions {
        node_attestor: plugin.with_data_file(&data),
        ..agent_options(&tpm, "")
    };
    let mut agent = Agent::start(&site.spire, &server, &options);
    agent.ready(LIMIT);
    let rsa = only_agent(&server);
    fs::write(&data, format!("{device}ek = \"ecc\"")).unwrap();
    agent.reload();
    tests::until("an agent with another EK", LIMIT, || {
        server.agents().len() == 2
    });
    assert!(server.agents().iter().any(|agent| agent.id != rsa.id));
}

#[test]
fn a_restarted_server_knows_its_agents() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.machine();
    site.trust_manufacturer();
    let mut server = site.server("30s", "");
    let mut agent = site.agent(&server, &tpm, "");
    agent.ready(LIMIT);
    let before = only_agent(&server);
    server.restart();
    attested_again(&server, &before);
}

#[test]
fn another_manufacturer_s_tpm_is_refused_while_ours_goes_on() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.machine();
    site.trust_manufacturer();
    let server = site.server("20s", "");
    let mut agent = site.agent(&server, &tpm, "");
    agent.ready(LIMIT);
    let ours = only_agent(&server);
    let stranger = Manufacturer::new();
    let foreign = stranger.make(&Model::default());
    let mut other = site.agent(&server, &foreign, "");
    other.process.log_contains("could not verify cert", LIMIT);
    other.wait_exit(LIMIT);
    attested_again(&server, &ours);
    trust(&stranger, &site.cas());
    server
        .process
        .log_contains("took over changed CA certificates", LIMIT);
    other.restart();
    other.ready(LIMIT);
}
