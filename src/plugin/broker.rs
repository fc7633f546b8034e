//! The broker: where the host serves its services, dialled when first wanted.

use std::{
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    sync::{OnceCell, watch},
    time::timeout,
};
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    limits::{BROKER_WAIT, HOST_CALL, HOST_SERVICES, SOCKET_PATH},
    proto::go_plugin::{ConnInfo, grpc_broker_server::GrpcBroker},
};

/// The services the host offers to the plugin. Cheap to clone; all clones share one channel.
#[derive(Clone, Debug)]
pub struct HostServices(Arc<State>);

#[derive(Debug)]
struct State {
    address: watch::Sender<Option<Address>>,
    offered: watch::Sender<Option<Vec<String>>>,
    streams: watch::Sender<BrokerStreams>,
    channel: OnceCell<Channel>,
}

#[derive(Clone, Debug)]
enum Address {
    Served(String),
    Unusable,
}

/// How many broker streams are open, and whether there ever was one.
#[derive(Clone, Copy, Debug, Default)]
struct BrokerStreams {
    open: usize,
    seen: bool,
}

/// Why a host service cannot be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoHostService {
    /// The host has not said where it serves.
    #[error("the host did not say where its services are")]
    Silent,
    /// The host serves at an address that is not a local one.
    #[error("the host's services are at an address that cannot be used")]
    Address,
    /// Nobody accepts the connection.
    #[error("the host's services do not accept the connection")]
    Unreachable,
}

impl Default for HostServices {
    fn default() -> Self {
        Self(Arc::new(State {
            address: watch::Sender::new(None),
            offered: watch::Sender::new(None),
            streams: watch::Sender::new(BrokerStreams::default()),
            channel: OnceCell::new(),
        }))
    }
}

impl HostServices {
    /// Whether the host offers the service of that full name. `false` before Init.
    pub fn offers(&self, service: &str) -> bool {
        self.0
            .offered
            .borrow()
            .as_ref()
            .is_some_and(|names| names.iter().any(|name| name == service))
    }

    /// The channel to the host, dialled by the first call that wants it.
    ///
    /// # Errors
    /// After five seconds if the host does not say where, or at once if it cannot be reached. The next call tries again.
    pub async fn channel(&self) -> Result<Channel, NoHostService> {
        self.0
            .channel
            .get_or_try_init(|| self.dial())
            .await
            .cloned()
    }

    /// Init's list.
    pub(crate) fn offer(&self, mut names: Vec<String>) {
        names.truncate(HOST_SERVICES);
        self.0.offered.send_replace(Some(names));
    }

    /// Waits for Init.
    pub(crate) async fn announced(&self) {
        let mut offered = self.0.offered.subscribe();
        // The sender lives in `self`.
        offered.wait_for(Option::is_some).await.ok();
    }

    /// Waits until there was a broker stream and there is none any more.
    pub(crate) async fn abandoned(&self) {
        let mut streams = self.0.streams.subscribe();
        streams
            .wait_for(|streams| streams.seen && streams.open == 0)
            .await
            .ok();
    }

    async fn dial(&self) -> Result<Channel, NoHostService> {
        let mut address = self.0.address.subscribe();
        let found = match timeout(BROKER_WAIT, address.wait_for(Option::is_some)).await {
            Ok(Ok(address)) => address.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        let target = match found {
            Some(Address::Served(target)) => target,
            Some(Address::Unusable) => return Err(NoHostService::Address),
            None => return Err(NoHostService::Silent),
        };
        let endpoint = Endpoint::from_shared(target).map_err(|_uri| NoHostService::Address)?;
        let endpoint = endpoint.connect_timeout(HOST_CALL).timeout(HOST_CALL);
        endpoint
            .connect()
            .await
            .map_err(|_refused| NoHostService::Unreachable)
    }

    /// The first address stays: the host serves at one place for the plugin's life.
    fn record(&self, info: &ConnInfo) {
        if info.service_id == HOST_SERVICES_ID {
            let address = target(info).map_or(Address::Unusable, Address::Served);
            self.0.address.send_if_modified(|known| {
                let new = known.is_none();
                if new {
                    *known = Some(address);
                }
                new
            });
        }
    }
}

/// The number SPIRE gives its host services.
const HOST_SERVICES_ID: u32 = 1;

/// A gRPC target for a local address; nothing else is ever dialled.
fn target(info: &ConnInfo) -> Option<String> {
    match info.network.as_str() {
        "unix" => {
            let usable =
                Path::new(&info.address).is_absolute() && info.address.len() <= SOCKET_PATH;
            usable.then(|| format!("unix://{}", info.address))
        }
        "tcp" => {
            let address: SocketAddr = info.address.parse().ok()?;
            address
                .ip()
                .is_loopback()
                .then(|| format!("http://{address}"))
        }
        _ => None,
    }
}

pub(crate) struct BrokerService(pub(crate) HostServices);

#[tonic::async_trait]
impl GrpcBroker for BrokerService {
    type StartStreamStream = BrokerStream;

    async fn start_stream(
        &self,
        request: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<BrokerStream>, Status> {
        self.0.0.streams.send_modify(|streams| {
            streams.open = streams.open.saturating_add(1);
            streams.seen = true;
        });
        Ok(Response::new(BrokerStream {
            inbound: request.into_inner(),
            host: self.0.clone(),
        }))
    }
}

/// Says nothing, and is open for as long as the host keeps its side open.
pub(crate) struct BrokerStream {
    inbound: Streaming<ConnInfo>,
    host: HostServices,
}

impl Stream for BrokerStream {
    type Item = Result<ConnInfo, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match Pin::new(&mut self.inbound).poll_next(context) {
                Poll::Ready(Some(Ok(info))) => self.host.record(&info),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for BrokerStream {
    fn drop(&mut self) {
        self.host
            .0
            .streams
            .send_modify(|streams| streams.open = streams.open.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_addresses() {
        let long = format!("/{}", "a".repeat(SOCKET_PATH));
        let table = [
            ("unix", "/run/x", Some("unix:///run/x")),
            ("unix", "run/x", None),
            ("unix", long.as_str(), None),
            ("unix", "", None),
            ("tcp", "127.0.0.1:80", Some("http://127.0.0.1:80")),
            ("tcp", "[::1]:80", Some("http://[::1]:80")),
            ("tcp", "192.0.2.1:80", None),
            ("tcp", "localhost:80", None),
            ("udp", "127.0.0.1:80", None),
        ];
        for (network, address, expect) in table {
            let info = ConnInfo {
                service_id: 1,
                network: network.into(),
                address: address.into(),
                knock: None,
            };
            assert_eq!(target(&info).as_deref(), expect, "{network} {address}");
        }
    }
}
