//! What an operator accepts, and the decision over a machine that has proved itself.

use evidence::{Curve, Hash, SubjectKey};

use crate::continuity::Continuity;
use crate::profile::StateVerdict;
use crate::selectors::{SVID_KEY_CERTIFIED, selectors};
use crate::session::{Attested, Certification};
use crate::{
    CrlPolicy, Denials, History, MachineState, Mode, Reason, Rejection, StatePolicy, Vendor,
};

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
    /// What state machines must be in.
    pub state: StatePolicy,
    /// Whether agents must have SVID keys in their TPM.
    pub svid_keys: SvidKeys,
    /// What becomes of a machine whose TPM was cleared.
    pub tpm_clear: OnChange,
    /// What becomes of a machine whose AK is another one than before.
    pub ak_change: OnChange,
    /// What becomes of a machine whose TPM was reset while it ran on.
    pub unexpected_reset: OnReset,
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

/// What becomes of agents whose TPM certifies no SVID key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SvidKeys {
    /// Accepted.
    #[default]
    Observe,
    /// Refused.
    Require,
}

/// What becomes of a machine that has changed in a way that its operator may have wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnChange {
    /// The change is told.
    #[default]
    Accept,
    /// The machine is refused until the operator has accepted it.
    Quarantine,
}

/// What becomes of a machine whose TPM was reset while it ran on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnReset {
    /// That is told.
    #[default]
    Warn,
    /// The machine is refused until it has booted.
    Refuse,
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
    matched: Vec<String>,
    advisories: Vec<String>,
    tolerated: Option<Rejection>,
    has_certified_keys: bool,
    continuity: Continuity,
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

    /// The profiles that the machine matches, by name.
    pub fn matched(&self) -> &[String] {
        &self.matched
    }

    /// The advisories that its TPM is in, by name.
    pub fn advisories(&self) -> &[String] {
        &self.advisories
    }

    /// Why the machine would be refused, were the rules about its state enforced.
    pub fn tolerated(&self) -> Option<&Rejection> {
        self.tolerated.as_ref()
    }

    /// What is to be kept of the machine in place of what was known; `None` where nothing is kept.
    pub fn next_state(&self) -> Option<&MachineState> {
        self.continuity.next.as_ref()
    }

    /// What has changed about the machine that its operator accepts and wants to know.
    pub fn changes(&self) -> &[Reason] {
        &self.continuity.changes
    }

    /// The same for a server that signs no SVID of this agent for another key than those that were certified: the
    /// selector says so. Without such a server a certified key would say nothing about the SVID's.
    #[must_use]
    pub fn with_enforced_keys(mut self) -> Self {
        if self.has_certified_keys {
            self.selectors.push(SVID_KEY_CERTIFIED.to_owned());
        }
        self
    }
}

/// Decides over a machine that has proved itself. `begun_ms` is when its challenge was made and `now_ms` the time now,
/// both in milliseconds since the epoch; they are compared with what `history` says.
pub fn decide(
    attested: &Attested,
    enrolment: Enrolment,
    denials: &Denials,
    policy: &Policy,
    history: &History,
    begun_ms: i64,
    now_ms: i64,
) -> Result<Grant, Rejection> {
    // Before everything that could vouch for it. Not before the proof: a peer learns only about itself.
    if denials.cover(&attested.ek_hash(), attested.presented()) {
        return Err(Reason::EkDenied.into());
    }
    check_trust(attested.certification(), enrolment, policy.ek_trust)?;
    let has_certified_keys = !attested.svid_keys().is_empty();
    // Once more after the proof: an exchange that was recorded may not have asked for certifications.
    if policy.svid_keys == SvidKeys::Require && !has_certified_keys {
        return Err(Reason::SvidKeyUncertified.into());
    }
    let StateVerdict {
        matched,
        advisories,
        refusal,
    } = policy.state.judge(attested);
    let tolerated = match (refusal, policy.state.mode) {
        (Some(rejection), Mode::Enforce) => return Err(rejection),
        (refusal, _) => refusal,
    };
    // Last, since it may bring a machine into quarantine: only one that is accepted otherwise.
    let continuity = Continuity::judge(attested, policy, history, begun_ms, now_ms)?;
    let hash = attested.ek_hash();
    Ok(Grant {
        agent_id: format!("spiffe://{}/spire/agent/tpm/{hash}", policy.trust_domain),
        selectors: selectors(attested, &matched, &policy.state.selectors),
        matched,
        advisories,
        tolerated,
        has_certified_keys,
        continuity,
    })
}

/// Whether anybody vouches for the EK, so that what its machine sends may be kept.
pub fn is_trusted(attested: &Attested, enrolment: Enrolment, policy: &Policy) -> bool {
    check_trust(attested.certification(), enrolment, policy.ek_trust).is_ok()
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
