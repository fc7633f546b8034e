//! An attestation held with a server's plugin.

use crate::transcript::Transcript;
use plugin::{
    AgentAttributes,
    proto::server_attestor::{
        AttestRequest, AttestResponse, attest_request, attest_response,
        node_attestor_client::NodeAttestorClient,
    },
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue, transport::Channel};

/// An open exchange; dropping it cancels the stream.
#[derive(Debug)]
pub struct AttestExchange {
    requests: Option<mpsc::Sender<AttestRequest>>,
    replies: Replies,
    transcript: Transcript,
}

/// A plugin's response may begin with its first message, which may wait for ours.
#[derive(Debug)]
enum Replies {
    Due(AbortOnDrop),
    Begun(Box<Streaming<AttestResponse>>),
    /// The plugin refused before it said anything, and that was told.
    Over,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<Result<Response<Streaming<AttestResponse>>, Status>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the plugin says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// A challenge.
    Challenge(Vec<u8>),
    /// Its verdict.
    Attributes(AgentAttributes),
    /// A message with neither arm set.
    Neither,
    /// The end of the stream.
    End,
}

impl AttestExchange {
    pub(crate) fn open(
        mut client: NodeAttestorClient<Channel>,
        headers: &[(&'static str, &str)],
        transcript: Transcript,
    ) -> Result<Self, Status> {
        transcript.sent("Attest", format!("{headers:?}").as_bytes());
        let (sender, requests) = mpsc::channel(1);
        let mut request = Request::new(ReceiverStream::new(requests));
        for (name, value) in headers {
            let value = MetadataValue::try_from(*value)
                .map_err(|_bytes| Status::invalid_argument("header value"))?;
            request.metadata_mut().append(*name, value);
        }
        let opening = tokio::spawn(async move { client.attest(request).await });
        Ok(Self {
            requests: Some(sender),
            replies: Replies::Due(AbortOnDrop(opening)),
            transcript,
        })
    }

    /// Sends the payload.
    pub async fn payload(&mut self, payload: &[u8]) {
        self.send(Some(attest_request::Request::Payload(payload.to_vec())))
            .await;
    }

    /// Sends a challenge response.
    pub async fn respond(&mut self, response: &[u8]) {
        self.send(Some(attest_request::Request::ChallengeResponse(
            response.to_vec(),
        )))
        .await;
    }

    /// Sends a message with neither arm set.
    pub async fn neither(&mut self) {
        self.send(None).await;
    }

    /// Ends the host's half of the stream.
    pub fn close(&mut self) {
        self.transcript.sent("Attest: half-close", b"");
        self.requests = None;
    }

    /// The plugin's next message.
    pub async fn reply(&mut self) -> Result<Reply, Status> {
        let message = self.message().await;
        let message = message.inspect_err(|status| self.transcript.refused("Attest", status))?;
        let reply = match message {
            None => Reply::End,
            Some(AttestResponse { response: None }) => Reply::Neither,
            Some(AttestResponse {
                response: Some(response),
            }) => match response {
                attest_response::Response::Challenge(challenge) => Reply::Challenge(challenge),
                attest_response::Response::AgentAttributes(attributes) => {
                    Reply::Attributes(attributes)
                }
            },
        };
        self.record(&reply);
        Ok(reply)
    }

    fn record(&self, reply: &Reply) {
        match reply {
            Reply::Challenge(bytes) => self.transcript.came("Attest: challenge", bytes),
            Reply::Attributes(attributes) => {
                let text = format!("{attributes:?}");
                self.transcript.came("Attest: attributes", text.as_bytes());
            }
            Reply::Neither => self.transcript.came("Attest: neither", b""),
            Reply::End => self.transcript.came("Attest: end", b""),
        }
    }

    async fn message(&mut self) -> Result<Option<AttestResponse>, Status> {
        if let Replies::Due(opening) = &mut self.replies {
            let opened = (&mut opening.0).await;
            let opened = opened.map_err(|error| Status::cancelled(error.to_string()))?;
            self.replies = match opened {
                Ok(response) => Replies::Begun(Box::new(response.into_inner())),
                Err(status) => {
                    self.replies = Replies::Over;
                    return Err(status);
                }
            };
        }
        match &mut self.replies {
            Replies::Begun(replies) => replies.message().await,
            Replies::Due(_) | Replies::Over => Ok(None),
        }
    }

    async fn send(&mut self, request: Option<attest_request::Request>) {
        match &request {
            Some(attest_request::Request::Payload(bytes)) => {
                self.transcript.sent("Attest: payload", bytes);
            }
            Some(attest_request::Request::ChallengeResponse(bytes)) => {
                self.transcript.sent("Attest: response", bytes);
            }
            None => self.transcript.sent("Attest: neither", b""),
        }
        if let Some(requests) = &self.requests {
            // Fails only if the plugin has ended the stream; its reply says why.
            requests.send(AttestRequest { request }).await.ok();
        }
    }
}
