//! Between a plugin and a TPM behind a socket: commands pass, and how long each takes is written down.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tpm::{Address, CommandCode};

/// A socket that stands for a TPM; it closes when this is dropped.
#[derive(Debug)]
pub(crate) struct Tap {
    directory: TempDir,
    passed: Passed,
    serving: AbortHandle,
}

/// A command that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    pub(crate) code: CommandCode,
    /// From its last byte to the TPM to the last byte of the response.
    pub(crate) took: Duration,
}

impl Tap {
    /// Stands before the TPM at `address`; none where that is a device. Runs on the current runtime.
    pub(crate) fn before(address: &Address) -> io::Result<Option<Self>> {
        if matches!(address, Address::Device(_)) {
            return Ok(None);
        }
        let directory = TempDir::with_prefix("tpm-attestor-tap-")?;
        let listener = UnixListener::bind(directory.path().join(SOCKET))?;
        let passed = Passed::default();
        let serving = tokio::spawn(serve(listener, address.clone(), passed.clone()));
        Ok(Some(Self {
            directory,
            passed,
            serving: serving.abort_handle(),
        }))
    }

    /// Where the plugin finds it.
    pub(crate) fn address(&self) -> Address {
        Address::Unix(self.directory.path().join(SOCKET))
    }

    /// The commands since it was last asked.
    pub(crate) fn take(&self) -> Vec<Timed> {
        std::mem::take(&mut self.passed.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone, Debug, Default)]
struct Passed(Arc<Mutex<Vec<Timed>>>);

impl Passed {
    fn record(&self, timed: Timed) {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if passed.len() < RECORDS {
            passed.push(timed);
        }
    }
}

const SOCKET: &str = "tpm";
/// Commands that are remembered.
const RECORDS: usize = 100_000;
/// Tag, size, and command or response code (TPM library part 1, section 18).
const HEADER: usize = 10;
/// The first handles of their kinds (part 2, section 7.2).
const TRANSIENT: [u8; 4] = [0x80, 0, 0, 0];
const LOADED_SESSION: [u8; 4] = [0x02, 0, 0, 0];
/// Of a kind, more than software has room for.
const HANDLES: usize = 64;
/// Up to the first handle; TPM_CAP_HANDLES.
const GET_CAPABILITY: [u8; 14] = [0x80, 1, 0, 0, 0, 22, 0, 0, 0x01, 0x7A, 0, 0, 0, 1];
/// Up to the handle.
const FLUSH_CONTEXT: [u8; 10] = [0x80, 1, 0, 0, 0, 14, 0, 0, 0x01, 0x65];

async fn serve(listener: UnixListener, address: Address, passed: Passed) {
    while let Ok((plugin, _unnamed)) = listener.accept().await {
        let (address, passed) = (address.clone(), passed.clone());
        tokio::spawn(async move {
            match address {
                Address::Unix(path) => {
                    if let Ok(tpm) = UnixStream::connect(path).await {
                        relay(plugin, tpm, &passed).await.ok();
                    }
                }
                Address::Tcp(to) => {
                    if let Ok(tpm) = TcpStream::connect(to).await {
                        tpm.set_nodelay(true).ok();
                        relay(plugin, tpm, &passed).await.ok();
                    }
                }
                Address::Device(_) => {}
            }
        });
    }
}

/// A TPM in software keeps what its last connection has left in it; the kernel's resource manager does not.
async fn relay(
    plugin: UnixStream,
    mut tpm: impl AsyncRead + AsyncWrite + Unpin,
    passed: &Passed,
) -> io::Result<()> {
    // Ends when either side closes, or sends what is no message.
    pass(plugin, &mut tpm, passed).await.ok();
    for first in [TRANSIENT, LOADED_SESSION] {
        for handle in handles(&mut tpm, first).await? {
            let flush = [&FLUSH_CONTEXT[..], &handle].concat();
            tpm.write_all(&flush).await?;
            message(&mut tpm).await?;
        }
    }
    Ok(())
}

/// The first handles of a kind: TPM2_GetCapability (TPM library part 3, section 30.2).
async fn handles(
    tpm: &mut (impl AsyncRead + AsyncWrite + Unpin),
    first: [u8; 4],
) -> io::Result<Vec<[u8; 4]>> {
    let count = u32::try_from(HANDLES).unwrap_or_default().to_be_bytes();
    let ask = [&GET_CAPABILITY[..], &first, &count].concat();
    tpm.write_all(&ask).await?;
    let answer = message(tpm).await?;
    // After the header: moreData, the capability, and the count.
    let list = answer.get(HEADER + 9..).unwrap_or_default();
    let (handles, _rest) = list.as_chunks();
    Ok(handles.iter().take(HANDLES).copied().collect())
}

async fn pass(
    mut plugin: UnixStream,
    tpm: &mut (impl AsyncRead + AsyncWrite + Unpin),
    passed: &Passed,
) -> io::Result<()> {
    loop {
        let command = message(&mut plugin).await?;
        tpm.write_all(&command).await?;
        let sent = Instant::now();
        let response = message(tpm).await?;
        passed.record(Timed {
            code: CommandCode(code(&command)),
            took: sent.elapsed(),
        });
        plugin.write_all(&response).await?;
    }
}

/// A command or a response, whole.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut message = vec![0; HEADER];
    stream.read_exact(&mut message).await?;
    let announced = word(&message, 2).and_then(|size| usize::try_from(size).ok());
    let size = announced
        .filter(|size| (HEADER..=tpm::limits::MESSAGE).contains(size))
        .ok_or(io::ErrorKind::InvalidData)?;
    message.resize(size, 0);
    let body = message.get_mut(HEADER..).unwrap_or_default();
    stream.read_exact(body).await?;
    Ok(message)
}

