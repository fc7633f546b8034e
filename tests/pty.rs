//! A pseudo-terminal in raw mode: the nearest thing to a TPM character device without a driver.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// One pseudo-terminal. The client side is held open here, so that the TPM survives its clients.
#[derive(Debug)]
pub(crate) struct Pty {
    path: PathBuf,
    _client: OwnedFd,
}

impl Pty {
    /// Opens one, and returns the TPM's side of it too.
    pub(crate) fn open() -> (Self, OwnedFd) {
        let tpm = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudo-terminal");
        grantpt(&tpm).expect("a pseudo-terminal can be granted");
        unlockpt(&tpm).expect("a pseudo-terminal can be unlocked");
        let name = ptsname(&tpm, Vec::new()).expect("a pseudo-terminal has a name");
        let path = PathBuf::from(OsString::from_vec(name.into_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let client = open(&path, flags, Mode::empty()).expect("a pseudo-terminal opens");
        let mut settings = tcgetattr(&client).expect("a pseudo-terminal has settings");
        settings.make_raw();
        tcsetattr(&client, OptionalActions::Now, &settings).expect("a pseudo-terminal can be raw");
        (
            Self {
                path,
                _client: client,
            },
            tpm,
        )
    }

    /// The path that a client opens.
    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }
}
