//! One attestation as states that are consumed: a challenge is begun once and finished once.

use evidence::{
    Capability, Challenge, ChallengeExtension, Credential, Curve, EkHash, EkProfile, Evidence,
    Hash, Malformed, Name, Offer, OfferExtension, Response, Secret, SubjectKey, Transcript,
    VERSION,
};
use subtle::ConstantTimeEq;

use crate::anchors::Anchors;
use crate::attestation_key::AttestationKey;
use crate::certificate::{Certificate, EkCertificate};
use crate::chain::{CertifiedEk, ChainOptions};
use crate::creation::check_creation;
use crate::denials::Presented;
use crate::entropy::{Entropy, fresh};
use crate::key::{parse_public_key, sound_key};
use crate::policy::{EkKind, EkTrust, LegacyAgents, Policy};
use crate::quote::Quoted;
use crate::{Reason, Rejection, TpmDescription};

/// A challenge that waits for its answer. Neither `Clone` nor `Copy`: one attempt.
#[derive(Debug)]
pub struct Pending {
    ek_hash: EkHash,
    presented: Option<Presented>,
    certification: Certification,
    ak: AttestationKey,
    secret: Secret,
    expected: Expected,
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
enum Expected {
    Proof {
        transcript: Transcript,
        pcrs: Vec<(Hash, Vec<u8>)>,
    },
    Secret,
}

/// A payload that was read and not judged yet.
#[derive(Debug)]
pub struct Request {
    payload: Vec<u8>,
    offer: Offer,
    generation: Generation,
    ek: SubjectKey,
    certificate: Option<EkCertificate>,
}

/// Reads and judges an offer and makes the challenge: [`Request::read`] and [`Request::begin`].
///
/// `payload` is the first message as it travelled, `now` in seconds since the epoch.
pub fn begin(
    payload: &[u8],
    policy: &Policy,
    anchors: &Anchors,
    now: i64,
    entropy: &mut impl Entropy,
) -> Result<(Vec<u8>, Pending), Rejection> {
    Request::read(payload.to_vec(), policy)?.begin(policy, anchors, now, entropy)
}

impl Request {
    /// Reads an offer; `payload` is the first message as it travelled.
    pub fn read(payload: Vec<u8>, policy: &Policy) -> Result<Self, Rejection> {
        let offer = read_offer(&payload)?;
        let generation = choose_generation(offer.extension.as_ref(), policy.legacy_agents)?;
        let (ek, certificate) = read_ek(&offer)?;
        Ok(Self {
            payload,
            offer,
            generation,
            ek,
            certificate,
        })
    }

    /// Whether judging it may take many times as long as it takes for most machines: the peer chose
    /// large curves, or a chain to search for.
    pub fn is_costly(&self, anchors: &Anchors) -> bool {
        let offered = self.offer.extension.as_ref();
        let searches = |certificate| {
            offered.is_some_and(|offer| !offer.ek_intermediates.is_empty())
                || anchors.may_search_long(certificate)
        };
        is_costly(&self.ek) || self.certificate.as_ref().is_some_and(searches)
    }

    /// Judges the offer and makes the challenge that only the TPM of its EK can answer. `now` is in
    /// seconds since the epoch.
    pub fn begin(
        self,
        policy: &Policy,
        anchors: &Anchors,
        now: i64,
        entropy: &mut impl Entropy,
    ) -> Result<(Vec<u8>, Pending), Rejection> {
        let claimed = self.ek.ek_hash();
        let (profile, ak, certification) = self
            .judge(policy, anchors, now)
            .map_err(|rejection| rejection.about(claimed))?;
        let secret = Secret::new(fresh::<32>(entropy)?.to_vec());
        let seed = fresh::<64>(entropy)?;
        let seed = seed.get(..profile.hash.size()).unwrap_or_default();
        let credential = Credential::make(&self.ek, profile, ak.name(), &secret, seed)
            .map_err(|_bad| Reason::MalformedKey)?;
        let extension = match self.generation {
            Generation::First => None,
            Generation::Current => Some(ChallengeExtension {
                version: VERSION,
                nonce: *fresh(entropy)?,
                pcrs: policy.pcrs.clone(),
            }),
        };
        let challenge = Challenge {
            credential,
            extension,
        }
        .encode();
        let certificate = self.certificate.as_ref().map(EkCertificate::certificate);
        let expected = Expected::of(self.generation, policy, &self.payload, &challenge);
        Ok((
            challenge,
            Pending {
                ek_hash: claimed,
                presented: certificate.map(Certificate::presented),
                certification,
                ak,
                secret,
                expected,
            },
        ))
    }

