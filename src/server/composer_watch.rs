//! Whether a CredentialComposer holds this SPIRE Server to the certified keys, and the warning while none does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use verify::{Rejection, SvidKeys};

use crate::config::Settings;
use crate::keeping::{Keeping, unavailable};

/// Looks for the CredentialComposer, and remembers when it last warned.
#[derive(Debug, Default)]
pub(crate) struct ComposerWatch {
    warned: Mutex<Option<Instant>>,
}

impl ComposerWatch {
    /// Whether this SPIRE Server has a CredentialComposer that refuses keys that were not certified. To be asked about a
    /// machine whose keys were: a warning says what they are worth without one.
    pub(crate) async fn is_enforced(&self, keeping: &Keeping) -> Result<bool, Rejection> {
        let is_there = keeping.has_composer().await;
        let is_there = is_there.map_err(|error| unavailable(&error))?;
        if !is_there && self.may_warn(Instant::now()) {
            warn();
        }
        Ok(is_there)
    }

    /// Warns once if keys are required and nobody enforces them, as soon as SPIRE has had time to configure its other
    /// plugins.
    pub(crate) fn look_later(settings: &Arc<Settings>) {
        if settings.policy.svid_keys != SvidKeys::Require {
            return;
        }
        let settings = Arc::downgrade(settings);
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            let keeping = settings
                .upgrade()
                .and_then(|settings| settings.keeping.clone());
            let Some(keeping) = keeping else {
                return;
            };
            // That the store fails is told by the next attestation.
            if let Ok(false) = keeping.has_composer().await {
                warn();
            }
        });
    }

    #[cfg(test)]
    pub(crate) fn has_warned(&self) -> bool {
        self.warned.lock().is_ok_and(|warned| warned.is_some())
    }

    fn may_warn(&self, now: Instant) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = warned.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE);
        if is_due {
            *warned = Some(now);
        }
        is_due
    }
}

fn warn() {
    tracing::warn!(
        "keys are certified, but no CredentialComposer of this SPIRE Server has registered in the store: \
         nothing ties an agent's SVID to its certified key"
    );
}

/// How long SPIRE may take to configure its other plugins.
const GRACE: Duration = Duration::from_secs(10);

/// The least time between two warnings at attestations.
const PAUSE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_at_most_once_a_minute() {
        let watch = ComposerWatch::default();
        let start = Instant::now();
        for (milliseconds, warns) in [
            (0, true),
            (1, false),
            (59_999, false),
            (60_000, true),
            (119_999, false),
            (120_000, true),
        ] {
            let at = start + Duration::from_millis(milliseconds);
            assert_eq!(watch.may_warn(at), warns, "{milliseconds}");
        }
    }
}
