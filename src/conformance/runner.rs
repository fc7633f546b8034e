//! Runs what was selected against a subject, several trials at a time, and reports.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use crate::{
    candidate::Candidate,
    capabilities::Capabilities,
    case::{Case, Stop},
    cases,
    profile::{Described, Profile},
    report::{CaseResult, ProfileResult, Verdict},
    role::Role,
    selection::Selection,
    transcript::Transcript,
    trial::Trial,
};

/// A run to be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// What is tried.
    pub candidate: Candidate,
    /// What it is tried with.
    pub profiles: Vec<Profile>,
    /// Which cases of them.
    pub selection: Selection,
    /// How long a trial may take.
    pub limit: Duration,
    /// Trials at a time.
    pub jobs: usize,
    /// Equal seeds try the same.
    pub seed: u64,
}

/// Hears how the run goes.
pub trait Progress: Send + Sync {
    /// So many trials will be made.
    fn planned(&self, trials: usize);
    /// One has ended.
    fn ended(&self, profile: &str, result: &CaseResult);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silence;

impl Progress for Silence {
    fn planned(&self, _trials: usize) {}
    fn ended(&self, _profile: &str, _result: &CaseResult) {}
}

/// A trial to be made.
#[derive(Clone, Debug)]
struct Planned {
    profile: usize,
    described: Described,
    role: Role,
}

impl Run {
    /// All cases of these profiles with a subject, with defaults for the rest.
    pub fn new(candidate: Candidate, profiles: Vec<Profile>) -> Self {
        Self {
            candidate,
            profiles,
            selection: Selection::default(),
            limit: Duration::from_secs(30),
            jobs: 4,
            seed: 0,
        }
    }

    /// Makes the run.
    ///
    /// # Errors
    /// The subject cannot be started at all.
    pub async fn run(&self, progress: Arc<dyn Progress>) -> Result<Vec<ProfileResult>, Stop> {
        let candidate = Arc::new(self.candidate.clone());
        let capabilities = Arc::new(Capabilities::of(&candidate).await?);
        let planned = self.planned();
        progress.planned(planned.len());
        let mut results: Vec<_> = self.profiles.iter().map(ProfileResult::of).collect();
        let (alone, together): (Vec<_>, Vec<_>) =
            planned.into_iter().partition(|one| one.described.alone);
        for (batch, jobs) in [(together, self.jobs.max(1)), (alone, 1)] {
            let room = Arc::new(Semaphore::new(jobs));
            let mut trials = JoinSet::new();
            for one in batch {
                let (candidate, capabilities) = (Arc::clone(&candidate), Arc::clone(&capabilities));
                let (room, progress) = (Arc::clone(&room), Arc::clone(&progress));
                let name = self.name_of(one.profile);
                let (limit, seed) = (self.limit, self.seed);
                trials.spawn(async move {
                    let _place = room.acquire_owned().await;
                    let result = attempt(candidate, &capabilities, &one, limit, seed).await;
                    progress.ended(&name, &result);
                    (one.profile, result)
                });
            }
            while let Some(ended) = trials.join_next().await {
                let (profile, result) =
                    ended.map_err(|error| Stop::Environment(error.to_string()))?;
                if let Some(of) = results.get_mut(profile) {
                    of.cases.push(result);
                }
            }
        }
        self.in_order(&mut results);
        Ok(results)
    }

    fn name_of(&self, profile: usize) -> String {
        let of = self.profiles.get(profile);
        of.map(|profile| profile.name.clone()).unwrap_or_default()
    }

    fn planned(&self) -> Vec<Planned> {
        let mut planned = Vec::new();
        for (index, profile) in self.profiles.iter().enumerate() {
            for described in &profile.cases {
                if !self.selection.takes(&described.id) {
                    continue;
                }
                let has = |role: &&Role| self.candidate.plugin(**role).is_some();
                planned.extend(described.on.iter().filter(has).map(|role| Planned {
                    profile: index,
                    described: described.clone(),
                    role: *role,
                }));
            }
        }
        planned
    }

    /// Trials end in any order; results are in that of the data.
    fn in_order(&self, results: &mut [ProfileResult]) {
        for (profile, result) in self.profiles.iter().zip(results) {
            let places: BTreeMap<_, _> = (0..)
                .zip(&profile.cases)
                .map(|(place, case): (usize, _)| (case.id.as_str(), place))
                .collect();
            let place = |case: &CaseResult| (places.get(case.id.as_str()).copied(), case.role);
            result.cases.sort_by_key(place);
        }
    }
}

async fn attempt(
    candidate: Arc<Candidate>,
    capabilities: &Capabilities,
    planned: &Planned,
    limit: Duration,
    seed: u64,
) -> CaseResult {
    let (described, role) = (&planned.described, planned.role);
    let begun = Instant::now();
    let result = |verdict, transcript| CaseResult {
        id: described.id.clone(),
        role,
        level: described.level,
        does: described.does.clone(),
        why: described.why.clone(),
        expect: described.expect.clone(),
        verdict,
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        transcript,
        allowance: None,
    };
    if let Some(absent) = capabilities.lacks(role, &described.needs) {
        let why = absent.absence().to_owned();
        return result(Verdict::Skipped { why }, Vec::new());
    }
    let Some(case) = cases::find(&described.id) else {
        let what = "this build has no code for the case".to_owned();
        return result(Verdict::Errored { what }, Vec::new());
    };
    let mut trial = match Trial::new(candidate, &described.id, role, seed) {
        Ok(trial) => trial,
        Err(stop) => return result(Verdict::of(Err(stop), &Transcript::default()), Vec::new()),
    };
    let ended = run_within(case, &mut trial, limit).await;
    let verdict = Verdict::of(ended, trial.transcript());
    result(verdict, trial.transcript().events())
}

async fn run_within(case: &Case, trial: &mut Trial, limit: Duration) -> Result<(), Stop> {
    match timeout(limit, (case.run)(trial)).await {
        Ok(ended) => ended,
        Err(_elapsed) => Err(crate::case::failed(
            format!("nothing more within the {} s of the trial", limit.as_secs()),
            "the case ends in time",
        )),
    }
}
