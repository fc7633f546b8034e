//! A good attestation beside an SVID key that is in no TPM.

use tests::{Agent, Spire};

use crate::{LIMIT, Site, attested_again, only_agent, refused_for};

#[test]
fn an_agent_without_keys_in_its_tpm_is_refused() {
    let site = Site::new(Spire::CURRENT);
    let machine = site.machine();
    let server = site.server("1h", "");
    let mut agent = Agent::start(&site.spire, &server, &machine.options_without_keys());
    agent.process.log_contains("svid_key_uncertified", LIMIT);
    // Denied for good: it ends, and its supervisor decides.
    assert!(!agent.wait_exit(LIMIT).success());
    refused_for(&server, "svid_key_uncertified");
    assert_eq!(server.agents(), []);

    site.agent(&server, &machine).ready(LIMIT);
}

#[test]
fn a_certified_key_beside_a_request_for_another_gives_no_svid() {
    let site = Site::new(Spire::CURRENT);
    let machine = site.machine();
    let server = site.server("30s", "");
    let mut honest = site.agent(&server, &machine);
    honest.ready(LIMIT);
    let before = only_agent(&server);
    honest.stop();

    // The attestor has the right keys to offer, and SPIRE asks with a key in memory.
    let options = machine.options_with_keys_elsewhere();
    let liar = Agent::start(&site.spire, &server, &options);
    server.process.log_contains("svid_key_mismatch", LIMIT);
    liar.process.log_contains("failed to sign X509 SVID", LIMIT);
    assert_eq!(only_agent(&server).serial, before.serial);
    assert_eq!(liar.svid(), None);
    drop(liar);

    honest.restart();
    attested_again(&server, &before);
}
