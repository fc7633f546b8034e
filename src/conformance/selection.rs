//! Which cases are run: patterns of their IDs.

use globset::{Glob, GlobSet, GlobSetBuilder};

/// Cases by the patterns of their IDs, as in `NAS-01*`.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    only: Option<GlobSet>,
    skip: GlobSet,
}

impl Selection {
    /// Those that match one of `only`, all if that is empty, without those that match one of `skip`.
    ///
    /// # Errors
    /// A pattern is none.
    pub fn new(only: &[String], skip: &[String]) -> Result<Self, globset::Error> {
        Ok(Self {
            only: if only.is_empty() {
                None
            } else {
                Some(set(only)?)
            },
            skip: set(skip)?,
        })
    }

    /// Whether the case with that ID is run.
    pub fn takes(&self, id: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.is_match(id)) && !self.skip.is_match(id)
    }
}

fn set(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern)?);
    }
    set.build()
}
