//! What must not be in a log: secrets of any kind, and text that peers chose in a form that harms.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conformance::{Entry, LogLine, Side};
use evidence::{Challenge, Hash, Proof, Response};
use plugin::Code;
use softtpm::{Lies, Prover};
use tests::{Manufacturer, Model, ResourceManager, Secrets};
use tokio::time::sleep;
use verify::Reason;

use crate::process_certificates::{Authority, Described};
use crate::process_grants::{certified, machine, old_machine};
use crate::process_key_machine::{IDS, KeyMachine, generate, signs};
use crate::process_machine::{Verifier, agent, watched_agent};
use crate::process_plugin::{
    LIMIT, Records, TRUST_DOMAIN, attest, challenge, configured, decisions, field, text_of, unload,
};
use crate::process_refusal_cases::lying;

/// The log holds none of these, in whatever form.
fn keeps_secret(log: &[Entry], secrets: &[Vec<u8>]) {
    assert!(!log.is_empty());
    let lines: Vec<_> = log.iter().cloned().map(LogLine::Entry).collect();
    let known = Secrets::default();
    for secret in secrets {
        assert!(secret.len() >= 16, "long enough to be no accident");
        known.learn("a secret of this test", secret);
    }
    assert_eq!(known.leaks(&text_of(&lines)), Vec::<String>::new());
    assert!(!known.leaks(&format!("{:?}", secrets[0])).is_empty());
}

/// One exchange, honest or not, and all that is secret in it.
async fn secrets_of(server: &conformance::Loaded, mut prover: Prover, lies: Lies) -> Vec<Vec<u8>> {
    let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let found = Arc::clone(&seen);
    prover.lies = lies.answer(move |answer| {
        found.lock().unwrap().push(answer.secret.expose().to_vec());
    });
    let payload = prover.payload().unwrap();
    let mut exchange = server.attest(&[]).await.unwrap();
    exchange.payload(&payload).await;
    let asked = challenge(&mut exchange).await.unwrap();
    let response = prover.answer(&payload, &asked).unwrap();
    exchange.respond(&response).await;
    exchange.reply().await.ok();
    let mut secrets = seen.lock().unwrap().clone();
    let nonce = Challenge::decode(&asked).unwrap().extension;
    secrets.extend(nonce.map(|extension| extension.nonce.to_vec()));
    match Response::decode(&response).unwrap() {
        Response::Proof(proof) => secrets.push(proof.proof.to_vec()),
        Response::Secret(secret) => secrets.push(secret.expose().to_vec()),
    }
    secrets
}

#[tokio::test]
async fn a_server_logs_no_secret() {
    let records = Records::new();
    let server = configured(Side::Server, &records.enrolment("")).await;
    let good = machine();
    records.enrol(good.tpm.ek_hash());
    let mut secrets = secrets_of(&server, good, Lies::none()).await;
    secrets.extend(secrets_of(&server, machine(), Lies::none()).await);
    secrets.extend(secrets_of(&server, machine(), Lies::none().guess(&[9; 32])).await);
    secrets.extend(secrets_of(&server, old_machine(), Lies::none()).await);
    assert_eq!(secrets.len(), 3 + 3 + 3 + 2);
    let log = unload(server).await;
    assert_eq!(decisions(&log).len(), 4);
    keeps_secret(&log, &secrets);
}

/// Every plugin of these tests is searched for everything that they know, when it ends; so it must be enough.
#[tokio::test]
async fn everything_secret_is_known_to_the_search() {
    let tpm = Manufacturer::new().make(&Model::default());
    let manager = ResourceManager::start(tpm.socket());
    let agent = watched_agent(&manager, "").await;
    Verifier::open().attest(&agent).await.unwrap();
    let records = Records::new();
    let server = configured(Side::Server, &records.enrolment("")).await;
    let keyed = KeyMachine::new();
    let (keys, attestor) = (keyed.key_manager("").await, keyed.attestor("").await);
    let key = generate(&keys, IDS[0]).await;
    signs(&keys, &key).await;
    Verifier::open().attest(&attestor).await.unwrap();
    for plugin in [keys, attestor] {
        unload(plugin).await;
    }
    for mut prover in [machine(), old_machine()] {
        records.enrol(prover.tpm.ek_hash());
        attest(&server, &mut prover).await.unwrap();
    }
    let kinds = Secrets::known().kinds();
    for kind in [
        "a certification's binding",
        "a nonce",
        "a private key",
        "a proof",
        "a quote's binding",
        "a session's HMAC",
        "a session's nonce",
        "a verifier's entropy",
        "a wrapped key",
        "an activated secret",
    ] {
        assert!(kinds.contains(kind), "tpm/I11: {kind}");
    }
    unload(agent).await;
    unload(server).await;
}

