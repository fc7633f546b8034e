//! The agent's plugin with real software TPMs: offers, answers, and what it asks of the TPM for them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use conformance::Side;
use evidence::{Offer, encode_pem};
use plugin::Code;
use tempfile::TempDir;
use tests::{EkCertificate, Manufacturer, Model, ResourceManager, Secrets, TpmSocket};

use crate::process_certificates::{Authority, ORDINARY};
use crate::process_key_machine::{IDS, data, generate, key_manager};
use crate::process_machine::{Verifier, agent, authorities, on, watched_agent};
use crate::process_plugin::{TRUST_DOMAIN, configure, configured, unload};

#[tokio::test]
async fn what_it_answers_convinces_a_verifier() {
    let maker = Manufacturer::new();
    let p256 = Model {
        certificates: vec![EkCertificate::P256],
        ..Model::default()
    };
    for (model, options) in [
        (Model::default(), ["", "ak = \"rsa\""].as_slice()),
        (p256, &["ek = \"L-2\""]),
    ] {
        let tpm = maker.make(&model);
        let mut verifier = Verifier::strict(authorities(&maker));
        let agent = agent(&tpm, "").await;
        for more in options {
            configure(&agent, &on(tpm.socket(), more)).await;
            let grant = verifier.attest(&agent).await.unwrap();
            assert_eq!(
                grant.selectors()[2..],
                [
                    "attestation:quote",
                    "ek_cert:verified",
                    "vendor:id:00001014",
                    "kind:virtual"
                ],
                "{more}"
            );
            assert_eq!(verifier.attest(&agent).await.unwrap(), grant);
        }
        unload(agent).await;
    }
}

/// A raw device, or a software TPM, frees nothing by itself when a connection ends.
#[tokio::test]
async fn neither_role_leaves_an_object_in_a_tpm_without_a_resource_manager() {
    // No persistent EK: EK and AK are transient, and so is the storage root key.
    let bare = Model {
        certificates: Vec::new(),
        ..Model::default()
    };
    let tpm = Manufacturer::new().make(&bare);
    let files = TempDir::new().unwrap();
    let text = data(tpm.socket(), &files.path().join("keys"), "");
    for _ in 0..3 {
        let keys = key_manager(&text).await;
        generate(&keys, IDS[0]).await;
        generate(&keys, IDS[1]).await;
        unload(keys).await;
        let agent = configured(Side::Agent, &text).await;
        let mut exchange = agent.aid().await.unwrap();
        exchange.payload().await.unwrap();
        drop(exchange);
        unload(agent).await;
        let mut raw = TpmSocket::connect(tpm.socket()).unwrap();
        assert_eq!(raw.handles(TRANSIENT), [0; 0]);
    }
}

/// TPM_HT_TRANSIENT, of the first handle (part 2, section 7.2).
const TRANSIENT: u32 = 0x8000_0000;

/// TPM library part 2, section 6.5.2.
const START_AUTH_SESSION: u32 = 0x176;
const POLICY_SECRET: u32 = 0x151;
const ACTIVATE_CREDENTIAL: u32 = 0x147;
const QUOTE: u32 = 0x158;
const PCR_READ: u32 = 0x17E;
const NV_READ_PUBLIC: u32 = 0x169;
const NV_READ: u32 = 0x14E;
const READ_PUBLIC: u32 = 0x173;
const CREATE_PRIMARY: u32 = 0x131;
const CERTIFY_CREATION: u32 = 0x14A;

#[tokio::test]
async fn a_warm_attestation_makes_no_key_and_no_connection() {
    let tpm = Manufacturer::new().make(&Model::default());
    let manager = ResourceManager::start(tpm.socket());
    let agent = watched_agent(&manager, "").await;
    let mut verifier = Verifier::open();
    verifier.attest(&agent).await.unwrap();
    let warm = [
        START_AUTH_SESSION,
        POLICY_SECRET,
        ACTIVATE_CREDENTIAL,
        QUOTE,
        PCR_READ,
    ];
    let [mut cold] = <[_; 1]>::try_from(manager.connections()).unwrap();
    let first = cold.split_off(cold.len() - warm.len());
    assert_eq!(first, warm);
    cold.dedup();
    let making = [
        NV_READ_PUBLIC,
        NV_READ,
        NV_READ_PUBLIC,
        READ_PUBLIC,
        CREATE_PRIMARY,
        CERTIFY_CREATION,
    ];
    assert_eq!(cold, making);
    for _ in 0..3 {
        manager.clear();
        verifier.attest(&agent).await.unwrap();
        assert_eq!(manager.connections(), [warm]);
    }
    // The same configuration once more is no reason to begin anew.
    manager.clear();
    configure(&agent, &on(manager.socket(), "")).await;
    verifier.attest(&agent).await.unwrap();
    assert_eq!(manager.connections(), [warm]);
    unload(agent).await;
}

