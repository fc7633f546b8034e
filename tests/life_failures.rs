//! What breaks: a plugin is killed, a TPM is reset, a device is missing.

use rustix::process::Signal;
use tests::{Agent, AgentOptions, Plugin, Spire, binary, plugin_process, run};

use crate::{LIMIT, Site, attested_again, only_agent};

/// Kills the attestor of a SPIRE agent or server.
fn kill(parent: u32) {
    let plugin = plugin_process(parent, "NodeAttestor");
    run("kill", &["-9", &plugin.to_string()], &[]);
}

#[test]
fn a_killed_agent_plugin_is_reported_and_a_restart_heals() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.machine();
    site.trust_manufacturer();
    let server = site.server("20s", "");
    let mut agent = site.agent(&server, &tpm, "");
    agent.ready(LIMIT);
    kill(agent.process.id());
    agent.process.log_contains("plugin process exited", LIMIT);
    agent
        .process
        .log_contains("Could not reattest agent", LIMIT);
    let before = only_agent(&server);
    agent.restart();
    agent.ready(LIMIT);
    attested_again(&server, &before);
}

#[test]
fn a_killed_server_plugin_is_reported_and_a_restart_heals() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.machine();
    site.trust_manufacturer();
    let mut server = site.server("40s", "");
    let mut agent = site.agent(&server, &tpm, "");
    agent.ready(LIMIT);
    let before = only_agent(&server);
    kill(server.process.id());
    server.process.log_contains("plugin process exited", LIMIT);
    server.restart();
    attested_again(&server, &before);
}

#[test]
fn a_tpm_that_was_reset_attests_again() {
    let site = Site::new(Spire::CURRENT);
    let mut tpm = site.machine();
    site.trust_manufacturer();
    let server = site.server("30s", "");
    let mut agent = site.agent(&server, &tpm, "");
    agent.ready(LIMIT);
    let before = only_agent(&server);
    tpm.restart();
    let after = attested_again(&server, &before);
    assert_eq!(after.id, before.id);
}

#[test]
fn a_missing_device_is_said_with_what_to_do() {
    let site = Site::new(Spire::CURRENT);
    site.machine();
    site.trust_manufacturer();
    let server = site.server("1h", "");
    let plugin = Plugin::external(
        "NodeAttestor",
        "tpm",
        &binary("tpm-attestor-agent"),
        "device = \"/dev/does-not-exist\"",
    );
    let options = AgentOptions {
        node_attestor: plugin,
        ..AgentOptions::default()
    };
    let agent = Agent::start(&site.spire, &server, &options);
    agent.process.log_contains(
        "tpm_failed: cannot open the TPM at /dev/does-not-exist",
        LIMIT,
    );
    agent.process.signal(Signal::KILL);
}