/// The same search as at the end of every plugin, with something to find.
#[tokio::test]
async fn a_planted_secret_fails_the_test_of_a_plugin() {
    let records = Records::new();
    let planted = Hash::Sha256.digest(&[b"planted"]);
    Secrets::known().learn("what this test plants", &planted);
    let name = format!("{}.pem", hex::encode(&planted));
    // A long name is cut.
    let start: String = name.chars().take(48).collect();
    let server = configured(Side::Server, &records.anchors("")).await;
    assert!(catch_unwind(AssertUnwindSafe(|| drop(server))).is_ok());
    // The server names a file that is no certificate.
    fs::write(records.cas().join(&name), "no certificate").unwrap();
    let mut server = configured(Side::Server, &records.anchors("")).await;
    let deadline = Instant::now() + LIMIT;
    while !text_of(&server.process().log()).contains(&start) {
        assert!(Instant::now() < deadline, "the file is named");
        sleep(Duration::from_millis(10)).await;
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| drop(server)));
    let said = outcome.unwrap_err();
    let said = said.downcast_ref::<String>().unwrap();
    assert!(
        said.contains("what this test plants in hexadecimal"),
        "tpm/I11: {said}"
    );
}

/// Whatever went wrong in a proof, the peer reads the same: nothing tells it how near it came.
#[tokio::test]
async fn failed_proofs_look_alike() {
    let records = Records::new();
    let server = configured(Side::Server, &records.enrolment("")).await;
    let proof = |change: fn(&mut Proof)| {
        Lies::none().answer(move |answer| {
            if let Response::Proof(proof) = &mut answer.response {
                change(proof);
            }
        })
    };
    let raw = Lies::none().answer(|answer| {
        let secret = answer.secret.expose().try_into().unwrap();
        if let Response::Proof(proof) = &mut answer.response {
            proof.proof = secret;
        }
    });
    let liars = [
        lying(machine(), Lies::none().guess(&[9; 32])),
        lying(machine(), Lies::none().seen(|seen| seen.payload[0] ^= 1)),
        lying(machine(), Lies::none().seen(|seen| seen.challenge[9] ^= 1)),
        lying(machine(), proof(|proof| proof.proof[0] ^= 1)),
        lying(machine(), proof(|proof| proof.proof[31] ^= 1)),
        lying(machine(), proof(|proof| proof.evidence.push(b' '))),
        lying(machine(), proof(|proof| proof.log = Some(vec![1]))),
        lying(machine(), raw),
        lying(old_machine(), Lies::none().guess(&[9; 32])),
        lying(old_machine(), Lies::none().guess(&[9; 5])),
    ];
    for mut liar in liars {
        let status = attest(&server, &mut liar).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "tpm/D10");
        assert_eq!(
            status.message(),
            Reason::ProofMismatch.to_string(),
            "tpm/D10"
        );
        assert!(status.details().is_empty(), "tpm/D10");
    }
    unload(server).await;
}

#[tokio::test]
async fn an_agent_logs_no_secret() {
    let tpm = Manufacturer::new().make(&Model::default());
    let agent = agent(&tpm, "").await;
    let mut verifier = Verifier::open();
    verifier.attest(&agent).await.unwrap();
    let mut exchange = agent.aid().await.unwrap();
    let payload = exchange.payload().await.unwrap();
    let (challenge, _) = verifier.old_challenge(&payload);
    exchange.challenge(&challenge).await.unwrap();
    let mut exchange = agent.aid().await.unwrap();
    let payload = exchange.payload().await.unwrap();
    let (challenge, _) = verifier.begin(&payload);
    let altered = String::from_utf8(challenge).unwrap();
    let altered = altered.replace("\"version\":1", "\"version\":3");
    exchange.challenge(altered.as_bytes()).await.unwrap_err();
    // A secret, a seed and a nonce each; none towards the first generation.
    assert_eq!(verifier.entropy.taken.len(), 3 + 2 + 3);
    keeps_secret(&unload(agent).await, &verifier.entropy.taken);
}

