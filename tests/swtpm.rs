//! One software TPM 2.0: swtpm with its state in a temporary directory.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::port::free_ports;
use crate::process::Process;
use crate::pty::Pty;

const START_TIME: Duration = Duration::from_secs(20);

/// How a TPM is reached. swtpm serves one connection at a time on each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// A unix socket: [`Swtpm::socket`].
    #[default]
    Unix,
    /// A TCP port on loopback with the control channel one above: [`Swtpm::tcti`].
    Tcp,
    /// A character device without a resource manager behind it: [`Swtpm::device`].
    Device,
    /// In a virtual machine, which is given the control channel: [`Swtpm::control`].
    Machine,
}

/// A running software TPM; it ends, and its state is removed, on drop.
#[derive(Debug)]
pub struct Swtpm {
    process: Process,
    door: Door,
    channel: Channel,
    directory: TempDir,
}

#[derive(Debug)]
enum Door {
    Unix(PathBuf),
    Tcp(u16),
    Device(Pty),
    Machine(PathBuf),
}

impl Swtpm {
    /// Starts a TPM on the state in `directory`/state.
    pub(crate) fn start(directory: TempDir, channel: Channel) -> Self {
        let (process, door) = power_on(directory.path(), channel);
        Self {
            process,
            door,
            channel,
            directory,
        }
    }

    /// The same TPM after a loss of power, on another channel.
    pub(crate) fn moved_to(mut self, channel: Channel) -> Self {
        self.channel = channel;
        self.restart();
        self
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The unix socket for commands.
    pub fn socket(&self) -> &Path {
        match &self.door {
            Door::Unix(path) => path,
            _ => panic!("this TPM was started on {:?}", self.channel),
        }
    }

    /// The character device.
    pub fn device(&self) -> &Path {
        match &self.door {
            Door::Device(pty) => pty.path(),
            _ => panic!("this TPM was started on {:?}", self.channel),
        }
    }

    /// The unix socket for an emulator of a machine, which powers the TPM on.
    pub fn control(&self) -> &Path {
        match &self.door {
            Door::Machine(path) => path,
            _ => panic!("this TPM was started on {:?}", self.channel),
        }
    }

    /// The name that the TPM software stack gives this TPM: `swtpm:host=…,port=…`.
    pub fn tcti(&self) -> String {
        match self.door {
            Door::Tcp(port) => format!("swtpm:host=127.0.0.1,port={port}"),
            _ => panic!("this TPM was started on {:?}", self.channel),
        }
    }

    /// Cuts the power and gives it back: a TPM Reset, as in a reboot of the machine. Socket paths stay the same; the
    /// port and the device may change.
    pub fn restart(&mut self) {
        self.process.kill();
        let (process, door) = power_on(self.directory.path(), self.channel);
        self.process = process;
        self.door = door;
    }

    /// A second TPM with a copy of all that this one keeps without power: what a snapshot of a virtual machine gives.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let directory = TempDir::with_prefix("swtpm-").expect("a temporary directory");
        copy_state(self.directory.path(), directory.path());
        Self::start(directory, self.channel)
    }

    /// Goes back to an earlier [`Swtpm::duplicate`] of this TPM (or any other state), then restarts.
    pub fn roll_back(&mut self, to: &Self) {
        self.process.kill();
        copy_state(to.directory.path(), self.directory.path());
        self.restart();
    }

    /// Cuts the power for good: clients find nobody there until [`Swtpm::restart`].
    pub fn power_off(&mut self) {
        self.process.kill();
    }
}

fn power_on(directory: &Path, channel: Channel) -> (Process, Door) {
    let log = directory.join("swtpm.log");
    let state = format!("dir={}", directory.join("state").display());
    let mut arguments = ["--tpm2", "--tpmstate", &state].map(str::to_owned).to_vec();
    if channel != Channel::Machine {
        // Nobody else sends what firmware does.
        arguments.extend(["--flags", "not-need-init,startup-clear"].map(str::to_owned));
    }
    match channel {
        Channel::Unix => {
            let socket = directory.join("tpm.sock");
            // A killed swtpm leaves its socket files.
            drop(fs::remove_file(&socket));
            drop(fs::remove_file(directory.join("control.sock")));
            arguments.insert(0, "socket".to_owned());
            arguments.extend([
                "--server".to_owned(),
                format!("type=unixio,path={}", socket.display()),
            ]);
            let control = directory.join("control.sock");
            arguments.extend([
                "--ctrl".to_owned(),
                format!("type=unixio,path={}", control.display()),
            ]);
            let mut process = Process::start("swtpm", &arguments, &log);
            process.wait_ready(START_TIME, || UnixStream::connect(&socket).is_ok());
            (process, Door::Unix(socket))
        }
        Channel::Tcp => {
            let port = free_ports(2);
            arguments.insert(0, "socket".to_owned());
            arguments.extend(["--server".to_owned(), format!("type=tcp,port={port}")]);
            arguments.extend(["--ctrl".to_owned(), format!("type=tcp,port={}", port + 1)]);
            let mut process = Process::start("swtpm", &arguments, &log);
            process.wait_ready(START_TIME, || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
            });
            (process, Door::Tcp(port))
        }
        Channel::Device => {
            let (pty, tpm_side) = Pty::open();
            arguments.insert(0, "chardev".to_owned());
            arguments.extend(["--fd", "3"].map(str::to_owned));
            // A child is started with three descriptors, and swtpm takes none of these.
            let shell = ["-c", "exec swtpm \"$@\" 3<&0 </dev/null", "swtpm"].map(str::to_owned);
            let arguments = [shell.as_slice(), &arguments].concat();
            // Commands wait in the terminal until swtpm reads them: there is nothing to wait for.
            let process = Process::start_with(Stdio::from(tpm_side), &[], "sh", &arguments, &log);
            (process, Door::Device(pty))
        }
        Channel::Machine => {
            let control = directory.join("control.sock");
            drop(fs::remove_file(&control));
            arguments.insert(0, "socket".to_owned());
            arguments.extend([
                "--ctrl".to_owned(),
                format!("type=unixio,path={}", control.display()),
            ]);
            let mut process = Process::start("swtpm", &arguments, &log);
            process.wait_ready(START_TIME, || UnixStream::connect(&control).is_ok());
            (process, Door::Machine(control))
        }
    }
}

fn copy_state(from: &Path, to: &Path) {
    let (from, to) = (from.join("state"), to.join("state"));
    fs::create_dir_all(&to).expect("a state directory");
    for entry in fs::read_dir(&from).expect("a state directory") {
        let entry = entry.expect("a state file");
        // Volatile state does not survive a loss of power.
        if entry.file_name().to_string_lossy().ends_with(".permall") {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a state file can be copied");
        }
    }
}
