//! A whole life with everything that crosses the TPM's bus known: none of it is in what SPIRE or the plugins log.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tests::{
    Agent, Plugin, ResourceManager, Secrets, Server, ServerOptions, Spire, TpmSocket, binary,
};

use crate::{LIMIT, Site, agent_options_on, attested_again, only_agent, server_options};

const PASSWORD: &str = "correct horse battery";

/// Both log at debug, as in all these tests; each log is searched when its process ends, here at the end of the test.
#[test]
fn a_life_leaves_no_secret_in_any_log() {
    let site = Site::new(Spire::CURRENT);
    let tpm = site.machine();
    let mut raw = TpmSocket::connect(tpm.socket()).unwrap();
    raw.set_endorsement_password(PASSWORD.as_bytes());
    drop(raw);
    let manager = ResourceManager::start(tpm.socket());
    site.trust_manufacturer();
    let server = Server::start(&site.spire, tapped(&site));
    let auth = site.files.path().join("auth");
    fs::write(&auth, PASSWORD).unwrap();
    fs::set_permissions(&auth, Permissions::from_mode(0o600)).unwrap();
    let more = format!("endorsement_auth_path = \"{}\"", auth.display());
    let options = agent_options_on(manager.socket(), &more);
    let mut agent = Agent::start(&site.spire, &server, &options);
    agent.ready(LIMIT);
    let first = only_agent(&server);
    attested_again(&server, &first);
    agent.restart();
    agent.ready(LIMIT);

    learn_from_tap(site.files.path());
    let kinds = Secrets::known().kinds();
    for kind in [
        "a nonce",
        "a password",
        "a proof",
        "a quote's binding",
        "a session's HMAC",
        "a session's nonce",
        "an activated secret",
    ] {
        assert!(kinds.contains(kind), "tpm/I11: {kind}");
    }
    for process in [&server.process, &agent.process] {
        let is_debug = |record: &serde_json::Value| record["level"] == "debug";
        assert!(process.log_records().iter().any(is_debug), "tpm/I11");
    }
}

/// A server whose plugin is heard on its socket, where nothing is encrypted any more.
fn tapped(site: &Site) -> ServerOptions {
    let script = site.files.path().join("tapped");
    let path = |name: &str| site.files.path().join(name).display().to_string();
    let command = format!(
        "#!/bin/sh\nexec {} {} {} {}\n",
        binary("plugin-tap").display(),
        binary("tpm-attestor-server").display(),
        path("to-plugin"),
        path("from-plugin"),
    );
    fs::write(&script, command).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o700)).unwrap();
    let data = site.server_data("");
    ServerOptions {
        plugins: vec![Plugin::external("NodeAttestor", "tpm", &script, &data)],
        ..server_options("30s", &data)
    }
}

/// Nonces of challenges and proofs of responses.
fn learn_from_tap(directory: &Path) {
    for (file, member, what) in [
        ("from-plugin", "\"nonce\":\"", "a nonce"),
        ("to-plugin", "\"proof\":\"", "a proof"),
    ] {
        let bytes = fs::read(directory.join(file)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let values = text.split(member).skip(1);
        let values: Vec<_> = values.filter_map(|rest| rest.split('"').next()).collect();
        assert!(values.len() >= 3, "{what}: {values:?}");
        for value in values {
            Secrets::known().learn(what, &STANDARD.decode(value).unwrap());
        }
    }
}
