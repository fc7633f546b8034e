//! One log line and one measurement for each SVID that the CredentialComposer is asked about, with stable fields.

use plugin::Metrics;
use verify::Rejection;

/// What is known of an SVID's key so far.
pub(crate) struct KeyDecision<'a> {
    metrics: Metrics,
    agent_id: &'a str,
    spki_sha256: String,
}

impl<'a> KeyDecision<'a> {
    pub(crate) fn new(metrics: Metrics, agent_id: &'a str) -> Self {
        Self {
            metrics,
            agent_id,
            spki_sha256: String::new(),
        }
    }

    /// The key that the SVID is for.
    pub(crate) fn is_about(&mut self, spki_sha256: &[u8; 32]) {
        self.spki_sha256 = hex::encode(spki_sha256);
    }

    /// Says that the key was certified.
    pub(crate) fn granted(self) {
        tracing::info!(
            outcome = "granted",
            reason = "",
            agent_id = self.agent_id,
            spki_sha256 = self.spki_sha256,
            "SVID key accepted"
        );
        self.count("granted", "none");
    }

    /// Says that an SVID is no affair of this plugin.
    pub(crate) fn passed(self) {
        tracing::debug!(
            outcome = "passed",
            reason = "",
            agent_id = self.agent_id,
            "SVID of another attestor's agent"
        );
        self.count("passed", "none");
    }

    /// Says that the key would be refused if keys were enforced.
    pub(crate) fn tolerated(self, rejection: &Rejection) {
        tracing::warn!(
            outcome = "tolerated",
            reason = rejection.reason.code(),
            agent_id = self.agent_id,
            spki_sha256 = self.spki_sha256,
            detail = rejection.detail.as_deref().unwrap_or_default(),
            "SVID key would be refused"
        );
        self.count("tolerated", rejection.reason.code());
    }

    /// Says that there is no SVID, and why.
    pub(crate) fn refused(self, rejection: &Rejection) {
        tracing::warn!(
            outcome = "refused",
            reason = rejection.reason.code(),
            agent_id = self.agent_id,
            spki_sha256 = self.spki_sha256,
            detail = rejection.detail.as_deref().unwrap_or_default(),
            "SVID key refused"
        );
        self.count("refused", rejection.reason.code());
    }

    fn count(self, outcome: &str, reason: &str) {
        let labels = [("status", outcome), ("reason", reason)];
        self.metrics
            .increment(&["credential_composer", "tpm", "compose"], 1.0, &labels);
    }
}