    fn judge(
        &self,
        policy: &Policy,
        anchors: &Anchors,
        now: i64,
    ) -> Result<(EkProfile, AttestationKey, Certification), Rejection> {
        let profile = check_ek(&self.ek, policy)?;
        let ak = check_ak(&self.offer, &self.ek, self.generation)?;
        let certificate = self.certificate.as_ref();
        let certification = certify(certificate, &self.offer, policy, anchors, now)?;
        Ok((profile, ak, certification))
    }
}

/// Computing with the larger curves takes many times as long as with RSA and P-256.
fn is_costly(key: &SubjectKey) -> bool {
    matches!(key, SubjectKey::Ec { curve, .. } if *curve != Curve::P256)
}

impl Pending {
    /// Judges the answer. `response` is the second message as it travelled.
    pub fn finish(self, response: &[u8]) -> Result<Attested, Rejection> {
        let response = Response::decode(response).map_err(|error| match error {
            Malformed::TooLong => Reason::ResponseTooLarge,
            _ => Reason::MalformedResponse,
        })?;
        let method = match (&self.expected, response) {
            (Expected::Secret, Response::Secret(secret)) => {
                self.check_secret(secret.expose())?;
                Method::Credential
            }
            (Expected::Proof { transcript, pcrs }, Response::Proof(proof)) => {
                let evidence = self.check_proof(transcript, &proof)?;
                let binding = self.secret.quote_binding(transcript);
                Method::Quote(Quoted::check(evidence, &self.ak, &binding, pcrs)?)
            }
            _ => return Err(Reason::MalformedResponse.into()),
        };
        Ok(Attested {
            ek_hash: self.ek_hash,
            presented: self.presented,
            certification: self.certification,
            ak_name: self.ak.name().clone(),
            method,
        })
    }

