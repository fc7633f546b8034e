//! What an operator accepts, and the decision over a machine that has proved itself.

use evidence::{Curve, Hash, SubjectKey};

use crate::session::{Attested, Certification, Method};
use crate::{CrlPolicy, Denials, Reason, Rejection, TpmDescription, Vendor};

/// The operator's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The trust domain that SPIRE runs, without scheme.
    pub trust_domain: String,
    /// How an EK may be trusted.
    pub ek_trust: EkTrust,
    /// The kinds of EK that count.
    pub ek_kinds: Vec<EkKind>,
    /// Whether an expired EK certificate is still accepted.
    pub accept_expired_ek: bool,
    /// The vendors whose certificates count; `None` stands for all.
    pub vendors: Option<Vec<Vendor>>,
    /// What becomes of certificates that no revocation list is about.
    pub crl_policy: CrlPolicy,
    /// Whether agents without a quote are accepted.
    pub legacy_agents: LegacyAgents,
    /// The PCRs that a quote must cover.
    pub pcrs: Vec<(Hash, Vec<u8>)>,
}

/// How an EK may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EkTrust {
    /// By a certificate that leads to an anchor.
    Certificate,
    /// By being enrolled.
    Enrolment,
    /// By either.
    Either,
    /// Only by both.
    Both,
}

/// What becomes of agents that do not speak our extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyAgents {
    /// Accepted, marked `attestation:credential`.
    Allow,
    /// Refused.
    Deny,
}

/// A kind of EK by type and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standards'")]
pub enum EkKind {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    P256,
    P384,
    P521,
}

/// Whether the store knows a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolment {
    /// There is no allow-list.
    NotKept,
    /// It is on the allow-list.
    Enrolled,
    /// It is not on the allow-list.
    Absent,
}

/// An identity for a machine; only [`decide`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    agent_id: String,
    selectors: Vec<String>,
}

impl EkKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::P256,
        Self::P384,
        Self::P521,
    ];

    /// The name in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::P256 => "p-256",
            Self::P384 => "p-384",
            Self::P521 => "p-521",
        }
    }

    /// The kind of a key, if it is one of these.
    pub fn of(key: &SubjectKey) -> Option<Self> {
        match key {
            SubjectKey::Rsa { modulus, .. } => match modulus.len() {
                256 => Some(Self::Rsa2048),
                384 => Some(Self::Rsa3072),
                512 => Some(Self::Rsa4096),
                _ => None,
            },
            SubjectKey::Ec {
                curve: Curve::P256, ..
            } => Some(Self::P256),
            SubjectKey::Ec {
                curve: Curve::P384, ..
            } => Some(Self::P384),
            SubjectKey::Ec {
                curve: Curve::P521, ..
            } => Some(Self::P521),
        }
    }
}

impl Grant {
    /// The SPIFFE ID of the agent.
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// Selector values, without the type that SPIRE adds.
    pub fn selectors(&self) -> &[String] {
        &self.selectors
    }
}

/// Decides over a machine that has proved itself.
pub fn decide(
    attested: &Attested,
    enrolment: Enrolment,
    denials: &Denials,
    policy: &Policy,
) -> Result<Grant, Rejection> {
    // Before everything that could vouch for it. Not before the proof: a peer learns only about itself.
    if denials.cover(&attested.ek_hash(), attested.presented()) {
        return Err(Reason::EkDenied.into());
    }
    check_trust(attested.certification(), enrolment, policy.ek_trust)?;
    let hash = attested.ek_hash();
    Ok(Grant {
        agent_id: format!("spiffe://{}/spire/agent/tpm/{hash}", policy.trust_domain),
        selectors: selectors(attested),
    })
}

/// RFC 9334, section 8.5: an endorsement or the operator's own reference must vouch for the key.
/// A certificate that failed its checks vouches for nothing, and says why.
fn check_trust(
    certification: &Certification,
    enrolment: Enrolment,
    trust: EkTrust,
) -> Result<(), Rejection> {
    let certified = || match certification {
        Certification::Verified(_) => Ok(()),
        Certification::Refused(rejection) => Err(rejection.clone()),
        Certification::Absent => Err(Reason::EkCertMissing.into()),
    };
    let enrolled = match enrolment {
        Enrolment::Enrolled => Ok(()),
        Enrolment::Absent | Enrolment::NotKept => Err(Rejection::from(Reason::EkNotAllowed)),
    };
    match trust {
        EkTrust::Certificate => certified(),
        EkTrust::Enrolment => enrolled,
        EkTrust::Both => certified().and(enrolled),
        EkTrust::Either if enrolled.is_ok() => Ok(()),
        EkTrust::Either => match certification {
            Certification::Absent => enrolled,
            _ => certified(),
        },
    }
}

fn selectors(attested: &Attested) -> Vec<String> {
    let hash = attested.ek_hash();
    let method = match attested.method() {
        Method::Quote(_) => "quote",
        Method::Credential => "credential",
    };
    let mut selectors = vec![
        format!("pub_hash:{hash}"),
        format!("device:{}", hash.device()),
        format!("attestation:{method}"),
    ];
    match attested.certification() {
        Certification::Verified(ek) => {
            let validity = if ek.expired() { "expired" } else { "verified" };
            selectors.push(format!("ek_cert:{validity}"));
            let vendor = ek.description().map(TpmDescription::vendor);
            selectors.extend(vendor.map(|vendor| format!("vendor:{vendor}")));
        }
        Certification::Refused(_) | Certification::Absent => {
            selectors.push("ek_cert:none".to_owned());
        }
    }
    selectors
}
