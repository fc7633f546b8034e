//! What the host offers to the plugin: metrics that are recorded, and the list of known agents, an identity.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use plugin::{
    Routes,
    proto::{
        agent_store::{
            AgentInfo, GetAgentInfoRequest, GetAgentInfoResponse,
            agent_store_server::{AgentStore, AgentStoreServer, SERVICE_NAME as AGENT_STORE},
        },
        identity_provider::identity_provider_server::IdentityProviderServer,
        metrics::{
            AddSampleRequest, EmitKeyRequest, IncrCounterRequest, Label, MeasureSinceRequest,
            SetGaugeRequest,
            metrics_server::{Metrics, MetricsServer, SERVICE_NAME as METRICS},
        },
    },
};
use tokio::{net::UnixListener, task::AbortHandle};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::{
    identity_provider::{IDENTITY_PROVIDER, Lender},
    subject::Side,
};

/// Full names of what SPIRE offers on a side.
pub(crate) fn offered(side: Side) -> Vec<String> {
    match side {
        Side::Agent => vec![METRICS.to_owned()],
        Side::Server => [METRICS, AGENT_STORE, IDENTITY_PROVIDER]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// One call of the metrics service.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Recorded {
    /// What was measured.
    pub measured: Measured,
    /// The parts of the name.
    pub key: Vec<String>,
    /// Names and values.
    pub labels: Vec<(String, String)>,
}

/// A measurement's kind and value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Measured {
    /// Added to a counter.
    Counter(f32),
    /// A gauge's new value.
    Gauge(f32),
    /// A bare key and value.
    Key(f32),
    /// A sample.
    Sample(f32),
    /// The start of an interval, in nanoseconds since the Unix epoch.
    Since(i64),
}

/// The listening services; they end when dropped.
#[derive(Debug)]
pub(crate) struct HostServices {
    recorder: Recorder,
    calls: Calls,
    serving: AbortHandle,
}

impl HostServices {
    /// Serves on a socket at `path`.
    pub(crate) fn listen(path: &Path, side: Side, agents: BTreeSet<String>) -> io::Result<Self> {
        let incoming = UnixListenerStream::new(UnixListener::bind(path)?);
        let recorder = Recorder::default();
        let mut routes = Routes::default().with(MetricsServer::new(recorder.clone()));
        let calls = Calls::default();
        if side == Side::Server {
            routes = routes
                .with(AgentStoreServer::new(Agents(agents, calls.clone())))
                .with(IdentityProviderServer::new(Lender(calls.clone())));
        }
        let serving = tokio::spawn(Server::builder().serve_with_incoming(routes, incoming));
        Ok(Self {
            recorder,
            calls,
            serving: serving.abort_handle(),
        })
    }

    /// Which services were asked, in order; metrics are not among them.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        self.recorder
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for HostServices {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The calls that a plugin made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    /// It made this one.
    pub(crate) fn note(&self, call: &str) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() < RECORDS {
            calls.push(call.to_owned());
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Vec<Recorded>>>);

const RECORDS: usize = 100_000;

impl Recorder {
    fn record(&self, measured: Measured, key: Vec<String>, labels: Vec<Label>) -> Response<()> {
        let labels = labels
            .into_iter()
            .map(|label| (label.name, label.value))
            .collect();
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() < RECORDS {
            records.push(Recorded {
                measured,
                key,
                labels,
            });
        }
        Response::new(())
    }
}

#[tonic::async_trait]
impl Metrics for Recorder {
    async fn set_gauge(&self, request: Request<SetGaugeRequest>) -> Result<Response<()>, Status> {
        let SetGaugeRequest { key, val, labels } = request.into_inner();
        Ok(self.record(Measured::Gauge(val), key, labels))
    }

    async fn emit_key(&self, request: Request<EmitKeyRequest>) -> Result<Response<()>, Status> {
        let EmitKeyRequest { key, val } = request.into_inner();
        Ok(self.record(Measured::Key(val), key, Vec::new()))
    }

    async fn incr_counter(
        &self,
        request: Request<IncrCounterRequest>,
    ) -> Result<Response<()>, Status> {
        let IncrCounterRequest { key, val, labels } = request.into_inner();
        Ok(self.record(Measured::Counter(val), key, labels))
    }

    async fn add_sample(&self, request: Request<AddSampleRequest>) -> Result<Response<()>, Status> {
        let AddSampleRequest { key, val, labels } = request.into_inner();
        Ok(self.record(Measured::Sample(val), key, labels))
    }

    async fn measure_since(
        &self,
        request: Request<MeasureSinceRequest>,
    ) -> Result<Response<()>, Status> {
        let MeasureSinceRequest { key, time, labels } = request.into_inner();
        Ok(self.record(Measured::Since(time), key, labels))
    }
}

#[derive(Debug)]
struct Agents(BTreeSet<String>, Calls);

#[tonic::async_trait]
impl AgentStore for Agents {
    async fn get_agent_info(
        &self,
        request: Request<GetAgentInfoRequest>,
    ) -> Result<Response<GetAgentInfoResponse>, Status> {
        self.1.note("AgentStore.GetAgentInfo");
        let agent_id = request.into_inner().agent_id;
        if self.0.contains(&agent_id) {
            let info = Some(AgentInfo { agent_id });
            Ok(Response::new(GetAgentInfoResponse { info }))
        } else {
            Err(Status::not_found("no such agent"))
        }
    }
}
