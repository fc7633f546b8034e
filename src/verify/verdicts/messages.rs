//! Payloads, versions, proofs and transcripts.

use evidence::{Challenge, Response, limits};
use softtpm::{KeyKind, Lies, SoftTpm};

use super::{Counter, liar, machine, policy, prover, refused};
use crate::{Anchors, Entropy, LegacyAgents, Reason, begin};

fn lies() -> Lies {
    Lies::none()
}

fn begun(payload: &[u8]) -> Option<Reason> {
    let result = begin(payload, &policy(), &Anchors::default(), 0, &mut Counter(0));
    result.err().map(|rejection| rejection.reason)
}

#[test]
fn payloads_are_strict() {
    let honest = prover(machine()).payload().unwrap();
    for len in 0..honest.len() {
        assert_eq!(
            begun(&honest[..len]),
            Some(Reason::MalformedPayload),
            "prefix of {len}"
        );
    }
    assert_eq!(
        begun(&vec![b' '; limits::PAYLOAD + 1]),
        Some(Reason::PayloadTooLarge)
    );
    for foreign in [
        &b"\x00\xFF random"[..],
        b"[]",
        br#"{"certificates":["AA=="]}"#,
        br#"{"DevIDCert":["AA=="],"DevIDPub":"AA=="}"#,
    ] {
        assert_eq!(begun(foreign), Some(Reason::MalformedPayload));
    }
}

#[test]
fn versions_must_overlap_and_a_quote_be_offered() {
    let versions = |min: u32, max: u32| {
        lies().offer(move |offer| {
            let extension = offer.extension.as_mut().unwrap();
            (extension.min_version, extension.max_version) = (min, max);
        })
    };
    for (min, max, expect) in [
        (1, 1, None),
        (0, 9, None),
        (2, 255, Some(Reason::UnsupportedVersion)),
        (0, 0, Some(Reason::UnsupportedVersion)),
        (2, 0, Some(Reason::UnsupportedVersion)),
    ] {
        assert_eq!(refused(liar(versions(min, max))), expect, "{min}–{max}");
    }
    let without_quote = lies().offer(|offer| offer.extension.as_mut().unwrap().evidence.clear());
    assert_eq!(
        refused(liar(without_quote)),
        Some(Reason::PolicyRequiresQuote)
    );
}

#[test]
fn stripping_the_extension_is_seen_where_quotes_are_required() {
    let mut stripped = liar(lies().offer(|offer| offer.extension = None));
    let strict = crate::Policy {
        legacy_agents: LegacyAgents::Deny,
        ..policy()
    };
    assert_eq!(
        super::grant(&mut stripped, &strict),
        Err(Reason::PolicyRequiresQuote)
    );
}

#[test]
fn the_ek_of_a_payload_is_one_key() {
    let other = SoftTpm::sample(KeyKind::P384, evidence::AkTemplate::EccP256).unwrap();
    for (spki, expect) in [
        (vec![0x30, 0], Reason::MalformedKey),
        (
            machine().ek_key().spki()[..90].to_vec(),
            Reason::MalformedKey,
        ),
        (
            [machine().ek_key().spki(), vec![0]].concat(),
            Reason::MalformedKey,
        ),
        (other.ek_key().spki(), Reason::ProofMismatch),
    ] {
        let certain = expect == Reason::ProofMismatch;
        let lie = lies().offer(move |offer| offer.ek.public_key = Some(spki.clone()));
        let lie = if certain { lie.guess(&[7; 32]) } else { lie };
        assert_eq!(refused(liar(lie)), Some(expect));
    }
}

#[test]
fn proofs_are_bound_to_everything_that_was_said() {
    for (name, lie) in [
        ("no secret", lies().guess(&[0; 32])),
        (
            "relayed from another trust domain",
            lies().seen(|seen| seen.trust_domain.push('x')),
        ),
        ("other payload", lies().seen(|seen| seen.payload[0] ^= 1)),
        (
            "other challenge",
            lies().seen(|seen| seen.challenge[0] ^= 1),
        ),
        ("secret for a proof", lies().answer(raw_secret)),
        (
            "bit of the proof",
            lies().answer(|answer| with_proof(answer, |proof| proof.proof[31] ^= 1)),
        ),
        (
            "other evidence",
            lies().answer(|answer| with_proof(answer, |proof| proof.evidence.push(b' '))),
        ),
        (
            "a log added",
            lies().answer(|answer| with_proof(answer, |proof| proof.log = Some(vec![1]))),
        ),
    ] {
        assert_eq!(refused(liar(lie)), Some(Reason::ProofMismatch), "{name}");
    }
}

