//! The CredentialComposer as a process: whose SVIDs it judges, which keys it takes, and that each counts once.

use std::time::Duration;

use conformance::{Entry, Loaded, Measured};
use plugin::proto::credential_composer::{
    ComposeAgentX509svidRequest, ComposeAgentX509svidResponse, DistinguishedName,
    X509svidAttributes, credential_composer_client::CredentialComposerClient,
};
use plugin::{Code, Status};
use softtpm::{Key, KeyKind, Prover};
use store::KeyRecords;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;
use verify::Reason;

use crate::process_plugin::{LIMIT, TRUST_DOMAIN, attest, configure, field, unload};
use crate::process_store::{Kept, agent_id, loaded_composer, make_key, now_ms, spki_sha256};

/// Attributes that SPIRE gives every agent.
fn attributes() -> X509svidAttributes {
    X509svidAttributes {
        subject: Some(DistinguishedName {
            country: vec!["US".into()],
            organization: vec!["SPIRE".into()],
            ..DistinguishedName::default()
        }),
        ..X509svidAttributes::default()
    }
}

async fn compose(composer: &Loaded, id: &str, pkix: &[u8]) -> Result<(), Status> {
    let asked = attributes();
    let composed = composer
        .composer()
        .compose_agent_x509_svid(id, pkix, &asked)
        .await?;
    assert_eq!(composed, asked, "nothing is added");
    Ok(())
}

/// SPIRE asks for the SVID of a machine with one of its keys.
pub(crate) async fn svid(composer: &Loaded, machine: &Prover, key: usize) -> Result<(), Status> {
    let id = agent_id(machine.tpm.ek_hash());
    compose(composer, &id, &machine.tpm.svid_keys[key].pkix()).await
}

fn is_refusal(outcome: Result<(), Status>, reason: Reason, case: &str) {
    let status = outcome.expect_err(case);
    let code = server::status::code(reason.fault());
    let sentence = reason.to_string();
    assert_eq!(
        (status.code(), status.message()),
        (code, sentence.as_str()),
        "{case}"
    );
}

fn is_mismatch(outcome: Result<(), Status>, case: &str) {
    is_refusal(outcome, Reason::SvidKeyMismatch, case);
}

/// What it said of each SVID.
fn judged(log: &[Entry]) -> Vec<[&str; 2]> {
    let about_svids = log.iter().filter(|entry| entry.message.starts_with("SVID"));
    about_svids
        .map(|entry| [field(entry, "outcome"), field(entry, "reason")])
        .collect()
}

#[tokio::test]
async fn a_certified_key_gets_one_svid_and_no_other_key_gets_any() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let composer = kept.composer("").await;
    let (mut machine, mut other) = (kept.keyed(), kept.keyed());
    make_key(&mut machine.tpm);
    is_mismatch(
        svid(&composer, &machine, 0).await,
        "tpm/G11 before it attested",
    );
    let granted = attest(&server, &mut machine).await.unwrap();
    attest(&server, &mut other).await.unwrap();
    assert_eq!(granted.spiffe_id, agent_id(machine.tpm.ek_hash()));
    let certified = "svid_key:certified".to_owned();
    assert!(granted.selector_values.contains(&certified));

    let software = Key::generate(KeyKind::P256).unwrap().subject_key().spki();
    let id = granted.spiffe_id.as_str();
    is_mismatch(
        compose(&composer, id, &software).await,
        "tpm/G11 in software",
    );
    let theirs = other.tpm.svid_keys[0].pkix();
    is_mismatch(
        compose(&composer, id, &theirs).await,
        "tpm/G11 another agent's",
    );
    let ours = machine.tpm.svid_keys[0].pkix();
    let their_id = agent_id(other.tpm.ek_hash());
    is_mismatch(
        compose(&composer, &their_id, &ours).await,
        "tpm/G11 for another agent",
    );
    for malformed in [&ours[..ours.len() - 1], b"no key"] {
        let outcome = compose(&composer, id, malformed).await;
        is_mismatch(outcome, "tpm/G11 no key");
    }
    for key in [1, 0] {
        svid(&composer, &machine, key).await.unwrap();
        is_mismatch(svid(&composer, &machine, key).await, "once");
    }
    svid(&composer, &other, 0).await.unwrap();
    // Each attestation counts for itself.
    for _ in 0..2 {
        attest(&server, &mut machine).await.unwrap();
    }
    for _ in 0..2 {
        svid(&composer, &machine, 0).await.unwrap();
    }
    is_mismatch(
        svid(&composer, &machine, 0).await,
        "as often as it attested",
    );
    unload(server).await;
    counted(&composer, "granted", "none").await;
    counted(&composer, "refused", "svid_key_mismatch").await;
    let log = unload(composer).await;
    let told = judged(&log);
    assert_eq!(
        told.iter().filter(|told| **told == ["granted", ""]).count(),
        5
    );
    let refused = ["refused", "svid_key_mismatch"];
    assert_eq!(told.iter().filter(|told| **told == refused).count(), 9);
    assert_eq!(told.len(), 14);
}

