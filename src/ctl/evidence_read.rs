//! Records of exchanges, read and judged once more without any rule of an operator.

use std::path::{Path, PathBuf};

use eventlog::Bank;
use evidence::{Challenge, Evidence, Hash, Offer, Proof, Record, Response};
use verify::{
    Anchors, Attested, CrlPolicy, EkKind, EkTrust, LegacyAgents, Method, Policy, Quoted, Rejection,
    StatePolicy, judge_again,
};

use crate::boot::{Boot, Vouched, tolerated};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::text::{printable, rfc3339};

/// A record and its file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    pub(crate) record: Record,
}

impl Stored {
    /// Reads a record.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = files::read(path, RECORD)?;
        Self::of(path, &bytes)
    }

    /// The record that these bytes of a file are.
    pub(crate) fn of(path: &Path, bytes: &[u8]) -> Result<Self, Failure> {
        let record = Record::decode(bytes).map_err(|error| {
            let message = format!("{} is no record of an exchange: {error}", path.display());
            Failure::new(Exit::Environment, "malformed_record", message)
                .hint("name a file of the server's evidence_path, or one that `tpm-attestor evidence` wrote")
        })?;
        Ok(Self {
            path: path.to_owned(),
            record,
        })
    }

    /// The name of the file, for reports.
    pub(crate) fn source(&self) -> String {
        printable(&self.path.display().to_string())
    }

    /// When it was judged, in UTC.
    pub(crate) fn time(&self) -> String {
        time(self.record.time)
    }

    /// Judges the proof alone: trusts nobody, wants nothing.
    pub(crate) fn prove(&self) -> Result<Attested, Rejection> {
        let policy = Policy {
            trust_domain: self.record.trust_domain.clone(),
            ek_trust: EkTrust::Enrolment,
            ek_kinds: EkKind::ALL.to_vec(),
            accept_expired_ek: true,
            vendors: None,
            crl_policy: CrlPolicy::Use,
            legacy_agents: LegacyAgents::Allow,
            pcrs: Vec::new(),
            state: StatePolicy {
                tolerated: tolerated(),
                ..StatePolicy::default()
            },
            svid_keys: verify::SvidKeys::default(),
            tpm_clear: verify::OnChange::default(),
            ak_change: verify::OnChange::default(),
            unexpected_reset: verify::OnReset::default(),
        };
        judge_again(&self.record, &policy, &Anchors::default())
    }

    /// The boot that a quote proves, with the log that came along, which nobody has judged yet.
    ///
    /// # Errors
    /// When the record does not prove what it says, or has no quote.
    pub(crate) fn boot(&self, bank: Option<Bank>) -> Result<(Boot, Quoted), Failure> {
        let refused = |reason, message: String| {
            let message = format!("{}: {message}", self.path.display());
            Failure::new(Exit::Negative, reason, message)
        };
        let attested = self.prove().map_err(|rejection| {
            let code = rejection.reason.code();
            refused(code, format!("the record proves nothing: {rejection}"))
        })?;
        let Method::Quote(quoted) = attested.method() else {
            let message = "the machine gave no quote, so that nothing is known of its boot";
            return Err(refused("policy_requires_quote", message.to_owned()));
        };
        let banks = quoted.banks().iter();
        let found = banks.filter_map(|of| Some((bank_of(of.hash)?, &of.values)));
        let chosen = match bank {
            Some(wanted) => found.into_iter().find(|(bank, _)| *bank == wanted),
            None => found.max_by_key(|(bank, _)| *bank),
        };
        let Some((bank, values)) = chosen else {
            let message = "no PCR of this bank was quoted; --bank names another one";
            return Err(refused("pcr_selection", message.to_owned()));
        };
        let boot = Boot {
            source: self.source(),
            vouched: Vouched::Quoted,
            bank,
            values: values.clone(),
            log: self.messages().log().map(<[u8]>::to_vec),
        };
        Ok((boot, quoted.clone()))
    }

    /// The messages, as far as they can be read.
    pub(crate) fn messages(&self) -> Messages {
        Messages {
            offer: Offer::decode(&self.record.payload).ok(),
            challenge: Challenge::decode(&self.record.challenge).ok(),
            response: Response::decode(&self.record.response).ok(),
        }
    }
}

/// The three messages of an exchange; nothing in them is believed.
pub(crate) struct Messages {
    pub(crate) offer: Option<Offer>,
    pub(crate) challenge: Option<Challenge>,
    pub(crate) response: Option<Response>,
}

impl Messages {
    /// The evidence, if it came.
    pub(crate) fn evidence(&self) -> Option<Evidence> {
        Evidence::decode(&self.proof()?.evidence).ok()
    }

    /// The log, if it came.
    pub(crate) fn log(&self) -> Option<&[u8]> {
        self.proof()?.log.as_deref()
    }

    fn proof(&self) -> Option<&Proof> {
        match self.response.as_ref()? {
            Response::Proof(proof) => Some(proof),
            Response::Secret(_) => None,
        }
    }
}

/// Whether the bytes of a file may be a record: the first thing in it opens an object of JSON.
pub(crate) fn is_record(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

/// Seconds since the epoch as a time in UTC.
pub(crate) fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).ok();
    let time = seconds.and_then(|of| x509_parser::time::ASN1Time::from_timestamp(of).ok());
    time.map_or_else(|| "never".to_owned(), rfc3339)
}

/// The bank of a hash; there are no logs of SHA-1.
pub(crate) fn bank_of(hash: Hash) -> Option<Bank> {
    Bank::from_algorithm(hash.algorithm().0)
}

/// The hash of a bank.
pub(crate) fn hash_of(bank: Bank) -> Hash {
    match bank {
        Bank::Sha256 => Hash::Sha256,
        Bank::Sha384 => Hash::Sha384,
        Bank::Sha512 => Hash::Sha512,
    }
}

const RECORD: u64 = 1536 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_any_size_is_read() {
        assert_eq!(u64::try_from(evidence::limits::RECORD), Ok(RECORD));
    }

    #[test]
    fn times_that_no_clock_shows_are_told_apart() {
        assert_eq!(time(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(time(u64::MAX), "never");
    }
}
