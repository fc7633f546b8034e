//! The two generations with each other: our plugins, and peers that know nothing of our extension.

use conformance::{Loaded, Side};
use evidence::{Challenge, Offer, Response};
use plugin::{AgentAttributes, Code, Status};
use serde_json::Value;
use tests::{EkCertificate, Manufacturer, Model, ResourceManager, Secrets, StpPeer};

use crate::process_machine::{agent, authorities, on, watched_agent};
use crate::process_plugin::{
    Records, challenge, configure, configured, decisions, field, unload, verdict,
};

fn without_certificate() -> Model {
    Model {
        certificates: vec![],
        ..Model::default()
    }
}

const LIBRARIES: [&str; 2] = [StpPeer::OLDER, StpPeer::CURRENT];

/// An old agent's payload and response, the challenge between them, and the verdict.
struct Exchange {
    payload: Vec<u8>,
    challenge: Vec<u8>,
    response: Vec<u8>,
    attributes: AgentAttributes,
}

/// An attestation of an old agent by our server; `verdict` requires that no second challenge comes.
async fn old_agent_with(
    library: &str,
    server: &Loaded,
    manager: &ResourceManager,
) -> Result<Exchange, Status> {
    let mut old = StpPeer::agent(library, manager.socket());
    let payload = old.receive().unwrap();
    let mut exchange = server.attest(&[]).await?;
    exchange.payload(&payload).await;
    let challenge = challenge(&mut exchange).await?;
    old.send(&challenge);
    let response = old.receive().unwrap();
    exchange.respond(&response).await;
    let attributes = verdict(&mut exchange).await?;
    assert_eq!(old.receive(), None);
    Ok(Exchange {
        payload,
        challenge,
        response,
        attributes,
    })
}

#[tokio::test]
async fn old_agents_attest_to_our_server_and_are_marked() {
    let maker = Manufacturer::new();
    let tpm = maker.make(&Model::default());
    let manager = ResourceManager::start(tpm.socket());
    let records = Records::new();
    for certificate in authorities(&maker) {
        records.trust(&certificate);
    }
    let server = configured(Side::Server, &records.both("")).await;
    for library in LIBRARIES {
        let old = old_agent_with(library, &server, &manager).await.unwrap();
        let attributes = old.attributes;
        let hash = attributes.selector_values[0]
            .strip_prefix("pub_hash:")
            .unwrap();
        let id = format!("spiffe://example.org/spire/agent/tpm/{hash}");
        assert_eq!(attributes.spiffe_id, id);
        assert!(attributes.can_reattest);
        let marks = [
            "attestation:credential",
            "ek_cert:verified",
            "vendor:id:00001014",
            "kind:virtual",
        ];
        assert_eq!(attributes.selector_values[2..], marks);
    }

    let strict = records.both("legacy_agents = \"deny\"");
    configure(&server, &strict).await;
    for library in LIBRARIES {
        let Err(status) = old_agent_with(library, &server, &manager).await else {
            panic!("an old agent was granted")
        };
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(
            status.message(),
            "policy_requires_quote: a quote is required"
        );
    }
    let log = unload(server).await;
    let told: Vec<_> = decisions(&log)
        .iter()
        .map(|line| field(line, "evidence"))
        .collect();
    assert_eq!(told, ["credential", "credential", "none", "none"]);
}

