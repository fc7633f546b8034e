//! A whole machine in software: firmware with Secure Boot, a TPM, a kernel, and an initramfs that does what it is told.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::guest_disk::{Disk, script};
use crate::process::Process;
use crate::swtpm::Swtpm;

const START_TIME: Duration = Duration::from_secs(20);
/// Ten seconds on an idle machine.
const BOOT_TIME: Duration = Duration::from_mins(3);
const COMMAND_TIME: Duration = Duration::from_mins(2);
const STOP_TIME: Duration = Duration::from_mins(1);
/// What the initramfs ends each answer with.
const STATUS: &str = "guest: status ";

/// What the firmware keeps between boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecureBoot {
    /// On, with the snakeoil keys.
    On,
    /// Off: there are no keys.
    Off,
}

/// A running guest; it loses its power on drop.
#[derive(Debug)]
pub struct Guest {
    process: Process,
    line: BufReader<UnixStream>,
    _directory: TempDir,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard output and standard error.
    pub output: String,
}

impl Guest {
    /// Switches a machine on with this TPM and disk, and waits until its initramfs takes commands.
    ///
    /// The TPM is one for [`Channel::Machine`](crate::Channel::Machine); it is reset, as at every start of a machine.
    pub fn boot(disk: &Disk, tpm: &mut Swtpm, secure_boot: SecureBoot) -> Self {
        tpm.restart();
        let directory = TempDir::with_prefix("guest-").expect("a temporary directory");
        let secure_boot = match secure_boot {
            SecureBoot::On => "on",
            SecureBoot::Off => "off",
        };
        let arguments = [directory.path(), &disk.image(), tpm.control()];
        let mut arguments = arguments.map(|path| path.display().to_string()).to_vec();
        arguments.push(secure_boot.to_owned());
        let log = directory.path().join("console.log");
        let mut process = Process::start(script("machine"), &arguments, &log);
        let socket = directory.path().join("line.sock");
        let mut stream = None;
        process.wait_ready(START_TIME, || {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        });
        let stream = stream.expect("the loop above ends with one");
        let mut guest = Self {
            process,
            line: BufReader::new(stream),
            _directory: directory,
        };
        let answer = guest.answer(BOOT_TIME);
        assert_eq!(answer.status, 0, "{answer:?}");
        guest
    }

    /// Has the guest's shell run one line.
    pub fn command(&mut self, line: &str) -> Answer {
        assert!(!line.contains('\n'), "one line: {line}");
        let sent = self
            .line
            .get_mut()
            .write_all(format!("{line}\n").as_bytes());
        sent.unwrap_or_else(|error| panic!("the guest does not listen: {error}"));
        self.answer(COMMAND_TIME)
    }

    /// As [`Guest::command`], and it must succeed.
    pub fn run(&mut self, line: &str) -> String {
        let answer = self.command(line);
        assert_eq!(answer.status, 0, "{line}: {}", answer.output);
        answer.output
    }

    /// A file of the guest.
    pub fn read(&mut self, path: &str) -> Vec<u8> {
        let lines = self.run(&format!("base64 -w 0 {path}"));
        STANDARD.decode(lines).expect("base64 of the guest")
    }

    /// Writes a file in the guest.
    pub fn write(&mut self, path: &str, content: &[u8]) {
        let content = STANDARD.encode(content);
        self.run(&format!("echo {content} | base64 -d >{path}"));
    }

    /// Has the kernel switch the machine off, which tells the TPM.
    pub fn power_off(mut self) {
        let sent = self.line.get_mut().write_all(b"poweroff -f\n");
        sent.unwrap_or_else(|error| panic!("the guest does not listen: {error}"));
        self.process.wait(STOP_TIME);
    }

    /// Everything until the status of a command.
    fn answer(&mut self, limit: Duration) -> Answer {
        let timeout = self.line.get_ref().set_read_timeout(Some(limit));
        timeout.expect("a timeout can be set");
        let mut output = String::new();
        loop {
            let mut line = String::new();
            let read = self.line.read_line(&mut line);
            if !matches!(read, Ok(1..)) {
                let console = self.process.log_tail();
                panic!("{read:?} from the guest after {output:?}; its console:\n{console}");
            }
            if let Some(status) = line.strip_prefix(STATUS) {
                let status = status.trim().parse().expect("a shell's status is a number");
                // The newline before it is none of the command's.
                output.pop();
                return Answer { status, output };
            }
            output.push_str(&line);
        }
    }
}
