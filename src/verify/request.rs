//! The first half of an attestation: an offer is read and judged, and a challenge made that its TPM alone can answer.

use evidence::{
    Capability, Challenge, ChallengeExtension, Credential, EkProfile, Malformed, Offer,
    OfferExtension, Secret, SubjectKey, VERSION, limits,
};

use crate::anchors::Anchors;
use crate::attestation_key::AttestationKey;
use crate::certificate::{Certificate, EkCertificate};
use crate::chain::{CertifiedEk, ChainOptions};
use crate::creation::check_creation;
use crate::entropy::{Entropy, fresh};
use crate::key::{parse_public_key, sound_key};
use crate::known_boot::{KnownBoot, KnownBoots};
use crate::policy::{EkKind, EkTrust, LegacyAgents, Policy, SvidKeys};
use crate::session::{Certification, Expected, Pending, is_costly};
use crate::svid_key::{OfferedKeys, numeric_keys};
use crate::{Reason, Rejection, TpmDescription};

/// A payload that was read and not judged yet.
#[derive(Debug)]
pub struct Request {
    payload: Vec<u8>,
    offer: Offer,
    generation: Generation,
    ek: SubjectKey,
    certificate: Option<EkCertificate>,
    known: Option<KnownBoot>,
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
            known: None,
        })
    }

    /// The same, with what is known of the machine's boot: it need not send a log that was judged before.
    #[must_use]
    pub fn knowing(mut self, boots: &mut KnownBoots) -> Self {
        let offered = self.offer.extension.as_ref();
        let log = offered.and_then(|offer| offer.log_sha256);
        self.known = log.and_then(|log| boots.of(&self.ek.ek_hash(), &log));
        self
    }

    /// Whether judging it may take many times as long as it takes for most machines: the peer chose
    /// large curves, or a chain to search for.
    pub fn is_costly(&self, anchors: &Anchors) -> bool {
        let offered = self.offer.extension.as_ref();
        let searches = |certificate| {
            offered.is_some_and(|offer| !offer.ek_intermediates.is_empty())
                || anchors.may_search_long(certificate)
        };
        let has_costly_key = |offer| numeric_keys(offer).any(|key| is_costly(&key));
        is_costly(&self.ek)
            || offered.is_some_and(has_costly_key)
            || self.certificate.as_ref().is_some_and(searches)
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
        let (profile, keys, certification) = self
            .judge(policy, anchors, now)
            .map_err(|rejection| rejection.about(claimed))?;
        let secret = Secret::new(fresh::<32>(entropy)?.to_vec());
        let seed = fresh::<64>(entropy)?;
        let seed = seed.get(..profile.hash.size()).unwrap_or_default();
        let credential = Credential::make(&self.ek, profile, keys.ak.name(), &secret, seed)
            .map_err(|_bad| Reason::MalformedKey)?;
        let extension = match self.generation {
            Generation::First => None,
            Generation::Current => Some(self.ask(policy, *fresh(entropy)?)),
        };
        let challenge = Challenge {
            credential,
            extension,
        };
        let bytes = challenge.encode();
        let expected = Expected::of(&challenge, policy, &self.payload, &bytes);
        let mut pending = self.pending(keys, certification, secret, expected, policy);
        let tells = |asked: &ChallengeExtension| asked.known_pcrs.is_some();
        if challenge.extension.as_ref().is_some_and(tells) {
            pending.known = self.known;
        }
        Ok((bytes, pending))
    }

    /// Judges once more an exchange that was recorded: its offer now, then its answer with
    /// [`Pending::finish`]. `challenge` is as it travelled, and `secret` what its credential held.
    pub fn resume(
        self,
        policy: &Policy,
        anchors: &Anchors,
        now: i64,
        challenge: &[u8],
        secret: Secret,
    ) -> Result<Pending, Rejection> {
        let (_, keys, certification) = self.judge(policy, anchors, now)?;
        let asked = Challenge::decode(challenge).map_err(|_bad| Reason::MalformedResponse)?;
        let expected = Expected::of(&asked, policy, &self.payload, challenge);
        Ok(self.pending(keys, certification, secret, expected, policy))
    }

    /// What is asked beyond the credential: the PCRs that the operator names and, with the log of an
    /// agent that has one, those that it is about.
    fn ask(&self, policy: &Policy, nonce: [u8; limits::NONCE]) -> ChallengeExtension {
        let offered = self.offer.extension.as_ref();
        let has_log = offered.is_some_and(|offer| offer.evidence.contains(&Capability::Log));
        let log = policy.state.ask_for_log && has_log;
        let mut pcrs = policy.pcrs.clone();
        if log && let Some((_, first)) = pcrs.first_mut() {
            first.extend(LOGGED_PCRS);
            first.sort_unstable();
            first.dedup();
        }
        let known = self.known.as_ref().filter(|_| log);
        let known = known.filter(|known| known.is_judged_by(&policy.state.tolerated));
        ChallengeExtension {
            version: VERSION,
            nonce,
            known_pcrs: known.map(KnownBoot::values),
            pcrs,
            log,
            certify: self.can_certify(),
        }
    }

    /// Whether the agent says that its TPM can certify an SVID key.
    fn can_certify(&self) -> bool {
        self.offer.extension.as_ref().is_some_and(|offer| {
            offer.evidence.contains(&Capability::Certify) && !offer.svid_keys.is_empty()
        })
    }

    fn pending(
        &self,
        keys: Keys,
        certification: Certification,
        secret: Secret,
        expected: Expected,
        policy: &Policy,
    ) -> Pending {
        let certificate = self.certificate.as_ref().map(EkCertificate::certificate);
        Pending {
            ek_hash: self.ek.ek_hash(),
            presented: certificate.map(Certificate::presented),
            certification,
            ak: keys.ak,
            secret,
            expected,
            tolerated: policy.state.tolerated.clone(),
            known: None,
            offered: keys.svid,
            boot_id: self
                .offer
                .extension
                .as_ref()
                .and_then(|offer| offer.boot_id.clone()),
        }
    }

    fn judge(
        &self,
        policy: &Policy,
        anchors: &Anchors,
        now: i64,
    ) -> Result<(EkProfile, Keys, Certification), Rejection> {
        let profile = check_ek(&self.ek, policy)?;
        let ak = check_ak(&self.offer, &self.ek, self.generation)?;
        let svid = OfferedKeys::check(self.offer.extension.as_ref(), &self.ek, &ak)?;
        if policy.svid_keys == SvidKeys::Require && !self.can_certify() {
            return Err(Reason::SvidKeyUncertified.into());
        }
        let certificate = self.certificate.as_ref();
        let certification = certify(certificate, &self.offer, policy, anchors, now)?;
        Ok((profile, Keys { ak, svid }, certification))
    }
}

/// The keys of an offer beside the EK, judged by their public areas.
struct Keys {
    ak: AttestationKey,
    svid: OfferedKeys,
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

/// The PCRs that a boot event log is about: the firmware's own, and those that boot loaders and kernels use. Not 10,
/// which the kernel extends while it runs, nor 15, which it may.
const LOGGED_PCRS: [u8; 14] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14];
