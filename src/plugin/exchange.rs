//! What both sides' exchanges share: one bounded wait for a message, and the names of what may come instead.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::AbortHandle,
    time::timeout,
};
use tokio_stream::Stream;
use tonic::{Code, Status, Streaming};

use crate::limits::Limits;

/// What came instead of the message that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unexpected {
    /// A payload where a challenge response was due.
    #[error("payload sent twice")]
    Payload,
    /// A challenge response where the payload was due.
    #[error("challenge response sent before any challenge")]
    Response,
    /// A message with neither arm set.
    #[error("message carries neither payload nor challenge response")]
    Neither,
    /// The right message without content.
    #[error("message is empty")]
    Empty,
    /// The end of the stream, or its cancellation.
    #[error("stream closed")]
    Closed,
    /// Nothing, for as long as [`crate::Limits::peer_wait`] allows.
    #[error("nothing received in time")]
    Late,
    /// A message larger than [`crate::Limits::message_bytes`].
    #[error("message is too large")]
    TooLarge,
    /// Bytes that are no message.
    #[error("message cannot be read")]
    Broken,
}

impl From<Unexpected> for Status {
    /// The code by whose fault it is; the text is constant.
    fn from(unexpected: Unexpected) -> Self {
        let code = match unexpected {
            Unexpected::Payload
            | Unexpected::Response
            | Unexpected::Neither
            | Unexpected::Empty
            | Unexpected::Broken => Code::InvalidArgument,
            Unexpected::Closed => Code::Cancelled,
            Unexpected::Late => Code::DeadlineExceeded,
            Unexpected::TooLarge => Code::ResourceExhausted,
        };
        Self::new(code, unexpected.to_string())
    }
}

/// The next message of a stream, within `wait`.
pub(crate) async fn next<M>(inbound: &mut Streaming<M>, wait: Duration) -> Result<M, Unexpected> {
    match timeout(wait, inbound.message()).await {
        Err(_elapsed) => Err(Unexpected::Late),
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(Unexpected::Closed),
        Ok(Err(status)) => Err(match status.code() {
            // What tonic answers to a length beyond the decoding limit.
            Code::OutOfRange => Unexpected::TooLarge,
            Code::Internal => Unexpected::Broken,
            _ => Unexpected::Closed,
        }),
    }
}

/// Hands a message to the response stream, within `wait`.
pub(crate) async fn send<M>(
    outbound: &mpsc::Sender<Result<M, Status>>,
    message: M,
    wait: Duration,
) -> Result<(), Unexpected> {
    match timeout(wait, outbound.send(Ok(message))).await {
        Err(_elapsed) => Err(Unexpected::Late),
        Ok(Err(_closed)) => Err(Unexpected::Closed),
        Ok(Ok(())) => Ok(()),
    }
}

/// As many seats as there may be exchanges.
pub(crate) fn room(limits: Limits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(
        usize::try_from(limits.exchanges).unwrap_or(Semaphore::MAX_PERMITS),
    ))
}

/// A seat for one exchange, given back when dropped.
pub(crate) fn seat(room: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Status> {
    Arc::clone(room)
        .try_acquire_owned()
        .map_err(|_full| Status::resource_exhausted("too many attestations at the same time"))
}

/// A response stream fed by a task that ends with it.
#[derive(Debug)]
pub(crate) struct Outbound<M> {
    first: Option<M>,
    messages: mpsc::Receiver<Result<M, Status>>,
    task: AbortHandle,
}

impl<M: Send + 'static> Outbound<M> {
    /// Runs the exchange; what it returns, a last message or an error, ends the stream.
    pub(crate) fn spawn<E, F>(exchange: E) -> Self
    where
        E: FnOnce(mpsc::Sender<Result<M, Status>>) -> F,
        F: Future<Output = Result<Option<M>, Status>> + Send + 'static,
    {
        let (sender, messages) = mpsc::channel(1);
        let work = exchange(sender.clone());
        let task = tokio::spawn(async move {
            if let Some(last) = work.await.transpose() {
                // Fails only if the host is gone, and then nobody is left to tell.
                sender.send(last).await.ok();
            }
        });
        Self {
            first: None,
            messages,
            task: task.abort_handle(),
        }
    }

    /// The stream once it has its first message; an error that comes instead is the whole answer.
    pub(crate) async fn begun(mut self) -> Result<Self, Status> {
        self.first = self.messages.recv().await.transpose()?;
        Ok(self)
    }
}

impl<M> Drop for Outbound<M> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<M: Unpin> Stream for Outbound<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.messages.poll_recv(context),
        }
    }
}
