//! What SPIRE Agent logs when this machine cannot or will not answer.

use conformance::{Loaded, Side};
use plugin::{Code, Status};
use tests::{Manufacturer, Model, ResourceManager};

use crate::process_machine::{Verifier, agent, on, watched_agent};
use crate::process_plugin::{configure, configured, unload};

/// The answer to a challenge of one's own.
async fn answer(agent: &Loaded, challenge: &[u8]) -> Result<Vec<u8>, Status> {
    let mut exchange = agent.aid().await?;
    exchange.payload().await?;
    exchange.challenge(challenge).await
}

#[tokio::test]
async fn a_challenge_that_is_none_is_the_servers_fault() {
    let tpm = Manufacturer::new().make(&Model::default());
    let agent = agent(&tpm, "").await;
    let payload = agent.aid().await.unwrap().payload().await.unwrap();
    let (challenge, _) = Verifier::open().begin(&payload);
    let text = String::from_utf8(challenge).unwrap();
    let long = " ".repeat(evidence::limits::CHALLENGE + 1);
    for (name, challenge) in [
        ("empty", String::new()),
        ("no members", "{}".to_owned()),
        ("more behind it", format!("{text}{{}}")),
        ("letter case", text.replace("\"EC\"", "\"ec\"")),
        ("no nonce", text.replace("\"nonce\"", "\"once\"")),
        ("too long", long),
        ("hostile", "\n[ERROR] \u{1b}[31m".to_owned()),
    ] {
        let status = answer(&agent, challenge.as_bytes()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name}");
        let sentence = "malformed_challenge: the server's challenge ";
        assert!(status.message().starts_with(sentence), "{name}: {status}");
    }
    let newer = text.replace("\"version\":1", "\"version\":2");
    let status = answer(&agent, newer.as_bytes()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "unsupported_version: the server chose a protocol version that this agent does not speak"
    );
    Verifier::open().attest(&agent).await.unwrap();
    unload(agent).await;
}

/// Whether a server of the first generation gets the answer that it wants.
async fn answers_old_server(agent: &Loaded) -> bool {
    let mut verifier = Verifier::open();
    let mut exchange = agent.aid().await.unwrap();
    let payload = exchange.payload().await.unwrap();
    let (challenge, pending) = verifier.old_challenge(&payload);
    match exchange.challenge(&challenge).await {
        Ok(response) => {
            let grant = verifier.decide(pending, &response).unwrap();
            assert_eq!(grant.selectors()[2], "attestation:credential");
            true
        }
        Err(status) => {
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert_eq!(
                status.message(),
                "legacy_server: the server asks without a quote, and legacy_servers forbids the answer"
            );
            false
        }
    }
}

#[tokio::test]
async fn old_servers_are_answered_as_configured() {
    let tpm = Manufacturer::new().make(&Model::default());
    let agent = agent(&tpm, "legacy_servers = \"until_seen\"").await;
    assert!(answers_old_server(&agent).await, "none seen yet");
    Verifier::open().attest(&agent).await.unwrap();
    assert!(!answers_old_server(&agent).await, "one was seen");
    configure(&agent, &on(tpm.socket(), "legacy_servers = \"allow\"")).await;
    assert!(answers_old_server(&agent).await, "allowed");
    configure(&agent, &on(tpm.socket(), "legacy_servers = \"until_seen\"")).await;
    assert!(
        !answers_old_server(&agent).await,
        "what was seen stays seen"
    );
    configure(&agent, &on(tpm.socket(), "legacy_servers = \"deny\"")).await;
    assert!(!answers_old_server(&agent).await, "denied");
    let log = unload(agent).await;
    let warnings = log
        .iter()
        .filter(|line| line.message.contains("bare secret"));
    assert!(warnings.clone().all(|line| line.level == "warn"));
    assert_eq!(warnings.count(), 2);
}

#[tokio::test]
async fn a_tpm_that_refuses_is_told_with_what_to_do() {
    const QUOTE: u32 = 0x158;
    const LOCKOUT: u32 = 0x921;
    let tpm = Manufacturer::new().make(&Model::default());
    let manager = ResourceManager::start(tpm.socket());
    let agent = watched_agent(&manager, "").await;
    let mut verifier = Verifier::open();
    verifier.attest(&agent).await.unwrap();
    manager.refuse_next(QUOTE, LOCKOUT);
    let status = verifier.attest(&agent).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let message = status.message();
    assert!(message.starts_with("tpm_failed: TPM2_Quote: "), "{message}");
    assert!(message.contains("dictionary-attack lockout"), "{message}");
    verifier.attest(&agent).await.unwrap();
    manager.disconnect();
    // The machine attests again without help, though perhaps not at the first try.
    let tries = [verifier.attest(&agent).await, verifier.attest(&agent).await];
    assert!(tries[1].is_ok(), "{tries:?}");
    unload(agent).await;
}

#[tokio::test]
async fn a_tpm_that_is_not_there_is_told_with_what_to_do() {
    let mut tpm = Manufacturer::new().make(&Model::default());
    let agent = configured(Side::Agent, "device = \"/dev/no-such-tpm\"").await;
    let status = agent.aid().await.unwrap().payload().await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let message = status.message();
    let begin = "tpm_failed: cannot open the TPM at /dev/no-such-tpm: ";
    assert!(message.starts_with(begin), "{message}");
    assert!(
        message.contains("there is no such device or socket"),
        "{message}"
    );

    tpm.power_off();
    configure(&agent, &on(tpm.socket(), "")).await;
    let status = agent.aid().await.unwrap().payload().await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().contains("is the emulator running?"),
        "{status}"
    );
    tpm.restart();
    Verifier::open().attest(&agent).await.unwrap();

    // Somebody else's challenge.
    let other = Manufacturer::new().make(&Model::default());
    let stranger = crate::process_machine::agent(&other, "").await;
    let payload = stranger.aid().await.unwrap().payload().await.unwrap();
    let (challenge, _) = Verifier::open().begin(&payload);
    let status = answer(&agent, &challenge).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let begin = "tpm_failed: TPM2_ActivateCredential: ";
    assert!(status.message().starts_with(begin), "{status}");
    unload(agent).await;
    unload(stranger).await;
}
