//! The server's configuration as the command line reads it: the same text, the same reader, the same problems.

use std::path::Path;
use std::sync::Arc;

use evidence::Record;
use hcl::Problem;
use policy::{Configuration, DEFAULT_PATHS, SCHEMA};
use serde::Serialize;
use verify::{
    Anchors, Attested, Denials, Enrolment, Grant, History, Policy, Rejection, decide, judge_again,
};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::text::printable;
use crate::trial::TRUST_DOMAIN;

/// A configuration in force.
pub(crate) struct Rules {
    configuration: Configuration,
    anchors: Arc<Anchors>,
    denials: Arc<Denials>,
}

/// What a text comes to.
pub(crate) type Outcome = Result<Rules, Vec<Slip>>;

/// A problem with a configuration, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Slip {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) message: String,
}

/// What the rules make of an exchange.
pub(crate) struct Judged {
    /// The machine, if its proof holds.
    pub(crate) attested: Option<Attested>,
    pub(crate) enrolment: Enrolment,
    pub(crate) outcome: Result<Grant, Rejection>,
}

/// The store that a text names, shown without its password, or what is wrong with it. Nothing connects to it, and no variable
/// is looked up.
pub(crate) fn store_of(text: &str) -> Result<Option<String>, Slip> {
    let (values, _problems_of_all) = SCHEMA.read(text);
    let mut problems = Vec::new();
    let any = |_name: &str| Some("1".to_owned());
    let address = policy::store_address(&values, any, &mut problems);
    match problems.first() {
        Some(problem) => Err(Slip::of(problem)),
        None => Ok(address.map(|address| printable(&address.to_string()))),
    }
}

/// The text of a configuration.
pub(crate) fn text_of(path: &Path) -> Result<String, Failure> {
    let bytes = files::read(path, MAX_TEXT)?;
    String::from_utf8(bytes).map_err(|_bad| {
        let message = format!("{} is no text in UTF-8", path.display());
        Failure::new(Exit::Environment, "file_unreadable", message)
    })
}

impl Rules {
    /// Reads the text of `plugin_data`, HCL or JSON, and the files that it names.
    pub(crate) fn read(path: &Path) -> Result<Outcome, Failure> {
        Ok(Self::of(&text_of(path)?))
    }

    /// The same; a configuration with problems is a failure.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        Self::read(path)?.map_err(|slips| {
            let first = slips.first().map(Slip::text).unwrap_or_default();
            let message = format!("{}:{first}", path.display());
            let hint = "`tpm-attestor policy check` lists everything that is wrong";
            Failure::new(Exit::Usage, "bad_configuration", message).hint(hint)
        })
    }

    /// The same of a text.
    pub(crate) fn of(text: &str) -> Outcome {
        let (values, mut problems) = SCHEMA.read(text);
        let defaults = DEFAULT_PATHS.map(Path::new);
        let configuration = Configuration::read(&values, TRUST_DOMAIN, defaults, &mut problems);
        problems.sort();
        if !problems.is_empty() {
            return Err(problems.iter().map(Slip::of).collect());
        }
        let anchors = configuration
            .anchors
            .as_ref()
            .map(store::AnchorStore::current);
        let denials = configuration
            .denials
            .as_ref()
            .map(store::DenialStore::current);
        Ok(Self {
            configuration,
            anchors: anchors.unwrap_or_default(),
            denials: denials.unwrap_or_default(),
        })
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.configuration.policy
    }

    /// What is odd about the files that the text names.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let warnings = self.configuration.warnings.iter();
        warnings.map(|warning| printable(warning)).collect()
    }

    /// Judges a recorded exchange as a server with these rules would have when it happened.
    ///
    /// # Errors
    /// When it has to be looked up whether the machine is enrolled, and cannot be.
    pub(crate) fn judge(
        &self,
        record: &Record,
        enrolment: Option<Enrolment>,
    ) -> Result<Judged, Failure> {
        let policy = Policy {
            trust_domain: record.trust_domain.clone(),
            ..self.policy().clone()
        };
        let recorded = Enrolment::from_name(&record.enrolment);
        let enrolment = enrolment.or(recorded.filter(|_| is_of_server(record)));
        Ok(match judge_again(record, &policy, &self.anchors) {
            Ok(attested) => {
                let enrolment = match enrolment {
                    Some(enrolment) => enrolment,
                    None => self.look_up(&attested)?,
                };
                let history = History::NotKept;
                let outcome = decide(&attested, enrolment, &self.denials, &policy, &history, 0, 0);
                Judged {
                    attested: Some(attested),
                    enrolment,
                    outcome,
                }
            }
            Err(rejection) => Judged {
                attested: None,
                enrolment: enrolment.unwrap_or(Enrolment::NotKept),
                outcome: Err(rejection),
            },
        })
    }

    /// Whether the machine is on the allow-list now.
    fn look_up(&self, attested: &Attested) -> Result<Enrolment, Failure> {
        let Some(hashes) = &self.configuration.hashes else {
            return Ok(Enrolment::NotKept);
        };
        match hashes.contains(&attested.ek_hash()) {
            Ok(true) => Ok(Enrolment::Enrolled),
            Ok(false) => Ok(Enrolment::Absent),
            Err(error) => {
                let message = format!("hash_path: {error}");
                Err(Failure::new(
                    Exit::Environment,
                    "store_unavailable",
                    message,
                ))
            }
        }
    }
}

impl Slip {
    pub(crate) fn of(problem: &Problem) -> Self {
        Self {
            line: problem.line,
            column: problem.column,
            message: problem.message.clone(),
        }
    }

    /// As servers say it.
    pub(crate) fn text(&self) -> String {
        format!("{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Whether a server made the record; what this tool records of its own machine has no enrolment and no server's verdict.
pub(crate) fn is_of_server(record: &Record) -> bool {
    record.trust_domain != TRUST_DOMAIN
}

/// Bytes of a configuration: what its reader takes.
const MAX_TEXT: u64 = 1024 * 1024;
