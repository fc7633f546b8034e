//! The second half of an attestation, as states that are consumed: a challenge is begun once and finished once.

use std::collections::BTreeSet;

use eventlog::Quirk;
use evidence::{
    Challenge, Curve, EkHash, Evidence, Hash, Malformed, Name, PcrBank, Response, Secret,
    SubjectKey, Transcript,
};
use subtle::ConstantTimeEq;

use crate::attestation_key::AttestationKey;
use crate::boot::Boot;
use crate::chain::CertifiedEk;
use crate::denials::Presented;
use crate::known_boot::KnownBoot;
use crate::policy::Policy;
use crate::quote::Quoted;
use crate::svid_key::{CertifiedKey, OfferedKeys};
use crate::{Reason, Rejection};

/// A challenge that waits for its answer. Neither `Clone` nor `Copy`: one attempt.
#[derive(Debug)]
pub struct Pending {
    pub(crate) ek_hash: EkHash,
    pub(crate) presented: Option<Presented>,
    pub(crate) certification: Certification,
    pub(crate) ak: AttestationKey,
    pub(crate) secret: Secret,
    pub(crate) expected: Expected,
    pub(crate) tolerated: BTreeSet<Quirk>,
    pub(crate) known: Option<KnownBoot>,
    pub(crate) offered: OfferedKeys,
    pub(crate) boot_id: Option<String>,
}

/// A machine that has proved that it holds the EK and the AK, now. Only [`Pending::finish`] makes
/// one; whether anybody trusts the EK is for [`crate::decide`].
#[derive(Debug)]
pub struct Attested {
    ek_hash: EkHash,
    presented: Option<Presented>,
    certification: Certification,
    ak_name: Name,
    method: Method,
    boot: Boot,
    known: Option<([u8; 32], KnownBoot)>,
    svid_keys: Vec<CertifiedKey>,
    storage_root: Option<Name>,
    boot_id: Option<String>,
}

/// What an answer shows.
struct Shown {
    method: Method,
    boot: Boot,
    known: Option<([u8; 32], KnownBoot)>,
    svid_keys: Vec<CertifiedKey>,
}

/// What became of the EK certificate.
#[derive(Debug)]
pub enum Certification {
    /// It leads to an anchor and describes a TPM.
    Verified(Box<CertifiedEk>),
    /// It does not, and the machine may still be enrolled by hash.
    Refused(Rejection),
    /// None came, or no anchors are configured.
    Absent,
}

/// How the machine proved itself.
#[derive(Debug)]
pub enum Method {
    /// By a credential and a quote bound to the transcript.
    Quote(Quoted),
    /// By a credential alone, as agents of the first generation do.
    Credential,
}

#[derive(Debug)]
pub(crate) enum Expected {
    Proof(Asked),
    Secret,
}

/// What a challenge asked for beyond the credential.
#[derive(Debug)]
pub(crate) struct Asked {
    transcript: Transcript,
    pcrs: Vec<(Hash, Vec<u8>)>,
    log: bool,
    certify: bool,
}

/// Computing with the larger curves takes many times as long as with RSA and P-256.
pub(crate) fn is_costly(key: &SubjectKey) -> bool {
    matches!(key, SubjectKey::Ec { curve, .. } if *curve != Curve::P256)
}

impl Pending {
    /// Judges the answer. `response` is the second message as it travelled.
    pub fn finish(self, response: &[u8]) -> Result<Attested, Rejection> {
        let response = Response::decode(response).map_err(|error| match error {
            Malformed::TooLong => Reason::ResponseTooLarge,
            _ => Reason::MalformedResponse,
        })?;
        let shown = match (&self.expected, response) {
            (Expected::Secret, Response::Secret(secret)) => {
                self.check_secret(secret.expose())?;
                Shown {
                    method: Method::Credential,
                    boot: Boot::Absent,
                    known: None,
                    svid_keys: Vec::new(),
                }
            }
            (Expected::Proof(asked), Response::Proof(proof)) => {
                self.check_evidence(asked, &proof)?
            }
            _ => return Err(Reason::MalformedResponse.into()),
        };
        // A parent that no certified key hangs under is only something the agent says.
        let parent = self.offered.into_parent();
        Ok(Attested {
            ek_hash: self.ek_hash,
            presented: self.presented,
            certification: self.certification,
            ak_name: self.ak.name().clone(),
            method: shown.method,
            boot: shown.boot,
            known: shown.known,
            storage_root: parent.filter(|_parent| !shown.svid_keys.is_empty()),
            svid_keys: shown.svid_keys,
            boot_id: self.boot_id,
        })
    }

    /// Whether judging an answer may take many times as long as it takes for most machines.
    pub fn is_costly(&self, response: &[u8]) -> bool {
        is_costly(self.ak.key()) || response.len() > LARGE_RESPONSE
    }

    /// What the credential holds, for a record of the exchange; of no use to anybody once the answer is there.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The hash of the EK that the peer claims to have; not proved yet.
    pub fn claimed_ek(&self) -> EkHash {
        self.ek_hash
    }

