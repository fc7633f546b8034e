//! What the host offers to the plugin: metrics that are recorded, and the list of known agents.

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

use crate::subject::Side;

/// Full names of what SPIRE offers on a side, as far as it is served here.
pub(crate) fn offered(side: Side) -> Vec<String> {
    match side {
        Side::Agent => vec![METRICS.to_owned()],
        Side::Server => vec![METRICS.to_owned(), AGENT_STORE.to_owned()],
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
    serving: AbortHandle,
}

impl HostServices {
    /// Serves on a socket at `path`.
    pub(crate) fn listen(path: &Path, side: Side, agents: BTreeSet<String>) -> io::Result<Self> {
        let incoming = UnixListenerStream::new(UnixListener::bind(path)?);
        let recorder = Recorder::default();
        let mut routes = Routes::default().with(MetricsServer::new(recorder.clone()));
        if side == Side::Server {
            routes = routes.with(AgentStoreServer::new(Agents(agents)));
        }
        let serving = tokio::spawn(Server::builder().serve_with_incoming(routes, incoming));
        Ok(Self {
            recorder,
            serving: serving.abort_handle(),
        })
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
struct Agents(BTreeSet<String>);

#[tonic::async_trait]
impl AgentStore for Agents {
    async fn get_agent_info(
        &self,
        request: Request<GetAgentInfoRequest>,
    ) -> Result<Response<GetAgentInfoResponse>, Status> {
        let agent_id = request.into_inner().agent_id;
        if self.0.contains(&agent_id) {
            let info = Some(AgentInfo { agent_id });
            Ok(Response::new(GetAgentInfoResponse { info }))
        } else {
            Err(Status::not_found("no such agent"))
        }
    }
}