    /// Whether judging the answer may take many times as long as it takes for most machines.
    pub fn is_costly(&self) -> bool {
        is_costly(self.ak.key())
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

    /// The same by an HMAC over the transcript, so that neither message was altered or belongs to
    /// another exchange, and the evidence is what the holder of the secret sent.
    fn check_proof(
        &self,
        transcript: &Transcript,
        proof: &evidence::Proof,
    ) -> Result<Evidence, Reason> {
        let log = proof.log.as_deref().unwrap_or_default();
        let expected = self.secret.proof(transcript, &proof.evidence, log);
        if !bool::from(expected.ct_eq(&proof.proof)) {
            return Err(Reason::ProofMismatch);
        }
        if proof.log.is_some() {
            return Err(Reason::UnsolicitedEvidence);
        }
        Evidence::decode(&proof.evidence).map_err(|_bad| Reason::MalformedResponse)
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
}

impl Expected {
    fn of(generation: Generation, policy: &Policy, payload: &[u8], challenge: &[u8]) -> Self {
        match generation {
            Generation::First => Self::Secret,
            Generation::Current => Self::Proof {
                transcript: Transcript::new(&policy.trust_domain, payload, challenge),
                pcrs: policy.pcrs.clone(),
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    First,
    Current,
}

fn read_offer(payload: &[u8]) -> Result<Offer, Reason> {
    Offer::decode(payload).map_err(|error| match error {
        Malformed::TooLong => Reason::PayloadTooLarge,
        _ => Reason::MalformedPayload,
    })
}

/// An agent that speaks the extension must have a version in common with us and a quote to give;
/// one that does not is of the first generation, if those are accepted at all.
fn choose_generation(
    extension: Option<&OfferExtension>,
    legacy: LegacyAgents,
) -> Result<Generation, Reason> {
    match extension {
        None if legacy == LegacyAgents::Deny => Err(Reason::PolicyRequiresQuote),
        None => Ok(Generation::First),
        Some(offer) if !(offer.min_version..=offer.max_version).contains(&VERSION) => {
            Err(Reason::UnsupportedVersion)
        }
        Some(offer) if !offer.evidence.contains(&Capability::Quote) => {
            Err(Reason::PolicyRequiresQuote)
        }
        Some(_) => Ok(Generation::Current),
    }
}

/// One source per fact (CVE-2021-3406): where certificate and key both come, they are of one key.
fn read_ek(offer: &Offer) -> Result<(SubjectKey, Option<EkCertificate>), Rejection> {
    let certificate = offer
        .ek
        .certificate
        .as_deref()
        .map(EkCertificate::parse)
        .transpose()?;
    let public_key = offer
        .ek
        .public_key
        .as_deref()
        .map(parse_public_key)
        .transpose()?;
    let key = match (&certificate, public_key) {
        (Some(certificate), None) => certificate.key().clone(),
        (None, Some(key)) => key,
        (Some(certificate), Some(key)) if *certificate.key() == key => key,
        (Some(_), Some(_)) => return Err(Reason::EkKeyMismatch.into()),
        (None, None) => return Err(Reason::MalformedPayload.into()),
    };
    Ok((key, certificate))
}

/// EK Credential Profile 2.6, annex B: an EK is one of a few kinds, and its algorithms follow from
/// the kind; of these the operator may accept fewer.
fn check_ek(ek: &SubjectKey, policy: &Policy) -> Result<EkProfile, Rejection> {
    sound_key(ek)?;
    let (kind, profile) = EkKind::of(ek)
        .zip(EkProfile::of(ek))
        .ok_or(Reason::UnsupportedKey)?;
    if !policy.ek_kinds.contains(&kind) {
        return Err(Reason::EkProfileDenied.into());
    }
    Ok(profile)
}

/// The AK by its public area, and for an agent of the first generation by its creation.
fn check_ak(
    offer: &Offer,
    ek: &SubjectKey,
    generation: Generation,
) -> Result<AttestationKey, Rejection> {
    let ak = AttestationKey::check(&offer.ak.public)?;
    ak.differs_from(ek)?;
    if generation == Generation::First {
        check_creation(offer.ak.creation.as_ref(), &ak)?;
    }
    Ok(ak)
}

/// The certificate is judged now; where enrolment alone may do, a refusal waits for the decision.
fn certify(
    certificate: Option<&EkCertificate>,
    offer: &Offer,
    policy: &Policy,
    anchors: &Anchors,
    now: i64,
) -> Result<Certification, Rejection> {
    if policy.ek_trust == EkTrust::Enrolment {
        return Ok(Certification::Absent);
    }
    let needed = matches!(policy.ek_trust, EkTrust::Certificate | EkTrust::Both);
    let Some(certificate) = certificate else {
        return if needed {
            Err(Reason::EkCertMissing.into())
        } else {
            Ok(Certification::Absent)
        };
    };
    let intermediates = offer
        .extension
        .as_ref()
        .map(|offer| offer.ek_intermediates.as_slice());
    let options = ChainOptions {
        accept_expired_leaf: policy.accept_expired_ek,
        crl_policy: policy.crl_policy,
    };
    let outcome = anchors
        .verify(certificate, intermediates.unwrap_or_default(), now, options)
        .and_then(|ek| allowed_vendor(ek, policy));
    match outcome {
        Ok(ek) => Ok(Certification::Verified(Box::new(ek))),
        Err(rejection) if needed => Err(rejection),
        Err(rejection) => Ok(Certification::Refused(rejection)),
    }
}

/// An EK whose vendor nobody names is of none of those that the operator names.
fn allowed_vendor(ek: CertifiedEk, policy: &Policy) -> Result<CertifiedEk, Rejection> {
    let Some(vendors) = &policy.vendors else {
        return Ok(ek);
    };
    match ek.description().map(TpmDescription::vendor) {
        Some(vendor) if vendors.contains(&vendor) => Ok(ek),
        Some(vendor) => Err(Rejection::because(
            Reason::VendorDenied,
            format!("a TPM of {vendor}"),
        )),
        None => Err(Rejection::because(
            Reason::VendorDenied,
            "the certificate names no vendor",
        )),
    }
}