#[tokio::test]
async fn attestations_at_the_same_time_do_not_mix() {
    let tpm = Manufacturer::new().make(&Model::default());
    let manager = ResourceManager::start(tpm.socket());
    let agent = watched_agent(&manager, "").await;
    let mut verifier = Verifier::open();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut exchange = agent.aid().await.unwrap();
        let payload = exchange.payload().await.unwrap();
        let (challenge, pending) = verifier.begin(&payload);
        waiting.push((exchange, challenge, pending));
    }
    for (exchange, challenge, _) in waiting.iter_mut().rev() {
        exchange.send(challenge).await;
    }
    for (mut exchange, _, pending) in waiting {
        let answer = exchange.answer().await.unwrap().unwrap();
        let plugin::proto::agent_attestor::payload_or_challenge_response::Data::ChallengeResponse(
            response,
        ) = answer
        else {
            panic!("{answer:?}")
        };
        verifier.decide(pending, &response).unwrap();
    }
    assert_eq!(manager.connections().len(), 1);
    unload(agent).await;
}

#[tokio::test]
async fn an_attestation_given_up_does_not_disturb_the_next() {
    let tpm = Manufacturer::new().make(&Model::default());
    let agent = agent(&tpm, "").await;
    let mut verifier = Verifier::open();
    for _ in 0..3 {
        let mut exchange = agent.aid().await.unwrap();
        let payload = exchange.payload().await.unwrap();
        let (challenge, _) = verifier.begin(&payload);
        exchange.send(&challenge).await;
    }
    verifier.attest(&agent).await.unwrap();
    let mut closed = agent.aid().await.unwrap();
    closed.payload().await.unwrap();
    closed.close();
    let status = closed.answer().await.unwrap_err();
    assert_eq!(status.code(), Code::Cancelled);
    unload(agent).await;
}

#[tokio::test]
async fn the_certificate_may_come_from_a_file() {
    let bare = Model {
        certificates: vec![],
        ..Model::default()
    };
    let tpm = Manufacturer::new().make(&bare);
    let agent = agent(&tpm, "").await;
    let payload = agent.aid().await.unwrap().payload().await.unwrap();
    let offer = Offer::decode(&payload).unwrap();
    assert_eq!(offer.ek.certificate, None);

    let authority = Authority::new("Maker");
    let spki = offer.ek.public_key.unwrap();
    let certificate = authority.certify(&spki, &ORDINARY);
    let mut verifier = Verifier::strict(vec![authority.certificate.clone()]);
    let files = TempDir::new().unwrap();
    let path = files.path().join("ek");
    let text = on(
        tpm.socket(),
        &format!("ek_cert_path = \"{}\"", path.display()),
    );
    for bytes in [
        certificate.clone(),
        encode_pem("CERTIFICATE", &certificate).into(),
    ] {
        fs::write(&path, bytes).unwrap();
        configure(&agent, &text).await;
        let grant = verifier.attest(&agent).await.unwrap();
        assert!(grant.selectors().contains(&"vendor:STM".to_owned()));
    }

    // Another machine's.
    let other = softtpm::SoftTpm::sample(softtpm::KeyKind::Rsa2048, evidence::AkTemplate::EccP256);
    let foreign = authority.certify(&other.unwrap().ek_key().spki(), &ORDINARY);
    fs::write(&path, foreign).unwrap();
    configure(&agent, &text).await;
    let status = agent.aid().await.unwrap().payload().await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(
        status.message().contains("give the right certificate"),
        "{status}"
    );
    unload(agent).await;
}

#[tokio::test]
async fn the_endorsement_hierarchy_may_have_a_password() {
    const PASSWORD: &str = "correct horse";
    let model = Model {
        channel: tests::Channel::Tcp,
        ..Model::default()
    };
    let tpm = Manufacturer::new().make(&model);
    let tcti = tpm.tcti();
    let change = ["changeauth", "-c", "e", PASSWORD];
    tests::run("tpm2", &change, &[("TPM2TOOLS_TCTI", &tcti)]);
    let port = tcti.rsplit('=').next().unwrap();
    let files = TempDir::new().unwrap();
    let path = files.path().join("auth");
    let device = format!("device = \"tcp:127.0.0.1:{port}\"\n");
    let text = format!("{device}endorsement_auth_path = \"{}\"", path.display());
    let agent = configured(Side::Agent, &device).await;
    let mut verifier = Verifier::open();
    for (file, right) in [
        (None, false),
        (Some("battery staple"), false),
        (Some(PASSWORD), true),
        (Some("correct horse\n"), true),
        (Some("correct horse\n\n"), false),
    ] {
        if let Some(file) = file {
            Secrets::known().learn("a password", file.trim_end().as_bytes());
            fs::write(&path, file).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            configure(&agent, &text).await;
        }
        match verifier.attest(&agent).await {
            Ok(_) => assert!(right, "{file:?}"),
            Err(status) => {
                assert!(!right, "{file:?}: {status}");
                assert_eq!(status.code(), Code::Internal);
                let hint = "the endorsement hierarchy has a password: configure the endorsement authorisation";
                assert!(status.message().ends_with(hint), "{status}");
            }
        }
    }
    fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
    let status = agent.configure(Some(TRUST_DOMAIN), &text).await;
    let message = "2:25: the file of endorsement_auth_path is readable by everybody: chmod o-rwx";
    assert_eq!(status.unwrap_err().message(), message);
    let log = format!("{:?}", unload(agent).await);
    assert!(!log.contains("horse") && !log.contains("staple"), "{log}");
}
