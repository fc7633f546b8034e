//! The server's half of node attestation as a trait: the payload comes first, the attributes last.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::sync::{Semaphore, mpsc};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::{
    config::{Live, Plugin},
    exchange::{self, Outbound, Unexpected},
    limits::Limits,
    panics,
    proto::server_attestor::{
        AgentAttributes, AttestRequest, AttestResponse, attest_request, attest_response,
        node_attestor_server::NodeAttestor,
    },
};

/// Decides who a node is.
pub trait ServerAttestor: Plugin {
    /// One attestation: reads the payload, sends any number of challenges, and names the agent.
    ///
    /// The future is dropped when the host cancels the stream.
    ///
    /// # Errors
    /// Code and message of the status reach an agent that is not authenticated.
    fn attest(
        &self,
        settings: Arc<Self::Settings>,
        exchange: &mut ServerExchange,
    ) -> impl Future<Output = Result<AgentAttributes, Status>> + Send;
}

/// The server's end of one attestation.
#[derive(Debug)]
pub struct ServerExchange {
    /// Whether the first message was awaited.
    heard: bool,
    inbound: Streaming<AttestRequest>,
    outbound: mpsc::Sender<Result<AttestResponse, Status>>,
    client_ip: Option<IpAddr>,
    wait: Duration,
}

impl ServerExchange {
    /// The payload: never empty. Ask once; a second call waits for a second payload.
    ///
    /// # Errors
    /// What came instead.
    pub async fn payload(&mut self) -> Result<Vec<u8>, Unexpected> {
        match self.next().await?.request {
            Some(attest_request::Request::Payload(bytes)) => filled(bytes),
            Some(attest_request::Request::ChallengeResponse(_)) => Err(Unexpected::Response),
            None => Err(Unexpected::Neither),
        }
    }

    /// Sends a challenge and waits for the response: never empty.
    ///
    /// # Errors
    /// What came instead. The host forwards whatever the peer sent: a message of the wrong kind arrives as an empty response.
    pub async fn challenge(&mut self, challenge: Vec<u8>) -> Result<Vec<u8>, Unexpected> {
        let response = attest_response::Response::Challenge(challenge);
        let message = AttestResponse {
            response: Some(response),
        };
        exchange::send(&self.outbound, message, self.wait).await?;
        match self.next().await?.request {
            Some(attest_request::Request::ChallengeResponse(bytes)) => filled(bytes),
            Some(attest_request::Request::Payload(_)) => Err(Unexpected::Payload),
            None => Err(Unexpected::Neither),
        }
    }

    /// The address the agent connected from, if the host knows it (SPIRE 1.15.2 and later).
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.client_ip
    }

    /// Awaits each further message as long as this, and not [`Limits::peer_wait`].
    pub fn patience(&mut self, wait: Duration) {
        self.wait = wait;
    }

    async fn next(&mut self) -> Result<AttestRequest, Unexpected> {
        // Also if it never comes: whoever gives up has waited long enough.
        self.heard = true;
        exchange::next(&mut self.inbound, self.wait).await
    }

    /// Awaits the first message if that was not done: a refusal that overtakes it races the host's sending of it.
    async fn hear(&mut self, wait: Duration) {
        if !self.heard {
            exchange::next(&mut self.inbound, wait).await.ok();
        }
    }
}

pub(crate) struct ServerService<P: Plugin> {
    live: Arc<Live<P>>,
    room: Arc<Semaphore>,
    limits: Limits,
}

impl<P: Plugin> ServerService<P> {
    pub(crate) fn new(live: Arc<Live<P>>, limits: Limits) -> Self {
        Self {
            live,
            room: exchange::room(limits),
            limits,
        }
    }
}

#[tonic::async_trait]
impl<P: ServerAttestor> NodeAttestor for ServerService<P> {
    type AttestStream = Outbound<AttestResponse>;

    async fn attest(
        &self,
        request: Request<Streaming<AttestRequest>>,
    ) -> Result<Response<Self::AttestStream>, Status> {
        let seat = exchange::seat(&self.room)?;
        let settings = self.live.settings();
        let live = Arc::clone(&self.live);
        let wait = self.limits.peer_wait;
        let client_ip = client_ip(request.metadata());
        let inbound = request.into_inner();
        let replies = Outbound::spawn(move |outbound| async move {
            let _seat = seat;
            let mut exchange = ServerExchange {
                heard: false,
                inbound,
                outbound,
                client_ip,
                wait,
            };
            let outcome = match settings {
                Ok(settings) => panics::caught(live.plugin.attest(settings, &mut exchange)).await,
                Err(status) => Err(status),
            };
            exchange.hear(wait).await;
            let attributes = outcome?;
            if attributes.spiffe_id.is_empty() {
                return Err(Status::internal("no agent ID"));
            }
            let last = attest_response::Response::AgentAttributes(attributes);
            Ok(Some(AttestResponse {
                response: Some(last),
            }))
        });
        // The response's headers travel with the first reply: one write, and one wake-up of the host, less.
        Ok(Response::new(replies.begun().await?))
    }
}

fn filled(bytes: Vec<u8>) -> Result<Vec<u8>, Unexpected> {
    if bytes.is_empty() {
        Err(Unexpected::Empty)
    } else {
        Ok(bytes)
    }
}

/// One value that is an address; anything else is not to be relied on.
fn client_ip(metadata: &MetadataMap) -> Option<IpAddr> {
    let mut values = metadata.get_all(CLIENT_IP).iter();
    let ip = values.next()?.to_str().ok()?.parse().ok()?;
    values.next().is_none().then_some(ip)
}

const CLIENT_IP: &str = "x-forwarded-client-ip";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ip_is_one_address() {
        let check = |values: &[&'static str]| {
            let mut metadata = MetadataMap::new();
            for value in values {
                metadata.append(CLIENT_IP, value.parse().unwrap());
            }
            client_ip(&metadata).map(|ip| ip.to_string())
        };
        assert_eq!(check(&["192.0.2.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(check(&["2001:db8::1"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(check(&[]), None);
        assert_eq!(check(&[""]), None);
        assert_eq!(check(&["host.example"]), None);
        assert_eq!(check(&["192.0.2.1", "192.0.2.2"]), None);
    }
}
