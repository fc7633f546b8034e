//! A whole attestation of this machine against the verifier that is built in, without any network.

use std::time::Instant;

use aws_lc_rs::rand;
use evidence::{
    Capability, Challenge, Evidence, Hash, KeyCertification, Offer, Proof, Record, Response,
    Secret, Transcript,
};
use tpm::{Attestor, Signed, WrappedKey};
use verify::{
    Attested, Denials, EkKind, EkTrust, Enrolment, Entropy, History, LegacyAgents, Pending, Policy,
    Reason, Rejection, StatePolicy, begin, decide,
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
    /// SVID keys that are offered, and whose certification is asked for.
    pub(crate) svid_keys: Vec<WrappedKey>,
}

impl Default for Wanted {
    /// The SHA-256 PCRs 0 to 7, no log, and no SVID keys.
    fn default() -> Self {
        Self {
            pcrs: vec![(Hash::Sha256, (0..8).collect())],
            log: None,
            svid_keys: Vec::new(),
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
            &History::NotKept,
            0,
            0,
        )
        .map_err(Failed::Refused)?;
    }
    Ok(())
}

/// Attests with the certification of an SVID key, made under the SRK of this TPM.
pub(crate) fn certify(
    attestor: &mut Attestor,
    key: WrappedKey,
    now: i64,
    deadline: Instant,
) -> Result<(), Failed> {
    let wanted = Wanted {
        svid_keys: vec![key],
        ..Wanted::default()
    };
    let (_, attested) = exchange(attestor, &Trust::default(), &wanted, now, deadline)?;
    match attested.svid_keys() {
        [_certified] => Ok(()),
        _ => Err(Failed::Refused(Reason::CertifyMissing.into())),
    }
}

/// The three messages of an attestation whose proof holds, as a record of a server.
pub(crate) fn exchange(
    attestor: &mut Attestor,
    trust: &Trust,
    wanted: &Wanted,
    now: i64,
    deadline: Instant,
) -> Result<(Record, Attested), Failed> {
    let payload = offer(attestor, wanted, deadline)?.encode();
    let policy = policy(trust, wanted);
    let (challenge, pending) = begin(&payload, &policy, &trust.anchors(), now, &mut SystemEntropy)
        .map_err(Failed::Refused)?;
    let response = answer(attestor, wanted, &payload, &challenge, deadline)?;
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
        svid_keys: verify::SvidKeys::default(),
        tpm_clear: verify::OnChange::default(),
        ak_change: verify::OnChange::default(),
        unexpected_reset: verify::OnReset::default(),
    }
}

fn offer(attestor: &mut Attestor, wanted: &Wanted, deadline: Instant) -> Result<Offer, Failed> {
    let mut evidence = vec![Capability::Quote];
    evidence.extend(wanted.log.as_ref().map(|_log| Capability::Log));
    if wanted.svid_keys.is_empty() {
        return Ok(attestor.offer().into_offer(evidence, None));
    }
    evidence.push(Capability::Certify);
    let parent = attestor.storage_root(deadline).map_err(Failed::Tpm)?;
    let keys = wanted.svid_keys.iter();
    let keys = keys.map(|key| key.public.as_bytes().to_vec()).collect();
    let mut offer = attestor.offer().into_offer(evidence, None);
    if let Some(extension) = &mut offer.extension {
        extension.svid_keys = keys;
        extension.svid_parent = Some(parent.as_bytes().to_vec());
    }
    Ok(offer)
}

fn answer(
    attestor: &mut Attestor,
    wanted: &Wanted,
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
    let keys = if extension.certify {
        wanted.svid_keys.as_slice()
    } else {
        &[]
    };
    let evidence = Evidence {
        quote: quoted.signed.attest,
        signature: quoted.signed.signature,
        pcrs: quoted.pcrs,
        certifications: certifications(attestor, keys, &secret, &transcript, deadline)?,
    };
    let evidence = evidence.encode();
    let log = wanted.log.as_deref().filter(|_log| extension.log);
    let proof = secret.proof(&transcript, &evidence, log.unwrap_or_default());
    let proof = Proof {
        evidence,
        log: log.map(<[u8]>::to_vec),
        proof,
    };
    Ok(Response::Proof(proof).encode().to_vec())
}

fn certifications(
    attestor: &mut Attestor,
    keys: &[WrappedKey],
    secret: &Secret,
    transcript: &Transcript,
    deadline: Instant,
) -> Result<Vec<KeyCertification>, Failed> {
    let binding = secret.certify_binding(transcript);
    let signed = attestor.certify(keys, &binding, deadline);
    let certification = |signed: Signed| KeyCertification {
        attest: signed.attest,
        signature: signed.signature,
    };
    let signed = signed.map_err(Failed::Tpm)?;
    Ok(signed.into_iter().map(certification).collect())
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        rand::fill(out).is_ok()
    }
}
