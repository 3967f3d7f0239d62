//! The last span of a job's trace: that its end was recorded.

use opentelemetry::trace::SpanKind;
use windlass_broker::trace::{Hop, Relation, Subject};
use windlass_core::Event;
use windlass_core::trace::TraceParent;

/// Adds the span to the trace of a job that ended, where its publisher asked for one. Costs nothing without an
/// exporter.
pub(crate) fn record(event: &Event) {
    let Some(parent) = event.traceparent.parse::<TraceParent>().ok().filter(|parent| parent.sampled) else {
        return;
    };
    let subject = Subject {
        job_id: event.job_id,
        kind: event.kind.as_ref(),
        queue: &event.queue,
        attempt: event.attempt,
    };
    let hop = Hop::start("record", SpanKind::Consumer, subject, Some(parent), Relation::Child, None);
    hop.set("windlass.job.transition", event.transition.as_str());
    hop.end();
}
