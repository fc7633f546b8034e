//! Tables over whole exchanges: a lie of the soft TPM on the left, the one reason on the right.

mod attestation_keys;
mod boots;
mod certifications;
mod certified;
mod command_lines;
mod costs;
mod denials;
mod enrolments;
mod first_generation;
mod histories;
mod identities;
mod messages;
mod offered_keys;
mod orders;
mod policies;
mod quotes;
mod states;
mod terms;

use evidence::{AkTemplate, Hash};
use softtpm::{Generation, KeyKind, Lies, Prover, SoftTpm};

use crate::{
    Anchors, Attested, CrlPolicy, Denials, EkKind, EkTrust, Enrolment, Entropy, Grant, History,
    LegacyAgents, OnChange, OnReset, Policy, Reason, Rejection, StatePolicy, SvidKeys, begin,
};

/// Distinct bytes, never zero.
struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        for byte in out {
            self.0 = self.0.wrapping_add(1).max(1);
            *byte = self.0;
        }
        true
    }
}

fn policy() -> Policy {
    Policy {
        trust_domain: "example.org".to_owned(),
        ek_trust: EkTrust::Enrolment,
        ek_kinds: EkKind::ALL.to_vec(),
        accept_expired_ek: false,
        vendors: None,
        crl_policy: CrlPolicy::Use,
        legacy_agents: LegacyAgents::Allow,
        pcrs: vec![(Hash::Sha256, vec![0, 4, 7])],
        state: StatePolicy::default(),
        svid_keys: SvidKeys::Observe,
        tpm_clear: OnChange::Accept,
        ak_change: OnChange::Accept,
        unexpected_reset: OnReset::Warn,
    }
}

/// The decision of a server that keeps no state of machines.
fn decide(
    attested: &Attested,
    enrolment: Enrolment,
    denials: &Denials,
    policy: &Policy,
) -> Result<Grant, Rejection> {
    crate::decide(
        attested,
        enrolment,
        denials,
        policy,
        &History::NotKept,
        0,
        0,
    )
}

fn machine() -> SoftTpm {
    SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap()
}

fn prover(tpm: SoftTpm) -> Prover {
    Prover::new(tpm, "example.org")
}

fn liar(lies: Lies) -> Prover {
    let mut prover = prover(machine());
    prover.lies = lies;
    prover
}

fn old_agent(tpm: SoftTpm) -> Prover {
    let mut prover = prover(tpm);
    prover.generation = Generation::First;
    prover
}

fn attest(prover: &mut Prover, policy: &Policy) -> Result<Attested, Rejection> {
    let payload = prover.payload().unwrap();
    let (challenge, pending) = begin(&payload, policy, &Anchors::default(), 0, &mut Counter(0))?;
    pending.finish(&prover.answer(&payload, &challenge).unwrap())
}

fn grant(prover: &mut Prover, policy: &Policy) -> Result<Grant, Reason> {
    let attested = attest(prover, policy).map_err(|rejection| rejection.reason)?;
    decide(&attested, Enrolment::Enrolled, &Denials::default(), policy)
        .map_err(|rejection| rejection.reason)
}

fn refused(mut prover: Prover) -> Option<Reason> {
    grant(&mut prover, &policy()).err()
}

#[test]
fn honest_machines_of_every_kind_are_granted() {
    for kind in KeyKind::ALL {
        for ak in [AkTemplate::EccP256, AkTemplate::Rsa2048] {
            let tpm = SoftTpm::sample(kind, ak).unwrap();
            let hash = tpm.ek_hash();
            let grant = grant(&mut prover(tpm), &policy()).unwrap();
            assert_eq!(
                grant.agent_id(),
                format!("spiffe://example.org/spire/agent/tpm/{hash}")
            );
            let expect = [
                format!("pub_hash:{hash}"),
                format!("device:{}", hash.device()),
                "attestation:quote".to_owned(),
                "ek_cert:none".to_owned(),
            ];
            assert_eq!(grant.selectors(), expect);
        }
    }
}
