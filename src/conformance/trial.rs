//! A trial: one case with one plugin of the subject, in a directory of its own.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use tempfile::TempDir;

use crate::{
    candidate::{Candidate, Plugin},
    case::{Stop, environment, failed, skip},
    handshake::Handshake,
    host::{Host, NotLoaded},
    loaded::Loaded,
    process::{Process, START_LIMIT},
    role::Role,
    subject::Subject,
    transcript::{Hidden, Transcript},
};

/// What a case is given.
#[derive(Debug)]
pub struct Trial {
    role: Role,
    candidate: Arc<Candidate>,
    scratch: TempDir,
    transcript: Transcript,
    random: ChaCha8Rng,
    /// Plugins that must live as long as the trial.
    kept: Vec<Loaded>,
    pub(crate) surroundings: crate::surroundings::Surroundings,
}

impl Trial {
    /// A trial of `case` with the plugin of `role`; equal seeds give equal random bytes.
    pub(crate) fn new(
        candidate: Arc<Candidate>,
        case: &str,
        role: Role,
        seed: u64,
    ) -> Result<Self, Stop> {
        let hidden = |(name, text): (&String, &String)| Hidden {
            name: name.clone(),
            bytes: text.clone().into_bytes(),
        };
        let transcript = Transcript::begin(candidate.secrets.iter().map(hidden).collect());
        let input = format!("{seed} {case} {role}");
        let scratch = TempDir::with_prefix("conformance-")
            .map_err(|error| environment("a directory for the trial", error))?;
        Ok(Self {
            role,
            candidate,
            scratch,
            transcript,
            random: ChaCha8Rng::from_seed(digest(&input)),
            kept: Vec::new(),
            surroundings: crate::surroundings::Surroundings::default(),
        })
    }

    /// The plugin's role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The whole subject.
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    /// The trial's own directory.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// What has passed.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Keeps a plugin loaded until the end of the trial.
    pub(crate) fn keep(&mut self, loaded: Loaded) {
        self.kept.push(loaded);
    }

    /// Bytes that depend on seed, case and role alone.
    pub(crate) fn random(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    /// The plugin of this role as the subject file has it.
    pub(crate) fn plugin(&self, role: Role) -> Result<&Plugin, Stop> {
        let absent = || skip(format!("the subject has no plugin for the role {role}"));
        self.candidate.plugin(role).ok_or_else(absent)
    }

    /// The binary of a role, as it is started.
    pub(crate) fn subject_of(&self, role: Role) -> Result<Subject, Stop> {
        let plugin = self.plugin(role)?;
        let path: PathBuf = plugin.path.clone().unwrap_or_default();
        let mut subject = Subject::of_role(role, path).recorded(self.transcript.clone());
        for argument in &plugin.arguments {
            subject = subject.argument(argument);
        }
        for (name, value) in &plugin.environment {
            subject = subject.variable(name, value);
        }
        Ok(subject)
    }

    /// The binary of this trial's role.
    pub(crate) fn subject(&self) -> Result<Subject, Stop> {
        self.subject_of(self.role)
    }

    /// Starts the process alone, and reads its handshake.
    pub(crate) async fn start(&self) -> Result<(Process, Handshake), Stop> {
        Process::start(&self.subject()?, START_LIMIT)
            .await
            .map_err(|error| not_loaded(&error))
    }

    /// The plugin of this trial's role after Init.
    pub(crate) async fn load(&self) -> Result<Loaded, Stop> {
        self.load_role(self.role).await
    }

    /// The plugin of a role after Init.
    pub(crate) async fn load_role(&self, role: Role) -> Result<Loaded, Stop> {
        self.load_with(&Host::new(), &self.subject_of(role)?).await
    }

    /// A plugin after Init by a host.
    pub(crate) async fn load_with(&self, host: &Host, subject: &Subject) -> Result<Loaded, Stop> {
        host.load(subject).await.map_err(|error| not_loaded(&error))
    }

    /// The plugin of this trial's role after Configure with the first good text.
    pub(crate) async fn configured(&mut self) -> Result<Loaded, Stop> {
        self.configured_role(self.role).await
    }

    /// The plugin of a role after Configure with the first good text; without Configure, if it takes none.
    pub(crate) async fn configured_role(&mut self, role: Role) -> Result<Loaded, Stop> {
        let text = self.good_text(role).await?;
        let loaded = self.load_role(role).await?;
        if loaded.services().iter().any(|name| name == CONFIG) {
            self.configure(&loaded, &text).await?;
        }
        Ok(loaded)
    }

    /// Configures with a text that must be taken.
    pub(crate) async fn configure(&self, loaded: &Loaded, text: &str) -> Result<(), Stop> {
        loaded
            .configure(Some(self.candidate.trust_domain()), text)
            .await
            .map_err(|status| {
                failed(
                    format!("Configure: {status}"),
                    "the good configuration is taken",
                )
            })
    }

    /// The first good configuration of a role, filled; empty, if the subject file has none.
    pub(crate) async fn good_text(&mut self, role: Role) -> Result<String, Stop> {
        let text = self.plugin(role)?.good.first().cloned().unwrap_or_default();
        self.filled(role, &text).await
    }
}

/// The full name of the service that takes configurations.
pub(crate) const CONFIG: &str = "spire.service.common.config.v1.Config";

/// Longer than anything takes on a busy machine that is not waiting for a deadline of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

fn not_loaded(error: &NotLoaded) -> Stop {
    match error {
        NotLoaded::HostServices(error) => environment("the host's own socket", error),
        other => failed(other.to_string(), "the plugin is loaded"),
    }
}

fn digest(text: &str) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().try_into().unwrap_or_default()
}
