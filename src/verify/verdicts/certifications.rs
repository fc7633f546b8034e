//! What a certification of an SVID key may not be (group G), and what one that holds is worth.

use evidence::{
    AkTemplate, Attest, Attested as Statement, Capability, Challenge, Evidence, Hash,
    KeyCertification, Name, Record, Response, Signature, SignatureValue, SvidKeyTemplate, tag,
};
use softtpm::{Ak, Key, KeyKind, Lies, Prover, Role, SoftTpm, SvidKey, certifications_of};

use super::{Counter, attest, decide, machine, old_agent, policy, prover, refused};
use crate::{
    Anchors, Attested, Denials, Enrolment, Policy, Reason, Rejection, SvidKeys, begin, judge_again,
};

/// A machine with two SVID keys, as SPIRE Agent has while it rotates.
pub(super) fn with_keys() -> SoftTpm {
    let mut tpm = machine();
    for _ in 0..2 {
        tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
    }
    tpm
}

fn lies() -> Lies {
    Lies::none()
}

fn lying(lies: Lies) -> Prover {
    let mut prover = prover(with_keys());
    prover.lies = lies;
    prover
}

pub(super) fn requiring_keys() -> Policy {
    Policy {
        svid_keys: SvidKeys::Require,
        ..policy()
    }
}

fn reason(outcome: Result<Attested, Rejection>) -> Option<Reason> {
    outcome.err().map(|rejection| rejection.reason)
}

#[test]
fn every_offered_key_is_certified() {
    for (ak, kinds) in [
        (AkTemplate::EccP256, &KeyKind::ALL[..]),
        (AkTemplate::Rsa2048, &[KeyKind::P256]),
        (AkTemplate::EccP256, &[]),
    ] {
        let mut tpm = SoftTpm::sample(KeyKind::P256, ak).unwrap();
        for kind in kinds.iter().copied().take(evidence::limits::SVID_KEYS) {
            let key = Key::sample(Role::Other, kind).unwrap();
            tpm.svid_keys
                .push(SvidKey::new(key, tpm.storage_parent().unwrap()));
        }
        let root = tpm.storage_root().unwrap().name().unwrap();
        let keys = tpm.svid_keys.clone();
        for policy in [policy(), requiring_keys()] {
            let outcome = attest(&mut prover(tpm.clone()), &policy);
            if keys.is_empty() && policy.svid_keys == SvidKeys::Require {
                assert_eq!(reason(outcome), Some(Reason::SvidKeyUncertified));
                continue;
            }
            let attested = outcome.unwrap();
            assert_eq!(attested.svid_keys().len(), keys.len());
            for (certified, key) in attested.svid_keys().iter().zip(&keys) {
                assert_eq!(*certified.name(), key.name().unwrap());
                let digest = Hash::Sha256.digest(&[&key.pkix()]);
                assert_eq!(certified.spki_sha256(), *digest);
            }
            assert_eq!(
                attested.storage_root(),
                Some(&root).filter(|_root| !keys.is_empty()),
                "a parent without a certified key is not proved"
            );
        }
    }
}

#[test]
fn certifications_are_asked_for_where_the_agent_can_give_them() {
    fn no_capability(prover: &mut Prover) {
        prover.lies = lies().offer(|offer| {
            let extension = offer.extension.as_mut().unwrap();
            extension
                .evidence
                .retain(|kind| *kind != Capability::Certify);
        });
    }
    fn no_key(prover: &mut Prover) {
        prover.lies = lies().offer(|offer| {
            let extension = offer.extension.as_mut().unwrap();
            assert!(extension.evidence.contains(&Capability::Certify));
            extension.svid_keys.clear();
        });
    }
    type Change = fn(&mut Prover);
    let cases: [(&str, Change, bool); 3] = [
        ("both", |_prover| {}, true),
        ("no capability", no_capability, false),
        ("no key", no_key, false),
    ];
    for (name, change, expect) in cases {
        let mut prover = prover(with_keys());
        change(&mut prover);
        let payload = prover.payload().unwrap();
        let ask = |policy: &Policy| {
            begin(&payload, policy, &Anchors::default(), 0, &mut Counter(0))
                .map(|(challenge, _)| Challenge::decode(&challenge).unwrap().extension.unwrap())
                .map_err(|rejection| rejection.reason)
        };
        assert_eq!(ask(&policy()).unwrap().certify, expect, "{name}");
        let required = ask(&requiring_keys()).map(|asked| asked.certify);
        let expect = Some(true)
            .filter(|_| expect)
            .ok_or(Reason::SvidKeyUncertified);
        assert_eq!(required, expect, "{name}");
        let outcome = attest(&mut prover, &policy()).unwrap();
        assert_eq!(outcome.svid_keys().len(), usize::from(expect.is_ok()) * 2);
        assert_eq!(outcome.storage_root().is_some(), expect.is_ok(), "{name}");
    }
}

