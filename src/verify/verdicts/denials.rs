//! What the operator refuses whatever is proved: denied machines, and vendors that are not among the allowed.

use evidence::Hash;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Counter, decide, machine, policy, prover};
use crate::tests_chain::{Chain, NOW};
use crate::{Attested, Denials, EkTrust, Enrolment, Policy, Reason, Vendor, begin};

fn attested(policy: &Policy, chain: Option<&Chain>) -> Result<Attested, Reason> {
    let mut prover = prover(machine());
    if let Some(chain) = chain {
        prover.certificate = Some(chain.leaf.clone());
        prover.intermediates = vec![chain.ca.clone()];
    }
    let anchors = chain.map(Chain::anchors).unwrap_or_default();
    let payload = prover.payload().unwrap();
    let (challenge, pending) = begin(&payload, policy, &anchors, NOW, &mut Counter(0))
        .map_err(|rejection| rejection.reason)?;
    let answer = prover.answer(&payload, &challenge).unwrap();
    pending
        .finish(&answer)
        .map_err(|rejection| rejection.reason)
}

fn by(ek_trust: EkTrust, vendors: Option<&[&str]>) -> Policy {
    let known = |name: &&str| Vendor::from_name(name).unwrap();
    Policy {
        ek_trust,
        vendors: vendors.map(|names| names.iter().map(known).collect()),
        ..policy()
    }
}

#[test]
fn denied_machines_are_refused_whatever_vouches_for_them() {
    let chain = Chain::of(machine().ek_key());
    let (_, leaf) = X509Certificate::from_der(&chain.leaf).unwrap();
    let sha_256 = |bytes: &[u8]| hex::encode(Hash::Sha256.digest(&[bytes]));
    let issuer = sha_256(leaf.issuer().as_raw());
    let serial = hex::encode(leaf.raw_serial());
    let other = "00".repeat(32);
    for (entry, expect) in [
        (format!("ek:{}", machine().ek_hash()), Err(Reason::EkDenied)),
        (
            format!("cert:{}", sha_256(&chain.leaf)),
            Err(Reason::EkDenied),
        ),
        (format!("serial:{issuer}:{serial}"), Err(Reason::EkDenied)),
        (format!("ek:{other}"), Ok(())),
        (format!("cert:{other}"), Ok(())),
        (format!("cert:{}", sha_256(&chain.ca)), Ok(())),
        (format!("serial:{other}:{serial}"), Ok(())),
        (format!("serial:{issuer}:{serial}00"), Ok(())),
        (String::new(), Ok(())),
    ] {
        let denials = Denials::parse(&entry).unwrap();
        for trust in [
            EkTrust::Certificate,
            EkTrust::Enrolment,
            EkTrust::Either,
            EkTrust::Both,
        ] {
            let policy = by(trust, None);
            let attested = attested(&policy, Some(&chain)).unwrap();
            let outcome = decide(&attested, Enrolment::Enrolled, &denials, &policy);
            let outcome = outcome.map(drop).map_err(|rejection| rejection.reason);
            assert_eq!(outcome, expect, "tpm/B29 {entry} {trust:?}");
        }
    }
}

#[test]
fn a_denied_machine_that_is_not_enrolled_is_told_that_it_is_denied() {
    let policy = by(EkTrust::Enrolment, None);
    let attested = attested(&policy, None).unwrap();
    let denials = Denials::parse(&machine().ek_hash().hex()).unwrap();
    let refused = decide(&attested, Enrolment::Absent, &denials, &policy).unwrap_err();
    assert_eq!(refused.reason, Reason::EkDenied);
}

#[test]
fn only_allowed_vendors_certificates_count() {
    let chain = Chain::of(machine().ek_key());
    let judge = |trust, vendors: Option<&[&str]>, enrolment| {
        let policy = by(trust, vendors);
        let attested = attested(&policy, Some(&chain))?;
        match decide(&attested, enrolment, &Denials::default(), &policy) {
            Ok(grant) => {
                let mut vouched = grant.selectors().iter().rev();
                let last = vouched.find(|selector| !selector.starts_with("kind:"));
                Ok(last.unwrap().clone())
            }
            Err(rejection) => Err(rejection.reason),
        }
    };
    let stm = Ok("vendor:STM".to_owned());
    let none = Ok("ek_cert:none".to_owned());
    assert_eq!(judge(EkTrust::Certificate, None, Enrolment::Absent), stm);
    assert_eq!(
        judge(
            EkTrust::Certificate,
            Some(&["IFX", "STM"]),
            Enrolment::Absent
        ),
        stm
    );
    let denied = Err(Reason::VendorDenied);
    assert_eq!(
        judge(EkTrust::Certificate, Some(&["IFX"]), Enrolment::Absent),
        denied,
        "tpm/B20"
    );
    assert_eq!(
        judge(EkTrust::Certificate, Some(&[]), Enrolment::Absent),
        denied
    );
    assert_eq!(
        judge(EkTrust::Either, Some(&["IFX"]), Enrolment::Absent),
        denied
    );
    assert_eq!(
        judge(EkTrust::Either, Some(&["IFX"]), Enrolment::Enrolled),
        none,
        "enrolled by hash"
    );
}
