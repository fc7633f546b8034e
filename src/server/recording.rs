//! The exchanges that an operator wants kept, as records.

use std::sync::Arc;

use evidence::{EkHash, Record, Secret};
use tokio::task::spawn_blocking;
use verify::{Enrolment, Grant, Pending, Rejection};

use crate::clock::now;
use crate::config::Settings;

/// An exchange that is to be recorded, up to its challenge.
pub(crate) struct Begun {
    payload: Vec<u8>,
    challenge: Vec<u8>,
    secret: Secret,
}

impl Begun {
    pub(crate) fn new(payload: Vec<u8>, challenge: &[u8], pending: &Pending) -> Self {
        Self {
            payload,
            challenge: challenge.to_vec(),
            secret: pending.secret().clone(),
        }
    }

    pub(crate) fn answered(self, response: Vec<u8>) -> Answered {
        Answered {
            begun: self,
            response,
        }
    }
}

/// An exchange that is to be recorded, up to its answer.
pub(crate) struct Answered {
    begun: Begun,
    response: Vec<u8>,
}

impl Answered {
    /// A record is for the operator; that one cannot be kept changes no verdict.
    pub(crate) async fn keep(
        self,
        settings: &Arc<Settings>,
        machine: EkHash,
        enrolment: Enrolment,
        verdict: &Result<Grant, Rejection>,
    ) {
        let record = self.record(settings, enrolment, verdict);
        let settings = Arc::clone(settings);
        let work = move || match &settings.records {
            Some(records) => records.keep(&machine, &record).err(),
            None => None,
        };
        if let Ok(Some(problem)) = spawn_blocking(work).await {
            tracing::warn!(error = %problem, "the evidence of an attestation was not kept");
        }
    }

    fn record(
        self,
        settings: &Settings,
        enrolment: Enrolment,
        verdict: &Result<Grant, Rejection>,
    ) -> Record {
        let verdict = match verdict {
            Ok(_) => "granted",
            Err(rejection) => rejection.reason.code(),
        };
        Record {
            trust_domain: settings.policy.trust_domain.clone(),
            time: u64::try_from(now()).unwrap_or_default(),
            payload: self.begun.payload,
            challenge: self.begun.challenge,
            secret: self.begun.secret,
            response: self.response,
            enrolment: enrolment.name().to_owned(),
            verdict: verdict.to_owned(),
        }
    }
}
