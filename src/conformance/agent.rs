//! An attestation held with an agent's plugin.

use crate::transcript::Transcript;
use plugin::proto::agent_attestor::{
    Challenge, PayloadOrChallengeResponse, node_attestor_client::NodeAttestorClient,
    payload_or_challenge_response::Data,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// An open exchange; dropping it cancels the stream, as SPIRE does after success.
#[derive(Debug)]
pub struct AidExchange {
    challenges: Option<mpsc::Sender<Challenge>>,
    answers: Streaming<PayloadOrChallengeResponse>,
    transcript: Transcript,
}

impl AidExchange {
    pub(crate) async fn open(
        mut client: NodeAttestorClient<Channel>,
        transcript: Transcript,
    ) -> Result<Self, Status> {
        let (challenges, requests) = mpsc::channel(1);
        transcript.sent("AidAttestation", b"");
        let opened = client.aid_attestation(ReceiverStream::new(requests)).await;
        let opened = opened.inspect_err(|status| transcript.refused("AidAttestation", status));
        let answers = opened?.into_inner();
        Ok(Self {
            challenges: Some(challenges),
            answers,
            transcript,
        })
    }

    /// The plugin's next message: its data, whichever arm, or `None` at the end of the stream.
    pub async fn answer(&mut self) -> Result<Option<Data>, Status> {
        let message = self.answers.message().await;
        let message =
            message.inspect_err(|status| self.transcript.refused("AidAttestation", status))?;
        match message {
            None => {
                self.transcript.came("AidAttestation: end", b"");
                Ok(None)
            }
            Some(message) => match message.data {
                Some(data) => {
                    self.record(&data);
                    Ok(Some(data))
                }
                None => Err(Status::internal("message without data")),
            },
        }
    }

    fn record(&self, data: &Data) {
        match data {
            Data::Payload(bytes) => self.transcript.came("AidAttestation: payload", bytes),
            Data::ChallengeResponse(bytes) => {
                self.transcript.came("AidAttestation: response", bytes);
            }
        }
    }

    /// Reads the payload by SPIRE's rules: the first message, not empty.
    pub async fn payload(&mut self) -> Result<Vec<u8>, Status> {
        match self.answer().await? {
            Some(Data::Payload(payload)) if !payload.is_empty() => Ok(payload),
            Some(_) => Err(Status::internal("missing attestation payload")),
            None => Err(Status::internal(
                "plugin closed stream before returning attestation data",
            )),
        }
    }

    /// Sends a challenge and reads the response by SPIRE's rules.
    pub async fn challenge(&mut self, challenge: &[u8]) -> Result<Vec<u8>, Status> {
        self.send(challenge).await;
        match self.answer().await? {
            Some(Data::ChallengeResponse(response)) if !response.is_empty() => Ok(response),
            Some(_) => Err(Status::internal("missing challenge response")),
            None => Err(Status::internal(
                "plugin closed stream before handling the challenge",
            )),
        }
    }

    /// Sends a challenge and reads nothing.
    pub async fn send(&mut self, challenge: &[u8]) {
        self.transcript.sent("AidAttestation: challenge", challenge);
        if let Some(challenges) = &self.challenges {
            // Fails only if the plugin has ended the stream; its answer says why.
            challenges
                .send(Challenge {
                    challenge: challenge.to_vec(),
                })
                .await
                .ok();
        }
    }

    /// Ends the host's half of the stream.
    pub fn close(&mut self) {
        self.transcript.sent("AidAttestation: half-close", b"");
        self.challenges = None;
    }
}
