//! A plugin served to the host that started this process, from handshake to exit.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    process::{self, ExitCode},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Server};
use tonic_health::ServingStatus;

use crate::{
    admission::Guests,
    agent::{AgentAttestor, AgentService},
    broker::BrokerService,
    composer::{ComposerService, CredentialComposer},
    config::{ConfigService, Live, Plugin},
    environment::Launch,
    infrastructure::{ControllerService, HEALTH_NAME, InitService, Retirement, StdioService},
    key_manager::{KeyManager, KeyManagerService},
    lifecycle::{self, End, Signals},
    limits::{
        CANCELLED_UNSEEN, CONNECTION_WINDOW, DRAIN, HEADERS, KEY_REQUEST, Limits, SPARE_STREAMS,
        STREAM_WINDOW,
    },
    log, panics,
    proto::{
        agent_attestor::node_attestor_server::NodeAttestorServer as AgentServer,
        config::config_server::{ConfigServer, SERVICE_NAME as CONFIG},
        credential_composer::credential_composer_server::CredentialComposerServer as ComposerServer,
        go_plugin::{
            grpc_broker_server::GrpcBrokerServer, grpc_controller_server::GrpcControllerServer,
            grpc_stdio_server::GrpcStdioServer,
        },
        init::init_server::InitServer,
        key_manager::key_manager_server::KeyManagerServer,
        server_attestor::node_attestor_server::NodeAttestorServer as ServerServer,
    },
    routes::{Routes, Servable},
    server::{ServerAttestor, ServerService},
    socket::{self, NoSocket, SocketDirectory},
};

/// A plugin about to be served.
#[derive(Debug)]
pub struct Service<P> {
    plugin: P,
    limits: Limits,
}

impl<P: Plugin> Service<P> {
    /// Serves `plugin` within the default [`Limits`].
    pub fn new(plugin: P) -> Self {
        Self {
            plugin,
            limits: Limits::default(),
        }
    }

    /// Other limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves as SPIRE Agent's node attestor until the host is done with it. Return the code from `main` at once.
    pub async fn serve_agent(self, launch: Launch) -> ExitCode
    where
        P: AgentAttestor,
    {
        let limits = self.limits;
        let live = Live::new(self.plugin);
        let attestor = AgentServer::new(AgentService::new(Arc::clone(&live), limits))
            .max_decoding_message_size(limits.message_bytes);
        serve(live, limits, launch, Guests::Users, attestor).await
    }

    /// Serves as SPIRE Server's node attestor until the host is done with it. Return the code from `main` at once.
    pub async fn serve_server(self, launch: Launch) -> ExitCode
    where
        P: ServerAttestor,
    {
        let limits = self.limits;
        let live = Live::new(self.plugin);
        let attestor = ServerServer::new(ServerService::new(Arc::clone(&live), limits))
            .max_decoding_message_size(limits.message_bytes);
        serve(live, limits, launch, Guests::Users, attestor).await
    }

    /// Serves as SPIRE Agent's key manager, to the process that started this one only, until the host is done with it.
    /// Return the code from `main` at once.
    pub async fn serve_key_manager(self, launch: Launch) -> ExitCode
    where
        P: KeyManager,
    {
        let Some(parent) = launch.parent else {
            log::error(NO_PARENT);
            return ExitCode::FAILURE;
        };
        let limits = self.limits;
        let live = Live::new(self.plugin);
        let keys = KeyManagerServer::new(KeyManagerService(Arc::clone(&live)))
            .max_decoding_message_size(limits.message_bytes.min(KEY_REQUEST));
        serve(live, limits, launch, Guests::Parent(parent), keys).await
    }

    /// Serves as SPIRE Server's credential composer until the host is done with it. Return the code from `main` at once.
    pub async fn serve_credential_composer(self, launch: Launch) -> ExitCode
    where
        P: CredentialComposer,
    {
        let limits = self.limits;
        let live = Live::new(self.plugin);
        let composer = ComposerServer::new(ComposerService(Arc::clone(&live)))
            .max_decoding_message_size(limits.message_bytes);
        serve(live, limits, launch, Guests::Users, composer).await
    }
}

const NO_PARENT: &str = "the process that started this plugin is of another PID namespace: it cannot be told from others, and none is served";

