//! A started plugin process: its handshake, its output, its end.

use std::{
    fmt,
    fs::File,
    io,
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdout},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    handshake::Handshake, host::NotLoaded, log::LogLine, pinned::Pinned, subject::Subject,
    transcript::Transcript,
};

/// A plugin process, killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: Output,
    /// A thread: the log is complete even where nobody drives a runtime any more.
    log_reader: Option<thread::JoinHandle<()>>,
    noise_reader: Option<JoinHandle<()>>,
    at_end: Option<AtEnd>,
    started: Instant,
    handshake_after: Duration,
    transcript: Transcript,
    line: String,
}

/// What looks at everything that a plugin has logged, once, when its process is dropped.
#[derive(Clone)]
pub(crate) struct AtEnd(pub(crate) Arc<Look>);

type Look = dyn Fn(&[LogLine]) + Send + Sync;

impl fmt::Debug for AtEnd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AtEnd")
    }
}

/// All the process said so far.
#[derive(Clone, Debug, Default)]
struct Output {
    log: Arc<Mutex<Vec<LogLine>>>,
    noise: Arc<Mutex<Vec<u8>>>,
    transcript: Transcript,
}

impl Process {
    /// Starts a process and waits for its handshake, up to `limit`; SPIRE waits for [`START_LIMIT`].
    pub async fn start(subject: &Subject, limit: Duration) -> Result<(Self, Handshake), NotLoaded> {
        let mut command = subject.command();
        let started = Instant::now();
        let mut child = {
            // A child inherits the CPUs of the thread that starts it.
            let pinned = subject.core.map(Pinned::to).transpose();
            let _pinned = pinned.map_err(NotLoaded::Spawn)?;
            command.spawn().map_err(NotLoaded::Spawn)?
        };
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(NotLoaded::Spawn(io::ErrorKind::BrokenPipe.into()));
        };
        let transcript = subject.transcript.clone();
        transcript.sent("start", subject.binary.display().to_string().as_bytes());
        let output = Output {
            transcript: transcript.clone(),
            ..Output::default()
        };
        let log_reader = log_reader(stderr, output.clone()).map_err(NotLoaded::Spawn)?;
        let mut stdout = BufReader::new(stdout);
        let line = match timeout(limit, first_line(&mut stdout)).await {
            Ok(line) => line.map_err(NotLoaded::Spawn)?,
            Err(_elapsed) => return Err(NotLoaded::StartTimeout),
        };
        let handshake_after = started.elapsed();
        transcript.came("stdout", line.as_bytes());
        let noise_reader = tokio::spawn(read_noise(stdout, output.clone()));
        let mut process = Self {
            child,
            output,
            log_reader: Some(log_reader),
            noise_reader: Some(noise_reader),
            at_end: None,
            started,
            handshake_after,
            transcript,
            line: line.clone(),
        };
        if line.is_empty() {
            let status = process.exit_within(EXIT_WAIT).await;
            return Err(NotLoaded::Exited {
                status,
                log: process.log(),
            });
        }
        let handshake = Handshake::parse(&line)?;
        Ok((process, handshake))
    }

    /// Where what passes is kept.
    pub(crate) fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The first line on stdout as it came.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The process number; absent once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// From the start to the line that says it is ready.
    pub fn handshake_after(&self) -> Duration {
        self.handshake_after
    }

    /// Sends a signal, if it still runs.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.transcript
            .sent("signal", format!("{signal:?}").as_bytes());
        let pid = self
            .pid()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?;
        Ok(())
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end, and for the last of its output; `None` if it still runs after `limit`.
    pub async fn exit_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let status = timeout(limit, self.child.wait()).await.ok()?.ok()?;
        self.transcript.came("exit", status.to_string().as_bytes());
        // Only a grandchild that kept the pipe can make these wait.
        if let Some(reader) = self.noise_reader.take() {
            timeout(EXIT_WAIT, reader).await.ok();
        }
        let deadline = Instant::now() + EXIT_WAIT;
        while !self.is_log_complete() && Instant::now() < deadline {
            sleep(POLL).await;
        }
        Some(status)
    }

    /// Has `look` see the whole log when this is dropped, which waits for the end of the process then.
    pub(crate) fn at_end(&mut self, look: AtEnd) {
        self.at_end = Some(look);
    }

    fn is_log_complete(&self) -> bool {
        self.log_reader
            .as_ref()
            .is_none_or(thread::JoinHandle::is_finished)
    }

    /// Ends it with SIGKILL.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// The lines on stderr so far.
    pub fn log(&self) -> Vec<LogLine> {
        locked(&self.output.log, |log| log.clone())
    }

    /// What came on stdout after the handshake; at most 64 KiB of it.
    pub fn stdout_noise(&self) -> Vec<u8> {
        locked(&self.output.noise, |noise| noise.clone())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(AtEnd(look)) = self.at_end.take() else {
            return;
        };
        // It may have ended already.
        self.child.start_kill().ok();
        let deadline = Instant::now() + EXIT_WAIT;
        while !self.is_log_complete() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        look(&self.log());
    }
}

/// How long a host waits for the handshake.
pub const START_LIMIT: Duration = Duration::from_mins(1);

const EXIT_WAIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(1);
const NOISE: usize = 64 << 10;
const LOG_LINES: usize = 100_000;

async fn first_line(stdout: &mut BufReader<ChildStdout>) -> io::Result<String> {
    let mut line = Vec::new();
    stdout.take(4096).read_until(b'\n', &mut line).await?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn log_reader(stderr: ChildStderr, output: Output) -> io::Result<thread::JoinHandle<()>> {
    let stderr = File::from(stderr.into_owned_fd()?);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || read_log(io::BufReader::new(stderr), &output))
}

fn read_log(mut stderr: impl io::BufRead, output: &Output) {
    let mut line = Vec::new();
    while stderr
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        output.transcript.came("stderr", line.trim_ascii_end());
        let parsed = LogLine::parse(line.trim_ascii_end());
        line.clear();
        locked(&output.log, |log| {
            if log.len() < LOG_LINES {
                log.push(parsed);
            }
        });
    }
}

async fn read_noise(mut stdout: impl AsyncRead + Unpin, output: Output) {
    let mut piece = vec![0; 4096];
    while let Ok(read) = stdout.read(&mut piece).await
        && read > 0
    {
        output
            .transcript
            .came("stdout", piece.get(..read).unwrap_or_default());
        locked(&output.noise, |noise| {
            let room = NOISE.saturating_sub(noise.len()).min(read);
            noise.extend(piece.iter().take(room));
        });
    }
}

fn locked<T, R>(shared: &Mutex<T>, look: impl FnOnce(&mut T) -> R) -> R {
    look(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}
