//! Every refusal of the server's plugin: code and sentence to the peer, one line to the operator, one count.

use std::fs;

use conformance::{AttestExchange, Loaded, Reply, Side};
use plugin::{Code, Status};
use softtpm::{Lies, Prover};
use verify::Reason;

use crate::process_certificates::Authority;
use crate::process_grants::{certified, machine};
use crate::process_key_cases::key_cases;
use crate::process_plugin::{
    Records, attest, configure, configured, counted, decisions, field, load, unload,
};
use crate::process_refusal_cases::Move::{
    self, Answer, Challenge, Close, Neither, Offer, Payload, Response,
};
use crate::process_refusal_cases::{Case, NAMELESS, cases, lying};

/// Plays the agent until the plugin refuses.
async fn play(server: &Loaded, prover: &mut Prover, moves: &[Move]) -> Status {
    let mut exchange = server.attest(&[]).await.unwrap();
    let payload = prover.payload().unwrap();
    let mut challenge = Vec::new();
    for step in moves {
        match step {
            Offer => exchange.payload(&payload).await,
            Payload(bytes) => exchange.payload(bytes).await,
            Response(bytes) => exchange.respond(bytes).await,
            Neither => exchange.neither().await,
            Close => exchange.close(),
            Answer => {
                let answer = prover.answer(&payload, &challenge).unwrap();
                exchange.respond(&answer).await;
            }
            Challenge => match exchange.reply().await.unwrap() {
                Reply::Challenge(bytes) => challenge = bytes,
                other => panic!("{other:?} instead of a challenge"),
            },
        }
    }
    refused(&mut exchange).await
}

async fn refused(exchange: &mut AttestExchange) -> Status {
    match exchange.reply().await {
        Err(status) => status,
        Ok(other) => panic!("{other:?} instead of a refusal"),
    }
}

#[tokio::test]
async fn every_refusal_has_one_code_one_sentence_one_line_and_one_count() {
    let other = Authority::new("Other");
    let records = Records::new();
    records.trust(&Authority::new("Maker").certificate);
    let server = load(Side::Server).await;
    let mut cases = cases(&other);
    cases.extend(key_cases());
    for Case {
        name,
        reason,
        code,
        more,
        prover,
        moves,
    } in &mut cases
    {
        configure(&server, &records.both(more)).await;
        let status = play(&server, prover, moves).await;
        let sentence = format!("{}: {}", reason.code(), reason.sentence());
        assert_eq!(
            (status.code(), status.message()),
            (*code, sentence.as_str()),
            "tpm/I12: {name}"
        );
    }
    let counts = counted(&server, cases.len()).await;
    let log = unload(server).await;
    let lines = decisions(&log);
    assert_eq!((lines.len(), counts.len()), (cases.len(), cases.len()));
    let mut told = Vec::new();
    for (line, case) in lines.iter().zip(&cases) {
        let name = case.name;
        assert_eq!(
            (line.level.as_str(), line.message.as_str()),
            ("warn", "attestation refused")
        );
        let mut names: Vec<_> = line.fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, REFUSED_FIELDS, "{name}");
        assert_eq!(field(line, "outcome"), "refused", "{name}");
        assert_eq!(field(line, "reason"), case.reason.code(), "{name}");
        let hash = if name.contains(NAMELESS) {
            String::new()
        } else {
            case.prover.tpm.ek_hash().hex()
        };
        assert_eq!(field(line, "ek_hash"), hash, "{name}");
        // Who has proved something is told of with it.
        let judged = matches!(case.reason, Reason::EkNotAllowed | Reason::UntrustedChain)
            && matches!(case.moves.last(), Some(Answer));
        let method = if judged { "quote" } else { "none" };
        assert_eq!(field(line, "evidence"), method, "{name}");
        assert_eq!(
            (field(line, "ek_trust"), field(line, "vendor")),
            ("none", ""),
            "{name}"
        );
        assert_eq!(field(line, "client_ip_unverified"), "", "{name}");
        assert!(line.fields["duration_ms"].is_u64(), "{name}");
        told.push(["refused", case.reason.code(), method].map(str::to_owned));
    }
    told.sort();
    assert_eq!(counts, told);
}

