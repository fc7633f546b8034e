//! `doctor`: looks for what keeps this machine from attesting.

use serde::Serialize;

use crate::anchors::Trust;
use crate::cli::{TpmArguments, TrustArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Report, columns};
use crate::{doctor_host, doctor_log, doctor_tpm};

/// Looks at everything that it can reach.
///
/// # Errors
/// When the command line names files that cannot be read. What is wrong with the machine is a
/// finding, not an error.
pub(crate) fn examine(tpm: &TpmArguments, trust: &TrustArguments) -> Result<Diagnosis, Failure> {
    let trust = Trust::load(trust)?;
    let mut findings = doctor_host::findings();
    findings.extend(doctor_tpm::findings(tpm, &trust)?);
    findings.extend(doctor_log::findings(&tpm.device));
    Ok(Diagnosis::of(findings))
}

/// All findings.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    /// The worst of the findings.
    verdict: Level,
    findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Stable, kebab case.
    pub(crate) check: &'static str,
    pub(crate) level: Level,
    pub(crate) summary: String,
    /// What to do about it; never absent from a warning or a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// The machine can attest, but not in every way, or not for ever.
    Warning,
    /// The machine cannot attest.
    Problem,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, summary: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            summary: summary.into(),
            remedy: None,
        }
    }

    pub(crate) fn warning(
        check: &'static str,
        summary: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Warning,
            remedy: Some(remedy.into()),
            ..Self::ok(check, summary)
        }
    }

    pub(crate) fn problem(
        check: &'static str,
        summary: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Problem,
            remedy: Some(remedy.into()),
            ..Self::ok(check, summary)
        }
    }
}

impl Diagnosis {
    fn of(findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.level).max();
        Self {
            verdict: worst.unwrap_or(Level::Ok),
            findings,
        }
    }
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Report for Diagnosis {
    fn table(&self) -> String {
        let row = |finding: &Finding| {
            let remedy = finding
                .remedy
                .as_ref()
                .map(|remedy| format!("\n→ {remedy}"));
            let text = format!("{}{}", finding.summary, remedy.unwrap_or_default());
            [
                finding.level.word().to_owned(),
                finding.check.to_owned(),
                text,
            ]
        };
        columns(
            ["LEVEL", "CHECK", "FINDING"],
            self.findings.iter().map(row).collect(),
        )
    }

    fn exit(&self) -> Exit {
        match self.verdict {
            Level::Ok | Level::Warning => Exit::Good,
            Level::Problem => Exit::Negative,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_and_only_problems_fail() {
        let (ok, warning, problem) = (
            Finding::ok("a", "fine"),
            Finding::warning("b", "odd", "look"),
            Finding::problem("c", "bad", "mend"),
        );
        for (findings, verdict, exit) in [
            (vec![ok.clone()], Level::Ok, Exit::Good),
            (
                vec![warning.clone(), ok.clone()],
                Level::Warning,
                Exit::Good,
            ),
            (vec![ok, problem, warning], Level::Problem, Exit::Negative),
        ] {
            let diagnosis = Diagnosis::of(findings);
            assert_eq!((diagnosis.verdict, diagnosis.exit()), (verdict, exit));
        }
    }

    #[test]
    fn a_remedy_stands_below_its_finding() {
        let findings = vec![
            Finding::ok("clock", "fine"),
            Finding::problem("device", "bad", "mend"),
        ];
        assert_eq!(
            Diagnosis::of(findings).table(),
            "LEVEL    CHECK   FINDING\nok       clock   fine\nproblem  device  bad\n                 → mend\n"
        );
    }
}
