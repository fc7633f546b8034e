//! Profiles: named sets of requirements, and the judgement over a machine by all of them.

use std::collections::BTreeSet;

use eventlog::Quirk;

use crate::advisory::advisories_about;
use crate::facts::Facts;
use crate::session::Attested;
use crate::{Advisory, OptionalSelectors, Reason, Rejection, Requirement, VulnerableTpms};

/// The operator's rules about the state of machines. Without profiles every state is accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatePolicy {
    /// Ask for the boot event log where the agent has it.
    pub ask_for_log: bool,
    /// Departures of firmware that count as none.
    pub tolerated: BTreeSet<Quirk>,
    /// What machines may look like, in the order of the configuration.
    pub profiles: Vec<Profile>,
    /// How many of them must match.
    pub matching: Matching,
    /// Whether a machine that none matches is refused.
    pub mode: Mode,
    /// What is known about vulnerable firmware.
    pub advisories: Vec<Advisory>,
    /// What becomes of machines with such firmware.
    pub vulnerable_tpms: VulnerableTpms,
    /// The selectors beyond those that are always there.
    pub selectors: OptionalSelectors,
}

/// A named set of requirements, all of which a machine must meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// 1 to 32 of `[a-z0-9._-]`.
    pub name: String,
    /// Each once, in the order in which they are checked.
    pub requirements: BTreeSet<Requirement>,
}

/// How many profiles must match.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Matching {
    /// The first that matches decides.
    #[default]
    First,
    /// Every one.
    All,
}

/// What a refusal by a profile or an advisory leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The machine is refused.
    #[default]
    Enforce,
    /// It is accepted, and the refusal reported.
    Monitor,
}

/// What a profile says of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileFinding<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// Every requirement, and why it is not met.
    pub requirements: Vec<(&'a Requirement, Option<Rejection>)>,
}

/// What all rules about the state say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateVerdict {
    /// The names of the profiles that match, as far as the machine may claim them.
    pub(crate) matched: Vec<String>,
    /// The advisories that the TPM is in.
    pub(crate) advisories: Vec<String>,
    /// Why the machine is refused, or would be.
    pub(crate) refusal: Option<Rejection>,
}

impl ProfileFinding<'_> {
    /// The first requirement that is not met says why the profile does not match.
    pub fn refusal(&self) -> Option<&Rejection> {
        self.requirements
            .iter()
            .find_map(|(_, refusal)| refusal.as_ref())
    }
}

impl Profile {
    /// Checks every requirement, also after one that is not met.
    pub fn check<'a>(&'a self, attested: &Attested) -> ProfileFinding<'a> {
        let facts = Facts(attested);
        let requirements = self.requirements.iter();
        ProfileFinding {
            profile: self,
            requirements: requirements
                .map(|requirement| (requirement, requirement.check(&facts).err()))
                .collect(),
        }
    }
}

impl StatePolicy {
    /// Whether a profile needs the boot event log.
    pub fn needs_log(&self) -> bool {
        let mut requirements = self
            .profiles
            .iter()
            .flat_map(|profile| &profile.requirements);
        requirements.any(Requirement::needs_log)
    }

    /// Judges a machine: advisories first, which no profile outweighs.
    pub(crate) fn judge(&self, attested: &Attested) -> StateVerdict {
        let (matched, mismatch) = self.match_profiles(attested);
        let advisories = self.advisories_about(attested);
        let vulnerable = match (self.vulnerable_tpms, advisories.first()) {
            (VulnerableTpms::Reject, Some(advisory)) => Some(Rejection::because(
                Reason::FirmwareDenied,
                format!("the firmware is in {advisory}"),
            )),
            _ => None,
        };
        StateVerdict {
            matched,
            advisories,
            refusal: vulnerable.or(mismatch),
        }
    }

    /// The advisories that the TPM is in. Agents without a quote do not show their firmware.
    pub fn advisories_about(&self, attested: &Attested) -> Vec<String> {
        let facts = Facts(attested);
        facts.firmware().map_or_else(
            |_no_quote| Vec::new(),
            |version| advisories_about(&self.advisories, facts.vendor(), version),
        )
    }

    fn match_profiles(&self, attested: &Attested) -> (Vec<String>, Option<Rejection>) {
        let mut matched = Vec::new();
        let mut refusals = Vec::new();
        for profile in &self.profiles {
            match profile.check(attested).refusal() {
                None => matched.push(profile.name.clone()),
                Some(refusal) => refusals.push((profile.name.as_str(), refusal.clone())),
            }
            if self.matching == Matching::First && !matched.is_empty() {
                return (matched, None);
            }
        }
        (matched, join(&refusals))
    }
}

/// One reason where all profiles have the same; else one that says so, with all of them in its detail.
fn join(refusals: &[(&str, Rejection)]) -> Option<Rejection> {
    let (_, first) = refusals.first()?.clone();
    if refusals.len() == 1 {
        return Some(first);
    }
    let same = refusals
        .iter()
        .all(|(_, refusal)| refusal.reason == first.reason);
    let reason = if same {
        first.reason
    } else {
        Reason::ProfileMismatch
    };
    let each = refusals.iter().map(|(profile, refusal)| {
        let detail = refusal.detail.as_deref().unwrap_or_default();
        format!("{profile}: {} {detail}", refusal.reason.code())
    });
    let detail = each.collect::<Vec<_>>().join("; ");
    Some(Rejection::because(reason, detail))
}
