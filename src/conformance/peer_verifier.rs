//! The kit's own verifier as a server: it trusts every EK, and wants everything else as it must be.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use evidence::Hash;
use verify::{
    Anchors, CrlPolicy, Denials, EkKind, EkTrust, Enrolment, Entropy, History, LegacyAgents,
    OnChange, OnReset, Pending, Policy, StatePolicy, SvidKeys,
};

use crate::{
    case::{Stop, environment},
    peer::Judgement,
    trial::Trial,
};

/// One attestation of it.
pub(crate) struct Verifier {
    policy: Policy,
    entropy: Random,
    pending: Option<Pending>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Verifier")
    }
}

/// The trial's random bytes.
struct Random(Vec<u8>);

impl Entropy for Random {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        let Some(rest) = self.0.len().checked_sub(out.len()) else {
            return false;
        };
        out.copy_from_slice(&self.0.split_off(rest));
        true
    }
}

impl Verifier {
    pub(crate) fn new(trial: &mut Trial) -> Self {
        Self {
            policy: policy(trial.candidate().trust_domain()),
            entropy: Random(trial.random(4096)),
            pending: None,
        }
    }

    /// The next step: first the payload, then the response.
    pub(crate) fn judge(&mut self, message: &[u8], is_first: bool) -> Result<Judgement, Stop> {
        let judged = if is_first {
            self.begin(message)?
        } else {
            self.finish(message)
        };
        Ok(judged.unwrap_or_else(|rejection| {
            let reason = rejection.reason;
            Judgement::Refused(format!("{}: {}", reason.code(), reason.sentence()))
        }))
    }

    fn begin(&mut self, payload: &[u8]) -> Result<Result<Judgement, verify::Rejection>, Stop> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|error| environment("the clock", error))?;
        let now = i64::try_from(now.as_secs()).unwrap_or_default();
        let anchors = Anchors::default();
        let begun = verify::begin(payload, &self.policy, &anchors, now, &mut self.entropy);
        Ok(begun.map(|(challenge, pending)| {
            self.pending = Some(pending);
            Judgement::Challenge(challenge)
        }))
    }

    fn finish(&mut self, response: &[u8]) -> Result<Judgement, verify::Rejection> {
        let Some(pending) = self.pending.take() else {
            return Ok(Judgement::Refused("nothing is pending".to_owned()));
        };
        let attested = pending.finish(response)?;
        let (enrolment, denials, history) =
            (Enrolment::Enrolled, Denials::default(), History::NotKept);
        verify::decide(&attested, enrolment, &denials, &self.policy, &history, 0, 0)?;
        Ok(Judgement::Granted)
    }
}

fn policy(trust_domain: &str) -> Policy {
    Policy {
        trust_domain: trust_domain.to_owned(),
        ek_trust: EkTrust::Enrolment,
        ek_kinds: EkKind::ALL.to_vec(),
        accept_expired_ek: false,
        crl_policy: CrlPolicy::Use,
        legacy_agents: LegacyAgents::Allow,
        vendors: None,
        pcrs: vec![(Hash::Sha256, (0..8).collect())],
        state: StatePolicy::default(),
        svid_keys: SvidKeys::default(),
        tpm_clear: OnChange::default(),
        ak_change: OnChange::default(),
        unexpected_reset: OnReset::default(),
    }
}