#[test]
fn an_agent_without_keys_is_told_so_before_it_is_challenged() {
    for (name, mut prover) in [
        ("none made", prover(machine())),
        ("first generation", old_agent(machine())),
    ] {
        assert!(attest(&mut prover, &policy()).is_ok(), "{name}");
        let payload = prover.payload().unwrap();
        let anchors = Anchors::default();
        let refused = begin(&payload, &requiring_keys(), &anchors, 0, &mut Counter(0)).unwrap_err();
        assert_eq!(refused.reason, Reason::SvidKeyUncertified, "{name}");
        assert_eq!(refused.ek_hash, Some(machine().ek_hash()), "{name}");
    }
}

/// A machine that was not asked, as in a record of a server with other rules, has proved nothing of its keys.
#[test]
fn who_requires_keys_decides_by_what_was_certified() {
    let decided = |tpm: SoftTpm, policy: &Policy| {
        let attested = attest(&mut prover(tpm), &super::policy()).unwrap();
        let outcome = decide(&attested, Enrolment::Enrolled, &Denials::default(), policy);
        outcome.err().map(|rejection| rejection.reason)
    };
    assert_eq!(decided(with_keys(), &requiring_keys()), None);
    assert_eq!(decided(machine(), &policy()), None);
    let uncertified = Some(Reason::SvidKeyUncertified);
    assert_eq!(decided(machine(), &requiring_keys()), uncertified);
}

type Told = fn(&mut Attest);

fn certify(change: Told) -> Lies {
    lies().certification(change)
}

fn creation(attest: &mut Attest) {
    attest.kind = tag::ATTEST_CREATION;
    attest.attested = Statement::Creation {
        name: Name::from_bytes(&[0, 11]),
        hash: vec![0; 32],
    };
}

fn names(attest: &mut Attest) -> (&mut Name, &mut Name) {
    match &mut attest.attested {
        Statement::Certify {
            name,
            qualified_name,
        } => (name, qualified_name),
        other => panic!("{other:?}"),
    }
}

fn other_name(attest: &mut Attest) {
    *names(attest).0 = SvidKeyTemplate::EccP256.public().name().unwrap();
}

fn other_qualified_name(attest: &mut Attest) {
    let (name, qualified_name) = names(attest);
    qualified_name.clone_from(name);
}

fn of_a_time(attest: &mut Attest) {
    attest.kind = tag::ATTEST_TIME;
    attest.attested = Statement::Other(vec![0; 8]);
}

/// A quote about PCRs, with everything else as it should be.
fn of_a_quote(attest: &mut Attest) {
    attest.kind = tag::ATTEST_QUOTE;
    attest.attested = Statement::Quote {
        selections: Vec::new(),
        digest: vec![0; 32],
    };
}

fn key_of(tpm: &SoftTpm, index: usize) -> (Key, evidence::Algorithm, Hash) {
    let key = &tpm.svid_keys[index];
    let (algorithm, hash) = key.scheme();
    (key.key.clone(), algorithm, hash)
}

