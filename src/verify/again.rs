//! The judgement over an exchange that was recorded: the same checks as over one that is going on.

use evidence::Record;

use crate::request::Request;
use crate::session::Attested;
use crate::{Anchors, Enrolment, Policy, Reason, Rejection};

/// Judges a recorded exchange by a policy, as of when it happened. The PCRs and the log are those that were asked for
/// then; what the policy wants beyond is absent.
///
/// A record proves nothing about who wrote it: whoever has the secret can make one.
pub fn judge_again(
    record: &Record,
    policy: &Policy,
    anchors: &Anchors,
) -> Result<Attested, Rejection> {
    let policy = Policy {
        trust_domain: record.trust_domain.clone(),
        ..policy.clone()
    };
    let now = i64::try_from(record.time).map_err(|_late| Reason::InternalError)?;
    let request = Request::read(record.payload.clone(), &policy)?;
    let secret = record.secret.clone();
    request
        .resume(&policy, anchors, now, &record.challenge, secret)?
        .finish(&record.response)
}

impl Enrolment {
    /// The name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotKept => "not_kept",
            Self::Enrolled => "enrolled",
            Self::Absent => "absent",
        }
    }

    /// The enrolment of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::NotKept, Self::Enrolled, Self::Absent]
            .into_iter()
            .find(|enrolment| enrolment.name() == name)
    }
}
