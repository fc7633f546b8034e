//! The boot event log of a machine that proved itself: believed, refused or absent.

use std::collections::BTreeSet;
use std::sync::Arc;

use eventlog::{Bank, BootClaims, EventLog, LogReason, PcrValues, Quirk, Refusal};
use evidence::{Hash, PcrBank};

use crate::{Reason, Rejection};

/// What became of the boot event log.
#[derive(Debug, Clone)]
pub enum Boot {
    /// It leads to the quoted PCRs, and this is what it proves.
    Verified(Arc<BootClaims>),
    /// It does not. Who needs it refuses the machine for this.
    Refused(Rejection),
    /// None came.
    Absent,
}

impl Boot {
    /// Judges the log that came with a quote over `banks`.
    ///
    /// PFP 1.06, section 10: the quote covers the PCRs of one bank, the one that the operator chose.
    pub(crate) fn judge(log: &[u8], banks: &[PcrBank], tolerated: &BTreeSet<Quirk>) -> Self {
        match claims(log, banks, tolerated) {
            Ok(claims) => Self::Verified(Arc::new(claims)),
            Err(rejection) => Self::Refused(rejection),
        }
    }

    /// The claims, or why there are none.
    pub fn claims(&self) -> Result<&BootClaims, Rejection> {
        match self {
            Self::Verified(claims) => Ok(claims),
            Self::Refused(rejection) => Err(rejection.clone()),
            Self::Absent => Err(Reason::EventlogMissing.into()),
        }
    }
}

fn claims(
    log: &[u8],
    banks: &[PcrBank],
    tolerated: &BTreeSet<Quirk>,
) -> Result<BootClaims, Rejection> {
    let (bank, quoted) = strongest(banks).ok_or(Reason::EventlogBank)?;
    let log = EventLog::parse(log).map_err(|refusal| rejection(&refusal))?;
    eventlog::appraise(&log, bank, quoted, tolerated).map_err(|refusal| rejection(&refusal))
}

/// The strongest bank that was quoted; never SHA-1.
fn strongest(banks: &[PcrBank]) -> Option<(Bank, &PcrValues)> {
    let usable = banks.iter().filter_map(|bank| {
        let kind = match bank.hash {
            Hash::Sha1 => None,
            Hash::Sha256 => Some(Bank::Sha256),
            Hash::Sha384 => Some(Bank::Sha384),
            Hash::Sha512 => Some(Bank::Sha512),
        };
        Some((kind?, &bank.values))
    });
    usable.max_by_key(|(bank, _)| *bank)
}

fn rejection(refusal: &Refusal) -> Rejection {
    Rejection::because(refusal.reason.into(), refusal.to_string())
}

impl From<LogReason> for Reason {
    fn from(reason: LogReason) -> Self {
        match reason {
            LogReason::Malformed => Self::EventlogMalformed,
            LogReason::Limit => Self::EventlogLimit,
            LogReason::Bank => Self::EventlogBank,
            LogReason::BankInactive => Self::PcrBankInactive,
            LogReason::Replay => Self::EventlogReplay,
            LogReason::UntrustedEvent => Self::EventlogUntrustedEvent,
            LogReason::Digest => Self::EventlogDigest,
            LogReason::Duplicate => Self::EventlogDuplicate,
            LogReason::Order => Self::EventlogOrder,
            LogReason::Separator => Self::EventlogSeparator,
            LogReason::SecureBootInconsistent => Self::SecureBootInconsistent,
            LogReason::SecureBootDebug => Self::SecureBootDebug,
        }
    }
}
