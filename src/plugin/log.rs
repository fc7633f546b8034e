//! Log lines: the one way anything of this process reaches stderr.

use std::{fmt, time::SystemTime};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::{LookupSpan, Registry, Scope},
};

use crate::{
    hclog::{self, Line, Scalar},
    panics, stderr,
};

/// Installs the subscriber and the panic hook. Once, first thing in `main`.
pub fn install() {
    panics::report_as_log_lines();
    // Fails only if a subscriber is there already, and then that one is to stay.
    tracing::subscriber::set_global_default(Registry::default().with(Hclog(write))).ok();
}

/// An error-level line, whether or not [`install`] was called.
pub fn error(message: &str) {
    write(&hclog::line(
        SystemTime::now(),
        "error",
        "plugin",
        message,
        &[],
    ));
}

/// The panic hook's line.
pub(crate) fn panicked(reason: &str, place: &str) {
    let fields = [text("reason", reason), text("location", place)];
    write(&hclog::line(
        SystemTime::now(),
        "error",
        "plugin",
        "panic",
        &fields,
    ));
}

/// A sentence for a human, for a process that no host reads.
pub(crate) fn sentence(sentence: &str) {
    write(&format!("{}\n", hclog::visible(sentence, usize::MAX)));
}

fn write(line: &str) {
    stderr::put(line, |lost| {
        let fields = [("lines", Scalar::unsigned(lost))];
        let now = SystemTime::now();
        hclog::line(now, "warn", "plugin", "log lines were lost", &fields)
    });
}

fn text(key: &'static str, value: &str) -> (&'static str, Scalar) {
    (key, Scalar::Text(value.to_owned()))
}

/// The layer that turns events into lines, and where they go.
struct Hclog(fn(&str));

/// Fields of a span, kept with it.
struct SpanFields(Line);

impl<S> Layer<S> for Hclog
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        wanted(metadata.target(), *metadata.level())
    }

    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Line::default();
        attributes.record(&mut Fields(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            values.record(&mut Fields(&mut fields.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line::default();
        let spans = context
            .event_scope(event)
            .into_iter()
            .flat_map(Scope::from_root);
        for span in spans {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                line.fields.extend(fields.0.fields.iter().cloned());
            }
        }
        event.record(&mut Fields(&mut line));
        let metadata = event.metadata();
        let module = metadata.target().replace("::", ".");
        let level = name(*metadata.level());
        let line = hclog::line(
            SystemTime::now(),
            level,
            &module,
            &line.message,
            &line.fields,
        );
        self.0(&line);
    }
}

struct Fields<'a>(&'a mut Line);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Scalar) {
        self.0.fields.push((field.name(), value));
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.message = format!("{value:?}");
        } else {
            self.put(field, Scalar::Text(format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.0.message);
        } else {
            self.put(field, Scalar::Text(value.to_owned()));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Scalar::signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Scalar::unsigned(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Scalar::Bool(value));
    }
}

/// The host drops trace; what the transport's own parts have to say below warn is noise.
fn wanted(target: &str, level: Level) -> bool {
    let part = target.split("::").next().unwrap_or(target);
    level
        <= if NOISY.contains(&part) {
            Level::WARN
        } else {
            Level::DEBUG
        }
}

const NOISY: [&str; 14] = [
    "h2",
    "hyper",
    "hyper_util",
    "mio",
    "runtime",
    "rustls",
    "sqlx",
    "sqlx_core",
    "sqlx_postgres",
    "sqlx_sqlite",
    "tokio",
    "tokio_util",
    "tonic",
    "tower",
];

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn noise_is_left_out() {
        assert!(wanted("agent::attestor", Level::DEBUG));
        assert!(!wanted("agent::attestor", Level::TRACE));
        assert!(!wanted("h2::codec", Level::DEBUG));
        assert!(!wanted("hyper_util", Level::INFO));
        assert!(wanted("tonic::transport", Level::WARN));
        assert!(wanted("h2o", Level::DEBUG));
    }

    thread_local! {
        static WRITTEN: RefCell<Vec<serde_json::Value>> = const { RefCell::new(Vec::new()) };
    }

    #[test]
    fn events_carry_the_fields_of_their_spans() {
        let capture = |line: &str| {
            WRITTEN.with_borrow_mut(|written| written.push(serde_json::from_str(line).unwrap()));
        };
        let subscriber = Registry::default().with(Hclog(capture));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("outer", stream = 7, outcome = tracing::field::Empty);
            let _entered = span.enter();
            span.record("outcome", "denied");
            tracing::error!(code = ?Some(1), "inside");
            tracing::trace!("dropped");
        });
        WRITTEN.with_borrow(|written| {
            let [line] = written.as_slice() else {
                panic!("{written:?}")
            };
            assert_eq!(line["@level"], "error");
            assert_eq!(line["@message"], "inside");
            assert_eq!(line["@module"], "plugin.log.tests");
            assert_eq!(line["stream"], 7);
            assert_eq!(line["outcome"], "denied");
            assert_eq!(line["code"], "Some(1)");
        });
    }
}