fn code(command: &[u8]) -> u32 {
    word(command, 6).unwrap_or_default()
}

fn word(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(code: u32, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(HEADER + body.len()).unwrap();
        [
            &[0x80, 1][..],
            &size.to_be_bytes(),
            &code.to_be_bytes(),
            body,
        ]
        .concat()
    }

    /// Answers every command with success and the command itself, after a while.
    async fn parrot(listener: UnixListener, pause: Duration) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            while let Ok(command) = message(&mut stream).await {
                tokio::time::sleep(pause).await;
                stream.write_all(&framed(0, &command)).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn commands_pass_unchanged_and_are_timed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tpm");
        let pause = Duration::from_millis(20);
        let tpm = tokio::spawn(parrot(UnixListener::bind(&path).unwrap(), pause));
        let tap = Tap::before(&Address::Unix(path)).unwrap().unwrap();
        let Address::Unix(socket) = tap.address() else {
            panic!("a socket")
        };
        for command in [framed(0x158, &[7; 100]), framed(0x17E, &[])] {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(&command).await.unwrap();
            assert_eq!(message(&mut stream).await.unwrap(), framed(0, &command));
        }
        let passed = tap.take();
        let codes: Vec<_> = passed.iter().map(|timed| timed.code).collect();
        assert_eq!(codes, [CommandCode::QUOTE, CommandCode::PCR_READ]);
        assert!(passed.iter().all(|timed| timed.took >= pause));
        assert!(tap.take().is_empty());
        tpm.abort();
    }

    #[tokio::test]
    async fn what_a_connection_leaves_in_the_tpm_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tpm");
        let listener = UnixListener::bind(&path).unwrap();
        let tpm = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut flushed = Vec::new();
            while let Ok(command) = message(&mut stream).await {
                let parameters = &command[HEADER..];
                let body = match code(&command) {
                    // Two handles of each kind, from the first on.
                    0x17A => {
                        let first = &parameters[4..8];
                        let second = [first[0], 0, 0, 1];
                        [&[0, 0, 0, 0, 1, 0, 0, 0, 2][..], first, &second].concat()
                    }
                    0x165 => {
                        flushed.push(word(parameters, 0).unwrap());
                        Vec::new()
                    }
                    _ => Vec::new(),
                };
                stream.write_all(&framed(0, &body)).await.unwrap();
            }
            flushed
        });
        let tap = Tap::before(&Address::Unix(path)).unwrap().unwrap();
        let Address::Unix(socket) = tap.address() else {
            panic!("a socket")
        };
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        stream.write_all(&framed(0x17E, &[])).await.unwrap();
        message(&mut stream).await.unwrap();
        drop(stream);
        assert_eq!(
            tpm.await.unwrap(),
            [0x8000_0000, 0x8000_0001, 0x0200_0000, 0x0200_0001]
        );
        // None of it was the plugin's.
        assert_eq!(tap.take().len(), 1);
    }

    #[tokio::test]
    async fn what_is_no_command_ends_the_connection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tpm");
        let tpm = tokio::spawn(parrot(UnixListener::bind(&path).unwrap(), Duration::ZERO));
        let tap = Tap::before(&Address::Unix(path)).unwrap().unwrap();
        let Address::Unix(socket) = tap.address() else {
            panic!("a socket")
        };
        for bytes in [[0xFF; HEADER], [0; HEADER]] {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        }
        assert!(tap.take().is_empty());
        tpm.abort();
    }

    #[tokio::test]
    async fn nothing_stands_before_a_device() {
        let device = Address::Device("/dev/tpmrm0".into());
        assert!(Tap::before(&device).unwrap().is_none());
    }
}
