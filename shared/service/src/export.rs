//! Sending spans: on the service's runtime, counted, and with failures that are reported and harm nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Handle;

/// An exporter driven from the batch processor's thread, where no runtime is, that runs on one.
#[derive(Debug)]
pub(crate) struct OnRuntime<E> {
    exporter: Arc<E>,
    runtime: Handle,
    reported: Mutex<Option<Instant>>,
}

/// A processor whose spans are counted, so that those dropped from its full queue show: ended, but neither exported
/// nor failed.
#[derive(Debug)]
pub(crate) struct Counted<P>(P);

/// Above the exporter's own time-out, which the standard variables set.
const EXPORT_LIMIT: Duration = Duration::from_secs(30);
/// One report of failures in this time.
const REPORT_EVERY: Duration = Duration::from_mins(1);

fn count(outcome: &'static str, spans: u64) {
    metrics::counter!("windlass_trace_spans_total", "outcome" => outcome).increment(spans);
}

// === impl OnRuntime ===

impl<E> OnRuntime<E> {
    pub(crate) fn new(exporter: E, runtime: Handle) -> Self {
        Self { exporter: Arc::new(exporter), runtime, reported: Mutex::new(None) }
    }

    fn is_due(&self) -> bool {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let due = reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY);
        if due {
            *reported = Some(Instant::now());
        }
        due
    }
}

impl<E: SpanExporter + 'static> SpanExporter for OnRuntime<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let exporter = Arc::clone(&self.exporter);
        let sending = async move { tokio::time::timeout(EXPORT_LIMIT, exporter.export(batch)).await };
        let result = match self.runtime.spawn(sending).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(OTelSdkError::Timeout(EXPORT_LIMIT)),
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        };
        match &result {
            Ok(()) => count("exported", spans),
            Err(error) => {
                count("failed", spans);
                if self.is_due() {
                    tracing::warn!(%error, spans, "spans were not sent; further failures are only counted for a minute");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Called once, before any export holds the exporter.
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

// === impl Counted ===

impl<P> Counted<P> {
    pub(crate) fn new(processor: P) -> Self {
        Self(processor)
    }
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            count("ended", 1);
        }
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};

    use super::*;

    /// Needs a runtime, as the real transports do, and fails as told.
    #[derive(Debug)]
    struct Probe {
        seen: mpsc::SyncSender<(usize, Option<String>)>,
        resource: Option<String>,
        fails: bool,
    }

    impl SpanExporter for Probe {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.seen.send((batch.len(), self.resource.clone())).expect("the test listens");
            if self.fails { Err(OTelSdkError::InternalFailure("no collector".to_owned())) } else { Ok(()) }
        }

        fn set_resource(&mut self, resource: &Resource) {
            self.resource = resource.get(&opentelemetry::Key::from_static_str("who")).map(|v| v.to_string());
        }
    }

    async fn export_two(fails: bool) -> (usize, Option<String>) {
        let (seen, received) = mpsc::sync_channel(4);
        let exporter = OnRuntime::new(Probe { seen, resource: None, fails }, Handle::current());
        let provider = SdkTracerProvider::builder()
            .with_resource(
                Resource::builder_empty().with_attribute(opentelemetry::KeyValue::new("who", "me")).build(),
            )
            .with_span_processor(Counted::new(BatchSpanProcessor::builder(exporter).build()))
            .build();
        let tracer = provider.tracer("test");
        drop(tracer.start("one"));
        drop(tracer.start("two"));
        let shutdown =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(Duration::from_secs(5)));
        shutdown.await.unwrap().unwrap();
        received.recv().unwrap()
    }

    #[tokio::test]
    async fn spans_are_sent_on_the_runtime_and_counted() {
        let recorder = crate::recorder::install("tester").unwrap();
        assert_eq!(export_two(false).await, (2, Some("me".to_owned())));
        assert_eq!(export_two(true).await, (2, Some("me".to_owned())));
        let text = recorder.render();
        for line in [
            "windlass_trace_spans_total{outcome=\"ended\"} 4",
            "windlass_trace_spans_total{outcome=\"exported\"} 2",
            "windlass_trace_spans_total{outcome=\"failed\"} 2",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[tokio::test]
    async fn failures_are_reported_once_in_a_while() {
        let exporter = OnRuntime::new((), Handle::current());
        assert!(exporter.is_due());
        assert!(!exporter.is_due());
    }
}
