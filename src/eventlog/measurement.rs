//! The events of a log as one bank has them: what was extended, and whether an event's data is what was measured.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use crate::{Bank, Event, EventLog, EventType, LogReason, Refusal, limits};

/// All events that extend a PCR, in the order of the log.
#[derive(Debug)]
pub(crate) struct Measurements<'a> {
    pub(crate) bank: Bank,
    pub(crate) all: Vec<Measurement<'a>>,
}

/// An event that extends a PCR.
#[derive(Debug)]
pub(crate) struct Measurement<'a> {
    pub(crate) event: &'a Event<'a>,
    /// What was extended.
    pub(crate) digest: &'a [u8],
    bank: Bank,
    is_bound: OnceCell<bool>,
}

impl<'a> Measurements<'a> {
    /// The events in a bank. EV_NO_ACTION extends nothing and proves nothing (PFP 1.06, section 10.4.1).
    ///
    /// # Errors
    /// [`LogReason::Bank`] where the log does not have the bank.
    pub(crate) fn of(log: &'a EventLog<'a>, bank: Bank) -> Result<Self, Refusal> {
        let lacks = |at: Option<usize>| {
            let detail = format!("the log has no {} digests", bank.name());
            let refusal = Refusal::new(LogReason::Bank, detail);
            at.map_or(refusal.clone(), |at| refusal.at(at))
        };
        let mut algorithms = log.spec_id.algorithms.iter();
        if !algorithms.any(|(algorithm, _)| *algorithm == bank.algorithm()) {
            return Err(lacks(None));
        }
        let extending = log
            .events
            .iter()
            .filter(|event| event.kind != EventType::NO_ACTION);
        let all = extending.map(|event| {
            let digest = event.digest(bank.algorithm());
            Ok(Measurement {
                event,
                digest: digest.ok_or_else(|| lacks(Some(event.index)))?,
                bank,
                is_bound: OnceCell::new(),
            })
        });
        Ok(Self {
            bank,
            all: all.collect::<Result<_, _>>()?,
        })
    }

    /// Leaves off those of other PCRs: what does not lead to a quoted value proves nothing.
    pub(crate) fn keep(&mut self, pcrs: &BTreeSet<u8>) {
        self.all.retain(|one| pcrs.contains(&one.event.pcr));
    }

    /// Those of a PCR.
    pub(crate) fn of_pcr(&self, pcr: u8) -> impl Iterator<Item = &Measurement<'a>> {
        self.all.iter().filter(move |one| one.event.pcr == pcr)
    }

    /// What the digest of some bytes is here.
    pub(crate) fn digest_of(&self, bytes: &[u8]) -> Vec<u8> {
        self.bank.digest(&[bytes])
    }
}

impl Measurement<'_> {
    /// The data is what was measured (rule M5): without this, it is what somebody wrote beside a digest.
    pub(crate) fn is_bound(&self) -> bool {
        *self.is_bound.get_or_init(|| self.measures(self.event.data))
    }

    /// These bytes are what was measured.
    pub(crate) fn measures(&self, bytes: &[u8]) -> bool {
        self.bank.is_digest(self.digest, bytes)
    }

    /// A refusal for this event.
    pub(crate) fn refused<T>(&self, reason: LogReason, detail: &str) -> Result<T, Refusal> {
        let name = self.event.kind.name().unwrap_or("an event of unknown type");
        let detail = format!("{name} in PCR {}: {detail}", self.event.pcr);
        let detail: String = detail.chars().take(limits::TEXT).collect();
        Err(Refusal::new(reason, detail).at(self.event.index))
    }
}
