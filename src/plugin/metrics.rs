//! Measurements for the host's telemetry: added up, sent at a bounded rate when the host listens, dropped otherwise.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tonic::{Status, transport::Channel};

use crate::{
    broker::HostServices,
    limits::{BROKER_WAIT, HOST_CALL, MEASUREMENTS, METRICS_PAUSE, SAMPLES},
    proto::metrics::{
        AddSampleRequest, IncrCounterRequest, Label, MeasureSinceRequest, SetGaugeRequest,
        metrics_client::MetricsClient, metrics_server::SERVICE_NAME,
    },
};

/// Reports measurements to the host. Never blocks and never fails: what the host does not take is dropped.
///
/// Counters are added up between two reports, so that a busy plugin does not make the host busy; of summaries so many
/// samples go into a report as [`crate::limits`] says.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Shared>);

impl Metrics {
    /// Adds `by` to a counter.
    pub fn increment(&self, key: &[&str], by: f32, labels: &[(&str, &str)]) {
        self.collect(|batch| {
            if let Some(sum) = entry(&mut batch.counters, key, labels) {
                *sum += by;
            }
        });
    }

    /// Sets a gauge.
    pub fn gauge(&self, key: &[&str], value: f32, labels: &[(&str, &str)]) {
        self.collect(|batch| {
            if let Some(last) = entry(&mut batch.gauges, key, labels) {
                *last = value;
            }
        });
    }

    /// Adds a sample to a summary; the unit is the caller's.
    pub fn sample(&self, key: &[&str], value: f32, labels: &[(&str, &str)]) {
        self.collect(|batch| batch.sample(|| (Name::new(key, labels), Sample::Value(value))));
    }

    /// Reports the time since `start`; the host shows milliseconds.
    pub fn elapsed(&self, key: &[&str], start: Instant, labels: &[(&str, &str)]) {
        let began = || Sample::Began(unix_nanoseconds(start.elapsed()));
        self.collect(|batch| batch.sample(|| (Name::new(key, labels), began())));
    }

    /// Measurements that nobody takes, for a part that is used without a host.
    pub fn nowhere() -> Self {
        Self::queue().0
    }

    pub(crate) fn queue() -> (Self, Measurements) {
        let shared = Arc::new(Shared::default());
        (Self(Arc::clone(&shared)), Measurements(shared))
    }

    fn collect(&self, put: impl FnOnce(&mut Batch)) {
        let mut batch = self.0.batch.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = batch.is_empty();
        put(&mut batch);
        drop(batch);
        if is_first {
            self.0.filled.notify_one();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    batch: Mutex<Batch>,
    filled: Notify,
}

/// What a measurement is of.
#[derive(Debug, PartialEq)]
struct Name {
    key: Vec<String>,
    labels: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy)]
enum Sample {
    Value(f32),
    /// In nanoseconds since the Unix epoch.
    Began(i64),
}

/// Measurements between two reports; each kind bounded.
#[derive(Debug, Default)]
struct Batch {
    counters: Vec<(Name, f32)>,
    gauges: Vec<(Name, f32)>,
    samples: Vec<(Name, Sample)>,
}

impl Name {
    fn new(key: &[&str], labels: &[(&str, &str)]) -> Self {
        let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            key: key.iter().map(ToString::to_string).collect(),
            labels: labels.iter().map(label).collect(),
        }
    }

    fn is(&self, key: &[&str], labels: &[(&str, &str)]) -> bool {
        let named = self
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        self.key == key && named.eq(labels.iter().copied())
    }

    fn into_parts(self) -> (Vec<String>, Vec<Label>) {
        let label = |(name, value)| Label { name, value };
        (self.key, self.labels.into_iter().map(label).collect())
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.gauges.is_empty() && self.samples.is_empty()
    }

    fn sample(&mut self, sample: impl FnOnce() -> (Name, Sample)) {
        if self.samples.len() < SAMPLES {
            self.samples.push(sample());
        }
    }
}

/// The value of a name, 0 if it is new; `None` when there are too many names already. They are few, so that looking through
/// them is cheaper than making a name to look up.
fn entry<'a>(
    entries: &'a mut Vec<(Name, f32)>,
    key: &[&str],
    labels: &[(&str, &str)],
) -> Option<&'a mut f32> {
    let known = entries.iter().position(|(name, _)| name.is(key, labels));
    if known.is_none() && entries.len() < MEASUREMENTS {
        entries.push((Name::new(key, labels), 0.0));
        return entries.last_mut().map(|(_, value)| value);
    }
    entries.get_mut(known?).map(|(_, value)| value)
}

