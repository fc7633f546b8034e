//! The anchors in force, and how they follow the files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use verify::Anchors;

use crate::directory::Fingerprint;
use crate::once::Once;
use crate::snapshot::{self, Files, Loaded, NotLoaded, Part, Report, Sources};

/// Anchors, intermediates and revocation lists from files, last good kept. They are one: who sees the
/// anchors of one moment sees the lists of the same.
#[derive(Debug)]
pub struct AnchorStore {
    sources: Sources,
    current: ArcSwap<Anchors>,
    known: Mutex<Known>,
}

/// What looking at the files led to.
#[derive(Debug)]
pub enum Refresh {
    /// Nothing to tell.
    Unchanged,
    /// What the files say now is in force.
    Reloaded(Report),
}

/// A revocation list that should have been replaced by now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overdue {
    /// Who issued it; printable.
    pub issuer: String,
    /// Until when there should have been another one, in Unix seconds.
    pub since: i64,
}

#[derive(Debug)]
struct Known {
    fingerprints: Vec<Fingerprint>,
    files: Files,
    lists: usize,
    once: Once,
    overdue: BTreeSet<Overdue>,
}

impl AnchorStore {
    /// Loads all that the sources name.
    pub fn open(sources: Sources) -> Result<(Self, Report), NotLoaded> {
        let loaded = snapshot::load(&sources)?;
        let lists = loaded.report.lists();
        let store = Self {
            sources,
            current: ArcSwap::from_pointee(loaded.anchors),
            known: Mutex::new(Known {
                fingerprints: loaded.fingerprints,
                files: loaded.files,
                lists,
                once: Once::default(),
                overdue: BTreeSet::new(),
            }),
        };
        Ok((store, loaded.report))
    }

    /// The anchors in force.
    pub fn current(&self) -> Arc<Anchors> {
        self.current.load_full()
    }

    /// Looks at the files and takes over what changed, all or nothing. On an error everything stays as
    /// it was, and the next call tries again; the error is returned once for each change of the files.
    pub fn refresh(&self) -> Result<Refresh, NotLoaded> {
        let mut known = self.known();
        match self.reload(&mut known) {
            Ok(refresh) => {
                known.once.forget();
                Ok(refresh)
            }
            Err(error) => {
                let state = snapshot::fingerprints(&self.sources).unwrap_or_default();
                if known.once.is_news(state, &error) {
                    Err(error)
                } else {
                    Ok(Refresh::Unchanged)
                }
            }
        }
    }

    /// The revocation lists in force that are overdue at `now`, in Unix seconds, and were not when this
    /// was last asked.
    pub fn newly_overdue(&self, now: i64) -> Vec<Overdue> {
        let found = self.current();
        let found = found.overdue_crls(now).map(|(issuer, since)| Overdue {
            issuer: issuer.to_owned(),
            since,
        });
        let found: BTreeSet<_> = found.collect();
        let mut known = self.known();
        let news = found.difference(&known.overdue).cloned().collect();
        known.overdue = found;
        news
    }

    fn reload(&self, known: &mut Known) -> Result<Refresh, NotLoaded> {
        if snapshot::fingerprints(&self.sources)? == known.fingerprints {
            return Ok(Refresh::Unchanged);
        }
        let loaded = snapshot::load(&self.sources)?;
        self.check_loss(known, &loaded)?;
        self.current.store(Arc::new(loaded.anchors));
        known.fingerprints = loaded.fingerprints;
        known.files = loaded.files;
        known.lists = loaded.report.lists();
        Ok(Refresh::Reloaded(loaded.report))
    }

    /// What is half written is not what the operator wants, and neither is nothing.
    fn check_loss(&self, known: &Known, loaded: &Loaded) -> Result<(), NotLoaded> {
        for (place, before) in &known.files {
            let now = loaded.files.get(place);
            let is_damaged = now.is_some_and(|now| {
                before.usable > 0 && (now.usable == 0 || now.unusable > before.unusable)
            });
            if is_damaged {
                let (part, file) = place;
                return Err(NotLoaded::Damaged {
                    part: *part,
                    file: file.to_string_lossy().into_owned(),
                });
            }
        }
        let emptied = |part, path: &Path| {
            let path = path.display().to_string();
            Err(NotLoaded::Emptied { part, path })
        };
        if loaded.anchors.is_empty() && !self.current.load().is_empty() {
            return emptied(Part::Anchors, &self.sources.anchors);
        }
        match &self.sources.crls {
            Some(path) if loaded.report.lists() == 0 && known.lists > 0 => {
                emptied(Part::Crls, path)
            }
            _ => Ok(()),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
