//! TPMs whose state is not what came next: copies, restored snapshots, and TPM2_Clear.

use std::thread;
use std::time::Duration;

use tests::{Server, Spire, Tool, binary};

use crate::{LIMIT, Site, attested_again, only_agent, refusals, refused_for};

/// Servers' clocks may differ by two seconds, and for so long an attestation may count as one that went on beside the last.
const AT_ONCE: Duration = Duration::from_secs(3);

/// What an operator does who knows better.
fn accept(site: &Site, agent: &tests::AttestedAgent) {
    let hash = agent.id.rsplit('/').next().unwrap();
    let store = site.store().display().to_string();
    let arguments = ["quarantine", "accept", "--store", &store, "--yes", hash];
    let said = Tool::run(binary("tpm-attestor"), &arguments, &[]);
    assert!(said.success, "{said:?}");
}

/// The reasons for which the only machine was refused, each once, in order.
fn reasons(server: &Server) -> Vec<String> {
    let mut reasons = refusals(server);
    reasons.dedup();
    reasons
}

#[test]
fn a_clone_is_noticed_when_both_run_and_neither_goes_on() {
    let site = Site::new(Spire::CURRENT);
    let machine = site.machine();
    let server = site.server("30s", "");
    let mut honest = site.agent(&server, &machine);
    honest.ready(LIMIT);
    let first = only_agent(&server);

    // It starts as the machine would after a reboot, with the machine's SVID and keys: nobody can tell them apart yet.
    let copy = machine.duplicate();
    let mut clone = honest.start_copy(&site.spire, &server, &copy.options(""));
    clone.ready(LIMIT);
    // The one that goes on with lower counters gives it away.
    refused_for(&server, "clone_suspected");
    honest.wait_exit(LIMIT);
    refused_for(&server, "quarantined");
    clone.wait_exit(LIMIT);

    accept(&site, &first);
    honest.restart();
    honest.ready(LIMIT);
}

#[test]
fn a_restored_snapshot_is_noticed() {
    let site = Site::new(Spire::CURRENT);
    let mut machine = site.machine();
    let server = site.server("1h", "");
    let snapshot = machine.duplicate();
    for _ in 0..3 {
        machine.reboot();
    }
    let mut agent = site.agent(&server, &machine);
    agent.ready(LIMIT);
    let first = only_agent(&server);

    agent.stop();
    thread::sleep(AT_ONCE);
    machine.roll_back(&snapshot);
    agent.restart();
    refused_for(&server, "clone_suspected");
    agent.wait_exit(LIMIT);
    // What the machine does from here on changes nothing.
    agent.restart();
    refused_for(&server, "quarantined");
    agent.wait_exit(LIMIT);
    assert_eq!(reasons(&server), ["clone_suspected", "quarantined"]);

    accept(&site, &first);
    agent.restart();
    agent.ready(LIMIT);
    attested_again(&server, &first);
}

/// The kernel that these tests run on has not started anew.
#[test]
fn a_tpm_that_was_reset_while_its_machine_ran_on_is_refused_if_it_is_to() {
    let site = Site::new(Spire::CURRENT);
    let mut machine = site.machine();
    let server = site.server("1h", "unexpected_reset = \"refuse\"");
    let mut agent = site.agent(&server, &machine);
    agent.ready(LIMIT);
    agent.stop();
    machine.reboot();
    agent.restart();
    agent.wait_exit(LIMIT);
    assert_eq!(reasons(&server), ["reset_unexpected"]);
}

#[test]
fn a_cleared_tpm_is_told_and_goes_on() {
    let site = Site::new(Spire::CURRENT);
    let machine = site.machine();
    let server = site.server("1h", "");
    let mut agent = site.agent(&server, &machine);
    agent.ready(LIMIT);
    let first = only_agent(&server);
    agent.stop();
    machine.clear();
    agent.restart();
    agent.ready(LIMIT);
    agent.process.log_contains("key_of_another_tpm", LIMIT);
    attested_again(&server, &first);
    let records = server.process.log_records();
    let told = |record: &&serde_json::Value| record.to_string().contains("tpm_cleared");
    let told: Vec<_> = records.iter().filter(told).collect();
    assert!(
        told.iter().any(|record| record["level"] == "warning"),
        "{told:?}"
    );
}

#[test]
fn a_cleared_tpm_waits_for_the_operator_if_it_is_to() {
    let site = Site::new(Spire::CURRENT);
    let machine = site.machine();
    let server = site.server("1h", "tpm_clear = \"quarantine\"");
    let mut agent = site.agent(&server, &machine);
    agent.ready(LIMIT);
    let first = only_agent(&server);
    agent.stop();
    machine.clear();
    agent.restart();
    agent.wait_exit(LIMIT);
    assert_eq!(reasons(&server), ["tpm_cleared"]);

    accept(&site, &first);
    agent.restart();
    agent.ready(LIMIT);
    attested_again(&server, &first);
}
