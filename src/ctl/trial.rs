//! A whole attestation of this machine against the verifier that is built in, without any network.

use std::time::Instant;

use aws_lc_rs::rand;
use evidence::{Capability, Challenge, Evidence, Hash, Proof, Record, Response, Transcript};
use tpm::Attestor;
use verify::{
    Attested, Denials, EkKind, EkTrust, Enrolment, Entropy, LegacyAgents, Pending, Policy, Reason,
    Rejection, StatePolicy, begin, decide,
};

use crate::anchors::Trust;
use crate::boot::tolerated;

/// Why a trial did not end well.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The TPM failed.
    Tpm(tpm::Error),
    /// The verifier refuses the machine.
    Refused(Rejection),
}

/// What a trial asks of the machine beyond the proof itself.
pub(crate) struct Wanted {
    pub(crate) pcrs: Vec<(Hash, Vec<u8>)>,
    /// The boot event log that the machine gives, as an agent would read it.
    pub(crate) log: Option<Vec<u8>>,
}

impl Default for Wanted {
    /// The SHA-256 PCRs 0 to 7, and no log.
    fn default() -> Self {
        Self {
            pcrs: vec![(Hash::Sha256, (0..8).collect())],
            log: None,
        }
    }
}

/// Attests as agent and server do, with a quote over the SHA-256 PCRs 0 to 7. With anchors the EK
/// certificate is judged, too; without, the machine only proves that it holds its keys.
pub(crate) fn attest(
    attestor: &mut Attestor,
    trust: &Trust,
    now: i64,
    deadline: Instant,
) -> Result<(), Failed> {
    let wanted = Wanted::default();
    let (_, attested) = exchange(attestor, trust, &wanted, now, deadline)?;
    // Without anchors nobody has said whom to trust: the proof is all there is to judge.
    if trust.is_given() {
        decide(
            &attested,
            Enrolment::NotKept,
            &Denials::default(),
            &policy(trust, &wanted),
        )
        .map_err(Failed::Refused)?;
    }
    Ok(())
}

/// The three messages of an attestation whose proof holds, as a record of a server.
pub(crate) fn exchange(
    attestor: &mut Attestor,
    trust: &Trust,
    wanted: &Wanted,
    now: i64,
    deadline: Instant,
) -> Result<(Record, Attested), Failed> {
    let mut evidence = vec![Capability::Quote];
    evidence.extend(wanted.log.as_ref().map(|_log| Capability::Log));
    let payload = attestor.offer().into_offer(evidence, None).encode();
    let policy = policy(trust, wanted);
    let (challenge, pending) = begin(&payload, &policy, &trust.anchors(), now, &mut SystemEntropy)
        .map_err(Failed::Refused)?;
    let log = wanted.log.as_deref();
    let response = answer(attestor, &payload, &challenge, log, deadline)?;
    let secret = pending.secret().clone();
    let attested = pending.finish(&response).map_err(Failed::Refused)?;
    let record = Record {
        trust_domain: TRUST_DOMAIN.to_owned(),
        time: u64::try_from(now).unwrap_or_default(),
        payload,
        challenge,
        secret,
        response,
        enrolment: Enrolment::NotKept.name().to_owned(),
        verdict: "granted".to_owned(),
    };
    Ok((record, attested))
}

/// The challenge for an agent that sent `payload`, and what judges its answer.
pub(crate) fn challenge(
    payload: &[u8],
    trust: &Trust,
    now: i64,
) -> Result<(Vec<u8>, Pending), Rejection> {
    begin(
        payload,
        &policy(trust, &Wanted::default()),
        &trust.anchors(),
        now,
        &mut SystemEntropy,
    )
}

/// A name that no deployment has (RFC 2606).
pub(crate) const TRUST_DOMAIN: &str = "trial.invalid";

fn policy(trust: &Trust, wanted: &Wanted) -> Policy {
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
        pcrs: wanted.pcrs.clone(),
        state: StatePolicy {
            ask_for_log: wanted.log.is_some(),
            tolerated: tolerated(),
            ..StatePolicy::default()
        },
    }
}

fn answer(
    attestor: &mut Attestor,
    payload: &[u8],
    challenge: &[u8],
    log: Option<&[u8]>,
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
    let log = log.filter(|_log| extension.log);
    let proof = secret.proof(&transcript, &evidence, log.unwrap_or_default());
    let proof = Proof {
        evidence,
        log: log.map(<[u8]>::to_vec),
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