#[test]
fn an_ak_of_another_tpm_cannot_be_activated() {
    let mut thief = machine();
    thief.ek = SoftTpm::generate().unwrap().ek;
    let victim = machine().ek_key().spki();
    let mut thief = prover(thief);
    thief.lies = lies()
        .offer(move |offer| offer.ek.public_key = Some(victim.clone()))
        .guess(&[1; 32]);
    assert_eq!(refused(thief), Some(Reason::ProofMismatch));
}

#[test]
fn answers_belong_to_one_challenge() {
    let mut prover = prover(machine());
    let payload = prover.payload().unwrap();
    let begin = |seed| {
        begin(
            &payload,
            &policy(),
            &Anchors::default(),
            0,
            &mut Counter(seed),
        )
        .unwrap()
    };
    let (first, pending) = begin(0);
    let (second, other) = begin(100);
    assert_ne!(first, second);
    let answer = prover.answer(&payload, &first).unwrap();
    assert_eq!(
        other.finish(&answer).unwrap_err().reason,
        Reason::ProofMismatch
    );
    assert!(pending.finish(&answer).is_ok());
}

#[test]
fn responses_are_strict() {
    for (name, lie, expect) in [
        (
            "no JSON",
            lies().response(|bytes| bytes[0] = b'!'),
            Reason::MalformedResponse,
        ),
        (
            "empty",
            lies().response(Vec::clear),
            Reason::MalformedResponse,
        ),
        (
            "too large",
            lies().response(|bytes| bytes.resize(limits::RESPONSE + 1, b' ')),
            Reason::ResponseTooLarge,
        ),
        (
            "the bare secret",
            lies().answer(bare_secret),
            Reason::MalformedResponse,
        ),
        (
            "document",
            lies().document(|bytes| bytes[0] = b'!'),
            Reason::MalformedResponse,
        ),
    ] {
        assert_eq!(refused(liar(lie)), Some(expect), "{name}");
    }
}

#[test]
fn a_log_that_nobody_asked_for_is_refused() {
    let mut tpm = machine();
    tpm.log = Some(vec![1, 2, 3]);
    assert_eq!(refused(prover(tpm)), Some(Reason::UnsolicitedEvidence));
}

#[test]
fn without_entropy_there_is_no_challenge() {
    struct Zeros;
    impl Entropy for Zeros {
        fn fill(&mut self, out: &mut [u8]) -> bool {
            out.fill(0);
            true
        }
    }
    let payload = prover(machine()).payload().unwrap();
    let result = begin(&payload, &policy(), &Anchors::default(), 0, &mut Zeros);
    assert_eq!(result.unwrap_err().reason, Reason::EntropyFailure);
}

#[test]
fn challenges_ask_for_what_the_policy_says() {
    let payload = prover(machine()).payload().unwrap();
    let (challenge, _pending) =
        begin(&payload, &policy(), &Anchors::default(), 0, &mut Counter(0)).unwrap();
    let extension = Challenge::decode(&challenge).unwrap().extension.unwrap();
    assert_eq!((extension.version, extension.pcrs), (1, policy().pcrs));
}

fn with_proof(answer: &mut softtpm::Answer, change: impl FnOnce(&mut evidence::Proof)) {
    if let Response::Proof(proof) = &mut answer.response {
        change(proof);
    }
}

fn raw_secret(answer: &mut softtpm::Answer) {
    let raw = answer.secret.expose().try_into().unwrap();
    with_proof(answer, |proof| proof.proof = raw);
}

fn bare_secret(answer: &mut softtpm::Answer) {
    answer.response = Response::Secret(answer.secret.expose().to_vec());
}
