//! What an EK certificate is worth: in the exchange, and in the decision after it.

use evidence::AkTemplate;
use softtpm::{KeyKind, Lies, Prover, SoftTpm};

use super::{Counter, decide, machine, policy, prover};
use crate::tests_chain::{Chain, NOW};
use crate::{Anchors, Attested, Denials, EkTrust, Enrolment, Policy, Reason, Rejection, begin};

/// What the agent sends, as the server sees it.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Nothing,
    Good,
    Unanchored,
}

impl Sent {
    fn chain(self) -> Option<Chain> {
        match self {
            Self::Nothing => None,
            Self::Good | Self::Unanchored => Some(chain()),
        }
    }

    fn attested(self, trust: EkTrust) -> Result<Attested, Rejection> {
        let chain = self.chain();
        let anchor = match (self, &chain) {
            (Self::Good, Some(chain)) => chain.anchors(),
            _ => Anchors::default(),
        };
        attest(&mut certified(chain.as_ref()), &by(trust), &anchor, NOW)
    }
}

fn chain() -> Chain {
    Chain::of(machine().ek_key())
}

fn by(ek_trust: EkTrust) -> Policy {
    Policy {
        ek_trust,
        ..policy()
    }
}

fn certified(chain: Option<&Chain>) -> Prover {
    let mut prover = prover(machine());
    if let Some(chain) = chain {
        prover.certificate = Some(chain.leaf.clone());
        prover.intermediates = vec![chain.ca.clone()];
    }
    prover
}

fn attest(
    prover: &mut Prover,
    policy: &Policy,
    anchors: &Anchors,
    now: i64,
) -> Result<Attested, Rejection> {
    let payload = prover.payload().unwrap();
    let (challenge, pending) = begin(&payload, policy, anchors, now, &mut Counter(0))?;
    pending.finish(&prover.answer(&payload, &challenge).unwrap())
}

/// The selectors about the certificate, or the reason of the refusal.
fn marks(
    attested: &Attested,
    enrolment: Enrolment,
    policy: &Policy,
) -> Result<Vec<String>, Reason> {
    let grant = decide(attested, enrolment, &Denials::default(), policy)
        .map_err(|rejection| rejection.reason)?;
    Ok(grant.selectors()[3..].to_vec())
}

fn judged(chain: &Chain, policy: &Policy, now: i64) -> Result<Vec<String>, Reason> {
    let attested = attest(&mut certified(Some(chain)), policy, &chain.anchors(), now)
        .map_err(|rejection| rejection.reason)?;
    marks(&attested, Enrolment::NotKept, policy)
}

