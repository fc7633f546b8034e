//! `verify`: recorded exchanges judged once more, without TPM and network, by the rules of a server.

use std::path::PathBuf;

use clap::Args;
use evidence::Record;
use serde::Serialize;
use verify::{Enrolment, Grant};

use crate::eventlog_refused::Refused;
use crate::evidence_read::Stored;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Report, fields};
use crate::policy::{ConfigArgument, EnrolmentArguments};
use crate::policy_text::{Judged, Rules, is_of_server};
use crate::text::printable;

#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArguments {
    /// Records: files of the server's evidence_path, or those that `evidence` wrote.
    #[arg(value_name = "RECORD", required = true)]
    pub(crate) records: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArgument,
    #[command(flatten)]
    pub(crate) enrolment: EnrolmentArguments,
}

/// All verdicts, in the order of the command line.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Verdicts {
    verdicts: Vec<Verified>,
}

/// The verdict over one record.
#[derive(Debug, Serialize)]
pub(crate) struct Verified {
    file: String,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ek_hash: Option<String>,
    enrolment: &'static str,
    /// How many SVID keys the exchange proves to be in the machine's TPM.
    svid_keys: usize,
    /// `granted`, or the reason code of the refusal.
    pub(crate) verdict: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refusal: Option<Refused>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<Granted>,
    /// What the server said then; `None` of a record that no server made.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<String>,
    /// Whether that is the verdict of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    same: Option<bool>,
}

/// What a machine gets.
#[derive(Debug, Serialize)]
pub(crate) struct Granted {
    agent_id: String,
    pub(crate) selectors: Vec<String>,
    pub(crate) profiles: Vec<String>,
    pub(crate) advisories: Vec<String>,
    /// Why it would be refused, were the rules enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) monitored: Option<Refused>,
}

/// Judges all records by one configuration.
pub(crate) fn verify(arguments: &VerifyArguments) -> Result<Verdicts, Failure> {
    let rules = Rules::load(&arguments.config.config)?;
    let mut verdicts = Vec::new();
    for path in &arguments.records {
        let stored = Stored::read(path)?;
        let judged = rules.judge(&stored.record, arguments.enrolment.said())?;
        verdicts.push(Verified::of(&stored, &judged));
    }
    Ok(Verdicts { verdicts })
}

impl Verified {
    pub(crate) fn of(stored: &Stored, judged: &Judged) -> Self {
        let attested = judged.attested.as_ref();
        let refusal = judged.outcome.as_ref().err();
        let ek_hash = attested.map(verify::Attested::ek_hash);
        let ek_hash = ek_hash.or_else(|| refusal.and_then(|rejection| rejection.ek_hash));
        let verdict = refusal.map_or(GRANTED, |rejection| rejection.reason.code());
        let recorded = recorded(&stored.record);
        Self {
            file: stored.source(),
            time: stored.time(),
            ek_hash: ek_hash.map(|hash| hash.hex()),
            enrolment: Enrolment::name(judged.enrolment),
            svid_keys: attested.map_or(0, |attested| attested.svid_keys().len()),
            same: recorded.as_ref().map(|recorded| recorded == verdict),
            verdict: verdict.to_owned(),
            refusal: refusal.map(Refused::from),
            grant: judged.outcome.as_ref().ok().map(Granted::of),
            recorded,
        }
    }

    pub(crate) fn table(&self) -> String {
        let grant = self.grant.as_ref();
        let refusal = self.refusal.as_ref();
        let list = |list: &[String]| (!list.is_empty()).then(|| list.join("\n"));
        let recorded = self.recorded.as_ref().map(|recorded| {
            let compared = match self.same {
                Some(true) => "the same",
                _ => "another verdict",
            };
            format!("{recorded} ({compared})")
        });
        fields(vec![
            ("file", Some(self.file.clone())),
            ("time", Some(self.time.clone())),
            ("ek hash", self.ek_hash.clone()),
            ("enrolment", Some(self.enrolment.to_owned())),
            (
                "svid keys",
                (self.svid_keys > 0).then(|| format!("{} certified", self.svid_keys)),
            ),
            ("verdict", Some(self.verdict.clone())),
            ("because", refusal.map(|refused| refused.detail.clone())),
            ("recorded", recorded),
            ("agent id", grant.map(|grant| grant.agent_id.clone())),
            ("profiles", grant.and_then(|grant| list(&grant.profiles))),
            (
                "advisories",
                grant.and_then(|grant| list(&grant.advisories)),
            ),
            (
                "if enforced",
                grant.and_then(|grant| grant.monitored.as_ref().map(Refused::text)),
            ),
            ("selectors", grant.and_then(|grant| list(&grant.selectors))),
        ])
    }

    fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }
}

impl Granted {
    fn of(grant: &Grant) -> Self {
        Self {
            agent_id: printable(grant.agent_id()),
            selectors: grant.selectors().to_vec(),
            profiles: grant.matched().to_vec(),
            advisories: grant.advisories().to_vec(),
            monitored: grant.tolerated().map(Refused::from),
        }
    }
}

fn recorded(record: &Record) -> Option<String> {
    is_of_server(record).then(|| printable(&record.verdict))
}

impl Report for Verdicts {
    fn table(&self) -> String {
        let tables: Vec<_> = self.verdicts.iter().map(Verified::table).collect();
        tables.join("\n")
    }

    fn exit(&self) -> Exit {
        if self.verdicts.iter().any(Verified::is_refused) {
            Exit::Negative
        } else {
            Exit::Good
        }
    }
}

/// The verdict of a machine that gets an identity.
const GRANTED: &str = "granted";
