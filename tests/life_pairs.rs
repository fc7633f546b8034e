//! Old agents with our server and our agent with old servers, over SPIRE's wire format.

use tests::{Spire, StpPeer};

use crate::{LIMIT, Site, only_agent};

#[test]
fn a_server_may_insist_on_quotes() {
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
    let _ = StpPeer::server;
}
