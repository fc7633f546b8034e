//! A program of the subject file that plays a part: lines of base64 on its stdin and stdout.

use std::process::Stdio;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{
    case::{Stop, environment, skip},
    peer::Judgement,
    trial::{PATIENCE, Trial},
};

/// A running program; it is killed when dropped.
#[derive(Debug)]
pub(crate) struct CommandPeer {
    _child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

const WHAT: &str = "the peer's command of the subject file";
const LINE: u64 = 16 << 20;

impl CommandPeer {
    /// Starts it in the trial's directory, which is in `SCRATCH`.
    pub(crate) fn start(trial: &Trial, command: &[String]) -> Result<Self, Stop> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(skip("the subject file has no command for this part"));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(trial.scratch())
            .env("SCRATCH", trial.scratch())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| environment(WHAT, error))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(environment(WHAT, "no pipes"));
        };
        Ok(Self {
            _child: child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    /// A message of it.
    pub(crate) async fn read(&mut self) -> Result<Vec<u8>, Stop> {
        let line = self.line().await?;
        STANDARD
            .decode(&line)
            .map_err(|error| environment(WHAT, error))
    }

    /// Its answer to a message.
    pub(crate) async fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>, Stop> {
        self.write(message).await?;
        self.read().await
    }

    /// Its judgement of a message: `ok`, `refused` and a reason, or a challenge.
    pub(crate) async fn judge(&mut self, message: &[u8]) -> Result<Judgement, Stop> {
        self.write(message).await?;
        let line = self.line().await?;
        if line == "ok" {
            return Ok(Judgement::Granted);
        }
        if let Some(reason) = line.strip_prefix("refused") {
            return Ok(Judgement::Refused(reason.trim().to_owned()));
        }
        let challenge = STANDARD.decode(&line);
        let challenge = challenge.map_err(|error| environment(WHAT, error))?;
        Ok(Judgement::Challenge(challenge))
    }

    async fn write(&mut self, message: &[u8]) -> Result<(), Stop> {
        let line = format!("{}\n", STANDARD.encode(message));
        let written = self.stdin.write_all(line.as_bytes()).await;
        written.map_err(|error| environment(WHAT, error))
    }

    async fn line(&mut self) -> Result<String, Stop> {
        let mut line = String::new();
        let mut limited = (&mut self.stdout).take(LINE);
        let read = timeout(PATIENCE, limited.read_line(&mut line)).await;
        match read {
            Ok(Ok(0)) => Err(environment(WHAT, "it ended without a further line")),
            Ok(Ok(_)) => Ok(line.trim().to_owned()),
            Ok(Err(error)) => Err(environment(WHAT, error)),
            Err(_elapsed) => Err(environment(WHAT, "no line in time")),
        }
    }
}
