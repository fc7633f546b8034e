//! Too many attestations at once, and those that are given up.

use conformance::{AttestExchange, Loaded, Side};
use plugin::{Code, Status};
use softtpm::Prover;
use verify::Reason;

use crate::process_grants::machine;
use crate::process_plugin::{
    Records, challenge, configure, configured, counted, decisions, field, unload, verdict,
};

const CLIENT_IP: &str = "x-forwarded-client-ip";

/// An attestation that waits for its answer.
struct Waiting {
    prover: Prover,
    exchange: AttestExchange,
    payload: Vec<u8>,
    challenge: Vec<u8>,
}

impl Waiting {
    async fn begin(server: &Loaded, records: &Records, address: &str) -> Result<Self, Status> {
        let mut prover = machine();
        records.enrol(prover.tpm.ek_hash());
        let payload = prover.payload().unwrap();
        let headers = [(CLIENT_IP, address)];
        let headers = if address.is_empty() {
            &[]
        } else {
            headers.as_slice()
        };
        let mut exchange = server.attest(headers).await?;
        exchange.payload(&payload).await;
        let challenge = challenge(&mut exchange).await?;
        Ok(Self {
            prover,
            exchange,
            payload,
            challenge,
        })
    }

    async fn finish(mut self) {
        let answer = self.prover.answer(&self.payload, &self.challenge);
        self.exchange.respond(&answer.unwrap()).await;
        verdict(&mut self.exchange).await.unwrap();
    }
}

async fn overloaded(server: &Loaded, records: &Records, address: &str) {
    let Err(status) = Waiting::begin(server, records, address).await else {
        panic!("{address} has a place")
    };
    let sentence = "overloaded: too many attestations at once";
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, sentence)
    );
    assert_eq!(sentence, Reason::Overloaded.to_string());
}

#[tokio::test]
async fn places_are_few_for_one_address_and_limited_for_all() {
    let records = Records::new();
    let server = configured(
        Side::Server,
        &records.enrolment("max_streams_per_client = 1"),
    )
    .await;
    let first = Waiting::begin(&server, &records, "192.0.2.1")
        .await
        .unwrap();
    overloaded(&server, &records, "192.0.2.1").await;
    let second = Waiting::begin(&server, &records, "2001:db8::2")
        .await
        .unwrap();
    // An address that is not told, or none, counts for all only.
    let third = Waiting::begin(&server, &records, "").await.unwrap();
    let fourth = Waiting::begin(&server, &records, "proxy.example")
        .await
        .unwrap();
    configure(&server, &records.enrolment("max_streams = 4")).await;
    overloaded(&server, &records, "192.0.2.3").await;
    overloaded(&server, &records, "").await;
    first.finish().await;
    let fifth = Waiting::begin(&server, &records, "192.0.2.1")
        .await
        .unwrap();
    overloaded(&server, &records, "192.0.2.3").await;
    for waiting in [second, third, fourth, fifth] {
        waiting.finish().await;
    }
    let log = unload(server).await;
    let told: Vec<_> = decisions(&log)
        .into_iter()
        .map(|line| (field(line, "reason"), field(line, "client_ip_unverified")))
        .collect();
    let expected = [
        ("overloaded", "192.0.2.1"),
        ("overloaded", "192.0.2.3"),
        ("overloaded", ""),
        ("", "192.0.2.1"),
        ("overloaded", "192.0.2.3"),
        ("", "2001:db8::2"),
        ("", ""),
        ("", ""),
        ("", "192.0.2.1"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_limit_of_zero_per_client_is_none() {
    let records = Records::new();
    let text = records.enrolment("max_streams_per_client = 0\nmax_streams = 20");
    let server = configured(Side::Server, &text).await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        waiting.push(
            Waiting::begin(&server, &records, "192.0.2.1")
                .await
                .unwrap(),
        );
    }
    overloaded(&server, &records, "192.0.2.1").await;
    for waiting in waiting {
        waiting.finish().await;
    }
}

#[tokio::test]
async fn an_attestation_given_up_is_told_once_and_leaves_its_place() {
    let records = Records::new();
    let server = configured(Side::Server, &records.enrolment("max_streams = 1")).await;
    let mut hashes = Vec::new();
    for count in 1..=5 {
        let waiting = Waiting::begin(&server, &records, "192.0.2.1")
            .await
            .unwrap();
        hashes.push(waiting.prover.tpm.ek_hash().hex());
        // SPIRE cancels the stream when the agent goes away.
        drop(waiting);
        counted(&server, count).await;
    }
    Waiting::begin(&server, &records, "192.0.2.1")
        .await
        .unwrap()
        .finish()
        .await;
    let counts = counted(&server, 6).await;
    let log = unload(server).await;
    let lines = decisions(&log);
    assert_eq!((lines.len(), counts.len()), (6, 6));
    let mut told = vec![["granted", "none", "quote"].map(str::to_owned)];
    for (line, hash) in lines.iter().zip(&hashes) {
        assert_eq!(field(line, "reason"), "client_closed");
        let outcome = field(line, "outcome");
        assert!(["abandoned", "refused"].contains(&outcome), "{outcome}");
        assert_eq!(field(line, "ek_hash"), hash);
        told.push([outcome, "client_closed", "none"].map(str::to_owned));
    }
    told.sort();
    assert_eq!(counts, told);
    assert_eq!(field(lines[5], "outcome"), "granted");
}

#[tokio::test]
async fn nothing_after_the_verdict_is_read() {
    let records = Records::new();
    let server = configured(Side::Server, &records.enrolment("")).await;
    let mut waiting = Waiting::begin(&server, &records, "").await.unwrap();
    let answer = waiting.prover.answer(&waiting.payload, &waiting.challenge);
    waiting.exchange.respond(&answer.unwrap()).await;
    // One attempt: the stream ends with the verdict, and this goes nowhere.
    waiting.exchange.respond(b"{}").await;
    verdict(&mut waiting.exchange).await.unwrap();
    let log = unload(server).await;
    assert_eq!(decisions(&log).len(), 1);
}
