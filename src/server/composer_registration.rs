//! The store in which the CredentialComposer stands as one that enforces, through all its settings.

use std::sync::{Arc, Weak};

use plugin::Status;
use tokio::sync::Mutex;

use crate::clock::now_ms;
use crate::composer_config::Settings;
use crate::keeping::{Keeping, unavailable};
use crate::status::status;

/// What the attestor of the same SPIRE Server relies on. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registration(Arc<Mutex<Held>>);

/// One at a time changes it: what the last settings still do must not undo what the new ones did.
#[derive(Debug, Default)]
struct Held {
    settings: Weak<Settings>,
    /// Where it stands.
    at: Option<Keeping>,
}

impl Registration {
    /// Makes it that of new settings, a moment before they are in force: the plugin's runtime calls nothing after, and an error
    /// then would come too late to keep the last ones. An attestation that sees it asks for its SVID later than that. The
    /// store of the last ones is left first.
    ///
    /// # Errors
    /// When that cannot be written; it is that of the last settings then, which stay in force.
    pub(crate) async fn replace(&self, settings: &Arc<Settings>) -> Result<(), Status> {
        let mut held = self.0.lock().await;
        if let Err(status) = moved(held.at.as_ref(), settings).await {
            if let Some(at) = &held.at {
                enter(at).await.ok();
            }
            return Err(status);
        }
        let at = settings.keeping.clone().filter(|_| settings.enforces);
        let settings = Arc::downgrade(settings);
        *held = Held { settings, at };
        Ok(())
    }

    /// Keeps it, and the store small, unless these settings have been replaced.
    pub(crate) async fn renew(&self, settings: &Arc<Settings>) {
        let held = self.0.lock().await;
        if !std::ptr::eq(held.settings.as_ptr(), Arc::as_ptr(settings)) {
            return;
        }
        // A failure has been told, and the next round tries again.
        written(settings).await.ok();
        if let Some(keeping) = &settings.keeping {
            keeping.prune().await;
        }
    }
}

async fn moved(from: Option<&Keeping>, to: &Settings) -> Result<(), Status> {
    let place = to.keeping.as_ref().map(|keeping| &keeping.place);
    if let Some(from) = from.filter(|from| Some(&from.place) != place) {
        leave(from).await?;
    }
    written(to).await
}

async fn written(settings: &Settings) -> Result<(), Status> {
    match &settings.keeping {
        None => Ok(()),
        Some(keeping) if settings.enforces => enter(keeping).await,
        Some(keeping) => leave(keeping).await,
    }
}

async fn enter(keeping: &Keeping) -> Result<(), Status> {
    let (database, instance) = (&keeping.database, keeping.instance.as_str());
    let registered = database.register_composer(instance, now_ms()).await;
    registered.map_err(|error| {
        tracing::error!(%error, "cannot register in the store");
        status(&unavailable(&error))
    })
}

async fn leave(keeping: &Keeping) -> Result<(), Status> {
    let (database, instance) = (&keeping.database, keeping.instance.as_str());
    let withdrawn = database.withdraw_composer(instance).await;
    withdrawn.map_err(|error| {
        tracing::error!(%error, "cannot withdraw from the store");
        status(&unavailable(&error))
    })
}
