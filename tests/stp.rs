//! The other end of an attestation in the community TPM plugin's wire format: an independent implementation in Go.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use crate::process::spawn;
use crate::spire::built;

/// Longer than creating an RSA key in a software TPM takes.
const MESSAGE_TIME: Duration = Duration::from_secs(60);

/// One attestation as an agent, or as a server, that knows nothing of our extensions; it ends on drop.
#[derive(Debug)]
pub struct StpPeer {
    child: Child,
    input: ChildStdin,
    lines: Receiver<Vec<u8>>,
}

impl StpPeer {
    /// On the library that the plugin used up to its version 1.9: AKs are RSA.
    pub const OLDER: &str = "v1";
    /// On the library that takes ECC AKs, too.
    pub const CURRENT: &str = "v2";

    /// An agent with the TPM behind a unix socket. It writes the payload, reads the challenge and writes the response.
    ///
    /// It opens the TPM twice and leaves no room for others meanwhile: give it a resource manager.
    pub fn agent(library: &str, socket: &Path) -> Self {
        Self::start(library, &["agent", &socket.display().to_string()])
    }

    /// A server. It reads the payload, writes the challenge, reads the response, and writes its verdict: a JSON object
    /// with the booleans `accepted` and `has_certificate` and the EK's `hash`.
    pub fn server(library: &str) -> Self {
        Self::start(library, &["server"])
    }

    /// Gives it a message: one JSON document without line breaks.
    pub fn send(&mut self, message: &[u8]) {
        assert!(!message.contains(&b'\n'), "a message is one line");
        // It may have ended over the message before; then receiving says so.
        drop(self.input.write_all(&[message, b"\n"].concat()));
    }

    /// Its next message; `None` when it has ended, as it does on what it cannot accept.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        match self.lines.recv_timeout(MESSAGE_TIME) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no message within {MESSAGE_TIME:?}"),
        }
    }

    fn start(library: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(built("stp/build", &[library]).join("stp-peer"));
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
}

impl Drop for StpPeer {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
