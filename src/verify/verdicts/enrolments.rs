//! Who vouches for an EK: the decision over every combination.

use softtpm::KeyKind;

use super::{attest, decide, machine, policy, prover};
use crate::{Denials, EkKind, EkTrust, Enrolment, Policy, Reason};

fn decided(trust: EkTrust, enrolment: Enrolment) -> Option<Reason> {
    let policy = Policy {
        ek_trust: trust,
        ..policy()
    };
    let attested = match attest(&mut prover(machine()), &policy) {
        Ok(attested) => attested,
        Err(rejection) => return Some(rejection.reason),
    };
    decide(&attested, enrolment, &Denials::default(), &policy)
        .err()
        .map(|rejection| rejection.reason)
}

#[test]
fn without_a_certificate_only_enrolment_vouches() {
    for (trust, enrolment, expect) in [
        (EkTrust::Enrolment, Enrolment::Enrolled, None),
        (
            EkTrust::Enrolment,
            Enrolment::Absent,
            Some(Reason::EkNotAllowed),
        ),
        (
            EkTrust::Enrolment,
            Enrolment::NotKept,
            Some(Reason::EkNotAllowed),
        ),
        (EkTrust::Either, Enrolment::Enrolled, None),
        (
            EkTrust::Either,
            Enrolment::Absent,
            Some(Reason::EkNotAllowed),
        ),
        (
            EkTrust::Certificate,
            Enrolment::NotKept,
            Some(Reason::EkCertMissing),
        ),
        (
            EkTrust::Both,
            Enrolment::Enrolled,
            Some(Reason::EkCertMissing),
        ),
    ] {
        assert_eq!(
            decided(trust, enrolment),
            expect,
            "tpm/B01 tpm/B57 {trust:?} {enrolment:?}"
        );
    }
}

#[test]
fn kinds_of_ek_can_be_left_out() {
    let only = |kinds: &[EkKind]| Policy {
        ek_kinds: kinds.to_vec(),
        ..policy()
    };
    for kind in KeyKind::ALL {
        let tpm = || softtpm::SoftTpm::sample(kind, evidence::AkTemplate::EccP256).unwrap();
        let own = EkKind::of(tpm().ek_key()).unwrap();
        let others: Vec<_> = EkKind::ALL
            .into_iter()
            .filter(|other| *other != own)
            .collect();
        assert!(attest(&mut prover(tpm()), &only(&[own])).is_ok());
        let refused = attest(&mut prover(tpm()), &only(&others)).unwrap_err();
        assert_eq!(refused.reason, Reason::EkProfileDenied, "{kind:?}");
    }
}
