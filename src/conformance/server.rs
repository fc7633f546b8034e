//! An attestation held with a server's plugin.

use plugin::{
    AgentAttributes,
    proto::server_attestor::{
        AttestRequest, AttestResponse, attest_request, attest_response,
        node_attestor_client::NodeAttestorClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, metadata::MetadataValue, transport::Channel};

/// An open exchange; dropping it cancels the stream.
#[derive(Debug)]
pub struct AttestExchange {
    requests: Option<mpsc::Sender<AttestRequest>>,
    replies: Streaming<AttestResponse>,
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
    pub(crate) async fn open(
        mut client: NodeAttestorClient<Channel>,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Status> {
        let (sender, requests) = mpsc::channel(1);
        let mut request = Request::new(ReceiverStream::new(requests));
        for (name, value) in headers {
            let value = MetadataValue::try_from(*value)
                .map_err(|_bytes| Status::invalid_argument("header value"))?;
            request.metadata_mut().append(*name, value);
        }
        let replies = client.attest(request).await?.into_inner();
        Ok(Self {
            requests: Some(sender),
            replies,
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
        self.requests = None;
    }

    /// The plugin's next message.
    pub async fn reply(&mut self) -> Result<Reply, Status> {
        Ok(match self.replies.message().await? {
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
        })
    }

    async fn send(&mut self, request: Option<attest_request::Request>) {
        if let Some(requests) = &self.requests {
            // Fails only if the plugin has ended the stream; its reply says why.
            requests.send(AttestRequest { request }).await.ok();
        }
    }
}
