//! Measurements for the host's telemetry: queued, sent when the host listens, dropped otherwise.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::{
    sync::mpsc,
    time::{self, timeout},
};
use tonic::{Status, transport::Channel};

use crate::{
    broker::HostServices,
    limits::{BROKER_WAIT, HOST_CALL, MEASUREMENTS},
    proto::metrics::{
        AddSampleRequest, IncrCounterRequest, Label, MeasureSinceRequest, SetGaugeRequest,
        metrics_client::MetricsClient, metrics_server::SERVICE_NAME,
    },
};

/// Reports measurements to the host. Never blocks and never fails: what the host does not take is dropped.
#[derive(Clone, Debug)]
pub struct Metrics(mpsc::Sender<Measurement>);

impl Metrics {
    /// Adds `by` to a counter.
    pub fn increment(&self, key: &[&str], by: f32, labels: &[(&str, &str)]) {
        self.put(Measurement::Counter(IncrCounterRequest {
            key: words(key),
            val: by,
            labels: pairs(labels),
        }));
    }

    /// Sets a gauge.
    pub fn gauge(&self, key: &[&str], value: f32, labels: &[(&str, &str)]) {
        self.put(Measurement::Gauge(SetGaugeRequest {
            key: words(key),
            val: value,
            labels: pairs(labels),
        }));
    }

    /// Adds a sample to a summary; the unit is the caller's.
    pub fn sample(&self, key: &[&str], value: f32, labels: &[(&str, &str)]) {
        self.put(Measurement::Sample(AddSampleRequest {
            key: words(key),
            val: value,
            labels: pairs(labels),
        }));
    }

    /// Reports the time since `start`; the host shows milliseconds.
    pub fn elapsed(&self, key: &[&str], start: Instant, labels: &[(&str, &str)]) {
        self.put(Measurement::Since(MeasureSinceRequest {
            key: words(key),
            time: unix_nanoseconds(start.elapsed()),
            labels: pairs(labels),
        }));
    }

    pub(crate) fn queue() -> (Self, Measurements) {
        let (sender, receiver) = mpsc::channel(MEASUREMENTS);
        (Self(sender), Measurements(receiver))
    }

    fn put(&self, measurement: Measurement) {
        // Full or closed: dropped, by design.
        self.0.try_send(measurement).ok();
    }
}

#[derive(Debug)]
enum Measurement {
    Counter(IncrCounterRequest),
    Gauge(SetGaugeRequest),
    Sample(AddSampleRequest),
    Since(MeasureSinceRequest),
}

/// The other end of the queue.
#[derive(Debug)]
pub(crate) struct Measurements(mpsc::Receiver<Measurement>);

impl Measurements {
    /// Forwards for the life of the process.
    pub(crate) async fn forward(mut self, host: HostServices) {
        host.announced().await;
        let offered = host.offers(SERVICE_NAME);
        let mut quiet_until = time::Instant::now();
        while let Some(measurement) = self.0.recv().await {
            if !offered || time::Instant::now() < quiet_until {
                continue;
            }
            if let Err(status) = deliver(&host, measurement).await {
                tracing::debug!(code = ?status.code(), "host takes no measurements");
                // A host that does not answer is left alone for a while, so that the queue drains by dropping.
                quiet_until = time::Instant::now() + BROKER_WAIT;
            }
        }
    }
}

async fn deliver(host: &HostServices, measurement: Measurement) -> Result<(), Status> {
    let channel = host
        .channel()
        .await
        .map_err(|reason| Status::unavailable(reason.to_string()))?;
    timeout(HOST_CALL, call(MetricsClient::new(channel), measurement))
        .await
        .map_err(|_elapsed| Status::deadline_exceeded("no answer"))?
}

async fn call(mut client: MetricsClient<Channel>, measurement: Measurement) -> Result<(), Status> {
    match measurement {
        Measurement::Counter(request) => client.incr_counter(request).await,
        Measurement::Gauge(request) => client.set_gauge(request).await,
        Measurement::Sample(request) => client.add_sample(request).await,
        Measurement::Since(request) => client.measure_since(request).await,
    }
    .map(drop)
}

fn unix_nanoseconds(ago: Duration) -> i64 {
    let start = SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH);
    let since = start.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn words(key: &[&str]) -> Vec<String> {
    key.iter().map(ToString::to_string).collect()
}

fn pairs(labels: &[(&str, &str)]) -> Vec<Label> {
    labels
        .iter()
        .map(|(name, value)| Label {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        })
        .collect()
}
