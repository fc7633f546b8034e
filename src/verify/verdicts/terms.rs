//! What an anchor's terms, revocation lists and odd encodings of a key come to in the decision.

use evidence::{AkTemplate, SubjectKey};
use softtpm::{KeyKind, SoftTpm};

use super::{Counter, decide, machine, policy, prover};
use crate::tests_chain::{Chain, NOW};
use crate::{
    Anchors, CrlPolicy, Denials, EkTrust, Enrolment, Grant, Policy, Reason, Vendor, Waiver, begin,
};

fn judged(
    tpm: SoftTpm,
    chain: &Chain,
    anchors: &Anchors,
    policy: &Policy,
    enrolment: Enrolment,
) -> Result<Grant, Reason> {
    let mut prover = prover(tpm);
    prover.certificate = Some(chain.leaf.clone());
    prover.intermediates = vec![chain.ca.clone()];
    let payload = prover.payload().unwrap();
    let (challenge, pending) = begin(&payload, policy, anchors, NOW, &mut Counter(0))
        .map_err(|rejection| rejection.reason)?;
    let answer = prover.answer(&payload, &challenge).unwrap();
    let attested = pending
        .finish(&answer)
        .map_err(|rejection| rejection.reason)?;
    decide(&attested, enrolment, &Denials::default(), policy).map_err(|rejection| rejection.reason)
}

fn by(ek_trust: EkTrust) -> Policy {
    Policy {
        ek_trust,
        ..policy()
    }
}

/// Nobody says who made the TPM, so no selector does, and it is of no vendor that the operator accepts.
#[test]
fn a_machine_whose_vendor_is_waived_is_of_no_vendor() {
    let chain = Chain::nameless(machine().ek_key());
    let anchors = chain.anchors_waiving(&[Waiver::AlternativeName]);
    let judge = |policy: &Policy| {
        let outcome = judged(machine(), &chain, &anchors, policy, Enrolment::NotKept);
        outcome.map(|grant| grant.selectors()[3..].to_vec())
    };
    let any = by(EkTrust::Certificate);
    assert_eq!(judge(&any), Ok(vec!["ek_cert:verified".to_owned()]));
    let some = Policy {
        vendors: Some(vec![Vendor(*b"STM ")]),
        ..any
    };
    assert_eq!(judge(&some), Err(Reason::VendorDenied), "tpm/B20");
}

#[test]
fn what_the_policy_says_about_lists_counts() {
    let chain = Chain::of(machine().ek_key());
    let judge = |anchors: &Anchors, trust, crl_policy, enrolment| {
        let policy = Policy {
            crl_policy,
            ..by(trust)
        };
        let outcome = judged(machine(), &chain, anchors, &policy, enrolment);
        outcome.map(|grant| grant.selectors()[3].clone())
    };
    let (without, revoking) = (chain.anchors(), chain.anchors_revoking());
    let verified = Ok("ek_cert:verified".to_owned());
    let none = Ok("ek_cert:none".to_owned());
    for (anchors, trust, crl_policy, enrolment, expect) in [
        (
            &without,
            EkTrust::Certificate,
            CrlPolicy::Use,
            Enrolment::NotKept,
            verified,
        ),
        (
            &without,
            EkTrust::Certificate,
            CrlPolicy::Require,
            Enrolment::NotKept,
            Err(Reason::CrlMissing),
        ),
        (
            &revoking,
            EkTrust::Certificate,
            CrlPolicy::Use,
            Enrolment::NotKept,
            Err(Reason::EkRevoked),
        ),
        (
            &revoking,
            EkTrust::Either,
            CrlPolicy::Use,
            Enrolment::Absent,
            Err(Reason::EkRevoked),
        ),
        (
            &revoking,
            EkTrust::Both,
            CrlPolicy::Use,
            Enrolment::Enrolled,
            Err(Reason::EkRevoked),
        ),
        // Enrolment vouches for the key, not the certificate: who revokes it there denies it.
        (
            &revoking,
            EkTrust::Either,
            CrlPolicy::Use,
            Enrolment::Enrolled,
            none,
        ),
    ] {
        let found = judge(anchors, trust, crl_policy, enrolment);
        assert_eq!(
            found, expect,
            "tpm/B24 {trust:?} {crl_policy:?} {enrolment:?}"
        );
    }
}

/// However a certificate writes its key down, the machine is the one that it is by its plain key.
#[test]
fn a_machine_has_one_id_however_its_key_is_encoded() {
    let tpm = || SoftTpm::sample(KeyKind::Rsa2048, AkTemplate::EccP256).unwrap();
    let ek = tpm().ek_key().clone();
    let judge = |chain: &Chain, waivers: &[Waiver]| {
        let anchors = chain.anchors_waiving(waivers);
        let policy = by(EkTrust::Certificate);
        let outcome = judged(tpm(), chain, &anchors, &policy, Enrolment::NotKept);
        outcome.map(|grant| grant.agent_id().to_owned())
    };
    let plain = judge(&Chain::of(&ek), &[]).unwrap();
    let oaep = Chain::encoded(&ek, respelled(&ek, Some(7)));
    assert_eq!(
        judge(&oaep, &[Waiver::RsaesOaep]),
        Ok(plain.clone()),
        "tpm/B59"
    );
    assert_eq!(judge(&oaep, &[]), Err(Reason::UnsupportedKey), "tpm/B51");
    let bare = Chain::encoded(&ek, respelled(&ek, None));
    assert_eq!(judge(&bare, &[]), Ok(plain), "tpm/B59");

    let SubjectKey::Ec { x, y, .. } = machine().ek_key().clone() else {
        unreachable!("the machine's EK is on P-256")
    };
    let spki = machine().ek_key().spki();
    let (head, _) = spki.split_at(spki.len() - 66);
    let mut head = head.to_vec();
    // Outer and inner length, 32 octets shorter.
    head[1] -= 32;
    let last = head.len() - 1;
    head[last] -= 32;
    let compressed = [&head[..], &[0, 2 + (y[31] & 1)], &x].concat();
    assert_eq!(compressed.len(), usize::from(compressed[1]) + 2);
    let chain = Chain::encoded(machine().ek_key(), compressed);
    let policy = by(EkTrust::Certificate);
    let outcome = judged(
        machine(),
        &chain,
        &chain.anchors(),
        &policy,
        Enrolment::NotKept,
    );
    assert_eq!(outcome, Err(Reason::UnsupportedKey), "tpm/B50 tpm/B59");
}

/// An RSA key's encoding under another arc of PKCS #1, or without the parameters of rsaEncryption.
fn respelled(ek: &SubjectKey, arc: Option<u8>) -> Vec<u8> {
    let mut spki = ek.spki();
    let identifier = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
    let at = spki.windows(9).position(|part| part == identifier).unwrap();
    if let Some(arc) = arc {
        spki[at + 8] = arc;
        return spki;
    }
    assert_eq!(spki[..2], [0x30, 0x82]);
    spki.drain(at + 9..at + 11);
    spki[at - 3] -= 2;
    let length = u16::from_be_bytes([spki[2], spki[3]]) - 2;
    spki[2..4].copy_from_slice(&length.to_be_bytes());
    spki
}
