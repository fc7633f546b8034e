//! A case: what is tried with a subject, under an ID that its profile describes.

use std::{fmt, future::Future, pin::Pin};

use crate::trial::Trial;

/// A case as code; its words are in the data of its profile, under the same ID.
#[derive(Clone, Copy)]
pub struct Case {
    /// The ID, as in `NAS-014`.
    pub id: &'static str,
    pub(crate) run: Run,
}

/// Tries it.
pub(crate) type Run = for<'a> fn(&'a mut Trial) -> Attempt<'a>;

/// The attempt under way.
pub(crate) type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'a>>;

/// Why a case ended before its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stop {
    /// The subject fell short.
    Failed(Failure),
    /// It cannot be tried with this subject or on this machine.
    Skipped(String),
    /// What this side needs failed, which says nothing about the subject.
    Environment(String),
}

/// What the subject did, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What came.
    pub came: String,
    /// What would be right.
    pub right: String,
}

/// A subject that does not do this falls short.
pub(crate) fn hold(
    holds: bool,
    came: impl FnOnce() -> String,
    right: impl Into<String>,
) -> Result<(), Stop> {
    if holds {
        Ok(())
    } else {
        Err(failed(came(), right))
    }
}

/// The subject fell short.
pub(crate) fn failed(came: impl Into<String>, right: impl Into<String>) -> Stop {
    Stop::Failed(Failure {
        came: came.into(),
        right: right.into(),
    })
}

/// This cannot be tried here.
pub(crate) fn skip(why: impl Into<String>) -> Stop {
    Stop::Skipped(why.into())
}

/// Something on this side failed.
pub(crate) fn environment(what: &str, error: impl fmt::Display) -> Stop {
    Stop::Environment(format!("{what}: {error}"))
}

impl fmt::Debug for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.id)
    }
}

/// A table of cases: each ID with what makes the attempt of a trial.
macro_rules! cases {
    ($($id:literal => |$trial:ident| $attempt:expr),* $(,)?) => {
        &[$($crate::case::Case { id: $id, run: |$trial| Box::pin($attempt) }),*]
    };
}
pub(crate) use cases;