/// Why the plugin could not be served.
#[derive(Debug, thiserror::Error)]
enum NotServed {
    #[error(transparent)]
    Socket(#[from] NoSocket),
    #[error("cannot take over signals: {0}")]
    Signals(#[source] io::Error),
    #[error("cannot write the handshake line: {0}")]
    Handshake(#[source] io::Error),
}

async fn serve<P: Plugin, S>(
    live: Arc<Live<P>>,
    limits: Limits,
    launch: Launch,
    guests: Guests,
    service: S,
) -> ExitCode
where
    S: Servable,
{
    let retirement = Retirement::new(Arc::clone(&live));
    let shutdown = Arc::new(Notify::new());
    let (health, health_server) = tonic_health::server::health_reporter();
    health
        .set_service_status(HEALTH_NAME, ServingStatus::Serving)
        .await;
    let init = InitService {
        host: launch.host.clone(),
        retirement: Arc::clone(&retirement),
        services: vec![S::NAME.to_owned(), CONFIG.to_owned()],
    };
    let routes = Routes::default()
        .with(service)
        .with(ConfigServer::new(ConfigService(live)))
        .with(InitServer::new(init))
        .with(GrpcBrokerServer::new(BrokerService(launch.host.clone())))
        .with(GrpcStdioServer::new(StdioService))
        .with(GrpcControllerServer::new(ControllerService(Arc::clone(
            &shutdown,
        ))))
        .with(health_server);
    let code: u8 = match run(routes, limits, launch, guests, shutdown).await {
        Ok(end) => {
            tracing::debug!(?end, "ending");
            0
        }
        Err(error) => {
            log::error(&error.to_string());
            1
        }
    };
    retire(&retirement).await;
    exit_in_any_case(code.into());
    code.into()
}

/// Serves from handshake to end; when it returns, the socket is gone.
async fn run(
    routes: Routes,
    limits: Limits,
    launch: Launch,
    guests: Guests,
    shutdown: Arc<Notify>,
) -> Result<End, NotServed> {
    let signals = Signals::take_over().map_err(NotServed::Signals)?;
    let directory = SocketDirectory::create(&launch.socket, guests)?;
    let listener = directory.listen()?;
    let (accepted, connections) = mpsc::channel(1);
    let accepting = tokio::spawn(socket::accept(listener, directory.admission(), accepted));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(
        Server::builder()
            .max_concurrent_streams(limits.exchanges.saturating_add(SPARE_STREAMS))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_pending_accept_reset_streams(Some(CANCELLED_UNSEEN))
            // What arrives late for a stream that has ended is the peer's haste, and no reason to end all others.
            .http2_max_local_error_reset_streams(None)
            .http2_max_header_list_size(HEADERS)
            .serve_with_incoming_shutdown(routes, ReceiverStream::new(connections), async {
                stopped.await.ok();
            }),
    );
    tokio::spawn(launch.measurements.forward(launch.host.clone()));

    shake_hands(&directory).map_err(NotServed::Handshake)?;
    let end = lifecycle::end(signals, shutdown, launch.host, launch.parent).await;

    accepting.abort();
    drop(stop);
    drain(serving).await;
    Ok(end)
}

/// The one line on stdout; after it stdout leads nowhere, so that nothing can fill the host's pipe.
fn shake_hands(directory: &SocketDirectory) -> io::Result<()> {
    let line = format!("1|1|unix|{}|grpc|\n", directory.socket().display());
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()?;
    match OpenOptions::new().write(true).open("/dev/null") {
        Ok(nowhere) => rustix::stdio::dup2_stdout(nowhere)?,
        // An empty root directory has no /dev/null; what nobody should write goes to the log then.
        Err(_absent) => rustix::stdio::dup2_stdout(io::stderr())?,
    }
    Ok(())
}

/// Lets answers under way out, the one to Shutdown among them.
async fn drain(serving: JoinHandle<Result<(), tonic::transport::Error>>) {
    let stop = serving.abort_handle();
    if timeout(DRAIN, serving).await.is_err() {
        stop.abort();
    }
}

async fn retire<P: Plugin>(retirement: &Retirement<P>) {
    let retired: Result<Result<(), Status>, _> =
        timeout(DRAIN, panics::caught(retirement.once())).await;
    if !matches!(retired, Ok(Ok(()))) {
        tracing::warn!("clean-up was cut short");
    }
}

/// A runtime waits for its blocking threads when it is dropped. The host does not.
fn exit_in_any_case(code: i32) {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(200));
        process::exit(code);
    });
}