#[test]
fn each_field_of_a_certification_is_checked_in_each_of_them() {
    let cases: [(&str, Told, Reason); 15] = [
        ("tpm/G01", other_name, Reason::CertifyName),
        (
            "tpm/G01 no name",
            |attest| *names(attest).0 = Name::from_bytes(&[]),
            Reason::CertifyName,
        ),
        (
            "another parent",
            other_qualified_name,
            Reason::CertifyParent,
        ),
        (
            "tpm/G05",
            |attest| attest.extra_data.clear(),
            Reason::NonceMismatch,
        ),
        (
            "half a nonce",
            |attest| attest.extra_data.truncate(16),
            Reason::NonceMismatch,
        ),
        (
            "one bit of it",
            |attest| attest.extra_data[31] ^= 1,
            Reason::NonceMismatch,
        ),
        ("tpm/G08", creation, Reason::WrongAttestType),
        ("TIME", of_a_time, Reason::WrongAttestType),
        ("QUOTE", of_a_quote, Reason::WrongAttestType),
        ("magic", |attest| attest.magic ^= 1, Reason::BadMagic),
        (
            "qualified signer",
            |attest| attest.qualified_signer = Name::from_bytes(&[0, 11, 1]),
            Reason::QualifiedSigner,
        ),
        (
            "tpm/E28",
            |attest| attest.firmware += 1,
            Reason::InconsistentEvidence,
        ),
        (
            "tpm/E29",
            |attest| attest.clock.reset_count += 1,
            Reason::InconsistentEvidence,
        ),
        (
            "tpm/E29 earlier",
            |attest| attest.clock.reset_count -= 1,
            Reason::InconsistentEvidence,
        ),
        (
            "tpm/E29 restart",
            |attest| attest.clock.restart_count += 1,
            Reason::InconsistentEvidence,
        ),
    ];
    for (name, change, expect) in cases {
        for index in [0, 1] {
            let lie = certify(change).only_certification(index);
            assert_eq!(refused(lying(lie)), Some(expect), "{name}, key {index}");
        }
    }
    assert_eq!(refused(lying(lies())), None);
}

#[test]
fn what_a_tpm_says_of_time_may_differ_between_quote_and_certification() {
    let later = certify(|attest| attest.clock.clock += 5_000);
    assert_eq!(refused(lying(later)), None);
    let unsafe_now = certify(|attest| attest.clock.safe = false);
    assert_eq!(refused(lying(unsafe_now)), None);
}

#[test]
fn a_certification_is_whole_and_signed_by_the_ak() {
    let stranger = Key::sample(Role::Other, KeyKind::P256).unwrap();
    let (algorithm, hash) = (evidence::Algorithm::ECDSA, Hash::Sha256);
    let tpm = with_keys();
    let (own, own_algorithm, own_hash) = key_of(&tpm, 0);
    let self_certified = || lies().certifier(own.clone(), own_algorithm, own_hash);
    for (name, lie, expect) in [
        (
            "truncated",
            lies().certified(|bytes| bytes.truncate(bytes.len() - 1)),
            Reason::MalformedAttest,
        ),
        (
            "trailing",
            lies().certified(|bytes| bytes.push(0)),
            Reason::MalformedAttest,
        ),
        ("tpm/G07", self_certified(), Reason::BadSignature),
        (
            "a stranger's",
            lies().certifier(stranger, algorithm, hash),
            Reason::BadSignature,
        ),
        (
            "another hash",
            lies().certification_signature(|signature| {
                signature.hash = evidence::Algorithm::SHA384;
            }),
            Reason::SignatureScheme,
        ),
        (
            "another bit",
            lies().certification_signature(flip),
            Reason::BadSignature,
        ),
        (
            "no signature",
            lies().certifications(|all| all[1].signature.clear()),
            Reason::MalformedResponse,
        ),
        (
            "altered after it",
            lies().certifications(|all| *all[1].attest.last_mut().unwrap() ^= 1),
            Reason::CertifyParent,
        ),
        (
            "altered where only the signature covers it",
            lies().certifications(|all| alter_clock(&mut all[1])),
            Reason::BadSignature,
        ),
    ] {
        let mut liar = prover(tpm.clone());
        liar.lies = lie;
        assert_eq!(refused(liar), Some(expect), "{name}");
    }
}

fn flip(signature: &mut Signature) {
    if let SignatureValue::Ecdsa { s, .. } = &mut signature.value {
        *s.last_mut().unwrap() ^= 1;
    }
}