const REFUSED_FIELDS: [&str; 11] = [
    "client_ip_unverified",
    "detail",
    "duration_ms",
    "ek_hash",
    "ek_trust",
    "evidence",
    "outcome",
    "reason",
    "secure_boot",
    "svid_keys",
    "vendor",
];

#[tokio::test]
async fn the_operator_reads_which_authority_is_missing() {
    let records = Records::new();
    let server = configured(Side::Server, &records.both("")).await;
    let mut stranger = certified(machine(), &Authority::new("Stranger CA"));
    let status = play(&server, &mut stranger, &[Offer, Challenge, Answer]).await;
    assert_eq!(status.message(), "untrusted_chain: could not verify cert");
    let log = unload(server).await;
    let detail = field(decisions(&log)[0], "detail");
    assert!(detail.contains("Stranger CA"), "{detail}");
}

#[tokio::test]
async fn a_certificate_is_required_where_nobody_is_enrolled() {
    let records = Records::new();
    records.trust(&Authority::new("Maker").certificate);
    let server = configured(Side::Server, &records.anchors("")).await;
    let status = play(&server, &mut machine(), &[Offer]).await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "ek_cert_missing: an EK certificate is required"
    );
}

/// What costs a careless parser its stack, its memory or its time; an honest machine comes last.
#[tokio::test]
async fn hostile_payloads_leave_the_server_as_it_was() {
    let records = Records::new();
    let mut prover = machine();
    records.enrol(prover.tpm.ek_hash());
    let server = configured(Side::Server, &records.enrolment("")).await;
    let room = evidence::limits::PAYLOAD - 20;
    let payloads = [
        ("tpm/A06 arrays", "[".repeat(room)),
        (
            "tpm/A06 objects",
            format!("{{\"EK\":{}", "{\"EK\":".repeat(room / 7)),
        ),
        (
            "escapes",
            format!("{{\"EK\":\"{}\"}}", "\\u0000".repeat(room / 6)),
        ),
        (
            "base64",
            format!("{{\"EK\":\"{}\"}}", "LS0tLS1C".repeat(room / 8)),
        ),
        (
            "tpm/A05 one key over and over",
            format!("{{{}}}", "\"k\":1,".repeat(room / 6)),
        ),
        ("digits", format!("{{\"AK\":1{}}}", "0".repeat(room))),
    ];
    for (name, payload) in payloads {
        let status = play(&server, &mut prover, &[Payload(payload.into_bytes())]).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{name}");
        assert_eq!(
            status.message(),
            Reason::MalformedPayload.to_string(),
            "{name}"
        );
    }
    attest(&server, &mut prover).await.unwrap();
    unload(server).await;
}

#[tokio::test]
async fn an_unreadable_store_is_no_answer() {
    let records = Records::new();
    let mut prover = machine();
    records.enrol(prover.tpm.ek_hash());
    let server = configured(Side::Server, &records.enrolment("")).await;
    fs::remove_dir_all(records.hashes()).unwrap();
    let status = play(&server, &mut prover, &[Offer, Challenge, Answer]).await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        status.message(),
        Reason::StoreUnavailable.to_string(),
        "the path stays here"
    );
    // Who proves nothing does not learn that the store is down.
    let mut liar = lying(machine(), Lies::none().guess(&[1; 32]));
    let status = play(&server, &mut liar, &[Offer, Challenge, Answer]).await;
    assert_eq!(status.message(), Reason::ProofMismatch.to_string());
    fs::create_dir(records.hashes()).unwrap();
    records.enrol(prover.tpm.ek_hash());
    attest(&server, &mut prover).await.unwrap();
    let log = unload(server).await;
    let reasons: Vec<_> = decisions(&log)
        .iter()
        .map(|line| field(line, "reason"))
        .collect();
    assert_eq!(reasons, ["store_unavailable", "proof_mismatch", ""]);
    assert!(!field(decisions(&log)[0], "detail").is_empty());
    assert_eq!(
        field(decisions(&log)[0], "evidence"),
        "quote",
        "the proof held"
    );
}
