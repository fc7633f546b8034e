//! What a server that knows a machine refuses it for, and that it knows the same as before then.

use plugin::{AgentAttributes, Code, Status};
use softtpm::{Generation, Lies, Prover};
use verify::Reason;

use crate::process_continuity::{LONG, refused, refused_for_now};
use crate::process_plugin::{TRUST_DOMAIN, attest, configure, counted, decisions, field, unload};
use crate::process_store::{Kept, agent_id, make_key};

type Change = fn(&mut Prover);

#[tokio::test]
async fn who_gave_a_quote_gives_one_again() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let mut machine = crate::process_grants::machine();
    kept.records.enrol(machine.tpm.ek_hash());
    machine.generation = Generation::First;
    let old = |granted: &AgentAttributes| {
        let selector = "attestation:credential".to_owned();
        granted.selector_values.contains(&selector)
    };
    for _ in 0..2 {
        assert!(old(&attest(&server, &mut machine).await.unwrap()));
    }
    assert_eq!(kept.of(&machine).await.unwrap().state.clock, None);
    machine.generation = Generation::Current;
    assert!(!old(&attest(&server, &mut machine).await.unwrap()));
    machine.generation = Generation::First;
    let reason = Reason::Downgrade;
    // Who strips what an agent says locks nobody out.
    refused_for_now(&kept, &server, &mut machine, reason, "downgrade").await;
    machine.generation = Generation::Current;
    attest(&server, &mut machine).await.unwrap();
    unload(server).await;
}

/// An attestation that fails for whatever reason, at whatever step, is as if it had not been.
#[tokio::test]
async fn a_failed_attestation_leaves_the_machine_as_it_was() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let mut machine = kept.keyed();
    attest(&server, &mut machine).await.unwrap();
    machine.tpm.advance_clock(LONG);
    make_key(&mut machine.tpm);
    let mut failing = async |case: &str, more: &str, lies: Lies, reason: Reason| {
        configure(&server, &kept.data(more)).await;
        machine.lies = lies;
        let case = format!("tpm/H08 {case}");
        refused_for_now(&kept, &server, &mut machine, reason, &case).await;
        machine.lies = Lies::none();
    };
    let none = Lies::none;
    let certify = none().certification(|attest| attest.extra_data.clear());
    failing("proof", "", none().guess(&[7; 32]), Reason::ProofMismatch).await;
    failing("certification", "", certify, Reason::NonceMismatch).await;
    let quote = none().attest(|attest| attest.magic = 0);
    failing("quote", "", quote, Reason::BadMagic).await;
    let zeros = "00".repeat(32);
    let profile = format!("profile \"p\" {{ pcr \"7\" {{ values = [\"{zeros}\"] }} }}");
    failing("policy", &profile, none(), Reason::PcrPolicy).await;
    let hash = machine.tpm.ek_hash();
    std::fs::remove_file(kept.records.hashes().join(hash.hex())).unwrap();
    let before = kept.dump();
    configure(&server, &kept.data("")).await;
    refused(
        &server,
        &mut machine,
        Reason::EkNotAllowed,
        "tpm/H08 not enrolled",
    )
    .await;
    assert_eq!(kept.dump(), before, "tpm/H08 not enrolled");
    kept.records.enrol(hash);
    attest(&server, &mut machine).await.unwrap();
    assert_ne!(kept.dump(), before);

    // A stranger leaves nothing at all.
    let mut stranger = crate::process_grants::machine();
    make_key(&mut stranger.tpm);
    let before = kept.dump();
    refused(
        &server,
        &mut stranger,
        Reason::EkNotAllowed,
        "tpm/H08 stranger",
    )
    .await;
    assert_eq!(kept.dump(), before, "tpm/H08 stranger");
    unload(server).await;
}