fn alter_clock(certification: &mut KeyCertification) {
    let mut attest = Attest::parse(&certification.attest).unwrap();
    attest.clock.clock += 1;
    certification.attest = attest.encode();
}

#[test]
fn there_is_one_certification_for_each_key_in_their_order() {
    type Change = fn(&mut Vec<KeyCertification>);
    let cases: [(&str, Change, Reason); 5] = [
        ("none", Vec::clear, Reason::CertifyMissing),
        ("one less", |all| all.truncate(1), Reason::CertifyMissing),
        (
            "one more",
            |all| all.push(all[0].clone()),
            Reason::CertifyMissing,
        ),
        ("swapped", |all| all.swap(0, 1), Reason::CertifyName),
        ("twice", |all| all[1] = all[0].clone(), Reason::CertifyName),
    ];
    for (name, change, expect) in cases {
        for policy in [policy(), requiring_keys()] {
            let mut liar = lying(lies().certifications(change));
            let outcome = reason(attest(&mut liar, &policy));
            assert_eq!(outcome, Some(expect), "{name}");
        }
    }
}

#[test]
fn what_was_not_asked_for_must_not_come() {
    let unasked = || {
        lies()
            .offer(|offer| offer.extension.as_mut().unwrap().evidence.truncate(1))
            .asked(|asked| asked.certify = true)
    };
    let certified = |document: &Evidence| assert_eq!(document.certifications.len(), 2);
    let mut liar = lying(unasked().evidence(move |document| certified(document)));
    let payload = liar.payload().unwrap();
    let anchors = Anchors::default();
    let (challenge, pending) = begin(&payload, &policy(), &anchors, 0, &mut Counter(0)).unwrap();
    let asked = Challenge::decode(&challenge).unwrap().extension.unwrap();
    assert!(!asked.certify);
    let outcome = pending.finish(&liar.answer(&payload, &challenge).unwrap());
    assert_eq!(reason(outcome), Some(Reason::UnsolicitedEvidence));
    let mut without = lying(unasked().asked(|asked| asked.certify = false));
    assert_eq!(reason(attest(&mut without, &policy())), None);
}

#[test]
fn a_certification_of_another_session_is_refused() {
    let mut prover = prover(with_keys());
    let anchors = Anchors::default();
    let payload = prover.payload().unwrap();
    let exchange = |prover: &mut Prover, entropy| {
        let (challenge, pending) =
            begin(&payload, &policy(), &anchors, 0, &mut Counter(entropy)).unwrap();
        let answer = prover.answer(&payload, &challenge).unwrap();
        (answer.clone(), pending.finish(&answer))
    };
    let (earlier, outcome) = exchange(&mut prover, 0);
    assert!(outcome.is_ok());
    prover.lies = lies().replayed(certifications_of(&earlier).unwrap());
    let (_, outcome) = exchange(&mut prover, 99);
    assert_eq!(reason(outcome), Some(Reason::NonceMismatch), "tpm/G06");
    prover.lies = lies();
    assert!(exchange(&mut prover, 99).1.is_ok());
}

/// A quote is bound to the same exchange, and still does not stand for a certification.
#[test]
fn the_bindings_of_quote_and_certification_differ() {
    let lie = lies().evidence(|document| {
        let quote = Attest::parse(&document.quote).unwrap();
        let certified = Attest::parse(&document.certifications[0].attest).unwrap();
        assert_ne!(quote.extra_data, certified.extra_data);
        document.certifications[0] = KeyCertification {
            attest: document.quote.clone(),
            signature: document.signature.clone(),
        };
    });
    assert_eq!(refused(lying(lie)), Some(Reason::WrongAttestType));
}