#[tokio::test]
async fn an_old_agents_machine_keeps_its_name_with_a_new_agent() {
    let tpm = Manufacturer::new().make(&without_certificate());
    let manager = ResourceManager::start(tpm.socket());
    let records = Records::new();
    let server = configured(Side::Server, &records.enrolment("")).await;
    let mut old = StpPeer::agent(StpPeer::CURRENT, manager.socket());
    let offer = Offer::decode(&old.receive().unwrap()).unwrap();
    let hash = verify::parse_public_key(&offer.ek.public_key.unwrap())
        .unwrap()
        .ek_hash();
    drop(old);
    records.enrol(hash);
    let before = old_agent_with(StpPeer::CURRENT, &server, &manager)
        .await
        .unwrap()
        .attributes;
    let agent = watched_agent(&manager, "").await;
    let mut aid = agent.aid().await.unwrap();
    let mut exchange = server.attest(&[]).await.unwrap();
    exchange.payload(&aid.payload().await.unwrap()).await;
    let asked = challenge(&mut exchange).await.unwrap();
    exchange
        .respond(&aid.challenge(&asked).await.unwrap())
        .await;
    let after = verdict(&mut exchange).await.unwrap();
    assert_eq!(before.spiffe_id, after.spiffe_id);
    assert_eq!(before.selector_values[..2], after.selector_values[..2]);
    assert_eq!(before.selector_values[2], "attestation:credential");
    assert_eq!(after.selector_values[2], "attestation:quote");
}

/// An attestation of our agent by an old server; `None` if that refuses the offer.
async fn old_server_with(library: &str, agent: &Loaded) -> Result<Option<Value>, Status> {
    let mut old = StpPeer::server(library);
    let mut exchange = agent.aid().await?;
    old.send(&exchange.payload().await?);
    let Some(challenge) = old.receive() else {
        return Ok(None);
    };
    let response = exchange.challenge(&challenge).await?;
    let Ok(Response::Secret(secret)) = Response::decode(&response) else {
        panic!("no bare secret")
    };
    assert_eq!(response.len(), r#"{"Secret":""}"#.len() + 44);
    assert_eq!(secret.expose().len(), 32);
    Secrets::known().learn("a bare secret", secret.expose());
    old.send(&response);
    assert_eq!(exchange.answer().await?, None);
    let verdict = old.receive().unwrap();
    Ok(Some(serde_json::from_slice(&verdict).unwrap()))
}

#[tokio::test]
async fn our_agent_attests_to_old_servers() {
    let maker = Manufacturer::new();
    for (model, certified) in [(Model::default(), true), (without_certificate(), false)] {
        let tpm = maker.make(&model);
        let agent = agent(&tpm, "").await;
        let payload = agent.aid().await.unwrap().payload().await.unwrap();
        let spki = Offer::decode(&payload).unwrap().ek.public_key.unwrap();
        let hash = verify::parse_public_key(&spki).unwrap().ek_hash().hex();
        for (ak, library, accepted) in [
            ("rsa", StpPeer::OLDER, true),
            ("ecc", StpPeer::OLDER, false),
            ("rsa", StpPeer::CURRENT, true),
            ("ecc", StpPeer::CURRENT, true),
        ] {
            configure(&agent, &on(tpm.socket(), &format!("ak = \"{ak}\""))).await;
            let verdict = old_server_with(library, &agent).await.unwrap();
            assert_eq!(verdict.is_some(), accepted, "{ak}, {library}");
            let Some(verdict) = verdict else { continue };
            assert_eq!(verdict["accepted"], true, "{ak}: {verdict}");
            assert_eq!(verdict["has_certificate"], certified, "{ak}: {verdict}");
            assert_eq!(verdict["hash"], hash, "{ak}");
        }
        let text = on(tpm.socket(), "legacy_servers = \"deny\"");
        configure(&agent, &text).await;
        let status = old_server_with(StpPeer::CURRENT, &agent).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().starts_with("legacy_server: "), "{status}");
        unload(agent).await;
    }
}

/// Where each of the keys begins, in this order and at this depth of quoting.
fn in_order(message: &[u8], keys: &[&str]) {
    let text = std::str::from_utf8(message).unwrap();
    let places: Vec<_> = keys
        .iter()
        .map(|key| text.find(&format!("\"{key}\":")))
        .collect();
    assert!(places.iter().all(Option::is_some), "{text}");
    assert!(places.is_sorted(), "{keys:?} in {text}");
    assert_eq!(places[0], Some(1), "{text}");
}

