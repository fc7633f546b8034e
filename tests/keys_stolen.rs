//! Keys and data taken to where they do not belong: another machine, or another TPM's keys brought to this one.

use std::fs;

use tests::{Agent, Manufacturer, Model, Spire};

use crate::keys_machine::{Machine, read_key};
use crate::{LIMIT, Site, attested_again, only_agent, refused_for};

#[test]
fn a_stolen_data_directory_gives_no_identity_elsewhere() {
    let site = Site::new(Spire::CURRENT);
    let machine = site.machine();
    let server = site.server("30s", "");
    let mut agent = site.agent(&server, &machine);
    agent.ready(LIMIT);
    let honest = only_agent(&server);

    let elsewhere = Manufacturer::new();
    let thief = Machine::new(elsewhere.make(&Model::default()));
    thief.steal_keys(&machine);
    let mut stolen = agent.start_copy(&site.spire, &server, &thief.options(""));
    // The SVID is there and still valid, and the key that it is for is no key of this TPM.
    stolen.process.log_contains("key_of_another_tpm", LIMIT);
    // So it attests as what it is: the TPM of a maker that calls itself as ours does and has another key.
    stolen.process.log_contains("bad_cert_signature", LIMIT);
    assert!(!stolen.wait_exit(LIMIT).success());
    refused_for(&server, "bad_cert_signature");

    // Where the thief's machine is enrolled, it becomes itself and nobody else.
    site.trust(&elsewhere, "elsewhere");
    server
        .process
        .log_contains("took over changed CA certificates", LIMIT);
    stolen.restart();
    stolen.ready(LIMIT);
    let agents = server.agents();
    assert_eq!(agents.len(), 2, "{agents:?}");
    attested_again(&server, &honest);
}

#[test]
fn a_key_of_another_tpm_is_not_certified_whatever_its_file_says() {
    let site = Site::new(Spire::CURRENT);
    let machine = site.machine();
    let other = site.machine();
    let server = site.server("30s", "");
    for machine in [&machine, &other] {
        let mut agent = site.agent(&server, machine);
        agent.ready(LIMIT);
        agent.stop();
    }
    let kept: Vec<_> = machine
        .key_files()
        .into_iter()
        .map(|file| (fs::read(&file).unwrap(), file))
        .collect();
    let ours = read_key(&machine.key_files()[0]);
    machine.steal_keys(&other);
    for file in machine.key_files() {
        let mut key = read_key(&file);
        for field in ["parent", "reset_count"] {
            key[field] = ours[field].clone();
        }
        fs::write(file, key.to_string()).unwrap();
    }
    // SPIRE's own KeyManager, so that nothing but the attestor looks at the keys.
    let options = machine.options_with_keys_elsewhere();
    let liar = Agent::start(&site.spire, &server, &options);
    let reason = "tpm_failed: the key was made by another TPM";
    liar.process.log_contains(reason, LIMIT);
    drop(liar);

    for (bytes, file) in kept {
        fs::write(file, bytes).unwrap();
    }
    site.agent(&server, &machine).ready(LIMIT);
}
