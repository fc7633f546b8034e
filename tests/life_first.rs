//! First attestations: what an agent becomes, for every kind of EK, and what a workload gets.

use std::fs;

use tests::{
    Agent, AgentOptions, EkCertificate, Model, Plugin, Process, Server, ServerOptions, Spire,
    binary, checksum,
};

use crate::{
    LIMIT, Site, agent_options, attested_again, bare_model, ecc_model, only_agent, selector,
    server_options,
};

/// Attestation, a workload's SVIDs, rotation, restart, eviction and return, ban (tpm/H09).
fn life(version: &str) {
    let site = Site::new(version);
    let tpm = site.machine();
    site.trust_manufacturer();
    let server = site.server_with_short_svids();
    let mut agent = site.agent(&server, &tpm, "");
    agent.ready(LIMIT);

    let first = only_agent(&server);
    let hash = selector(&first, "tpm:pub_hash:");
    assert_eq!(
        first.id,
        format!("spiffe://example.org/spire/agent/tpm/{hash}")
    );
    assert_eq!(first.attestation_type, "tpm");
    assert!(first.can_reattest);
    assert_eq!(selector(&first, "tpm:attestation:"), "quote");
    assert_eq!(selector(&first, "tpm:ek_cert:"), "verified");
    assert_eq!(selector(&first, "tpm:vendor:"), "id:00001014");
    assert_eq!(selector(&first, "tpm:device:").len(), 52);
    server.process.log_contains("attestation granted", LIMIT);

    let user = format!("unix:uid:{}", rustix::process::getuid().as_raw());
    server.create_entry(&first.id, "spiffe://example.org/workload", &[&user]);
    assert_eq!(agent.fetch_x509(LIMIT), ["spiffe://example.org/workload"]);
    assert_eq!(agent.fetch_jwt("audience", LIMIT).split('.').count(), 3);
    let workload = watching_workload(&site, &agent);
    workload.log_contains("JWT-SVID    spiffe://example.org/workload", LIMIT);

    let second = attested_again(&server, &first);
    let third = attested_again(&server, &second);
    assert_eq!(third.selectors, first.selectors);
    agent
        .process
        .log_contains_times("Successfully reattested node", 2, LIMIT);

    let svid = "X.509-SVID  spiffe://example.org/workload";
    workload.log_contains_times(svid, 3, LIMIT);
    drop(workload);

    agent.restart();
    agent.ready(LIMIT);
    let restarted = attested_again(&server, &third);

    server.evict(&restarted.id);
    let returned = tests::until_some("the evicted agent's return", LIMIT, || {
        server.agent(&restarted.id)
    });
    assert_ne!(returned.serial, restarted.serial);

    server.ban(&returned.id);
    agent.wait_exit(LIMIT);
    agent.restart();
    agent.process.log_contains("agent is banned", LIMIT);
    agent.wait_exit(LIMIT);
}

/// The example workload, which prints its SVIDs and each that replaces one.
fn watching_workload(site: &Site, agent: &Agent) -> Process {
    let socket = format!("unix://{}", agent.socket().display());
    let log = site.files.path().join("workload.log");
    Process::start(binary("workload"), &["--socket", &socket, "--watch"], &log)
}

#[test]
fn the_current_spire_lives_with_it() {
    life(Spire::CURRENT);
}

#[test]
fn the_older_spire_lives_with_it() {
    life(Spire::OLDER);
}

#[test]
fn the_published_blocks_load() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.machine();
    site.trust_manufacturer();
    let published = |file: &str, program: &str, words: &[(&str, &str)]| {
        let program = binary(program);
        let (command, sum) = (program.display().to_string(), checksum(&program));
        let common = [
            ("@PLUGIN_CMD@", command.as_str()),
            ("@PLUGIN_CHECKSUM@", sum.as_str()),
        ];
        Plugin::published(file, &[&common, words].concat())
    };
    let (cas, hashes) = (
        site.cas().display().to_string(),
        site.hashes().display().to_string(),
    );
    let words = [
        ("@CA_PATH@", cas.as_str()),
        ("@HASH_PATH@", hashes.as_str()),
    ];
    let server = Server::start(
        &site.spire,
        ServerOptions {
            plugins: vec![published("server.hcl", "tpm-attestor-server", &words)],
            ..ServerOptions::default()
        },
    );
    let device = format!("unix:{}", tpm.socket().display());
    let options = AgentOptions {
        node_attestor: published("agent.hcl", "tpm-attestor-agent", &[("@DEVICE@", &device)]),
        ..AgentOptions::default()
    };
    Agent::start(&site.spire, &server, &options).ready(LIMIT);
    assert_eq!(only_agent(&server).attestation_type, "tpm");
}

