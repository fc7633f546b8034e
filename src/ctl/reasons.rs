//! The reasons for which a server refuses a machine, as the verifier documents them.

use serde::Serialize;
use verify::{Fault, Reason};

use crate::output::{Report, columns, fields};

/// All reasons, or the one of a code.
pub(crate) fn listing(code: Option<&str>) -> Reasons {
    let wanted = |reason: &&Reason| code.is_none_or(|code| reason.code() == code);
    let found = Reason::ALL.iter().filter(wanted);
    Reasons {
        reasons: found.map(|reason| Documented::of(*reason)).collect(),
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Reasons {
    reasons: Vec<Documented>,
}

/// A reason code with what the documentation says about it.
#[derive(Debug, Serialize)]
pub(crate) struct Documented {
    code: &'static str,
    fault: &'static str,
    sentence: &'static str,
    cause: &'static str,
    remedy: &'static str,
}

impl Documented {
    fn of(reason: Reason) -> Self {
        Self {
            code: reason.code(),
            fault: fault(reason.fault()),
            sentence: reason.sentence(),
            cause: reason.cause(),
            remedy: reason.remedy(),
        }
    }
}

impl Report for Reasons {
    fn table(&self) -> String {
        match self.reasons.as_slice() {
            [one] => fields(vec![
                ("code", Some(one.code.to_owned())),
                ("fault", Some(one.fault.to_owned())),
                ("message", Some(one.sentence.to_owned())),
                ("cause", Some(one.cause.to_owned())),
                ("remedy", Some(one.remedy.to_owned())),
            ]),
            all => {
                let row = |one: &Documented| {
                    [
                        one.code.to_owned(),
                        format!("{}\n→ {}", one.cause, one.remedy),
                    ]
                };
                columns(["CODE", "CAUSE AND REMEDY"], all.iter().map(row).collect())
            }
        }
    }
}

fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Malformed => "malformed",
        Fault::Misbehaved => "misbehaved",
        Fault::Untrusted => "untrusted",
        Fault::Denied => "denied",
        Fault::Limit => "limit",
        Fault::Deadline => "deadline",
        Fault::Unavailable => "unavailable",
        Fault::Bug => "bug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_with_its_remedy() {
        let text = listing(None).table();
        for reason in Reason::ALL {
            let row = format!("\n{} ", reason.code());
            assert!(text.contains(&row), "{reason}");
            assert!(text.contains(reason.remedy()), "{reason}");
        }
    }

    #[test]
    fn one_reason_can_be_asked_for() {
        let one = listing(Some("untrusted_chain"));
        assert_eq!(one.reasons.len(), 1);
        let text = one.table();
        assert!(
            text.starts_with("code     untrusted_chain\nfault    untrusted\n"),
            "{text}"
        );
        let json = serde_json::to_value(&one).unwrap();
        assert_eq!(json[0]["remedy"], Reason::UntrustedChain.remedy());
    }
}
