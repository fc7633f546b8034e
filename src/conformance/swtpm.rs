//! A software TPM for a trial: swtpm on a copy of a state that is manufactured once.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    sync::OnceCell,
    time::sleep,
};

use crate::case::{Stop, environment};

/// A running TPM with an EK and no EK certificate; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Swtpm {
    child: Child,
    directory: PathBuf,
}

/// One state for all trials of a process: making the EK takes seconds.
static MANUFACTURED: OnceCell<TempDir> = OnceCell::const_new();

const START: Duration = Duration::from_secs(10);
const WHAT: &str = "swtpm";

impl Swtpm {
    /// Starts a TPM whose files are in `directory`.
    pub(crate) async fn start(directory: PathBuf) -> Result<Self, Stop> {
        let state = directory.join("state");
        fs::create_dir_all(&state).map_err(|error| environment(WHAT, error))?;
        let made = MANUFACTURED.get_or_try_init(manufacture).await?;
        copy(made.path(), &state)?;
        let child = power_on(&directory).await?;
        Ok(Self { child, directory })
    }

    /// The unix socket for commands.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("tpm.sock")
    }

    /// Cuts the power and gives it back: a TPM Reset, as in a reboot of the machine.
    pub(crate) async fn reset(&mut self) -> Result<(), Stop> {
        self.power_off().await?;
        self.child = power_on(&self.directory).await?;
        Ok(())
    }

    /// Cuts the power for good.
    pub(crate) async fn power_off(&mut self) -> Result<(), Stop> {
        let killed = self.child.kill().await;
        killed.map_err(|error| environment(WHAT, error))
    }
}

async fn manufacture() -> Result<TempDir, Stop> {
    let directory = TempDir::with_prefix("swtpm-").map_err(|error| environment(WHAT, error))?;
    let mut command = Command::new("swtpm_setup");
    command.args([
        "--tpm2",
        "--createek",
        "--pcr-banks",
        "sha256",
        "--tpm-state",
    ]);
    command.arg(directory.path());
    if rustix::process::geteuid().is_root() {
        // Otherwise it would give up the right to write there.
        command.args(["--runas", "root"]);
    }
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| environment("swtpm_setup", error))?;
    if output.status.success() {
        return Ok(directory);
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Err(environment("swtpm_setup", said))
}

async fn power_on(directory: &Path) -> Result<Child, Stop> {
    let socket = directory.join("tpm.sock");
    // What was killed leaves its socket.
    fs::remove_file(&socket).ok();
    let mut child = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .args([
            "--tpmstate",
            &format!("dir={}", directory.join("state").display()),
        ])
        .args([
            "--server",
            &format!("type=unixio,path={}", socket.display()),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| environment(WHAT, error))?;
    let deadline = Instant::now() + START;
    while UnixStream::connect(&socket).is_err() {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(environment(WHAT, status));
        }
        if Instant::now() > deadline {
            return Err(environment(WHAT, "it does not accept"));
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(child)
}

/// What a TPM keeps without power.
fn copy(from: &Path, to: &Path) -> Result<(), Stop> {
    let failed = |error| environment(WHAT, error);
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().ends_with(".permall") {
            fs::copy(entry.path(), to.join(entry.file_name())).map_err(failed)?;
        }
    }
    Ok(())
}
