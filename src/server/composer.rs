//! The CredentialComposer: an agent's SVID is for a key that its attestation certified just now, or there is none.

use std::sync::Arc;

use evidence::Hash;
use plugin::{Core, CredentialComposer, Metrics, Plugin, Problem, Purpose, Status};
use verify::{Reason, Rejection, parse_public_key};

use crate::agent_id::{Owner, owner};
use crate::clock::now_ms;
use crate::composer_config::Settings;
use crate::composer_decision::KeyDecision;
use crate::composer_registration::Registration;
use crate::keeping::{UPKEEP, repeat, unavailable};
use crate::status::status;

/// The CredentialComposer of the server.
#[derive(Debug)]
pub struct Composer {
    metrics: Metrics,
    pub(crate) registration: Registration,
}

impl Composer {
    /// A composer that reports to `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            registration: Registration::default(),
        }
    }
}

impl Plugin for Composer {
    type Settings = Settings;

    fn build(&self, core: &Core, text: &str, purpose: Purpose) -> Result<Settings, Vec<Problem>> {
        Settings::build(&core.trust_domain, text, purpose)
    }

    async fn apply(&self, settings: &Arc<Settings>) -> Result<(), Status> {
        self.registration.replace(settings).await?;
        let registration = self.registration.clone();
        repeat(settings, (UPKEEP, UPKEEP), move |settings| {
            let registration = registration.clone();
            async move { registration.renew(&settings).await }
        });
        if !settings.enforces {
            tracing::warn!(
                "svid_keys = \"observe\": agents get SVIDs for keys that were not certified"
            );
        }
        Ok(())
    }
}

impl CredentialComposer for Composer {
    async fn compose_agent_x509_svid(
        &self,
        settings: Arc<Settings>,
        spiffe_id: String,
        public_key: Vec<u8>,
    ) -> Result<(), Status> {
        let mut decision = KeyDecision::new(self.metrics.clone(), &spiffe_id);
        match settings.judge(&spiffe_id, &public_key, &mut decision).await {
            Ok(Owner::Other) => decision.passed(),
            Ok(Owner::TpmAgent) => decision.granted(),
            Err(rejection) if settings.tolerates(&rejection) => decision.tolerated(&rejection),
            Err(rejection) => {
                decision.refused(&rejection);
                return Err(status(&rejection));
            }
        }
        Ok(())
    }
}

impl Settings {
    /// Whether this SVID is for its agent's certified key, which is used up by it, or for somebody else.
    async fn judge(
        &self,
        spiffe_id: &str,
        public_key: &[u8],
        decision: &mut KeyDecision<'_>,
    ) -> Result<Owner, Rejection> {
        let mismatch = |detail: &str| Rejection::because(Reason::SvidKeyMismatch, detail);
        if owner(spiffe_id, &self.trust_domain).map_err(mismatch)? == Owner::Other {
            return Ok(Owner::Other);
        }
        let spki_sha256 = spki_sha256(public_key)?;
        decision.is_about(&spki_sha256);
        let keeping = self.keeping.as_ref().ok_or(Reason::InternalError)?;
        let is_certified = keeping
            .database
            .consume_key(spiffe_id, &spki_sha256, now_ms())
            .await
            .map_err(|error| unavailable(&error))?;
        if is_certified {
            Ok(Owner::TpmAgent)
        } else {
            Err(mismatch("no attestation just now certified it"))
        }
    }

    /// An operator who only observes wants no agent to fail for its key. That the store fails is another matter.
    fn tolerates(&self, rejection: &Rejection) -> bool {
        !self.enforces && rejection.reason == Reason::SvidKeyMismatch
    }
}

/// The hash of a key however it is encoded: one and the same as that of the key that a TPM certified.
fn spki_sha256(public_key: &[u8]) -> Result<[u8; 32], Rejection> {
    let key = parse_public_key(public_key).map_err(|unreadable| {
        let detail = unreadable.detail.unwrap_or_default();
        Rejection::because(Reason::SvidKeyMismatch, detail)
    })?;
    let digest = Hash::Sha256.digest(&[&key.spki()]).try_into();
    digest.map_err(|_other_size| Reason::InternalError.into())
}
