//! Messages that were honest once, or are honest elsewhere: replayed, swapped and relayed.

use conformance::{AttestExchange, Loaded, Side};
use plugin::{Code, Status};
use softtpm::{Lies, Prover, certifications_of};
use verify::Reason;

use crate::process_grants::machine;
use crate::process_plugin::{
    Records, attest, challenge, configure, configured, decisions, field, load, unload, verdict,
};
use crate::process_store::make_key;

/// One honest exchange as it travelled.
struct Recorded {
    payload: Vec<u8>,
    response: Vec<u8>,
}

async fn begin(server: &Loaded, payload: &[u8]) -> (AttestExchange, Vec<u8>) {
    let mut exchange = server.attest(&[]).await.unwrap();
    exchange.payload(payload).await;
    let asked = challenge(&mut exchange).await.unwrap();
    (exchange, asked)
}

async fn record(server: &Loaded, prover: &mut Prover) -> Recorded {
    let payload = prover.payload().unwrap();
    let (mut exchange, asked) = begin(server, &payload).await;
    let response = prover.answer(&payload, &asked).unwrap();
    exchange.respond(&response).await;
    verdict(&mut exchange).await.unwrap();
    Recorded { payload, response }
}

fn assert_mismatch(status: &Status, name: &str) {
    assert_eq!(status.code(), Code::PermissionDenied, "{name}");
    assert_eq!(
        status.message(),
        Reason::ProofMismatch.to_string(),
        "{name}"
    );
}

#[tokio::test]
async fn a_proof_counts_for_its_own_stream_only() {
    let records = Records::new();
    let (mut one, mut other) = (machine(), machine());
    for prover in [&one, &other] {
        records.enrol(prover.tpm.ek_hash());
    }
    let server = configured(Side::Server, &records.enrolment("")).await;
    let recorded = record(&server, &mut one).await;

    let (mut again, _) = begin(&server, &recorded.payload).await;
    again.respond(&recorded.response).await;
    assert_mismatch(
        &verdict(&mut again).await.unwrap_err(),
        "tpm/A16 full replay",
    );

    let payload = one.payload().unwrap();
    let (mut first, asked) = begin(&server, &payload).await;
    let (mut second, _) = begin(&server, &payload).await;
    let answer = one.answer(&payload, &asked).unwrap();
    second.respond(&answer).await;
    assert_mismatch(
        &verdict(&mut second).await.unwrap_err(),
        "tpm/A15 another stream's answer",
    );
    first.respond(&answer).await;
    verdict(&mut first)
        .await
        .expect("tpm/A15: its own stream takes it");

    // The other machine's payload, and what the first one proved.
    let (mut swapped, _) = begin(&server, &other.payload().unwrap()).await;
    swapped.respond(&recorded.response).await;
    assert_mismatch(
        &verdict(&mut swapped).await.unwrap_err(),
        "tpm/A17 payload swapped",
    );
}

/// The first answer is the only one: the stream ends with its verdict, whatever follows (tpm/A09).
#[tokio::test]
async fn a_right_answer_after_a_wrong_one_is_not_read() {
    let records = Records::new();
    let mut prover = machine();
    records.enrol(prover.tpm.ek_hash());
    let server = configured(Side::Server, &records.enrolment("")).await;
    let recorded = record(&server, &mut prover).await;
    let payload = prover.payload().unwrap();
    let (mut exchange, asked) = begin(&server, &payload).await;
    exchange.respond(&recorded.response).await;
    exchange
        .respond(&prover.answer(&payload, &asked).unwrap())
        .await;
    assert_mismatch(&verdict(&mut exchange).await.unwrap_err(), "tpm/A09");
    let log = unload(server).await;
    let reasons: Vec<_> = decisions(&log)
        .iter()
        .map(|line| field(line, "reason"))
        .collect();
    assert_eq!(
        reasons,
        ["", "proof_mismatch"],
        "tpm/A09: one verdict a stream"
    );
}

/// Whoever carries the messages of a machine to its own server and back gets what that machine gets, as the threat model
/// says: the identity is the machine's, and the SVID's key is the carrier's (tpm/A20).
#[tokio::test]
async fn a_relay_within_the_trust_domain_is_not_seen() {
    let records = Records::new();
    let mut victim = machine();
    records.enrol(victim.tpm.ek_hash());
    let server = configured(Side::Server, &records.enrolment("")).await;
    let payload = victim.payload().unwrap();
    let (mut relay, asked) = begin(&server, &payload).await;
    relay
        .respond(&victim.answer(&payload, &asked).unwrap())
        .await;
    let granted = verdict(&mut relay).await.expect("tpm/A20");
    let hash = victim.tpm.ek_hash().hex();
    assert!(
        granted.spiffe_id.ends_with(&hash),
        "tpm/A20: the victim's identity and no other"
    );
}

/// A server of another trust domain passes our server's challenge on to its own agent, and gets nothing for it (tpm/A21).
#[tokio::test]
async fn a_relay_from_another_trust_domain_is_refused() {
    let records = Records::new();
    let mut victim = Prover::new(machine().tpm, "elsewhere.test");
    records.enrol(victim.tpm.ek_hash());
    let elsewhere = load(Side::Server).await;
    let text = records.enrolment("");
    elsewhere
        .configure(Some("elsewhere.test"), &text)
        .await
        .unwrap();
    attest(&elsewhere, &mut victim)
        .await
        .expect("tpm/A21: honest at home");

    let server = load(Side::Server).await;
    configure(&server, &text).await;
    let payload = victim.payload().unwrap();
    let (mut relay, asked) = begin(&server, &payload).await;
    relay
        .respond(&victim.answer(&payload, &asked).unwrap())
        .await;
    assert_mismatch(&verdict(&mut relay).await.unwrap_err(), "tpm/A21");
}

#[tokio::test]
async fn a_certification_counts_for_its_own_stream_only() {
    let records = Records::new();
    let mut prover = machine();
    make_key(&mut prover.tpm);
    records.enrol(prover.tpm.ek_hash());
    let server = configured(Side::Server, &records.enrolment("")).await;
    let earlier = record(&server, &mut prover).await;
    let replayed = certifications_of(&earlier.response).unwrap();
    assert_eq!(replayed.len(), 1);
    prover.lies = Lies::none().replayed(replayed);
    let status = attest(&server, &mut prover).await.unwrap_err();
    let reason = Reason::NonceMismatch.to_string();
    assert_eq!(status.message(), reason, "tpm/G06");
    prover.lies = Lies::none();
    attest(&server, &mut prover).await.unwrap();
    unload(server).await;
}
