//! A server that insists on quotes, and an agent that insists on giving one, under SPIRE.

use tests::Spire;

use crate::{LIMIT, Site, only_agent};

#[test]
fn both_ends_may_insist_on_the_current_generation() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.machine();
    site.trust_manufacturer();
    let server = site.server("1h", "legacy_agents = \"deny\"");
    let mut agent = site.agent(&server, &tpm, "legacy_servers = \"deny\"");
    agent.ready(LIMIT);
    assert!(
        only_agent(&server)
            .selectors
            .contains(&"tpm:attestation:quote".to_owned())
    );
}
