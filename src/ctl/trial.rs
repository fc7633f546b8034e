//! A whole attestation of this machine against the verifier that is built in, without any network.

use std::time::Instant;

use aws_lc_rs::rand;
use evidence::{Challenge, Evidence, Hash, Proof, Response, Transcript};
use tpm::Attestor;
use verify::{
    Denials, EkKind, EkTrust, Enrolment, Entropy, LegacyAgents, Pending, Policy, Reason, Rejection,
    begin, decide,
};

use crate::anchors::Trust;

/// Why a trial did not end well.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The TPM failed.
    Tpm(tpm::Error),
    /// The verifier refuses the machine.
    Refused(Rejection),
}

/// Attests as agent and server do, with a quote over the SHA-256 PCRs 0 to 7. With anchors the EK
/// certificate is judged, too; without, the machine only proves that it holds its keys.
pub(crate) fn attest(
    attestor: &mut Attestor,
    trust: &Trust,
    now: i64,
    deadline: Instant,
) -> Result<(), Failed> {
    let payload = attestor.offer().into_offer(None).encode();
    let (challenge, pending) = challenge(&payload, trust, now).map_err(Failed::Refused)?;
    let response = answer(attestor, &payload, &challenge, deadline)?;
    let attested = pending.finish(&response).map_err(Failed::Refused)?;
    // Without anchors nobody has said whom to trust: the proof is all there is to judge.
    if trust.is_given() {
        decide(
            &attested,
            Enrolment::NotKept,
            &Denials::default(),
            &policy(trust),
        )
        .map_err(Failed::Refused)?;
    }
    Ok(())
}

/// The challenge for an agent that sent `payload`, and what judges its answer.
pub(crate) fn challenge(
    payload: &[u8],
    trust: &Trust,
    now: i64,
) -> Result<(Vec<u8>, Pending), Rejection> {
    begin(
        payload,
        &policy(trust),
        &trust.anchors(),
        now,
        &mut SystemEntropy,
    )
}

/// A name that no deployment has (RFC 2606).
pub(crate) const TRUST_DOMAIN: &str = "trial.invalid";

fn policy(trust: &Trust) -> Policy {
    Policy {
        trust_domain: TRUST_DOMAIN.to_owned(),
        ek_trust: if trust.is_given() {
            EkTrust::Certificate
        } else {
            EkTrust::Enrolment
        },
        ek_kinds: EkKind::ALL.to_vec(),
        accept_expired_ek: trust.options.accept_expired_leaf,
        vendors: None,
        crl_policy: trust.options.crl_policy,
        legacy_agents: LegacyAgents::Deny,
        pcrs: vec![(Hash::Sha256, (0..8).collect())],
    }
}

fn answer(
    attestor: &mut Attestor,
    payload: &[u8],
    challenge: &[u8],
    deadline: Instant,
) -> Result<Vec<u8>, Failed> {
    let internal = || Failed::Refused(Reason::InternalError.into());
    let asked = Challenge::decode(challenge).map_err(|_own_challenge| internal())?;
    let extension = asked.extension.ok_or_else(internal)?;
    let transcript = Transcript::new(TRUST_DOMAIN, payload, challenge);
    let secret = attestor
        .activate(&asked.credential, deadline)
        .map_err(Failed::Tpm)?;
    let binding = secret.quote_binding(&transcript);
    let quoted = attestor
        .quote(&binding, &extension.selections(), deadline)
        .map_err(Failed::Tpm)?;
    let evidence = Evidence {
        quote: quoted.signed.attest,
        signature: quoted.signed.signature,
        pcrs: quoted.pcrs,
    };
    let evidence = evidence.encode();
    let proof = secret.proof(&transcript, &evidence, &[]);
    let proof = Proof {
        evidence,
        log: None,
        proof,
    };
    Ok(Response::Proof(proof).encode().to_vec())
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        rand::fill(out).is_ok()
    }
}
