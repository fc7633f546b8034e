//! Why a boot event log is not believed, by the reason codes of servers.

use eventlog::Refusal;
use serde::Serialize;
use verify::{Reason, Rejection};

use crate::text::printable;

/// A refusal with its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    pub(crate) reason: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

impl Refused {
    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.reason, self.detail)
    }
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        Self {
            reason: Reason::from(refusal.reason).code(),
            detail: printable(&refusal.to_string()),
        }
    }
}

impl From<&Rejection> for Refused {
    fn from(rejection: &Rejection) -> Self {
        let detail = rejection.detail.as_deref();
        Self {
            reason: rejection.reason.code(),
            detail: printable(detail.unwrap_or(rejection.reason.sentence())),
        }
    }
}
