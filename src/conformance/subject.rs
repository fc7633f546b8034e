//! The binary under test.

use std::{ffi::OsString, path::PathBuf, process::Stdio};

use tokio::process::Command;

use crate::{role::Role, transcript::Transcript};

/// Which of SPIRE's processes the plugin belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// SPIRE Agent.
    Agent,
    /// SPIRE Server.
    Server,
}

/// A plugin binary and how it is started.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The executable.
    pub binary: PathBuf,
    /// SPIRE's `plugin_args`.
    pub arguments: Vec<OsString>,
    /// Added to the inherited environment, after the host's own variables.
    pub environment: Vec<(OsString, OsString)>,
    /// Taken out of the environment, also of the host's own variables.
    pub removed: Vec<OsString>,
    /// Nothing is inherited.
    pub bare: bool,
    /// SPIRE's plugin type: the magic cookie's name and value.
    pub plugin_type: String,
    /// Which side loads it.
    pub side: Side,
    /// The one CPU that it runs on from its first instruction; `None` leaves that to the system.
    pub core: Option<usize>,
    /// Where all that passes is kept; nowhere, by default.
    pub transcript: Transcript,
}

impl Subject {
    /// A node attestor without arguments.
    pub fn node_attestor(binary: impl Into<PathBuf>, side: Side) -> Self {
        Self::of_type("NodeAttestor", binary.into(), side)
    }

    /// SPIRE Agent's key manager without arguments.
    pub fn key_manager(binary: impl Into<PathBuf>) -> Self {
        Self::of_type("KeyManager", binary.into(), Side::Agent)
    }

    /// A credential composer of SPIRE Server without arguments.
    pub fn credential_composer(binary: impl Into<PathBuf>) -> Self {
        Self::of_type("CredentialComposer", binary.into(), Side::Server)
    }

    /// Without this variable, even if the host sets it.
    #[must_use]
    pub fn without(mut self, name: impl Into<OsString>) -> Self {
        self.removed.push(name.into());
        self
    }

    /// With the host's own variables and those added, and no others.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// A plugin of a role without arguments.
    pub fn of_role(role: Role, binary: impl Into<PathBuf>) -> Self {
        Self::of_type(role.plugin_type(), binary.into(), role.side())
    }

    /// All that passes is kept there too.
    #[must_use]
    pub fn recorded(mut self, transcript: Transcript) -> Self {
        self.transcript = transcript;
        self
    }

    /// Runs on one CPU only, from its first instruction: what it asks the system about CPUs is answered with one.
    #[must_use]
    pub fn on_core(mut self, core: usize) -> Self {
        self.core = Some(core);
        self
    }

    /// One more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn of_type(plugin_type: &str, binary: PathBuf, side: Side) -> Self {
        Self {
            binary,
            arguments: Vec::new(),
            environment: Vec::new(),
            removed: Vec::new(),
            bare: false,
            plugin_type: plugin_type.to_owned(),
            side,
            core: None,
            transcript: Transcript::default(),
        }
    }

    /// The command a SPIRE host would run, with piped output.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        if self.bare {
            command.env_clear();
        }
        command
            .args(&self.arguments)
            .env(&self.plugin_type, &self.plugin_type)
            .env("PLUGIN_PROTOCOL_VERSIONS", "1")
            .env("PLUGIN_MIN_PORT", "10000")
            .env("PLUGIN_MAX_PORT", "25000")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for name in &self.removed {
            command.env_remove(name);
        }
        command
    }
}