#[tokio::test]
async fn agents_without_certifiable_keys_are_refused_where_keys_are_required() {
    let kept = Kept::new().await;
    let server = kept.server("svid_keys = \"require\"").await;
    let mut bare = crate::process_grants::machine();
    kept.records.enrol(bare.tpm.ek_hash());
    let mut old = Prover::new(bare.tpm.clone(), TRUST_DOMAIN);
    old.generation = Generation::First;
    let reason = Reason::SvidKeyUncertified;
    for machine in [&mut bare, &mut old] {
        let before = kept.dump();
        let mut exchange = server.attest(&[]).await.unwrap();
        exchange.payload(&machine.payload().unwrap()).await;
        let status: Status = exchange.reply().await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "the agent stops");
        assert_eq!(status.message(), reason.to_string());
        assert_eq!(kept.dump(), before);
    }
    make_key(&mut bare.tpm);
    let granted = attest(&server, &mut bare).await.unwrap();
    assert_eq!(granted.spiffe_id, agent_id(bare.tpm.ek_hash()));
    let counts = counted(&server, 3).await;
    let uncertified = ["refused", "svid_key_uncertified", "none"].map(str::to_owned);
    assert_eq!(
        counts.iter().filter(|count| **count == uncertified).count(),
        2
    );
    configure(&server, &kept.data("")).await;
    bare.tpm.svid_keys.clear();
    attest(&server, &mut bare).await.expect("observed only");
    unload(server).await;
}

/// As [`crate::process_refusals`] has it for those that need no history.
#[tokio::test]
async fn every_refusal_of_a_known_machine_has_one_line_and_one_count() {
    let kept = Kept::new().await;
    let strict =
        "tpm_clear = \"quarantine\"\nak_change = \"quarantine\"\nunexpected_reset = \"refuse\"";
    let server = kept.server(strict).await;
    let mut expected = Vec::new();
    let granted = async |machine: &mut Prover| attest(&server, machine).await.unwrap();
    let changes: [(Reason, Change); 5] = [
        (Reason::CloneSuspected, |machine| {
            machine.tpm.clock.reset_count -= 1;
        }),
        (Reason::ClockRegressed, |machine| {
            machine.tpm.clock.clock -= LONG;
        }),
        (Reason::Downgrade, |machine| {
            machine.generation = Generation::First;
        }),
        (Reason::ResetUnexpected, |machine| machine.tpm.reset()),
        (Reason::TpmCleared, |machine| {
            machine.tpm.clear().unwrap();
            make_key(&mut machine.tpm);
        }),
    ];
    for (reason, change) in changes {
        let mut machine = kept.keyed();
        machine.tpm.clock.clock += LONG;
        granted(&mut machine).await;
        expected.push(("granted", "", machine.tpm.ek_hash(), "quote", 1));
        change(&mut machine);
        let mut reasons = vec![reason];
        if reason.quarantines() {
            reasons.push(Reason::Quarantined);
        }
        let is_old = machine.generation == Generation::First;
        let (evidence, keys) = if is_old {
            ("credential", 0)
        } else {
            ("quote", 1)
        };
        for reason in reasons {
            refused(&server, &mut machine, reason, "strict").await;
            let hash = machine.tpm.ek_hash();
            expected.push(("refused", reason.code(), hash, evidence, keys));
        }
    }
    let counts = counted(&server, expected.len()).await;
    let log = unload(server).await;
    let lines = decisions(&log);
    assert_eq!(
        (lines.len(), counts.len()),
        (expected.len(), expected.len())
    );
    let mut told = Vec::new();
    for (line, (outcome, reason, hash, evidence, keys)) in lines.iter().zip(expected) {
        let names = ["outcome", "reason", "ek_hash", "evidence"];
        let expect = [outcome, reason, &hash.hex(), evidence];
        assert_eq!(names.map(|name| field(line, name)), expect);
        assert_eq!(line.fields["svid_keys"], keys, "{reason}");
        let reason = if reason.is_empty() { "none" } else { reason };
        told.push([outcome, reason, evidence].map(str::to_owned));
    }
    told.sort();
    assert_eq!(counts, told);
}