const PAYLOAD_KEYS: [&str; 7] = [
    "EK",
    "AK",
    "Public",
    "UseTCSDActivationFormat",
    "CreateData",
    "CreateAttestation",
    "CreateSignature",
];

/// Sizes of an AK's parts: the public area, the attestation of its creation, the signature.
fn ak_sizes(payload: &[u8]) -> [usize; 3] {
    let offer = Offer::decode(payload).unwrap();
    let creation = offer.ak.creation.unwrap();
    assert!(creation.data.len() <= 115, "{}", creation.data.len());
    [
        offer.ak.public.len(),
        creation.attestation.len(),
        creation.signature.len(),
    ]
}

#[tokio::test]
async fn the_wire_format_is_that_of_old_peers() {
    let tpm = Manufacturer::new().make(&without_certificate());
    let manager = ResourceManager::start(tpm.socket());
    let records = Records::new();
    let server = configured(Side::Server, &records.enrolment("")).await;
    let agent = watched_agent(&manager, "ak = \"rsa\"").await;
    let ours = agent.aid().await.unwrap().payload().await.unwrap();
    let spki = Offer::decode(&ours).unwrap().ek.public_key.unwrap();
    records.enrol(verify::parse_public_key(&spki).unwrap().ek_hash());
    let old = old_agent_with(StpPeer::CURRENT, &server, &manager)
        .await
        .unwrap();

    // The same sizes and order from both agents, and the same EK, byte for byte.
    assert_eq!(ak_sizes(&ours), [280, 139, 262]);
    assert_eq!(ak_sizes(&old.payload), [280, 139, 262]);
    let member =
        |payload: &[u8], key: &str| serde_json::from_slice::<Value>(payload).unwrap()[key].clone();
    assert_eq!(member(&ours, "EK"), member(&old.payload, "EK"));
    assert_eq!(spki.len(), 294);
    in_order(&old.payload, &PAYLOAD_KEYS);
    in_order(
        &ours,
        &[PAYLOAD_KEYS.as_slice(), &["tpm_attestor"]].concat(),
    );
    assert_eq!(member(&ours, "AK")["UseTCSDActivationFormat"], false);

    // One challenge, without our key towards an old agent, and the response that it makes.
    in_order(&old.challenge, &["EC", "Credential", "Secret"]);
    let asked = Challenge::decode(&old.challenge).unwrap();
    assert_eq!(asked.extension, None);
    let sizes = (
        asked.credential.id_object().len(),
        asked.credential.encrypted_secret().len(),
    );
    assert_eq!(sizes, (70, 258));
    assert_eq!(old.response.len(), r#"{"Secret":""}"#.len() + 44);
    in_order(&old.response, &["Secret"]);

    // An ECC AK is shorter in each part but one.
    let text = on(manager.socket(), "ak = \"ecc\"");
    configure(&agent, &text).await;
    let payload = agent.aid().await.unwrap().payload().await.unwrap();
    assert_eq!(ak_sizes(&payload), [88, 139, 72]);
}

#[tokio::test]
async fn an_ecc_ek_makes_a_short_challenge() {
    let model = Model {
        certificates: vec![EkCertificate::P256],
        ..Model::default()
    };
    let tpm = Manufacturer::new().make(&model);
    let agent = agent(&tpm, "ek = \"L-2\"").await;
    let payload = agent.aid().await.unwrap().payload().await.unwrap();
    let records = Records::new();
    let server = configured(Side::Server, &records.enrolment("")).await;
    let mut exchange = server.attest(&[]).await.unwrap();
    exchange.payload(&payload).await;
    let asked = Challenge::decode(&challenge(&mut exchange).await.unwrap()).unwrap();
    assert_eq!(
        asked.credential.encrypted_secret().len(),
        2 + 2 + 32 + 2 + 32
    );
    assert!(asked.extension.is_some());
}
