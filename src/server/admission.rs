//! Judges a machine that has proved itself by what is kept of it, and keeps what it showed before it gets its identity.

use store::{KeyRecords, StoredMachine};
use verify::{
    Attested, CertifiedKey, Enrolment, Grant, History, Quarantine, Reason, Rejection, decide,
    quarantine_of,
};

use crate::agent_id::agent_id;
use crate::clock::now_ms;
use crate::composer_watch::ComposerWatch;
use crate::config::Settings;
use crate::decision::Decision;
use crate::keeping::{KEY_LIFETIME_MS, Keeping, unavailable};

/// A machine that has proved itself, and everything that it is judged by but its history.
pub(crate) struct Candidate<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) attested: &'a Attested,
    pub(crate) enrolment: Enrolment,
    /// When its challenge was made, in milliseconds since the epoch.
    pub(crate) begun_ms: i64,
}

impl Candidate<'_> {
    /// The verdict. Where a store is kept, there is no identity that it does not know of.
    pub(crate) async fn admit(
        &self,
        watch: &ComposerWatch,
        decision: &mut Decision,
    ) -> Result<Grant, Rejection> {
        // Who is refused whatever is known of it costs no look-up.
        let grant = self.judge(&History::NotKept, now_ms())?;
        let Some(keeping) = &self.settings.keeping else {
            return Ok(grant);
        };
        // First, so that nothing is written where the store fails in between.
        let has_keys = !self.attested.svid_keys().is_empty();
        let is_enforced = has_keys && watch.is_enforced(keeping).await?;
        let judge = |history: &History, now_ms: i64| self.judge(history, now_ms);
        let grant = self.settle(keeping, judge, decision).await?;
        Ok(if is_enforced {
            grant.with_enforced_keys()
        } else {
            grant
        })
    }

    /// Judges by what is kept, and writes over it only if nobody else did meanwhile: of two servers one judges again.
    pub(crate) async fn settle(
        &self,
        keeping: &Keeping,
        judge: impl Fn(&History, i64) -> Result<Grant, Rejection> + Sync,
        decision: &mut Decision,
    ) -> Result<Grant, Rejection> {
        for _ in 0..ATTEMPTS {
            let stored = keeping.database.machine(&self.attested.ek_hash()).await;
            let stored = stored.map_err(|error| unavailable(&error))?;
            let history = history(stored.as_ref());
            let now_ms = now_ms();
            match judge(&history, now_ms) {
                Ok(grant) => {
                    if self.keep(keeping, stored.as_ref(), &grant, now_ms).await? {
                        return Ok(grant);
                    }
                }
                Err(rejection) => {
                    let quarantine = quarantine_of(&rejection, self.attested, now_ms);
                    let (Some(stored), Some(quarantine)) = (&stored, quarantine) else {
                        return Err(rejection);
                    };
                    if self.quarantine(keeping, stored, &quarantine).await? {
                        decision.quarantined(&rejection);
                        return Err(rejection);
                    }
                }
            }
        }
        Err(Reason::StateConflict.into())
    }

    pub(crate) fn judge(&self, history: &History, now_ms: i64) -> Result<Grant, Rejection> {
        let settings = self.settings;
        let denials = settings.denials();
        decide(
            self.attested,
            self.enrolment,
            &denials,
            &settings.policy,
            history,
            self.begun_ms,
            now_ms,
        )
    }

    /// Whether what the machine showed, and its certified keys, were written in place of what was `stored`.
    async fn keep(
        &self,
        keeping: &Keeping,
        stored: Option<&StoredMachine>,
        grant: &Grant,
        now_ms: i64,
    ) -> Result<bool, Rejection> {
        let next = grant.next_state().ok_or(Reason::InternalError)?;
        let keys: Vec<_> = self
            .attested
            .svid_keys()
            .iter()
            .map(CertifiedKey::spki_sha256)
            .collect();
        let keys = KeyRecords {
            agent_id: grant.agent_id(),
            spki_sha256: &keys,
            expires_ms: now_ms.saturating_add(KEY_LIFETIME_MS),
        };
        let (machine, expected) = (
            self.attested.ek_hash(),
            stored.map(|stored| stored.revision),
        );
        let admitted = keeping.database.admit(&machine, expected, next, &keys);
        admitted.await.map_err(|error| unavailable(&error))
    }

    /// Whether the machine was put into quarantine; what is known of it stays, but for keys that have no SVID yet.
    async fn quarantine(
        &self,
        keeping: &Keeping,
        stored: &StoredMachine,
        quarantine: &Quarantine,
    ) -> Result<bool, Rejection> {
        let machine = self.attested.ek_hash();
        let agent_id = agent_id(&self.settings.policy.trust_domain, &machine);
        let database = &keeping.database;
        let quarantined = database.quarantine(&machine, stored, quarantine, &agent_id);
        quarantined.await.map_err(|error| unavailable(&error))
    }
}

fn history(stored: Option<&StoredMachine>) -> History {
    match stored {
        None => History::New,
        Some(stored) => History::Known {
            state: stored.state.clone(),
            quarantine: stored.quarantine.clone(),
        },
    }
}

/// How often a machine is judged anew because another server was first; each time that one has got further.
pub(crate) const ATTEMPTS: usize = 5;
