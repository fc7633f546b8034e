//! The native back end on other connections than a unix socket.

use std::fs;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evidence::{Hash, PcrSelection};
use rustix::io::FdFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use tpm::{Attestor, Options, open};

use crate::emulator::{Emulator, copy, credential_for, master_state, soon};

#[test]
fn a_port_answers_like_a_socket() {
    let emulator = Emulator::start_on_tcp();
    let tpm = open(&emulator.address().to_string(), soon()).unwrap();
    let mut attestor = Attestor::open(tpm, Options::default(), soon()).unwrap();
    let (credential, secret) = credential_for(&attestor);
    let opened = attestor.activate(&credential, soon()).unwrap();
    assert_eq!(opened.expose(), secret.expose());
}

/// The device is the raw end of a pseudo-terminal, with swtpm at the other.
#[test]
fn a_device_answers_like_a_socket() {
    let directory = tempfile::tempdir().unwrap();
    copy(master_state(), directory.path());
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let device = name.into_string().unwrap();
    let mut mode = rustix::termios::tcgetattr(&master).unwrap();
    mode.make_raw();
    rustix::termios::tcsetattr(&master, OptionalActions::Now, &mode).unwrap();
    // Held open, so that swtpm does not see a hang-up before and between the connections.
    let _held = fs::File::open(&device).unwrap();
    rustix::io::fcntl_setfd(&master, FdFlags::empty()).unwrap();
    let state = format!("dir={}", directory.path().display());
    let mut swtpm = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "swtpm", "chardev", "--tpm2"])
        .args([
            "--fd",
            &master.as_raw_fd().to_string(),
            "--tpmstate",
            &state,
        ])
        .args(["--flags", "not-need-init,startup-clear"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(master);

    let tpm = open(&device, soon()).unwrap();
    let mut attestor = Attestor::open(tpm, Options::default(), soon()).unwrap();
    let (credential, secret) = credential_for(&attestor);
    let opened = attestor.activate(&credential, soon()).unwrap();
    assert_eq!(opened.expose(), secret.expose());
    let selections = [PcrSelection::new(Hash::Sha256, &[0, 7])];
    attestor.quote(&[1; 32], &selections, soon()).unwrap();

    swtpm.kill().unwrap();
    swtpm.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(1);
    let silent = attestor.quote(&[1; 32], &selections, deadline);
    assert!(silent.is_err());
    assert!(deadline.elapsed() < Duration::from_secs(5));
}
