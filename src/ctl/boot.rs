//! One boot of a machine as far as it is known: PCR values, what vouches for them, and the log that leads to them.

use std::collections::BTreeSet;

use eventlog::{Bank, BootClaims, EventLog, PcrValues, Quirk, Refusal, appraise, replay};
use serde::Serialize;

use crate::eventlog_words::Words;

/// A boot.
#[derive(Debug)]
pub(crate) struct Boot {
    /// The file that tells it, or this machine; printable.
    pub(crate) source: String,
    pub(crate) vouched: Vouched,
    pub(crate) bank: Bank,
    pub(crate) values: PcrValues,
    pub(crate) log: Option<Vec<u8>>,
}

/// What vouches for the values of PCRs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Vouched {
    /// A TPM signed them in an attestation that holds.
    Quoted,
    /// Somebody gave them: the kernel, or a file.
    Given,
    /// Nothing: they are what the log leads to.
    Replayed,
}

/// What a log was compared with.
#[derive(Debug)]
pub(crate) struct Replayed<'a> {
    pub(crate) log: EventLog<'a>,
    /// What the log leads to, of all PCRs.
    pub(crate) values: PcrValues,
}

impl Boot {
    /// A log by itself, or with PCR values that somebody gave.
    pub(crate) fn of_log(
        source: String,
        log: Vec<u8>,
        bank: Bank,
        given: Option<PcrValues>,
    ) -> Result<Self, Refusal> {
        let (vouched, values) = match given {
            Some(values) => (Vouched::Given, values),
            None => (Vouched::Replayed, replay(&EventLog::parse(&log)?, bank)),
        };
        Ok(Self {
            source,
            vouched,
            bank,
            values,
            log: Some(log),
        })
    }

    /// The log, parsed and replayed; `None` where there is none.
    pub(crate) fn replayed(&self) -> Option<Result<Replayed<'_>, Refusal>> {
        let log = EventLog::parse(self.log.as_deref()?);
        Some(log.map(|log| {
            let values = replay(&log, self.bank);
            Replayed { log, values }
        }))
    }

    /// What the log proves, by the values of this boot; `None` where there is no log.
    pub(crate) fn claims(&self) -> Option<Result<BootClaims, Refusal>> {
        let replayed = self.replayed()?;
        Some(
            replayed.and_then(|replayed| {
                appraise(&replayed.log, self.bank, &self.values, &tolerated())
            }),
        )
    }
}

impl Replayed<'_> {
    /// What the events of a PCR say, in the order of the log, with the digests that were measured.
    pub(crate) fn events_of(&self, pcr: u8, bank: Bank) -> Vec<(Vec<u8>, Words)> {
        let events = self.log.events.iter().filter(|event| event.pcr == pcr);
        let measured = events.filter(|event| event.kind != eventlog::EventType::NO_ACTION);
        let digest = |event: &eventlog::Event<'_>| {
            event.digest(bank.algorithm()).unwrap_or_default().to_vec()
        };
        measured
            .map(|event| (digest(event), Words::of(event, bank)))
            .collect()
    }
}

impl Vouched {
    /// For people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Quoted => "signed by the TPM",
            Self::Given => "as given; nobody signed them",
            Self::Replayed => "what the log itself leads to; nothing proves that this was booted",
        }
    }
}

/// The departures that servers tolerate where nothing is configured.
pub(crate) fn tolerated() -> BTreeSet<Quirk> {
    [
        Quirk::ShimVariables,
        Quirk::ShimExtraByte,
        Quirk::EmptySecureBoot,
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tolerated_is_the_default_of_servers() {
        let (values, mut problems) = policy::SCHEMA.read("");
        let absent = std::path::Path::new("/absent");
        let read = policy::Configuration::read(&values, "a.test", [absent; 2], &mut problems);
        assert_eq!(tolerated(), read.policy.state.tolerated);
    }
}
