//! One log line and one measurement for each decision, with stable fields.

use std::net::IpAddr;
use std::time::Instant;

use evidence::EkHash;
use plugin::Metrics;
use verify::{Attested, Boot, Certification, Enrolment, Grant, Method, Rejection};

/// What is known of an attestation so far; says so once, even when its stream is cancelled.
pub(crate) struct Decision {
    started: Instant,
    metrics: Metrics,
    client_ip: Option<IpAddr>,
    ek_hash: Option<EkHash>,
    method: &'static str,
    ek_trust: &'static str,
    vendor: String,
    secure_boot: &'static str,
    log_refused: Option<Rejection>,
    svid_keys: usize,
    told: bool,
}

impl Decision {
    pub(crate) fn new(metrics: Metrics, client_ip: Option<IpAddr>) -> Self {
        Self {
            started: Instant::now(),
            metrics,
            client_ip,
            ek_hash: None,
            method: "none",
            ek_trust: "none",
            vendor: String::new(),
            secure_boot: "",
            log_refused: None,
            svid_keys: 0,
            told: false,
        }
    }

    /// The EK that the peer says it has.
    pub(crate) fn claims(&mut self, ek_hash: EkHash) {
        self.ek_hash = Some(ek_hash);
    }

    /// What the machine has proved.
    pub(crate) fn proved(&mut self, attested: &Attested, enrolment: Enrolment) {
        self.method = match attested.method() {
            Method::Quote(_) => "quote",
            Method::Credential => "credential",
        };
        let enrolled = enrolment == Enrolment::Enrolled;
        self.ek_trust = match attested.certification() {
            Certification::Verified(_) if enrolled => "both",
            Certification::Verified(_) => "certificate",
            _ if enrolled => "enrolment",
            _ => "none",
        };
        if let Certification::Verified(ek) = attested.certification() {
            self.vendor = ek
                .description()
                .map(|tpm| tpm.vendor().to_string())
                .unwrap_or_default();
        }
        self.svid_keys = attested.svid_keys().len();
    }

    /// What the boot event log proves.
    pub(crate) fn found(&mut self, attested: &Attested) {
        match attested.boot() {
            Boot::Verified(boot) if boot.secure_boot.enabled => self.secure_boot = "on",
            Boot::Verified(_) => self.secure_boot = "off",
            Boot::Refused(rejection) => self.log_refused = Some(rejection.clone()),
            Boot::Absent => {}
        }
    }

    /// Says that the machine got an identity.
    pub(crate) fn granted(mut self, grant: &Grant) {
        tracing::info!(
            outcome = "granted",
            reason = "",
            ek_hash = self.ek_hash(),
            ek_trust = self.ek_trust,
            vendor = self.vendor,
            evidence = self.method,
            client_ip_unverified = self.client(),
            duration_ms = self.milliseconds(),
            agent_id = grant.agent_id(),
            svid_keys = self.svid_keys,
            secure_boot = self.secure_boot,
            measured = grant.matched().join(" "),
            advisories = grant.advisories().join(" "),
            "attestation granted"
        );
        self.warn_of(grant);
        self.count("granted", "none");
    }

    /// Says that the machine was refused, and why.
    pub(crate) fn refused(mut self, rejection: &Rejection) {
        self.ek_hash = self.ek_hash.or(rejection.ek_hash);
        tracing::warn!(
            outcome = "refused",
            reason = rejection.reason.code(),
            ek_hash = self.ek_hash(),
            ek_trust = self.ek_trust,
            vendor = self.vendor,
            evidence = self.method,
            client_ip_unverified = self.client(),
            duration_ms = self.milliseconds(),
            svid_keys = self.svid_keys,
            secure_boot = self.secure_boot,
            detail = rejection.detail.as_deref().unwrap_or_default(),
            "attestation refused"
        );
        self.count("refused", rejection.reason.code());
    }

    fn count(&mut self, outcome: &str, reason: &str) {
        self.told = true;
        let labels = [
            ("status", outcome),
            ("reason", reason),
            ("evidence", self.method),
        ];
        self.metrics
            .increment(&["node_attestor", "tpm", "attest"], 1.0, &labels);
        self.metrics.elapsed(
            &["node_attestor", "tpm", "attest_elapsed_time"],
            self.started,
            &labels,
        );
    }

    /// Says that the machine is refused from now on, until an operator has accepted what it showed.
    pub(crate) fn quarantined(&self, rejection: &Rejection) {
        let reason = rejection.reason.code();
        tracing::error!(
            reason,
            ek_hash = self.ek_hash(),
            detail = rejection.detail.as_deref().unwrap_or_default(),
            "the machine is in quarantine"
        );
        let labels = [("reason", reason)];
        self.metrics
            .increment(&["node_attestor", "tpm", "quarantined"], 1.0, &labels);
    }

    /// What an operator should know of a machine that was accepted all the same.
    fn warn_of(&self, grant: &Grant) {
        for change in grant.changes() {
            let reason = change.code();
            let ek_hash = self.ek_hash();
            tracing::warn!(reason, ek_hash, "the machine has changed");
            let labels = [("reason", reason)];
            self.metrics
                .increment(&["node_attestor", "tpm", "changed"], 1.0, &labels);
        }
        if let Some(tolerated) = grant.tolerated() {
            let reason = tolerated.reason.code();
            tracing::warn!(
                reason,
                ek_hash = self.ek_hash(),
                detail = tolerated.detail.as_deref().unwrap_or_default(),
                "attestation would be refused"
            );
            let labels = [("reason", reason)];
            self.metrics
                .increment(&["node_attestor", "tpm", "tolerated"], 1.0, &labels);
        } else if let Some(refused) = &self.log_refused {
            // No profile needs the log, and nothing else would say so.
            tracing::warn!(
                reason = refused.reason.code(),
                ek_hash = self.ek_hash(),
                detail = refused.detail.as_deref().unwrap_or_default(),
                "the boot event log proves nothing"
            );
        }
        if !grant.advisories().is_empty() {
            tracing::warn!(
                ek_hash = self.ek_hash(),
                advisories = grant.advisories().join(" "),
                "the TPM's firmware is known to be vulnerable"
            );
        }
    }

    fn ek_hash(&self) -> String {
        self.ek_hash.map(|hash| hash.hex()).unwrap_or_default()
    }

    fn client(&self) -> String {
        self.client_ip.map(|ip| ip.to_string()).unwrap_or_default()
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        tracing::warn!(
            outcome = "abandoned",
            reason = "client_closed",
            ek_hash = self.ek_hash(),
            ek_trust = self.ek_trust,
            vendor = self.vendor,
            evidence = self.method,
            client_ip_unverified = self.client(),
            duration_ms = self.milliseconds(),
            "attestation abandoned"
        );
        self.count("abandoned", "client_closed");
    }
}