#[test]
fn a_key_of_another_tpm_or_hierarchy_has_another_parent() {
    let elsewhere = SoftTpm::generate().unwrap().storage_parent().unwrap();
    let primary = |hierarchy| softtpm::Parent::Hierarchy(hierarchy);
    for parent in [
        elsewhere,
        primary(evidence::Hierarchy::Owner),
        primary(evidence::Hierarchy::Endorsement),
        primary(evidence::Hierarchy::Null),
    ] {
        let mut tpm = with_keys();
        let key = tpm.svid_keys.pop().unwrap();
        tpm.svid_keys.push(key.under(parent));
        assert_eq!(refused(prover(tpm)), Some(Reason::CertifyParent));
    }
    let mut cleared = with_keys();
    let key = cleared.svid_keys[0].clone();
    cleared.clear().unwrap();
    cleared.svid_keys.push(key);
    assert_eq!(refused(prover(cleared)), Some(Reason::CertifyParent));
}

/// What TPM2_Certify makes of a key that was loaded from outside, private part and all.
#[test]
fn an_external_key_cannot_pass_for_the_tpm_s_own() {
    let key = Key::sample(Role::Other, KeyKind::P256).unwrap();
    let mut tpm = machine();
    tpm.svid_keys.push(SvidKey::external(key));
    let honest = refused(prover(tpm.clone()));
    assert_eq!(honest, Some(Reason::CertifyAttributes), "tpm/G02");
    // Offered as if it were the TPM's own, it has another Name than the one the TPM certifies.
    let mut own = tpm.svid_keys[0].clone();
    own = SvidKey::new(own.key.clone(), tpm.storage_parent().unwrap());
    let forged = own.public.as_bytes().to_vec();
    let mut liar = prover(tpm);
    liar.lies = lies().offer(move |offer| {
        offer.extension.as_mut().unwrap().svid_keys = vec![forged.clone()];
    });
    assert_eq!(refused(liar), Some(Reason::CertifyName), "tpm/G02");
}

#[test]
fn certifications_are_judged_again_in_a_record() {
    let recorded = |lies: Lies, rules: &Policy| {
        let mut prover = lying(lies);
        let payload = prover.payload().unwrap();
        let anchors = Anchors::default();
        let (challenge, pending) =
            begin(&payload, &policy(), &anchors, 0, &mut Counter(0)).unwrap();
        let record = Record {
            trust_domain: policy().trust_domain,
            time: 0,
            response: prover.answer(&payload, &challenge).unwrap(),
            payload,
            challenge,
            secret: pending.secret().clone(),
            enrolment: Enrolment::Enrolled.name().to_owned(),
            verdict: "granted".to_owned(),
        };
        assert!(Response::decode(&record.response).is_ok());
        judge_again(&record, rules, &Anchors::default())
    };
    for rules in [policy(), requiring_keys()] {
        let attested = recorded(lies(), &rules).unwrap();
        assert_eq!(attested.svid_keys().len(), 2);
        let outcome = recorded(certify(other_name), &rules);
        assert_eq!(reason(outcome), Some(Reason::CertifyName));
    }
}

#[test]
fn certified_keys_are_a_selector_where_they_are_enforced() {
    let granted = |tpm: SoftTpm| {
        let attested = attest(&mut prover(tpm), &policy()).unwrap();
        decide(
            &attested,
            Enrolment::Enrolled,
            &Denials::default(),
            &policy(),
        )
        .unwrap()
    };
    let selects = |grant: &crate::Grant| {
        let all = grant.selectors().iter();
        all.filter(|selector| *selector == "svid_key:certified")
            .count()
    };
    let with = granted(with_keys());
    assert_eq!(selects(&with), 0, "nobody enforces it");
    let before = with.selectors().to_vec();
    let enforced = with.with_enforced_keys();
    assert_eq!(selects(&enforced), 1);
    assert_eq!(enforced.selectors()[..before.len()], before);
    let without = granted(machine());
    assert_eq!(selects(&without), 0);
    assert_eq!(
        selects(&without.with_enforced_keys()),
        0,
        "none is certified"
    );
}

/// An AK of another size signs certifications, too.
#[test]
fn the_ak_s_own_scheme_counts() {
    let mut tpm = with_keys();
    let key = Key::sample(Role::Ak, KeyKind::P384).unwrap();
    tpm.ak = Ak::new(key, evidence::Algorithm::ECDSA, Hash::Sha384);
    assert!(attest(&mut prover(tpm), &policy()).is_ok());
}
