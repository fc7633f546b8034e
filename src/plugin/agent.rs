//! The agent's half of node attestation as a trait: the plugin speaks first.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, mpsc};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    config::{Live, Plugin},
    exchange::{self, Outbound, Unexpected},
    limits::Limits,
    panics,
    proto::agent_attestor::{
        Challenge, PayloadOrChallengeResponse, node_attestor_server::NodeAttestor,
        payload_or_challenge_response::Data,
    },
};

/// Attests the machine it runs on.
pub trait AgentAttestor: Plugin {
    /// One attestation: sends the payload, then one response for each challenge, and returns when it expects no more.
    ///
    /// The future is dropped when the host is satisfied: success arrives as a cancellation.
    ///
    /// # Errors
    /// The status is what SPIRE Agent logs.
    fn attest(
        &self,
        settings: Arc<Self::Settings>,
        exchange: &mut AgentExchange,
    ) -> impl Future<Output = Result<(), Status>> + Send;
}

/// The agent's end of one attestation.
#[derive(Debug)]
pub struct AgentExchange {
    inbound: Streaming<Challenge>,
    outbound: mpsc::Sender<Result<PayloadOrChallengeResponse, Status>>,
    wait: Duration,
}

impl AgentExchange {
    /// Sends the payload; once, before anything else.
    ///
    /// # Errors
    /// [`Unexpected::Empty`] for no bytes, which the host would refuse; [`Unexpected::Closed`] or [`Unexpected::Late`] if the host does not take it.
    pub async fn payload(&mut self, payload: Vec<u8>) -> Result<(), Unexpected> {
        self.send(Data::Payload, payload).await
    }

    /// Waits for the server's challenge. May be empty: its content is the server's affair.
    ///
    /// # Errors
    /// [`Unexpected::Closed`] when there is none to come.
    pub async fn challenge(&mut self) -> Result<Vec<u8>, Unexpected> {
        exchange::next(&mut self.inbound, self.wait)
            .await
            .map(|message| message.challenge)
    }

    /// Answers the challenge.
    ///
    /// # Errors
    /// As [`AgentExchange::payload`].
    pub async fn respond(&mut self, response: Vec<u8>) -> Result<(), Unexpected> {
        self.send(Data::ChallengeResponse, response).await
    }

    async fn send(&mut self, arm: fn(Vec<u8>) -> Data, bytes: Vec<u8>) -> Result<(), Unexpected> {
        if bytes.is_empty() {
            return Err(Unexpected::Empty);
        }
        let message = PayloadOrChallengeResponse {
            data: Some(arm(bytes)),
        };
        exchange::send(&self.outbound, message, self.wait).await
    }
}

pub(crate) struct AgentService<P: Plugin> {
    live: Arc<Live<P>>,
    room: Arc<Semaphore>,
    limits: Limits,
}

impl<P: Plugin> AgentService<P> {
    pub(crate) fn new(live: Arc<Live<P>>, limits: Limits) -> Self {
        Self {
            live,
            room: exchange::room(limits),
            limits,
        }
    }
}

#[tonic::async_trait]
impl<P: AgentAttestor> NodeAttestor for AgentService<P> {
    type AidAttestationStream = Outbound<PayloadOrChallengeResponse>;

    /// Returns at once: the host sends nothing before it has the payload.
    async fn aid_attestation(
        &self,
        request: Request<Streaming<Challenge>>,
    ) -> Result<Response<Self::AidAttestationStream>, Status> {
        let settings = self.live.settings()?;
        let seat = exchange::seat(&self.room)?;
        let live = Arc::clone(&self.live);
        let wait = self.limits.peer_wait;
        let inbound = request.into_inner();
        Ok(Response::new(Outbound::spawn(move |outbound| async move {
            let _seat = seat;
            let mut exchange = AgentExchange {
                inbound,
                outbound,
                wait,
            };
            panics::caught(live.plugin.attest(settings, &mut exchange))
                .await
                .map(|()| None)
        })))
    }
}
