//! The store as both plugins of a server hold it: open, and with the SPIRE Server that they serve.

use std::env;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hcl::{Problem, Values};
use plugin::Purpose;
use policy::store_address;
use store::{Database, DatabaseAddress, DatabaseError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use verify::{Reason, Rejection};

use crate::clock::now_ms;
use crate::instance::Instance;

/// The store, open.
#[derive(Debug, Clone)]
pub(crate) struct Keeping {
    pub(crate) database: Database,
    pub(crate) instance: Instance,
    /// Where the store is, without a password.
    pub(crate) place: String,
}

impl Keeping {
    /// Opens what `store` names, if it names something, there is no problem yet, and it is to be used: what is only
    /// validated opens no database, makes no file, and reads no password.
    pub(crate) fn open(
        values: &Values,
        purpose: Purpose,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let variable = |name: &str| match purpose {
            Purpose::Configure => env::var(name).ok(),
            Purpose::Validate => Some(STAND_IN.to_owned()),
        };
        let address = store_address(values, variable, problems)?;
        if purpose == Purpose::Validate || !problems.is_empty() {
            return None;
        }
        match Self::of(&address) {
            Ok(keeping) => Some(keeping),
            Err(message) => {
                problems.push(values.problem("store", message));
                None
            }
        }
    }

    /// Waits for the database where waiting is allowed.
    fn of(address: &DatabaseAddress) -> Result<Self, String> {
        let instance = Instance::of_parent().map_err(|error| {
            format!("store: cannot tell by /proc which SPIRE Server uses it: {error}")
        })?;
        let runtime = Handle::try_current().map_err(|error| format!("store: {error}"))?;
        let database = runtime.block_on(Database::open(address));
        Ok(Self {
            database: database.map_err(|error| format!("unable to open store: {error}"))?,
            instance,
            place: address.to_string(),
        })
    }

    /// Whether this SPIRE Server has a CredentialComposer that refuses keys that were not certified. One that has not said
    /// so for long is gone, or has moved to another store.
    pub(crate) async fn has_composer(&self) -> Result<bool, DatabaseError> {
        let since_ms = now_ms().saturating_sub(COMPOSER_LIFETIME_MS);
        let instance = self.instance.as_str();
        self.database.has_composer(instance, since_ms).await
    }

    /// Removes what has expired.
    pub(crate) async fn prune(&self) {
        if let Err(error) = self.database.prune(now_ms()).await {
            tracing::warn!(%error, "cannot remove from the store what has expired");
        }
    }
}

/// Does this after `first` and then every so often, until the settings are replaced.
pub(crate) fn repeat<S: Send + Sync + 'static, W: Future<Output = ()> + Send>(
    settings: &Arc<S>,
    (first, every): (Duration, Duration),
    work: impl Fn(Arc<S>) -> W + Send + 'static,
) -> JoinHandle<()> {
    let settings = Arc::downgrade(settings);
    tokio::spawn(async move {
        tokio::time::sleep(first).await;
        while let Some(settings) = Weak::upgrade(&settings) {
            work(settings).await;
            tokio::time::sleep(every).await;
        }
    })
}

/// What a peer is told when the store fails, and, apart from it, what the operator is.
pub(crate) fn unavailable(error: &DatabaseError) -> Rejection {
    Rejection::because(Reason::DatabaseUnavailable, error.to_string())
}

/// For how many milliseconds a certified key may wait for the SVID that it was certified for. SPIRE Server asks for it right after the
/// attestation; another server's clock may differ a little.
pub(crate) const KEY_LIFETIME_MS: i64 = 120_000;

/// How often a registration is renewed and what has expired is removed.
pub(crate) const UPKEEP: Duration = Duration::from_hours(1);

/// For how many milliseconds a composer's registration counts: of three times [`UPKEEP`] two may fail.
pub(crate) const COMPOSER_LIFETIME_MS: i64 = 3 * 60 * 60 * 1000;

/// Stands for each variable in what is only validated; also a port.
const STAND_IN: &str = "1";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::tests_store::run;

    #[test]
    fn work_is_repeated_until_the_settings_are_replaced() {
        run(async {
            let settings = Arc::new(AtomicUsize::new(0));
            let often = (Duration::ZERO, Duration::from_millis(1));
            let work = |settings: Arc<AtomicUsize>| async move {
                settings.fetch_add(1, Ordering::Relaxed);
            };
            let task = repeat(&settings, often, work);
            while settings.load(Ordering::Relaxed) < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let rarely = (Duration::from_hours(1), Duration::ZERO);
            let later = repeat(&settings, rarely, work);
            drop(settings);
            task.await.unwrap();
            assert!(!later.is_finished(), "waits first");
        });
    }

    #[test]
    fn a_registration_counts_for_three_rounds() {
        let round = i64::try_from(UPKEEP.as_millis()).unwrap();
        assert_eq!(COMPOSER_LIFETIME_MS, 3 * round);
    }
}
