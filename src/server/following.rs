//! How the settings in force follow their files: looked at now and then, told in the log, and counted.

use std::sync::{Arc, Weak};

use plugin::Metrics;
use policy::loaded_warnings;
use store::{AnchorStore, DenialRefresh, DenialStore, Refresh};

use crate::clock::now;
use crate::config::Settings;

/// What a look at the files led to, where there is something to count.
type Outcome = Option<&'static str>;

impl Settings {
    /// Takes over changed files until the settings are replaced.
    pub(crate) fn follow_files(settings: &Arc<Self>, metrics: Metrics) {
        if settings.anchor_store.is_none() && settings.denial_store.is_none() {
            return;
        }
        let settings = Arc::downgrade(settings);
        tokio::spawn(async move {
            while let Some(interval) = settings.upgrade().map(|settings| settings.reload_interval) {
                tokio::time::sleep(interval).await;
                let settings = Weak::clone(&settings);
                let refresh = move || settings.upgrade().map(|settings| settings.refresh());
                let outcome = tokio::task::spawn_blocking(refresh).await;
                let Ok(Some((anchors, denials))) = outcome else {
                    continue;
                };
                if let Some(status) = anchors {
                    let key = ["node_attestor", "tpm", "anchors_reload"];
                    metrics.increment(&key, 1.0, &[("status", status)]);
                }
                if let Some(status) = denials {
                    let key = ["node_attestor", "tpm", "denials_reload"];
                    metrics.increment(&key, 1.0, &[("status", status)]);
                }
            }
        });
    }

    /// One look at all files: at those of CAs, and at the deny list.
    pub(crate) fn refresh(&self) -> (Outcome, Outcome) {
        let anchors = self.anchor_store.as_ref().and_then(refresh_anchors);
        let denials = self.denial_store.as_ref().and_then(refresh_denials);
        (anchors, denials)
    }

    /// Warns of revocation lists that have come to be out of date since the last look.
    pub(crate) fn warn_of_overdue_lists(&self) {
        self.anchor_store
            .as_ref()
            .map(warn_of_overdue)
            .unwrap_or_default();
    }
}

fn refresh_anchors(store: &AnchorStore) -> Outcome {
    let outcome = match store.refresh() {
        Ok(Refresh::Unchanged) => None,
        Ok(Refresh::Reloaded(report)) => {
            for warning in loaded_warnings(&report) {
                tracing::warn!("{warning}");
            }
            let (anchors, crls) = (report.anchors, report.crls);
            tracing::info!(
                anchors,
                crls,
                "took over changed CA certificates and revocation lists"
            );
            Some("ok")
        }
        Err(error) => {
            tracing::error!(%error, "cannot take over CA certificates and revocation lists, keeping the last good ones");
            Some("failed")
        }
    };
    warn_of_overdue(store);
    outcome
}

fn refresh_denials(store: &DenialStore) -> Outcome {
    match store.refresh() {
        Ok(DenialRefresh::Unchanged) => None,
        Ok(DenialRefresh::Reloaded { entries }) => {
            tracing::info!(entries, "took over the changed deny list");
            Some("ok")
        }
        Err(error) => {
            tracing::error!(%error, "cannot take over the deny list, keeping the last good one");
            Some("failed")
        }
    }
}

fn warn_of_overdue(store: &AnchorStore) {
    for overdue in store.newly_overdue(now()) {
        tracing::warn!(
            issuer = overdue.issuer,
            since = overdue.since,
            "a revocation list is out of date"
        );
    }
}