/// Waits until a decision of this outcome and reason was counted.
async fn counted(composer: &Loaded, outcome: &str, reason: &str) {
    let key = ["credential_composer", "tpm", "compose"];
    let labels = [("status", outcome), ("reason", reason)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let deadline = std::time::Instant::now() + LIMIT;
    loop {
        let all = composer.measurements();
        let found = all.iter().any(|one| {
            matches!(one.measured, Measured::Counter(by) if by > 0.0)
                && one.key == key
                && one.labels == labels
        });
        if found {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{all:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A key that is written down by hand, as an attestation at this time would have.
async fn record(kept: &Kept, machine: &Prover, key: usize, expires_ms: i64) {
    let keys = KeyRecords {
        agent_id: &agent_id(machine.tpm.ek_hash()),
        spki_sha256: &[spki_sha256(machine, key)],
        expires_ms,
    };
    kept.database.keep_keys(&keys).await.unwrap();
}

#[tokio::test]
async fn a_certification_counts_for_two_minutes() {
    let kept = Kept::new().await;
    let (server, composer) = (kept.server("").await, kept.composer("").await);
    let mut machine = kept.keyed();
    let before = now_ms();
    attest(&server, &mut machine).await.unwrap();
    let after = now_ms();
    let expires = kept.sql("SELECT expires_ms FROM svid_keys;");
    let expires: i64 = expires.trim().parse().unwrap();
    assert!((before + 120_000..=after + 120_000).contains(&expires));
    svid(&composer, &machine, 0).await.unwrap();
    record(&kept, &machine, 0, now_ms() - 1).await;
    is_mismatch(svid(&composer, &machine, 0).await, "expired");
    record(&kept, &machine, 0, now_ms() + 60_000).await;
    svid(&composer, &machine, 0).await.unwrap();
    unload(server).await;
    unload(composer).await;
}

#[tokio::test]
async fn ids_of_others_pass_and_ids_that_only_look_like_ours_do_not() {
    let kept = Kept::new().await;
    let composer = kept.composer("").await;
    let pkix = kept.keyed().tpm.svid_keys[0].pkix();
    let hash = "0123456789abcdef".repeat(4);
    for id in [
        format!("spiffe://{TRUST_DOMAIN}/spire/agent/x509pop/{hash}"),
        format!("spiffe://{TRUST_DOMAIN}/spire/agent/join_token/1"),
        format!("spiffe://{TRUST_DOMAIN}/spire/agent/tpm-devid/{hash}"),
        format!("spiffe://example.com/spire/agent/tpm/{hash}"),
    ] {
        compose(&composer, &id, &pkix).await.expect(&id);
        compose(&composer, &id, b"any key").await.expect(&id);
    }
    for id in [
        format!("spiffe://{TRUST_DOMAIN}/spire/agent/tpm/{hash}"),
        format!(
            "spiffe://{TRUST_DOMAIN}/spire/agent/tpm/{}",
            hash.to_uppercase()
        ),
        format!("spiffe://{TRUST_DOMAIN}/spire/agent/tpm/{hash}/a"),
        format!("spiffe://{TRUST_DOMAIN}/spire/agent/tpm/{hash}0"),
        format!("spiffe://{TRUST_DOMAIN}/spire/agent/tpm"),
        format!("spiffe://{TRUST_DOMAIN}/spire/agent/tpm/"),
        format!("spiffe://{TRUST_DOMAIN}/spire/agent/./tpm/{hash}"),
        format!("spiffe://{TRUST_DOMAIN}/spire//agent/tpm/{hash}"),
        "x\n{\"@level\":\"error\",\"@message\":\"forged\"}\u{1b}[31m".to_owned(),
    ] {
        is_mismatch(compose(&composer, &id, &pkix).await, &id);
    }
    let log = unload(composer).await;
    for entry in &log {
        assert_ne!(entry.message, "forged");
        let text = entry.fields.values().filter_map(|value| value.as_str());
        let plain = |text: &str| !text.contains(char::is_control);
        assert!(text.into_iter().all(plain), "{entry:?}");
    }
    assert_eq!(
        judged(&log)
            .iter()
            .filter(|told| told[0] == "refused")
            .count(),
        9
    );
}

/// The calls about everybody else's credentials.
const OTHER_CALLS: [&str; 4] = [
    "ComposeServerX509CA",
    "ComposeServerX509SVID",
    "ComposeWorkloadX509SVID",
    "ComposeWorkloadJWTSVID",
];

/// One of them, with a message that is none of its own: nobody reads it.
async fn other_call(composer: &Loaded, name: &str) -> Code {
    let service = "spire.plugin.server.credentialcomposer.v1.CredentialComposer";
    let path = format!("/{service}/{name}");
    let mut client = Grpc::new(composer.channel());
    client.ready().await.unwrap();
    let codec = ProstCodec::<ComposeAgentX509svidRequest, ComposeAgentX509svidResponse>::new();
    let request = tonic::Request::new(ComposeAgentX509svidRequest::default());
    let answer = client.unary(request, path.parse().unwrap(), codec).await;
    answer.unwrap_err().code()
}

/// SPIRE takes UNIMPLEMENTED for consent.
#[tokio::test]
async fn only_what_it_does_not_judge_is_unimplemented() {
    let kept = Kept::new().await;
    let machine = kept.keyed();
    let composer = loaded_composer().await;
    let request = ComposeAgentX509svidRequest {
        attributes: Some(attributes()),
        spiffe_id: agent_id(machine.tpm.ek_hash()),
        public_key: machine.tpm.svid_keys[0].pkix(),
    };
    for (is_configured, code) in [
        (false, Code::FailedPrecondition),
        (true, Code::PermissionDenied),
    ] {
        if is_configured {
            configure(&composer, &kept.store("")).await;
        }
        for name in OTHER_CALLS {
            let code = other_call(&composer, name).await;
            assert_eq!(code, Code::Unimplemented, "{name}");
        }
        let mut wire = CredentialComposerClient::new(composer.channel());
        let judged = wire.compose_agent_x509svid(request.clone()).await;
        assert_eq!(judged.unwrap_err().code(), code);
    }
    unload(composer).await;
}

#[tokio::test]
async fn a_configuration_without_a_store_is_none() {
    let kept = Kept::new().await;
    let composer = loaded_composer().await;
    let missing = kept.path().join("no/store").display().to_string();
    for (text, sentence) in [
        (String::new(), "store is required"),
        ("svid_keys = \"require\"".to_owned(), "store is required"),
        (kept.store("svid_keys = \"maybe\""), "2:"),
        (kept.store("pcrs = [7]"), "pcrs"),
        (format!("store = \"{missing}\""), "store"),
        (
            "store = \"postgres://u:${UNSET_BY_ALL}@127.0.0.1/x\"".to_owned(),
            "UNSET_BY_ALL",
        ),
    ] {
        let status = composer.configure(Some(TRUST_DOMAIN), &text).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{text}");
        assert!(status.message().contains(sentence), "{text}: {status}");
    }
    let elsewhere = kept.path().with_extension("validated");
    let text = format!("store = \"{}\"", elsewhere.display());
    let said = composer.validate(Some(TRUST_DOMAIN), &text).await.unwrap();
    assert!(said.valid && !elsewhere.exists(), "only looked at");
    unload(composer).await;
}

/// Who only observes lets every key pass and says which it would not, and the attestor promises nothing.
#[tokio::test]
async fn who_observes_refuses_nobody() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let composer = kept.composer("svid_keys = \"observe\"").await;
    let mut machine = kept.keyed();
    let granted = attest(&server, &mut machine).await.unwrap();
    let certified = "svid_key:certified".to_owned();
    assert!(!granted.selector_values.contains(&certified));
    for _ in 0..2 {
        svid(&composer, &machine, 0).await.unwrap();
    }
    let malformed = agent_id(machine.tpm.ek_hash());
    compose(&composer, &malformed, b"no key").await.unwrap();

    configure(&composer, &kept.store("")).await;
    let granted = attest(&server, &mut machine).await.unwrap();
    assert!(
        granted.selector_values.contains(&certified),
        "it enforces now"
    );
    svid(&composer, &machine, 0).await.unwrap();
    is_mismatch(svid(&composer, &machine, 0).await, "once");
    configure(&composer, &kept.store("svid_keys = \"observe\"")).await;
    let granted = attest(&server, &mut machine).await.unwrap();
    assert!(
        !granted.selector_values.contains(&certified),
        "it is withdrawn"
    );
    let log = unload(composer).await;
    let tolerated = ["tolerated", "svid_key_mismatch"];
    let expected = [["granted", ""], tolerated, tolerated];
    assert_eq!(judged(&log)[..3], expected);
    unload(server).await;
}

const NOBODY_ENFORCES: &str = "no CredentialComposer of this SPIRE Server has registered";

#[tokio::test]
async fn the_attestor_says_that_nobody_enforces_and_promises_nothing_then() {
    let kept = Kept::new().await;
    let server = kept.server("svid_keys = \"require\"").await;
    let mut machine = kept.keyed();
    let certified = "svid_key:certified".to_owned();
    for _ in 0..3 {
        let granted = attest(&server, &mut machine).await.unwrap();
        assert!(!granted.selector_values.contains(&certified));
    }
    // A composer of another SPIRE Server is none of this one.
    kept.database
        .register_composer("elsewhere", now_ms())
        .await
        .unwrap();
    let granted = attest(&server, &mut machine).await.unwrap();
    assert!(!granted.selector_values.contains(&certified));
    let composer = kept.composer("").await;
    let granted = attest(&server, &mut machine).await.unwrap();
    assert!(granted.selector_values.contains(&certified));
    // A machine whose keys were not certified has no such selector.
    configure(&server, &kept.data("")).await;
    let mut bare = crate::process_grants::machine();
    kept.records.enrol(bare.tpm.ek_hash());
    let granted = attest(&server, &mut bare).await.unwrap();
    assert!(!granted.selector_values.contains(&certified));
    unload(composer).await;
    let log = unload(server).await;
    let told = log
        .iter()
        .filter(|entry| entry.message.contains(NOBODY_ENFORCES));
    let told: Vec<_> = told.map(|entry| entry.level.as_str()).collect();
    assert_eq!(told, ["warn"], "at most once a minute");
}

#[tokio::test]
async fn without_its_store_it_refuses_until_that_is_back() {
    let kept = Kept::new().await;
    let (server, composer) = (kept.server("").await, kept.composer("").await);
    let mut machine = kept.keyed();
    attest(&server, &mut machine).await.unwrap();
    let reason = Reason::DatabaseUnavailable;
    kept.sql("ALTER TABLE svid_keys RENAME TO elsewhere;");
    is_refusal(svid(&composer, &machine, 0).await, reason, "no table");
    // What is no TPM agent's passes without the store.
    let other = format!("spiffe://{TRUST_DOMAIN}/spire/agent/x509pop/1");
    compose(&composer, &other, b"any key").await.unwrap();
    kept.sql("ALTER TABLE elsewhere RENAME TO svid_keys;");
    svid(&composer, &machine, 0).await.unwrap();
    let log = unload(composer).await;
    let refused = ["refused", "database_unavailable"];
    assert_eq!(judged(&log), [refused, ["passed", ""], ["granted", ""]]);
    unload(server).await;
}