/// The other end.
#[derive(Debug)]
pub(crate) struct Measurements(Arc<Shared>);

impl Measurements {
    /// Forwards for the life of the process: the first measurement after a quiet time at once, then no more often than
    /// every [`METRICS_PAUSE`].
    pub(crate) async fn forward(self, host: HostServices) {
        host.announced().await;
        let offered = host.offers(SERVICE_NAME);
        loop {
            self.0.filled.notified().await;
            let batch = self.take();
            if !offered {
                continue;
            }
            if let Err(status) = deliver(&host, batch).await {
                tracing::debug!(code = ?status.code(), "host takes no measurements");
                // A host that does not answer is left alone for a while; counters go on adding up.
                sleep(BROKER_WAIT).await;
            }
            sleep(METRICS_PAUSE).await;
        }
    }

    fn take(&self) -> Batch {
        mem::take(&mut self.0.batch.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn deliver(host: &HostServices, batch: Batch) -> Result<(), Status> {
    let channel = host
        .channel()
        .await
        .map_err(|reason| Status::unavailable(reason.to_string()))?;
    let mut client = MetricsClient::new(channel);
    for (name, val) in batch.counters {
        let (key, labels) = name.into_parts();
        let request = IncrCounterRequest { key, val, labels };
        in_time(client.incr_counter(request)).await?;
    }
    for (name, val) in batch.gauges {
        let (key, labels) = name.into_parts();
        let request = SetGaugeRequest { key, val, labels };
        in_time(client.set_gauge(request)).await?;
    }
    for (name, sample) in batch.samples {
        deliver_sample(&mut client, name, sample).await?;
    }
    Ok(())
}

async fn deliver_sample(
    client: &mut MetricsClient<Channel>,
    name: Name,
    sample: Sample,
) -> Result<(), Status> {
    let (key, labels) = name.into_parts();
    match sample {
        Sample::Value(val) => {
            in_time(client.add_sample(AddSampleRequest { key, val, labels })).await
        }
        Sample::Began(time) => {
            in_time(client.measure_since(MeasureSinceRequest { key, time, labels })).await
        }
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, Status>>) -> Result<(), Status> {
    match timeout(HOST_CALL, call).await {
        Ok(answer) => answer.map(drop),
        Err(_elapsed) => Err(Status::deadline_exceeded("no answer")),
    }
}

fn unix_nanoseconds(ago: Duration) -> i64 {
    let start = SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH);
    let since = start.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(entries: &[(Name, f32)], key: &str, labels: &[(&str, &str)]) -> f32 {
        let (_, value) = entries
            .iter()
            .find(|(name, _)| name.is(&[key], labels))
            .unwrap();
        *value
    }

    #[test]
    fn counters_add_up_gauges_keep_the_last_and_samples_are_few() {
        let (metrics, measurements) = Metrics::queue();
        for round in 0..100_u8 {
            metrics.increment(&["a"], 1.0, &[("status", "ok")]);
            metrics.increment(&["a"], 2.0, &[("status", "no")]);
            metrics.increment(&["a"], 3.0, &[]);
            metrics.gauge(&["g"], f32::from(round), &[]);
            metrics.sample(&["s"], 1.0, &[]);
        }
        let batch = measurements.take();
        let counted = |labels: &[_]| value(&batch.counters, "a", labels).to_string();
        assert_eq!(counted(&[("status", "ok")]), "100");
        assert_eq!(counted(&[("status", "no")]), "200");
        assert_eq!(counted(&[]), "300");
        assert_eq!(value(&batch.gauges, "g", &[]).to_string(), "99");
        assert_eq!(batch.samples.len(), SAMPLES);
        assert!(measurements.take().is_empty());
    }

    #[test]
    fn names_are_bounded_and_known_ones_go_on_counting() {
        let (metrics, measurements) = Metrics::queue();
        for number in 0..MEASUREMENTS + 5 {
            metrics.increment(&[&number.to_string()], 1.0, &[]);
            metrics.gauge(&[&number.to_string()], 1.0, &[]);
        }
        metrics.increment(&["0"], 1.0, &[]);
        metrics.gauge(&["0"], 7.0, &[]);
        let batch = measurements.take();
        assert_eq!(
            (batch.counters.len(), batch.gauges.len()),
            (MEASUREMENTS, MEASUREMENTS)
        );
        assert_eq!(value(&batch.counters, "0", &[]).to_string(), "2");
        assert_eq!(value(&batch.gauges, "0", &[]).to_string(), "7");
    }
}
