//! The way to a TPM: command bytes go out, response bytes come back, by a deadline.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::command::announced_size;
use crate::{Address, Error, limits};

/// Carries one command at a time.
pub trait Transport: Send {
    /// Sends a command and returns the whole response, as long as its header says.
    ///
    /// # Errors
    /// `TimedOut` when there is no response by the deadline; `InvalidData` when the header names a
    /// size that no response has, or more bytes follow. What went wrong once does not disturb the
    /// next exchange.
    fn exchange(&mut self, command: &[u8], deadline: Instant) -> io::Result<Vec<u8>>;
}

/// A TPM behind a character device or a socket.
#[derive(Debug)]
pub struct Connection {
    address: Address,
    file: Option<OwnedFd>,
    /// An exchange did not end: its response may still come, and would be taken for the next one.
    stale: bool,
}

impl Connection {
    /// Opens a TPM.
    pub fn open(address: Address, deadline: Instant) -> Result<Self, Error> {
        match connect(&address, deadline) {
            Ok(file) => Ok(Self {
                address,
                file: Some(file),
                stale: false,
            }),
            Err(source) => Err(Error::Open {
                address: address.to_string(),
                source,
            }),
        }
    }

    /// The old file is closed first, since a raw device can be opened once, and only now, since
    /// closing a device waits for the command that it still works on.
    fn usable(&mut self, deadline: Instant) -> io::Result<&OwnedFd> {
        if self.stale {
            self.file = None;
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => connect(&self.address, deadline)?,
        };
        self.stale = false;
        Ok(self.file.insert(file))
    }
}

impl Transport for Connection {
    fn exchange(&mut self, command: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
        let file = self.usable(deadline)?;
        let response = send(file, command, deadline).and_then(|()| receive(file, deadline));
        self.stale = response.is_err();
        response
    }
}

fn connect(address: &Address, deadline: Instant) -> io::Result<OwnedFd> {
    match address {
        Address::Device(path) => {
            let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let device = rustix::fs::open(path, flags, Mode::empty())?;
            // A command must not be written into a file that somebody named by mistake.
            let kind = FileType::from_raw_mode(rustix::fs::fstat(&device)?.st_mode);
            if kind != FileType::CharacterDevice {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "no character device",
                ));
            }
            Ok(device)
        }
        Address::Unix(path) => {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket =
                rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            let to = SocketAddrUnix::new(path)?;
            loop {
                match rustix::net::connect(&socket, &to) {
                    Ok(()) => return Ok(socket),
                    Err(Errno::AGAIN | Errno::INTR) => {
                        thread::sleep(limits::CONNECT_PAUSE.min(left(deadline)?));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Address::Tcp(to) => {
            let stream = TcpStream::connect_timeout(to, left(deadline)?)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream.into())
        }
    }
}

fn send(file: &OwnedFd, command: &[u8], deadline: Instant) -> io::Result<()> {
    let mut rest = command;
    while !rest.is_empty() {
        wait(file, PollFlags::OUT, deadline)?;
        match rustix::io::write(file, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// One byte more than a response may have is asked for, so that a longer one is seen.
fn receive(file: &OwnedFd, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut response = Vec::with_capacity(limits::MESSAGE);
    let mut buffer = [0; limits::MESSAGE + 1];
    loop {
        wait(file, PollFlags::IN, deadline)?;
        match rustix::io::read(file, &mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => response.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let size = announced_size(&response)
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))?;
        match size {
            Some(size) if response.len() == size => return Ok(response),
            Some(size) if response.len() > size => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            _ => {}
        }
    }
}

/// Returns when the file is ready, has an error, or was hung up: the next call says which.
fn wait(file: &OwnedFd, event: PollFlags, deadline: Instant) -> io::Result<()> {
    loop {
        let timeout = Timespec::try_from(left(deadline)?)
            .map_err(|_far| io::Error::from(io::ErrorKind::InvalidInput))?;
        match poll(&mut [PollFd::new(file, event)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_ready) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The time until the deadline, which is not zero.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    const COMMAND: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x7C];
    const RESPONSE: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 0, 0, 0xBE, 0xEF];

    /// A peer that answers the nth connection with the nth list of parts.
    fn peer(answers: Vec<Vec<Vec<u8>>>) -> (tempfile::TempDir, Address, thread::JoinHandle<()>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tpm");
        let listener = UnixListener::bind(&path).unwrap();
        let served = thread::spawn(move || {
            for parts in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut command = [0; 10];
                stream.read_exact(&mut command).unwrap();
                assert_eq!(command, COMMAND);
                for part in parts {
                    stream.write_all(&part).unwrap();
                    thread::sleep(Duration::from_millis(5));
                }
                // Held open until the other side closes.
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).unwrap();
            }
        });
        (directory, Address::Unix(path), served)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn a_response_may_come_in_parts() {
        let parts = vec![
            RESPONSE[..3].to_vec(),
            RESPONSE[3..11].to_vec(),
            RESPONSE[11..].to_vec(),
        ];
        let (_directory, address, served) = peer(vec![parts]);
        let mut connection = Connection::open(address, soon()).unwrap();
        assert_eq!(connection.exchange(&COMMAND, soon()).unwrap(), RESPONSE);
        drop(connection);
        served.join().unwrap();
    }

    #[test]
    fn after_a_missed_deadline_the_late_response_is_not_taken_for_the_next() {
        let late = vec![RESPONSE[..6].to_vec()];
        let (_directory, address, served) = peer(vec![late, vec![RESPONSE.to_vec()]]);
        let mut connection = Connection::open(address, soon()).unwrap();
        let deadline = Instant::now() + Duration::from_millis(50);
        let error = connection.exchange(&COMMAND, deadline).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(deadline.elapsed() < Duration::from_secs(2));
        assert_eq!(connection.exchange(&COMMAND, soon()).unwrap(), RESPONSE);
        drop(connection);
        served.join().unwrap();
    }

    #[test]
    fn sizes_that_do_not_fit_are_invalid() {
        let mut large = RESPONSE.to_vec();
        large[4] = 0x10;
        large[5] = 0x01;
        let mut small = RESPONSE.to_vec();
        small[5] = 9;
        let longer = [&RESPONSE[..], &[0]].concat();
        for bytes in [large, small, longer] {
            let (_directory, address, served) = peer(vec![vec![bytes]]);
            let mut connection = Connection::open(address, soon()).unwrap();
            let error = connection.exchange(&COMMAND, soon()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            drop(connection);
            served.join().unwrap();
        }
    }

    #[test]
    fn a_closed_connection_is_an_error_and_absence_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tpm");
        let listener = UnixListener::bind(&path).unwrap();
        let mut connection = Connection::open(Address::Unix(path.clone()), soon()).unwrap();
        drop(listener);
        assert!(connection.exchange(&COMMAND, soon()).is_err());
        std::fs::remove_file(&path).unwrap();
        for address in [Address::Unix(path.clone()), Address::Device(path)] {
            let error = Connection::open(address, soon()).unwrap_err();
            assert!(error.hint().unwrap().contains("no such device"), "{error}");
        }
    }

    #[test]
    fn a_file_is_no_device_and_stays_as_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Connection::open(Address::Device(file.path().into()), soon()).unwrap_err();
        assert!(error.hint().unwrap().contains("unix:"), "{error}");
        assert_eq!(std::fs::read(file.path()).unwrap(), b"");
    }
}