fn selectors(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn certificate_and_enrolment_vouch_as_the_operator_says() {
    use Reason::{EkCertMissing, EkNotAllowed, UntrustedChain};
    const VERIFIED: Result<&[&str], Reason> =
        Ok(&["ek_cert:verified", "vendor:STM", "kind:discrete"]);
    const NONE: Result<&[&str], Reason> = Ok(&["ek_cert:none"]);
    for (sent, trust, enrolled, absent, not_kept) in [
        (
            Sent::Good,
            EkTrust::Certificate,
            VERIFIED,
            VERIFIED,
            VERIFIED,
        ),
        (Sent::Good, EkTrust::Either, VERIFIED, VERIFIED, VERIFIED),
        (
            Sent::Good,
            EkTrust::Both,
            VERIFIED,
            Err(EkNotAllowed),
            Err(EkNotAllowed),
        ),
        (
            Sent::Good,
            EkTrust::Enrolment,
            NONE,
            Err(EkNotAllowed),
            Err(EkNotAllowed),
        ),
        (
            Sent::Unanchored,
            EkTrust::Either,
            NONE,
            Err(UntrustedChain),
            Err(UntrustedChain),
        ),
        (
            Sent::Unanchored,
            EkTrust::Enrolment,
            NONE,
            Err(EkNotAllowed),
            Err(EkNotAllowed),
        ),
        (
            Sent::Nothing,
            EkTrust::Either,
            NONE,
            Err(EkNotAllowed),
            Err(EkNotAllowed),
        ),
        (
            Sent::Nothing,
            EkTrust::Enrolment,
            NONE,
            Err(EkNotAllowed),
            Err(EkNotAllowed),
        ),
    ] {
        let attested = sent.attested(trust).unwrap();
        for (enrolment, expect) in [
            (Enrolment::Enrolled, enrolled),
            (Enrolment::Absent, absent),
            (Enrolment::NotKept, not_kept),
        ] {
            assert_eq!(
                marks(&attested, enrolment, &by(trust)),
                expect.map(selectors),
                "{sent:?} {trust:?} {enrolment:?}"
            );
        }
    }
    for (sent, expect) in [
        (Sent::Unanchored, UntrustedChain),
        (Sent::Nothing, EkCertMissing),
    ] {
        for trust in [EkTrust::Certificate, EkTrust::Both] {
            let refused = sent.attested(trust).unwrap_err();
            assert_eq!(
                refused.reason, expect,
                "tpm/B01 {sent:?} {trust:?} before a challenge"
            );
        }
    }
}

/// Settings may change between the two: the decision goes by the rules it is given.
#[test]
fn the_decision_does_not_lean_on_the_rules_of_the_beginning() {
    for (sent, begun, decided, expect) in [
        (
            Sent::Nothing,
            EkTrust::Either,
            EkTrust::Certificate,
            Reason::EkCertMissing,
        ),
        (
            Sent::Nothing,
            EkTrust::Either,
            EkTrust::Both,
            Reason::EkCertMissing,
        ),
        (
            Sent::Good,
            EkTrust::Enrolment,
            EkTrust::Both,
            Reason::EkCertMissing,
        ),
        (
            Sent::Unanchored,
            EkTrust::Either,
            EkTrust::Certificate,
            Reason::UntrustedChain,
        ),
        (
            Sent::Unanchored,
            EkTrust::Either,
            EkTrust::Both,
            Reason::UntrustedChain,
        ),
    ] {
        let attested = sent.attested(begun).unwrap();
        assert_eq!(
            marks(&attested, Enrolment::Enrolled, &by(decided)),
            Err(expect),
            "{sent:?} {begun:?} {decided:?}"
        );
    }
}

#[test]
fn the_certificate_is_judged_by_the_clock_that_is_given() {
    let strict = by(EkTrust::Certificate);
    let lenient = Policy {
        accept_expired_ek: true,
        ..strict.clone()
    };
    let expired = Chain::expired(machine().ek_key());
    assert_eq!(judged(&chain(), &strict, 0), Err(Reason::EkCertNotYetValid));
    assert_eq!(judged(&expired, &strict, NOW), Err(Reason::EkCertExpired));
    assert_eq!(
        judged(&expired, &lenient, NOW),
        Ok(selectors(&[
            "ek_cert:expired",
            "vendor:STM",
            "kind:discrete"
        ]))
    );
}

#[test]
fn the_certificate_is_of_the_ek() {
    let policy = by(EkTrust::Certificate);
    let other = SoftTpm::generate().unwrap();
    let stolen = Chain::of(other.ek_key());
    assert_eq!(
        judged(&stolen, &policy, NOW),
        Err(Reason::EkKeyMismatch),
        "tpm/B04 tpm/B55: beside the EK's own key"
    );
    let chain = chain();
    let mut alone = certified(Some(&chain));
    alone.lies = Lies::none().offer(|offer| offer.ek.public_key = None);
    let attested = attest(&mut alone, &policy, &chain.anchors(), NOW).unwrap();
    assert_eq!(attested.ek_hash(), machine().ek_hash());
    let mut thief = certified(Some(&stolen));
    thief.lies = Lies::none()
        .offer(|offer| offer.ek.public_key = None)
        .guess(&[7; 32]);
    let refused = attest(&mut thief, &policy, &stolen.anchors(), NOW).unwrap_err();
    assert_eq!(
        refused.reason,
        Reason::ProofMismatch,
        "tpm/B05: in its place"
    );
}

#[test]
fn an_rsa_ek_is_certified_as_well() {
    let tpm = SoftTpm::sample(KeyKind::Rsa2048, AkTemplate::Rsa2048).unwrap();
    let chain = Chain::of(tpm.ek_key());
    let mut prover = prover(tpm);
    prover.certificate = Some(chain.leaf.clone());
    prover.intermediates = vec![chain.ca.clone()];
    let attested = attest(
        &mut prover,
        &by(EkTrust::Certificate),
        &chain.anchors(),
        NOW,
    );
    assert!(attested.is_ok());
}
