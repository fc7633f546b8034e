//! What a trial sets up around a plugin, and how texts of the subject file are filled with it.

use std::{fs, path::PathBuf, process::Stdio};

use evidence::EkHash;
use softtpm::{Prover, SoftTpm};
use tokio::process::Command;

use crate::{
    case::{Stop, environment},
    role::Role,
    swtpm::Swtpm,
    trial::Trial,
};

/// What was set up for the trial.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    prepared: Vec<Role>,
    /// The software TPM that plays the agent.
    machine: Option<SoftTpm>,
    /// The TPM of the agent's plugin.
    swtpm: Option<Swtpm>,
}

impl Trial {
    /// A text of the subject file with its `{{names}}` filled:
    ///
    /// - `{{scratch}}`: the trial's own directory
    /// - `{{hashes}}`: a directory with the hash of the EK of each TPM of this trial
    /// - `{{cas}}`: a directory for the certificates of CAs, which a case fills
    /// - `{{tpm}}`: the unix socket of a TPM of this trial
    pub async fn filled(&mut self, role: Role, text: &str) -> Result<String, Stop> {
        self.prepare(role).await?;
        let scratch = self.scratch().display().to_string();
        let mut filled = text.replace("{{scratch}}", &scratch);
        if filled.contains("{{hashes}}") {
            filled = filled.replace("{{hashes}}", &self.hashes()?.display().to_string());
        }
        if filled.contains("{{cas}}") {
            filled = filled.replace("{{cas}}", &self.cas()?.display().to_string());
        }
        if filled.contains("{{tpm}}") {
            let socket = self.swtpm().await?.socket();
            filled = filled.replace("{{tpm}}", &socket.display().to_string());
        }
        Ok(filled)
    }

    /// The TPM of this trial, started when it is first wanted.
    pub(crate) async fn swtpm(&mut self) -> Result<&mut Swtpm, Stop> {
        let directory = self.scratch().join("tpm");
        let swtpm = match self.surroundings.swtpm.take() {
            Some(swtpm) => swtpm,
            None => Swtpm::start(directory).await?,
        };
        Ok(self.surroundings.swtpm.insert(swtpm))
    }

    /// A prover with the software TPM of this trial, which is enrolled.
    pub(crate) fn prover(&mut self) -> Result<Prover, Stop> {
        let machine = if let Some(machine) = &self.surroundings.machine {
            machine.clone()
        } else {
            let made = SoftTpm::generate();
            let made = made.map_err(|error| environment("the software TPM", error))?;
            self.enrol(made.ek_hash())?;
            self.surroundings.machine = Some(made.clone());
            made
        };
        Ok(Prover::new(machine, self.candidate().trust_domain()))
    }

    /// Puts the hash of an EK where `{{hashes}}` points to.
    pub(crate) fn enrol(&self, machine: EkHash) -> Result<(), Stop> {
        let written = fs::write(self.hashes()?.join(machine.hex()), "");
        written.map_err(|error| environment("the directory of hashes", error))
    }

    /// Puts the certificate of a CA, in DER, where `{{cas}}` points to.
    pub(crate) fn trust(&self, name: &str, certificate: &[u8]) -> Result<(), Stop> {
        let written = fs::write(self.cas()?.join(format!("{name}.der")), certificate);
        written.map_err(|error| environment("the directory of CAs", error))
    }

    fn hashes(&self) -> Result<PathBuf, Stop> {
        self.directory("hashes")
    }

    fn cas(&self) -> Result<PathBuf, Stop> {
        self.directory("cas")
    }

    fn directory(&self, name: &str) -> Result<PathBuf, Stop> {
        let path = self.scratch().join(name);
        let made = fs::create_dir_all(&path);
        made.map_err(|error| environment("a directory of the trial", error))?;
        Ok(path)
    }

    /// Runs what the subject file wants to be run before, once.
    async fn prepare(&mut self, role: Role) -> Result<(), Stop> {
        if self.surroundings.prepared.contains(&role) {
            return Ok(());
        }
        self.surroundings.prepared.push(role);
        let Some(script) = self.plugin(role)?.prepare.clone() else {
            return Ok(());
        };
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(self.scratch())
            .env("SCRATCH", self.scratch())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| environment("`prepare` of the subject file", error))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(environment("`prepare` of the subject file", said))
    }
}
