//! The small services every go-plugin host expects: stdio, controller, health, and SPIRE's Init.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{sync::Notify, time::timeout};
use tokio_stream::Pending;
use tonic::{Request, Response, Status};

use crate::{
    broker::HostServices,
    config::{Live, Plugin},
    limits::DEINIT,
    panics,
    proto::{
        go_plugin::{
            Empty, StdioData, grpc_controller_server::GrpcController, grpc_stdio_server::GrpcStdio,
        },
        init::{DeinitRequest, DeinitResponse, InitRequest, InitResponse, init_server::Init},
    },
};

/// The health service's name for the plugin as a whole.
pub(crate) const HEALTH_NAME: &str = "plugin";

/// Nothing is ever sent: stdout is closed off after the handshake and stderr is a pipe to the host.
pub(crate) struct StdioService;

#[tonic::async_trait]
impl GrpcStdio for StdioService {
    type StreamStdioStream = Pending<Result<StdioData, Status>>;

    async fn stream_stdio(
        &self,
        _request: Request<()>,
    ) -> Result<Response<Self::StreamStdioStream>, Status> {
        Ok(Response::new(tokio_stream::pending()))
    }
}

pub(crate) struct ControllerService(pub(crate) Arc<Notify>);

#[tonic::async_trait]
impl GrpcController for ControllerService {
    async fn shutdown(&self, _request: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.0.notify_one();
        Ok(Response::new(Empty {}))
    }
}

pub(crate) struct InitService<P: Plugin> {
    pub(crate) host: HostServices,
    pub(crate) retirement: Arc<Retirement<P>>,
    /// Full names of what the plugin serves.
    pub(crate) services: Vec<String>,
}

#[tonic::async_trait]
impl<P: Plugin> Init for InitService<P> {
    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        self.host.offer(request.into_inner().host_service_names);
        Ok(Response::new(InitResponse {
            plugin_service_names: self.services.clone(),
        }))
    }

    async fn deinit(
        &self,
        _request: Request<DeinitRequest>,
    ) -> Result<Response<DeinitResponse>, Status> {
        match timeout(DEINIT, panics::caught(self.retirement.once())).await {
            Ok(retired) => retired.map(|()| Response::new(DeinitResponse {})),
            Err(_elapsed) => Err(Status::deadline_exceeded("clean-up takes too long")),
        }
    }
}

/// [`Plugin::retire`], called once whoever asks first: the host or the end of the process.
pub(crate) struct Retirement<P: Plugin> {
    live: Arc<Live<P>>,
    begun: AtomicBool,
}

impl<P: Plugin> Retirement<P> {
    pub(crate) fn new(live: Arc<Live<P>>) -> Arc<Self> {
        Arc::new(Self {
            live,
            begun: AtomicBool::new(false),
        })
    }

    pub(crate) async fn once(&self) -> Result<(), Status> {
        if !self.begun.swap(true, Ordering::AcqRel) {
            self.live.plugin.retire().await;
        }
        Ok(())
    }
}
