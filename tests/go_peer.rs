//! A program in Go from a module of these tests, which reads and writes one JSON document a line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use crate::process::spawn;
use crate::spire::built;

/// Longer than creating an RSA key in a software TPM takes.
const MESSAGE_TIME: Duration = Duration::from_mins(1);

/// The running program; it ends on drop.
#[derive(Debug)]
pub(crate) struct GoPeer {
    child: Child,
    input: ChildStdin,
    lines: Receiver<Vec<u8>>,
}

impl GoPeer {
    /// Starts the program `name` of the module `module`/`version`, built first where that has not happened yet.
    pub(crate) fn start(module: &str, version: &str, name: &str, arguments: &[&str]) -> Self {
        let program = built(&format!("{module}/build"), &[version]).join(name);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = spawn(command).expect("util-linux's setpriv is installed");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            input,
            lines,
        }
    }

    /// Gives it a message: one JSON document without line breaks.
    pub(crate) fn send(&mut self, message: &[u8]) {
        assert!(!message.contains(&b'\n'), "a message is one line");
        // It may have ended over the message before; then receiving says so.
        drop(self.input.write_all(&[message, b"\n"].concat()));
    }

    /// Its next message; `None` when it has ended.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        match self.lines.recv_timeout(MESSAGE_TIME) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no message within {MESSAGE_TIME:?}"),
        }
    }
}

impl Drop for GoPeer {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
