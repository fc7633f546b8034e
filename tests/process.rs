//! Child processes that cannot outlive the test, and commands that run to their end.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::secrets::Secrets;
use crate::wait::{until, until_some};

/// Seconds that a command run to its end may take.
const COMMAND_SECONDS: &str = "60";
/// Bytes of a log that a failure report quotes.
const LOG_TAIL: usize = 4000;

/// A running child; killed on drop, and by the kernel when this process dies.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; its standard output and error are appended to the file `log`.
    pub fn start<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[S], log: &Path) -> Self {
        Self::start_with(Stdio::null(), &[], program, arguments, log)
    }

    /// As [`Process::start`], with a standard input and further environment variables.
    pub(crate) fn start_with<S: AsRef<OsStr>>(
        input: Stdio,
        environment: &[(String, String)],
        program: impl AsRef<OsStr>,
        arguments: &[S],
        log: &Path,
    ) -> Self {
        let name = Path::new(&program)
            .file_name()
            .unwrap_or(program.as_ref())
            .to_string_lossy()
            .into_owned();
        let output = open_log(log);
        let errors = output.try_clone().expect("a log file can be duplicated");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(input).stdout(output).stderr(errors);
        let child =
            spawn(command).unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self {
            child,
            name,
            log: log.to_owned(),
        }
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .expect("a child that was not waited for can be signalled");
    }

    /// The exit status, if the process has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for the process to end by itself; fails the test with its log when `limit` has passed.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!(
            "the end of {}; its log is {}",
            self.name,
            self.log.display()
        );
        until_some(&what, limit, || self.exit_status())
    }

    /// Waits until `ready` returns true; fails the test with the log if the process ends first or `limit` passes.
    pub(crate) fn wait_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) {
        let what = format!("{} is ready", self.name);
        until(&what, limit, || {
            if let Some(status) = self.exit_status() {
                panic!(
                    "{} ended with {status} before it was ready:\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            ready()
        });
    }

    /// Asks the process to end with SIGTERM, and kills it when `limit` has passed; true if it ended by itself.
    pub fn stop(&mut self, limit: Duration) -> bool {
        if self.exit_status().is_some() {
            return true;
        }
        self.signal(Signal::TERM);
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if self.exit_status().is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        false
    }

    /// Kills the process and reaps it.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Everything that the process has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("the log was created at the start"))
            .into_owned()
    }

    /// The lines of the log that are JSON objects, as SPIRE's are.
    pub fn log_records(&self) -> Vec<Value> {
        let parsed = |line: &str| serde_json::from_str(line).ok().filter(Value::is_object);
        self.log().lines().filter_map(parsed).collect()
    }

    /// Waits until the log holds `text`; fails the test with the end of the log when `limit` has passed.
    pub fn log_contains(&self, text: &str, limit: Duration) {
        self.log_contains_times(text, 1, limit);
    }

    /// Waits until the log holds `text` at least `times` times.
    pub fn log_contains_times(&self, text: &str, times: usize, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.log().matches(text).count() < times {
            assert!(
                Instant::now() < deadline,
                "{} did not log {text:?} {times} times in {limit:?}:\n{}",
                self.name,
                self.log_tail()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of the log, for a failure report.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let mut begin = log.len().saturating_sub(LOG_TAIL);
        while !log.is_char_boundary(begin) {
            begin += 1;
        }
        log.get(begin..).unwrap_or_default().to_owned()
    }
}

impl Drop for Process {
    /// Nothing that it has logged may be secret.
    fn drop(&mut self) {
        self.kill();
        Secrets::known().must_not_be_in(&self.name, &self.log());
    }
}

/// The result of a command that may fail by intention.
#[derive(Debug)]
pub struct Tool {
    /// Whether the exit status was zero.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Tool {
    /// Runs `program` to its end, at most a minute.
    pub fn run<S: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: &[S],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new("timeout");
        command.arg(COMMAND_SECONDS).arg(&program).args(arguments);
        command
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("coreutils' timeout is installed");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let tool = Self {
            success: status.success(),
            stdout: text(stdout),
            stderr: text(stderr),
        };
        let name = Path::new(&program).display().to_string();
        Secrets::known().must_not_be_in(&name, &tool.stdout);
        Secrets::known().must_not_be_in(&name, &tool.stderr);
        tool
    }
}

/// Runs `program` to its end and returns its standard output; fails the test if the command fails.
pub fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: &[S],
    environment: &[(&str, &str)],
) -> String {
    let name = Path::new(&program).display().to_string();
    let Tool {
        success,
        stdout,
        stderr,
    } = Tool::run(program, arguments, environment);
    assert!(success, "{name} failed:\n{stdout}\n{stderr}");
    stdout
}

fn open_log(path: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Starts a command from a thread that never ends: the parent-death signal is tied to the thread that forked, and a
/// part shared between tests must outlive the test that happened to start it.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Job = (Command, Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in jobs {
                // Whoever asked has gone if this fails, and the child with the reply is theirs to lose.
                drop(reply.send(command.spawn()));
            }
        });
        sender
    });
    let (reply, child) = mpsc::channel();
    spawner
        .send((command, reply))
        .expect("the spawner never ends");
    child.recv().expect("the spawner always answers")
}
