//! The settings of the CredentialComposer, made of the text that SPIRE passes on.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hcl::{Key, Kind, Problem, Schema};
use plugin::{Purpose, Status};
use policy::STORE;

use crate::clock::now_ms;
use crate::keeping::{Keeping, unavailable};
use crate::status::status;

/// The keys of the CredentialComposer's `plugin_data`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        Key {
            default: "none: it is required",
            ..STORE
        },
        Key {
            name: "svid_keys",
            kind: Kind::Choice(&["require", "observe"]),
            default: "`\"require\"`",
            doc: "What becomes of an agent that asks for an SVID with a key that its attestation just now did not certify. `require`: it gets none (`svid_key_mismatch`). `observe`: it gets one, with a warning in the log. Only IDs under `/spire/agent/tpm/` are judged.",
        },
    ],
    moved: &[],
};

/// The settings of the CredentialComposer.
#[derive(Debug)]
pub struct Settings {
    pub(crate) trust_domain: String,
    /// Whether a key that was not certified is refused.
    pub(crate) enforces: bool,
    /// The store; absent from what is only validated.
    pub(crate) keeping: Option<Keeping>,
}

impl Settings {
    /// Builds settings from the text that SPIRE passes on, or lists everything wrong with it.
    pub fn build(trust_domain: &str, text: &str, purpose: Purpose) -> Result<Self, Vec<Problem>> {
        let (values, mut problems) = SCHEMA.read(text);
        if values.text("store").is_none() && problems.is_empty() {
            let message = "store is required: the one that the attestor names";
            problems.push(values.problem("store", message));
        }
        let observes = values
            .choice("svid_keys")
            .is_some_and(|choice| choice.value == "observe");
        let settings = Self {
            trust_domain: trust_domain.to_owned(),
            enforces: !observes,
            keeping: Keeping::open(&values, purpose, &mut problems),
        };
        problems.sort();
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(problems)
        }
    }

    /// Tells the attestor of the same SPIRE Server whether keys are enforced.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) async fn register(&self) -> Result<(), Status> {
        let Some(Keeping { database, instance }) = &self.keeping else {
            return Ok(());
        };
        let registered = if self.enforces {
            database
                .register_composer(instance.as_str(), now_ms())
                .await
        } else {
            database.withdraw_composer(instance.as_str()).await
        };
        registered.map_err(|error| {
            tracing::error!(%error, "cannot register in the store");
            status(&unavailable(&error))
        })
    }

    /// Keeps the registration, and the store small, until the settings are replaced.
    pub(crate) fn look_after_store(settings: &Arc<Self>) {
        let settings = Arc::downgrade(settings);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                let Some(settings) = Weak::upgrade(&settings) else {
                    return;
                };
                settings.upkeep().await;
            }
        });
    }

    pub(crate) async fn upkeep(&self) {
        // A failure has been told, and the next hour tries again.
        self.register().await.ok();
        if let Some(keeping) = &self.keeping
            && let Err(error) = keeping.database.prune(now_ms()).await
        {
            tracing::warn!(%error, "cannot remove from the store what has expired");
        }
    }
}

/// How often the registration is renewed and what has expired is removed.
const UPKEEP: Duration = Duration::from_hours(1);