#[test]
fn every_kind_of_ek_attests() {
    let site = Site::new(Spire::CURRENT);
    let p384 = Model {
        certificates: vec![EkCertificate::P384],
        ..Model::default()
    };
    let machines = [
        (site.machine(), ""),
        (site.machine(), "ak = \"rsa\""),
        (site.manufacturer.make(&ecc_model()), "ek = \"auto\""),
        (site.manufacturer.make(&p384), "ek = \"H-3\""),
    ];
    site.trust_manufacturer();
    let server = site.server("1h", "");
    for (tpm, more) in &machines {
        let before = server.agents().len();
        let mut agent = site.agent(&server, tpm, more);
        agent.ready(LIMIT);
        assert_eq!(server.agents().len(), before + 1, "{more}");
    }
    let verified = |agent: &tests::AttestedAgent| selector(agent, "tpm:ek_cert:") == "verified";
    assert!(server.agents().iter().all(verified));
}

#[test]
fn the_issuer_may_come_from_the_tpm() {
    let site = Site::new(Spire::CURRENT);
    let model = Model {
        issuer_in_nv: true,
        ..Model::default()
    };
    let tpm = site.manufacturer.make(&model);
    fs::copy(site.manufacturer.root(), site.cas().join("root.pem")).unwrap();
    let server = site.server("1h", "");
    let mut agent = site.agent(&server, &tpm, "");
    agent.ready(LIMIT);
    assert_eq!(selector(&only_agent(&server), "tpm:ek_cert:"), "verified");
}

#[test]
fn two_machines_are_two_agents() {
    let site = Site::new(Spire::CURRENT);
    let tpms = [site.machine(), site.machine()];
    site.trust_manufacturer();
    let server = site.server("1h", "");
    let mut agents = tpms.each_ref().map(|tpm| site.agent(&server, tpm, ""));
    for agent in &mut agents {
        agent.ready(LIMIT);
    }
    let known = server.agents();
    assert_eq!(known.len(), 2, "{known:?}");
    assert_ne!(known[0].id, known[1].id);
}

#[test]
fn a_machine_without_certificate_is_enrolled_by_hash() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.manufacturer.make(&bare_model());
    let server = site.server("1h", "");
    let mut agent = site.agent(&server, &tpm, "");
    // Refused, and the agent says why; the operator finds the hash in the server's log.
    agent
        .process
        .log_contains("ek_not_allowed: could not validate EK", LIMIT);
    agent.wait_exit(LIMIT);
    let refused = server
        .process
        .log_records()
        .into_iter()
        .find(|record| record["msg"] == "attestation refused");
    let hash = refused.unwrap()["ek_hash"].as_str().unwrap().to_owned();
    // Enrolled later, without a restart of the server.
    fs::write(site.hashes().join(&hash), "").unwrap();
    agent.restart();
    agent.ready(LIMIT);
    let enrolled = only_agent(&server);
    assert_eq!(selector(&enrolled, "tpm:pub_hash:"), hash);
    assert_eq!(selector(&enrolled, "tpm:ek_cert:"), "none");
}

#[test]
fn validate_tells_good_from_bad() {
    let site = Site::new(Spire::CURRENT);
    let good = Server::validate(&site.spire, &server_options("1h", &site.server_data("")));
    assert!(good.success, "{good:?}");
    for (data, expect) in [
        (site.server_data("ca_pth = \"/x\""), "ca_path"),
        (
            "ca_path = \"/does/not/exist\"".to_owned(),
            "unable to load ca_path",
        ),
        (site.server_data("pcrs = [24]"), "pcrs"),
        (site.server_data("tpm_path = \"/dev/tpm0\""), "device"),
        (String::new(), "ca_path or hash_path is required"),
    ] {
        let bad = Server::validate(&site.spire, &server_options("1h", &data));
        let said = format!("{}{}", bad.stdout, bad.stderr);
        assert!(!bad.success && said.contains(expect), "{data}: {said}");
    }
    let tpm = site.machine();
    assert!(Agent::validate(&site.spire, "example.org", &agent_options(&tpm, "")).success);
}
