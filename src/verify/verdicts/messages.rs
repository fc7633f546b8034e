//! Payloads, versions, proofs and transcripts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::{Challenge, Curve, Response, SubjectKey, limits};
use softtpm::{KeyKind, Lies, Prover, SoftTpm};

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
            "tpm/A03 prefix of {len}"
        );
    }
    assert_eq!(
        begun(&vec![b' '; limits::PAYLOAD + 1]),
        Some(Reason::PayloadTooLarge),
        "tpm/A02"
    );
    for (name, foreign) in [
        ("tpm/A01", &b""[..]),
        ("tpm/A03 random", b"\x00\xFF random"),
        ("tpm/A03 another kind", b"[]"),
        ("tpm/A05 key twice", br#"{"EK":"AA==","EK":"AA=="}"#),
        ("tpm/A05 key in other letters", br#"{"ek":"AA=="}"#),
        ("tpm/A14 x509pop", br#"{"certificates":["AA=="]}"#),
        (
            "tpm/A14 tpm_devid",
            br#"{"DevIDCert":["AA=="],"DevIDPub":"AA=="}"#,
        ),
    ] {
        assert_eq!(begun(foreign), Some(Reason::MalformedPayload), "{name}");
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
        assert_eq!(
            refused(liar(versions(min, max))),
            expect,
            "tpm/A04 {min}–{max}"
        );
    }
    let without_quote = lies().offer(|offer| offer.extension.as_mut().unwrap().evidence.clear());
    assert_eq!(
        refused(liar(without_quote)),
        Some(Reason::PolicyRequiresQuote),
        "tpm/A19"
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
        Err(Reason::PolicyRequiresQuote),
        "tpm/A19"
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
fn the_ek_is_sound() {
    let rsa = |bits: usize, last: u8| {
        let mut modulus = vec![0xC1; bits / 8];
        modulus[bits / 8 - 1] = last;
        modulus
    };
    let key = |modulus: &[u8], exponent| SubjectKey::rsa(modulus, exponent).unwrap();
    for (name, ek, expect) in [
        ("1,024 bits", key(&rsa(1024, 1), 65_537), Reason::WeakKey),
        ("exponent 3", key(&rsa(2048, 1), 3), Reason::WeakKey),
        (
            "a size of no template",
            key(&rsa(2304, 1), 65_537),
            Reason::UnsupportedKey,
        ),
        (
            "CVE-2017-15361",
            key(&crate::roca::tests::flawed_modulus(41), 65_537),
            Reason::RocaKey,
        ),
        (
            "off the curve",
            SubjectKey::ec(Curve::P256, &[1; 32], &[1; 32]).unwrap(),
            Reason::InvalidPoint,
        ),
    ] {
        let spki = ek.spki();
        let lie = lies().offer(move |offer| offer.ek.public_key = Some(spki.clone()));
        assert_eq!(refused(liar(lie)), Some(expect), "{name}");
    }
}

#[test]
fn a_refusal_names_the_ek_as_soon_as_it_is_known() {
    let refused = |lie: Lies| {
        let payload = liar(lie).payload().unwrap();
        let result = begin(&payload, &policy(), &Anchors::default(), 0, &mut Counter(0));
        result.unwrap_err().ek_hash
    };
    let late = lies().offer(|offer| offer.ak.public.clear());
    assert_eq!(refused(late), Some(machine().ek_hash()));
    let early = lies().offer(|offer| offer.ek.public_key = Some(vec![0x30, 0]));
    assert_eq!(refused(early), None);
}

#[test]
fn both_sides_are_of_one_trust_domain() {
    let other = crate::Policy {
        trust_domain: "other.test".to_owned(),
        ..policy()
    };
    assert_eq!(
        super::grant(&mut prover(machine()), &other),
        Err(Reason::ProofMismatch),
        "tpm/I13"
    );
    let mut member = Prover::new(machine(), "other.test");
    let granted = super::grant(&mut member, &other).unwrap();
    let hash = machine().ek_hash();
    assert_eq!(
        granted.agent_id(),
        format!("spiffe://other.test/spire/agent/tpm/{hash}")
    );
}

#[test]
fn proofs_are_bound_to_everything_that_was_said() {
    for (name, lie) in [
        ("no secret", lies().guess(&[0; 32])),
        (
            "tpm/A21 relayed from another trust domain",
            lies().seen(|seen| seen.trust_domain.push('x')),
        ),
        ("tpm/A17, tpm/D04", lies().seen(|seen| seen.payload[0] ^= 1)),
        (
            "other challenge",
            lies().seen(|seen| seen.challenge[0] ^= 1),
        ),
        ("tpm/D03", lies().answer(raw_secret)),
        (
            "tpm/D01",
            lies().answer(|answer| with_proof(answer, |proof| proof.proof = [0xA7; 32])),
        ),
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
        Reason::ProofMismatch,
        "tpm/A15, tpm/A16"
    );
    assert!(pending.finish(&answer).is_ok());
}

#[test]
fn proofs_have_one_length() {
    for length in [0, 31, 33, 64] {
        let lie = lies().response(move |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let (start, rest) = text.split_once("\"proof\":\"").unwrap();
            let (proof, end) = rest.split_once('"').unwrap();
            let honest = STANDARD.decode(proof).unwrap();
            let other: Vec<_> = honest.iter().copied().cycle().take(length).collect();
            let other = STANDARD.encode(&other);
            *bytes = format!("{start}\"proof\":\"{other}\"{end}").into_bytes();
        });
        let refused = refused(liar(lie));
        assert_eq!(
            refused,
            Some(Reason::MalformedResponse),
            "tpm/D02: {length}"
        );
    }
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
    let unasked = lies().log(|log| *log = Some(vec![1, 2, 3]));
    assert_eq!(refused(liar(unasked)), Some(Reason::UnsolicitedEvidence));
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
    assert_eq!(
        result.unwrap_err().reason,
        Reason::EntropyFailure,
        "tpm/D05, tpm/J09"
    );
}

/// Ones, but for the call that is told: twos, or nothing.
struct Ones {
    calls: usize,
    odd: usize,
    fails: bool,
}

impl Ones {
    fn but(odd: usize, fails: bool) -> Self {
        Self {
            calls: 0,
            odd,
            fails,
        }
    }
}

impl Entropy for Ones {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        self.calls += 1;
        let odd = self.calls == self.odd;
        out.fill(if odd { 2 } else { 1 });
        !(odd && self.fails)
    }
}

/// Secret, seed and nonce: an RSA EK, since the seed for an ECC EK is that of an ephemeral key.
#[test]
fn every_part_of_a_challenge_takes_entropy_of_its_own() {
    let tpm = SoftTpm::sample(KeyKind::Rsa2048, evidence::AkTemplate::EccP256).unwrap();
    let payload = prover(tpm).payload().unwrap();
    let parts = |odd, fails| {
        let mut entropy = Ones::but(odd, fails);
        let (challenge, _) = begin(&payload, &policy(), &Anchors::default(), 0, &mut entropy)
            .map_err(|rejection| rejection.reason)?;
        let challenge = Challenge::decode(&challenge).unwrap();
        let nonce = challenge.extension.unwrap().nonce;
        Ok((challenge.credential.id_object().to_vec(), nonce))
    };
    let usual = parts(0, false).unwrap();
    for (call, credential, nonce) in [(1, true, false), (2, true, false), (3, false, true)] {
        let other = parts(call, false).unwrap();
        assert_eq!(other.0 != usual.0, credential, "credential by call {call}");
        assert_eq!(other.1 != usual.1, nonce, "nonce by call {call}");
        assert_eq!(
            parts(call, true),
            Err(Reason::EntropyFailure),
            "tpm/J09 {call}"
        );
    }
}

/// The counter's first bytes are the secret.
#[test]
fn what_waits_for_an_answer_shows_no_secret() {
    let payload = prover(machine()).payload().unwrap();
    let (_, pending) = begin(&payload, &policy(), &Anchors::default(), 0, &mut Counter(0)).unwrap();
    let shown = format!("{pending:?}");
    assert!(shown.contains("Secret(redacted)"), "{shown}");
    for form in ["1, 2, 3, 4", "01020304", "AQIDBA"] {
        assert!(!shown.contains(form), "{shown}");
    }
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
    answer.response = Response::Secret(answer.secret.clone());
}
