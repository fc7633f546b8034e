//! `policy explain`: which rule decides over a recorded exchange, and what would have to change.

use std::path::Path;

use serde::Serialize;
use verify::{Attested, Matching, Mode, ProfileFinding, Reason, VulnerableTpms, is_trusted};

use crate::evidence_read::Stored;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Report, columns};
use crate::policy::EnrolmentArguments;
use crate::policy_text::{Judged, Rules};
use crate::policy_words::change;
use crate::text::printable;
use crate::verify_records::Verified;

/// A verdict with everything that led to it.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    #[serde(flatten)]
    verdict: Verified,
    decided_by: String,
    /// What would have to change where no profile says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    profiles: Vec<Row>,
    /// The advisories that the TPM is in, also of a machine that is refused.
    advisories: Vec<String>,
}

/// What a profile says of the machine.
#[derive(Debug, Serialize)]
struct Row {
    profile: String,
    matches: bool,
    requirements: Vec<Finding>,
}

/// One requirement.
#[derive(Debug, Serialize)]
struct Finding {
    /// The key that states it.
    requirement: String,
    met: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What would have to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<String>,
}

/// Judges a record by a configuration.
pub(crate) fn explain(
    record: &Path,
    config: &Path,
    enrolment: EnrolmentArguments,
) -> Result<Explanation, Failure> {
    let rules = Rules::load(config)?;
    let stored = Stored::read(record)?;
    let judged = rules.judge(&stored.record, enrolment.said())?;
    Ok(Explanation::of(&stored, &judged, &rules))
}

impl Explanation {
    fn of(stored: &Stored, judged: &Judged, rules: &Rules) -> Self {
        let state = &rules.policy().state;
        let attested = judged.attested.as_ref();
        let profiles = attested.map(|attested| {
            let profiles = state.profiles.iter();
            profiles
                .map(|profile| Row::of(&profile.check(attested), attested))
                .collect()
        });
        let profiles: Vec<_> = profiles.unwrap_or_default();
        let advisories = attested.map(|attested| state.advisories_about(attested));
        let advisories = advisories.unwrap_or_default();
        let by_profile = by_state(judged, rules) && !is_vulnerable(&advisories, rules);
        let remedy = judged.outcome.as_ref().err().filter(|_| !by_profile);
        Self {
            verdict: Verified::of(stored, judged),
            decided_by: decided_by(judged, rules, &profiles, &advisories),
            remedy: remedy.map(|rejection| rejection.reason.remedy()),
            profiles,
            advisories,
        }
    }

    fn findings(&self) -> String {
        let mut rows = Vec::new();
        for profile in &self.profiles {
            for finding in &profile.requirements {
                rows.push([
                    profile.profile.clone(),
                    finding.requirement.clone(),
                    if finding.met { "met" } else { "not met" }.to_owned(),
                    finding.text(),
                ]);
            }
        }
        columns(
            [
                "PROFILE",
                "REQUIREMENT",
                "",
                "WHY, AND WHAT WOULD HAVE TO CHANGE",
            ],
            rows,
        )
    }
}

impl Row {
    fn of(finding: &ProfileFinding<'_>, attested: &Attested) -> Self {
        let row = |(requirement, refusal): &(&verify::Requirement, Option<verify::Rejection>)| {
            let refusal = refusal.as_ref();
            let detail = |of: &verify::Rejection| match of.detail.as_deref() {
                Some(detail) => printable(detail),
                None => of.reason.sentence().to_owned(),
            };
            Finding {
                requirement: key(requirement),
                met: refusal.is_none(),
                reason: refusal.map(|rejection| rejection.reason.code()),
                detail: refusal.map(detail),
                change: refusal.map(|rejection| change(requirement, rejection, attested)),
            }
        };
        Self {
            profile: finding.profile.name.clone(),
            matches: finding.refusal().is_none(),
            requirements: finding.requirements.iter().map(row).collect(),
        }
    }
}

impl Finding {
    fn text(&self) -> String {
        let (Some(reason), Some(detail), Some(change)) = (self.reason, &self.detail, &self.change)
        else {
            return String::new();
        };
        format!("{reason}: {detail}\n→ {change}")
    }
}

/// The key of a requirement, with the number of a PCR.
fn key(requirement: &verify::Requirement) -> String {
    match requirement {
        verify::Requirement::Pcr { pcr, .. } => format!("pcr \"{pcr}\""),
        other => other.name().to_owned(),
    }
}

/// Whether the machine is known and trusted, so that its state decides.
fn by_state(judged: &Judged, rules: &Rules) -> bool {
    let denied = |rejection: &verify::Rejection| rejection.reason == Reason::EkDenied;
    let is_denied = judged.outcome.as_ref().is_err_and(denied);
    let attested = judged.attested.as_ref();
    !is_denied && attested.is_some_and(|of| is_trusted(of, judged.enrolment, rules.policy()))
}

fn is_vulnerable(advisories: &[String], rules: &Rules) -> bool {
    rules.policy().state.vulnerable_tpms == VulnerableTpms::Reject && !advisories.is_empty()
}

/// Which rule decided, in the order in which they are asked.
fn decided_by(judged: &Judged, rules: &Rules, profiles: &[Row], advisories: &[String]) -> String {
    let state = &rules.policy().state;
    let names = |matches: bool| {
        let found = profiles.iter().filter(|profile| profile.matches == matches);
        found
            .map(|profile| profile.profile.clone())
            .collect::<Vec<_>>()
    };
    if judged.attested.is_none() {
        return "the exchange itself: it proves no machine to these rules".to_owned();
    }
    if !by_state(judged, rules) {
        return "whom the server trusts: the machine's state was not looked at".to_owned();
    }
    let text = match (is_vulnerable(advisories, rules), state.matching) {
        (true, _) => format!(
            "vulnerable_tpms: the firmware is in {}",
            advisories.join(", ")
        ),
        _ if profiles.is_empty() => "no profile: every state is accepted".to_owned(),
        (false, Matching::First) => match names(true).first() {
            Some(name) => format!("profile \"{name}\", the first that matches"),
            None => "no profile matches".to_owned(),
        },
        (false, Matching::All) if names(false).is_empty() => "every profile matches".to_owned(),
        (false, Matching::All) => {
            format!(
                "every profile has to match, and these do not: {}",
                names(false).join(", ")
            )
        }
    };
    match (
        state.mode,
        judged.outcome.as_ref().map(verify::Grant::tolerated),
    ) {
        (Mode::Monitor, Ok(Some(_))) => {
            format!("{text}; mode = \"monitor\" accepts it all the same")
        }
        _ => text,
    }
}

impl Report for Explanation {
    fn table(&self) -> String {
        let mut parts = vec![self.verdict.table()];
        parts.push(format!("decided by {}\n", self.decided_by));
        parts.extend(self.remedy.map(|remedy| format!("→ {remedy}\n")));
        if !self.profiles.is_empty() {
            parts.push(self.findings());
        }
        if !self.advisories.is_empty() {
            let text = self.advisories.join(", ");
            parts.push(format!("the TPM's firmware is in {text}\n"));
        }
        parts.join("\n")
    }

    fn exit(&self) -> Exit {
        match self.verdict.refusal {
            None => Exit::Good,
            Some(_) => Exit::Negative,
        }
    }
}
