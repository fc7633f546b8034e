//! Tests of the peer that speaks the community plugin's wire format: its agent and its server understand each other.

use serde_json::Value;
use tests::{EkCertificate, Manufacturer, Model, ResourceManager, StpPeer, TpmSocket};

use crate::harness_commands::create_key;

/// One attestation between the two; the response may be changed on its way. Returns the verdict.
fn attest(model: &Model, change: impl Fn(Vec<u8>) -> Vec<u8>) -> Value {
    let tpm = Manufacturer::new().make(model);
    let manager = ResourceManager::start(tpm.socket());
    let mut agent = StpPeer::agent(StpPeer::OLDER, manager.socket());
    let mut server = StpPeer::server(StpPeer::OLDER);
    server.send(&agent.receive().unwrap());
    agent.send(&server.receive().unwrap());
    server.send(&change(agent.receive().unwrap()));
    let verdict = serde_json::from_slice(&server.receive().unwrap()).unwrap();
    assert_eq!((agent.receive(), server.receive()), (None, None));
    verdict
}

#[test]
fn an_agent_and_a_server_agree_on_the_endorsement_key() {
    let without_certificate = Model {
        certificates: vec![],
        ..Model::default()
    };
    for (model, has_certificate) in [(Model::default(), true), (without_certificate, false)] {
        let verdict = attest(&model, |response| response);
        assert_eq!(verdict["accepted"], true, "{verdict}");
        assert_eq!(verdict["has_certificate"], has_certificate, "{verdict}");
        assert_eq!(verdict["hash"].as_str().unwrap().len(), 64, "{verdict}");
    }
}

#[test]
fn a_server_refuses_another_secret() {
    let verdict = attest(&Model::default(), |_| br#"{"Secret":"AAAA"}"#.to_vec());
    assert_eq!(verdict["accepted"], false);
}

#[test]
fn a_server_ends_on_a_payload_that_it_cannot_read() {
    let mut server = StpPeer::server(StpPeer::OLDER);
    server.send(b"{}");
    assert_eq!(server.receive(), None);
}

#[test]
fn an_agent_ends_when_its_tpm_is_not_that_of_the_challenge() {
    let maker = Manufacturer::new();
    let model = Model {
        certificates: vec![EkCertificate::Rsa2048],
        ..Model::default()
    };
    let (tpm, other) = (maker.make(&model), maker.make(&model));
    let (manager, other) = (
        ResourceManager::start(tpm.socket()),
        ResourceManager::start(other.socket()),
    );
    let (mut agent, mut stranger) = (
        StpPeer::agent(StpPeer::OLDER, manager.socket()),
        StpPeer::agent(StpPeer::OLDER, other.socket()),
    );
    let mut server = StpPeer::server(StpPeer::OLDER);
    server.send(&agent.receive().unwrap());
    stranger.receive().unwrap();
    stranger.send(&server.receive().unwrap());
    assert_eq!(stranger.receive(), None);
    // libtpms calls a wrong OAEP padding TPM_RC_FAILURE, yet goes on working.
    create_key(&mut TpmSocket::connect(other.socket()).unwrap());
}
