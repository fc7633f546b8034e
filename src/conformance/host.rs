//! Loading a plugin as SPIRE loads it: start, connect, broker, Init.

use std::{collections::BTreeSet, io, process::ExitStatus, sync::Arc};

use plugin::proto::{
    go_plugin::{
        ConnInfo, grpc_broker_client::GrpcBrokerClient, grpc_stdio_client::GrpcStdioClient,
    },
    init::{InitRequest, init_client::InitClient},
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    handshake::{BadHandshake, Handshake},
    host_services::{self, HostServices},
    loaded::Loaded,
    log::LogLine,
    process::{AtEnd, Process, START_LIMIT},
    subject::Subject,
};

/// A host about to load a plugin.
#[derive(Clone, Debug, Default)]
pub struct Host {
    broker: Broker,
    agents: BTreeSet<String>,
    at_end: Option<AtEnd>,
    further: Vec<String>,
}

/// What the host does with the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Broker {
    /// Opens the stream and says where its services are.
    #[default]
    Serving,
    /// Opens the stream, offers services at Init, and never says where.
    Silent,
    /// Does not open the stream, and offers nothing.
    Absent,
}

/// Why a plugin is not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotLoaded {
    /// The process cannot be started.
    #[error("cannot start the plugin: {0}")]
    Spawn(#[source] io::Error),
    /// It ended without a handshake.
    #[error("plugin exited before the handshake")]
    Exited {
        /// How it ended; `None` if it only closed its stdout.
        status: Option<ExitStatus>,
        /// What it wrote on stderr.
        log: Vec<LogLine>,
    },
    /// No line within 60 seconds.
    #[error("timeout while waiting for plugin to start")]
    StartTimeout,
    /// A line that is no handshake.
    #[error(transparent)]
    Handshake(#[from] BadHandshake),
    /// Nobody accepts at the address.
    #[error("cannot connect to the plugin: {0}")]
    Connect(#[source] tonic::transport::Error),
    /// The host's own socket.
    #[error("cannot serve the host services: {0}")]
    HostServices(#[source] io::Error),
    /// The broker stream is not accepted.
    #[error("broker closed: {0}")]
    Broker(#[source] Box<Status>),
    /// Init failed.
    #[error("Init failed: {0}")]
    Init(#[source] Box<Status>),
}

/// What must live as long as the plugin is loaded.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    pub(crate) services: Option<HostServices>,
    pub(crate) _directory: TempDir,
    pub(crate) _broker: Option<BrokerStream>,
}

/// Both ends of the stream, held open.
#[derive(Debug)]
pub(crate) struct BrokerStream {
    outbound: mpsc::Sender<ConnInfo>,
    _inbound: Streaming<ConnInfo>,
}

impl Host {
    /// A host that behaves as SPIRE does.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another behaviour of the broker.
    #[must_use]
    pub fn broker(mut self, broker: Broker) -> Self {
        self.broker = broker;
        self
    }

    /// An agent that the server knows already.
    #[must_use]
    pub fn agent(mut self, id: impl Into<String>) -> Self {
        self.agents.insert(id.into());
        self
    }

    /// Offers a service of this full name at Init too, which is not served.
    #[must_use]
    pub fn offering(mut self, name: impl Into<String>) -> Self {
        self.further.push(name.into());
        self
    }

    /// Has `look` see everything that a plugin has logged, once its process has ended or was dropped; dropping it waits
    /// for the end.
    #[must_use]
    pub fn at_end(mut self, look: impl Fn(&[LogLine]) + Send + Sync + 'static) -> Self {
        self.at_end = Some(AtEnd(Arc::new(look)));
        self
    }

    /// Starts the plugin, connects, and calls Init.
    pub async fn load(&self, subject: &Subject) -> Result<Loaded, NotLoaded> {
        let (mut process, handshake) = Process::start(subject, START_LIMIT).await?;
        if let Some(look) = &self.at_end {
            process.at_end(look.clone());
        }
        let connection = self.connect(subject, &handshake).await?;
        let mut host_service_names = match self.broker {
            Broker::Serving | Broker::Silent => host_services::offered(subject.side),
            Broker::Absent => Vec::new(),
        };
        host_service_names.extend(self.further.iter().cloned());
        let names = InitClient::new(connection.channel.clone())
            .init(InitRequest { host_service_names })
            .await
            .map_err(|status| NotLoaded::Init(Box::new(status)))?
            .into_inner()
            .plugin_service_names;
        Ok(Loaded::new(process, handshake, connection, names))
    }

    async fn connect(
        &self,
        subject: &Subject,
        handshake: &Handshake,
    ) -> Result<Connection, NotLoaded> {
        let channel = dial(handshake).await?;
        let directory = tempfile::tempdir().map_err(NotLoaded::HostServices)?;
        let socket = directory.path().join("host");
        // A tolerated service: its absence is no failure.
        GrpcStdioClient::new(channel.clone())
            .stream_stdio(())
            .await
            .ok();
        let mut broker = None;
        let mut services = None;
        if self.broker != Broker::Absent {
            let stream = open_broker(&channel).await?;
            if self.broker == Broker::Serving {
                let listening = HostServices::listen(&socket, subject.side, self.agents.clone());
                services = Some(listening.map_err(NotLoaded::HostServices)?);
                let address = socket.display().to_string();
                let info = ConnInfo {
                    service_id: 1,
                    network: "unix".into(),
                    address,
                    knock: None,
                };
                // Fails only if the stream has ended, which the plugin's next call shows.
                stream.outbound.send(info).await.ok();
            }
            broker = Some(stream);
        }
        Ok(Connection {
            channel,
            services,
            _directory: directory,
            _broker: broker,
        })
    }
}

async fn dial(handshake: &Handshake) -> Result<Channel, NotLoaded> {
    Endpoint::from_shared(handshake.target())
        .map_err(NotLoaded::Connect)?
        .origin(tonic::codegen::http::Uri::from_static("http://unused"))
        .connect()
        .await
        .map_err(NotLoaded::Connect)
}

async fn open_broker(channel: &Channel) -> Result<BrokerStream, NotLoaded> {
    let (outbound, requests) = mpsc::channel(1);
    let inbound = GrpcBrokerClient::new(channel.clone())
        .start_stream(ReceiverStream::new(requests))
        .await
        .map_err(|status| NotLoaded::Broker(Box::new(status)))?
        .into_inner();
    Ok(BrokerStream {
        outbound,
        _inbound: inbound,
    })
}
