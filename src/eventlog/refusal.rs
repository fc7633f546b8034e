//! Why a log is not believed.

use std::fmt;

/// A kind of refusal. The verifier has a reason code for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogReason {
    /// `eventlog_malformed`: no TCG log, or a structure in it is none.
    Malformed,
    /// `eventlog_limit`: more events or bytes than any machine's log.
    Limit,
    /// `eventlog_bank`: the log has no digests of a bank that was quoted, or of SHA-1 alone.
    Bank,
    /// `pcr_bank_inactive`: the bank was quoted, and the firmware did not extend it.
    BankInactive,
    /// `eventlog_replay`: the log does not lead to the quoted PCR values.
    Replay,
    /// `eventlog_untrusted_event`: an event of a type that its PCR may not have.
    UntrustedEvent,
    /// `eventlog_digest`: an event's data is not what was measured.
    Digest,
    /// `eventlog_duplicate`: a variable was measured twice.
    Duplicate,
    /// `eventlog_order`: an event stands where it may not.
    Order,
    /// `eventlog_separator`: a separator is missing, doubled or reports an error.
    Separator,
    /// `secure_boot_inconsistent`: Secure Boot is said to be on, and nothing was verified.
    SecureBootInconsistent,
    /// `secure_boot_debug`: the firmware was in debug mode.
    SecureBootDebug,
}

/// Why a log is not believed, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kind.
    pub reason: LogReason,
    /// What was found, in printable ASCII of at most 256 characters: never bytes of the log unescaped.
    pub detail: String,
    /// The event, counted from zero after the header, if it is about one.
    pub event: Option<usize>,
}

impl Refusal {
    pub(crate) fn new(reason: LogReason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            event: None,
        }
    }

    #[must_use]
    pub(crate) fn at(mut self, event: usize) -> Self {
        self.event = Some(event);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Some(event) => write!(out, "event {event}: {}", self.detail),
            None => out.write_str(&self.detail),
        }
    }
}
