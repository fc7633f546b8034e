//! A host's connection: a stream socket that wakes the process for what arrives, and for room to write only when it waits for that.

use std::{
    io::{self, ErrorKind},
    os::{fd::OwnedFd, unix::net::UnixStream},
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    sync::OwnedSemaphorePermit,
};
use tonic::transport::server::Connected;

/// A connected socket in non-blocking mode.
///
/// The kernel reports room to write whenever the peer has read something. A socket that is watched for both would wake the
/// process for it several times in each exchange, to do nothing.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: AsyncFd<OwnedFd>,
    /// The same socket, watched for room to write, while it is full.
    full: Option<AsyncFd<OwnedFd>>,
    /// One of [`crate::limits::CONNECTIONS`].
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Takes over an accepted connection.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            socket: watch(stream.into(), Interest::READABLE)?,
            full: None,
            _place: None,
        })
    }

    /// Keeps a place for as long as the connection lasts.
    pub(crate) fn holding(self, place: OwnedSemaphorePermit) -> Self {
        Self {
            _place: Some(place),
            ..self
        }
    }

    fn watched_for_room(&mut self) -> io::Result<&AsyncFd<OwnedFd>> {
        let watched = match self.full.take() {
            Some(watched) => watched,
            None => watch(self.socket.get_ref().try_clone()?, Interest::WRITABLE)?,
        };
        Ok(self.full.insert(watched))
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's does not"
)]
fn watch(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, interest)
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            let asked = unfilled.len();
            let read = ready.try_io(|socket| Ok(recv(socket, unfilled, RecvFlags::empty())?));
            match read {
                Ok(Ok((read, _length))) => {
                    // Less than asked for: the socket is empty, and the kernel will tell when it is not.
                    if read > 0 && read < asked {
                        ready.clear_ready();
                    }
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match send(self.socket.get_ref(), bytes, SendFlags::NOSIGNAL) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            let watched = self.watched_for_room()?;
            let mut ready = ready!(watched.poll_write_ready(context))?;
            let sent = ready.try_io(|socket| Ok(send(socket, bytes, SendFlags::NOSIGNAL)?));
            match sent {
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(outcome) => {
                    self.full = None;
                    return Poll::Ready(outcome);
                }
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        rustix::net::shutdown(self.socket.get_ref(), rustix::net::Shutdown::Write)?;
        Poll::Ready(Ok(()))
    }

    /// Frames of one reply are copied together and leave in one call; only large ones would gain from not being copied.
    fn is_write_vectored(&self) -> bool {
        false
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, split};

    use super::*;

    fn pair() -> (Connection, Connection) {
        let (one, other) = UnixStream::pair().unwrap();
        (
            Connection::new(one).unwrap(),
            Connection::new(other).unwrap(),
        )
    }

    /// More than the kernel holds: both directions have to wait, and nothing is lost or reordered.
    #[tokio::test]
    async fn all_bytes_arrive_in_order_in_both_directions() {
        let (one, other) = pair();
        let sent: Vec<u8> = (0..=250).cycle().take(3 << 20).collect();
        let (mut one_in, mut one_out) = split(one);
        let (mut other_in, mut other_out) = split(other);
        let mut both = async |bytes: &[u8]| {
            let to_other = async {
                one_out.write_all(bytes).await.unwrap();
                one_out.shutdown().await.unwrap();
            };
            let to_one = async {
                other_out.write_all(bytes).await.unwrap();
                other_out.shutdown().await.unwrap();
            };
            let (mut at_one, mut at_other) = (Vec::new(), Vec::new());
            let ((), (), one, other) = tokio::join!(
                to_other,
                to_one,
                one_in.read_to_end(&mut at_one),
                other_in.read_to_end(&mut at_other)
            );
            assert_eq!((one.unwrap(), other.unwrap()), (bytes.len(), bytes.len()));
            (at_one, at_other)
        };
        let (at_one, at_other) = both(&sent).await;
        assert!(at_one == sent && at_other == sent);
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_is_an_error_and_not_a_signal() {
        let (mut one, other) = pair();
        drop(other);
        let error = one.write_all(&[0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(one.read(&mut [0; 10]).await.unwrap(), 0);
    }
}