const HOSTILE: &str = "x\n{\"@level\":\"error\",\"@message\":\"forged\"}\r\u{1b}[31m\u{202e}";

/// No character in what the host prints that is more than a character.
fn harmless(log: &[Entry]) {
    let plain = |text: &str| {
        let harmful = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!text.contains(harmful), "{text:?}");
    };
    for entry in log {
        plain(&entry.message);
        assert_ne!(entry.message, "forged");
        for (name, value) in &entry.fields {
            plain(name);
            plain(value.as_str().unwrap_or_default());
        }
    }
}

#[tokio::test]
async fn a_peer_writes_no_log_line_of_its_own() {
    let records = Records::new();
    fs::write(records.cas().join("odd\n\u{1b}[31m.pem"), "no certificate").unwrap();
    fs::write(records.hashes().join("odd\n\u{1b}[31m"), "").unwrap();
    let maker = Authority::new("Maker");
    records.trust(&maker.certificate);
    let server = configured(Side::Server, &records.both("")).await;

    let mut machines = Vec::new();
    let mut hostile_model = machine();
    let described = Described {
        manufacturer: "id:53544D20",
        model: HOSTILE,
    };
    let spki = hostile_model.tpm.ek_key().spki();
    hostile_model.certificate = Some(maker.certify(&spki, &described));
    machines.push((hostile_model, "granted"));
    machines.push((certified(machine(), &Authority::new(HOSTILE)), "refused"));
    let mut no_vendor = machine();
    let described = Described {
        manufacturer: HOSTILE,
        model: "m",
    };
    let spki = no_vendor.tpm.ek_key().spki();
    no_vendor.certificate = Some(maker.certify(&spki, &described));
    machines.push((no_vendor, "refused"));
    for (prover, outcome) in &mut machines {
        let verdict = attest(&server, prover).await;
        assert_eq!(
            verdict.is_ok(),
            *outcome == "granted",
            "tpm/I02: {verdict:?}"
        );
        let said = verdict.map_or_else(
            |status| status.message().to_owned(),
            |granted| granted.selector_values.join(" "),
        );
        assert!(said.chars().all(|c| (' '..='~').contains(&c)), "{said:?}");
    }
    let junk =
        format!("-----BEGIN CERTIFICATE-----\n{HOSTILE}\n-----END CERTIFICATE-----\n{HOSTILE}");
    for payload in [
        junk.clone(),
        HOSTILE.to_owned(),
        format!("{{\"EK\":\"{}\"}}", STANDARD.encode(&junk)),
    ] {
        let mut exchange = server
            .attest(&[("x-forwarded-client-ip", "x y")])
            .await
            .unwrap();
        exchange.payload(payload.as_bytes()).await;
        let status = exchange.reply().await.unwrap_err();
        assert_eq!(
            status.message(),
            Reason::MalformedPayload.to_string(),
            "tpm/I12"
        );
    }
    let key = format!("{HOSTILE:?} = 1");
    let status = server
        .configure(Some(TRUST_DOMAIN), &key)
        .await
        .unwrap_err();
    assert!(!status.message().contains(char::is_control), "{status:?}");

    let log = unload(server).await;
    harmless(&log);
    let outcomes: Vec<_> = decisions(&log)
        .iter()
        .map(|line| field(line, "outcome"))
        .collect();
    assert_eq!(
        outcomes,
        [
            "granted", "refused", "refused", "refused", "refused", "refused"
        ]
    );
    // What is skipped is named all the same, and the stranger's authority, too.
    assert!(
        log.iter()
            .any(|entry| entry.message.contains("skipped \"odd"))
    );
    assert!(
        log.iter()
            .any(|entry| entry.message.starts_with("hash_path: \"odd"))
    );
    assert!(field(decisions(&log)[1], "detail").contains("forged"));
}