    /// TPM library part 1, section 24: only the TPM that holds the EK, with the AK of this Name
    /// loaded, gets at the secret.
    fn check_secret(&self, secret: &[u8]) -> Result<(), Reason> {
        if self.secret == *secret {
            Ok(())
        } else {
            Err(Reason::ProofMismatch)
        }
    }

    fn check_evidence(&self, asked: &Asked, proof: &evidence::Proof) -> Result<Shown, Rejection> {
        let log = proof.log.as_deref();
        let log_sha256 = sha256(log.unwrap_or_default());
        let mut evidence = self.check_proof(&asked.transcript, proof, &log_sha256)?;
        let certifications = std::mem::take(&mut evidence.certifications);
        let unasked = |came: bool, asked: bool| came && !asked;
        if unasked(log.is_some(), asked.log) || unasked(!certifications.is_empty(), asked.certify) {
            return Err(Reason::UnsolicitedEvidence.into());
        }
        let binding = self.secret.quote_binding(&asked.transcript);
        let quoted = Quoted::check(evidence, &self.ak, &binding, &asked.pcrs)?;
        let svid_keys = if asked.certify {
            let binding = self.secret.certify_binding(&asked.transcript);
            self.offered
                .certified(&certifications, &self.ak, &binding, &quoted)?
        } else {
            Vec::new()
        };
        let boot = self.boot(log, asked.log, quoted.banks())?;
        let known = match (&boot, log) {
            (Boot::Verified(claims), Some(_)) => {
                KnownBoot::new(&asked.pcrs, quoted.banks(), &self.tolerated, claims)
            }
            _ => None,
        };
        Ok(Shown {
            method: Method::Quote(quoted),
            boot,
            known: known.map(|known| (log_sha256, known)),
            svid_keys,
        })
    }

    /// The same by an HMAC over the transcript, so that neither message was altered or belongs to
    /// another exchange, and the evidence is what the holder of the secret sent.
    fn check_proof(
        &self,
        transcript: &Transcript,
        proof: &evidence::Proof,
        log_sha256: &[u8; 32],
    ) -> Result<Evidence, Reason> {
        let expected = self
            .secret
            .proof_of(transcript, &proof.evidence, log_sha256);
        if !bool::from(expected.ct_eq(&proof.proof)) {
            return Err(Reason::ProofMismatch);
        }
        Evidence::decode(&proof.evidence).map_err(|_bad| Reason::MalformedResponse)
    }

    /// The log comes if it was asked for: an agent that offered one has it. It may be left out where the quoted values are
    /// those of a boot that is known, which is for the quote to show and not for the agent to say.
    fn boot(&self, log: Option<&[u8]>, wanted: bool, banks: &[PcrBank]) -> Result<Boot, Reason> {
        let known = || self.known.as_ref().and_then(|known| known.claims(banks));
        match log {
            Some(log) => Ok(Boot::judge(log, banks, &self.tolerated)),
            None if !wanted => Ok(Boot::Absent),
            None => known().map(Boot::Verified).ok_or(Reason::EventlogMissing),
        }
    }
}

impl Attested {
    /// The identity of the machine.
    pub fn ek_hash(&self) -> EkHash {
        self.ek_hash
    }

    /// What became of the EK certificate.
    pub fn certification(&self) -> &Certification {
        &self.certification
    }

    /// The certificate that came, whatever became of it.
    pub(crate) fn presented(&self) -> Option<&Presented> {
        self.presented.as_ref()
    }

    /// The Name of the AK.
    pub fn ak_name(&self) -> &Name {
        &self.ak_name
    }

    /// How the machine proved itself.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// What became of the boot event log.
    pub fn boot(&self) -> &Boot {
        &self.boot
    }

    /// The SHA-256 of the log that came and was believed, and what is to be remembered of it.
    pub fn known_boot(&self) -> Option<&([u8; 32], KnownBoot)> {
        self.known.as_ref()
    }

    /// The SVID keys that are in the machine's TPM: all that it offered, or none if none was certified.
    pub fn svid_keys(&self) -> &[CertifiedKey] {
        &self.svid_keys
    }

    /// The Name of the storage root key above the certified keys; TPM2_Clear makes another one of it.
    pub fn storage_root(&self) -> Option<&Name> {
        self.storage_root.as_ref()
    }

    /// The kernel's id of the machine's boot. The machine says so: it proves nothing, and may be any text.
    pub(crate) fn boot_id(&self) -> Option<&str> {
        self.boot_id.as_deref()
    }
}

impl Expected {
    /// What answers a challenge; `bytes` are the challenge as it travels.
    pub(crate) fn of(challenge: &Challenge, policy: &Policy, payload: &[u8], bytes: &[u8]) -> Self {
        match &challenge.extension {
            None => Self::Secret,
            Some(asked) => Self::Proof(Asked {
                transcript: Transcript::new(&policy.trust_domain, payload, bytes),
                pcrs: asked.pcrs.clone(),
                log: asked.log,
                certify: asked.certify,
            }),
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Hash::Sha256.digest(&[bytes]).try_into().unwrap_or_default()
}

/// Bytes of a response that is judged where it comes in: more than most machines' logs.
pub(crate) const LARGE_RESPONSE: usize = 256 * 1024;
