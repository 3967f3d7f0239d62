//! Trace context in headers, and spans around each hop.
//!
//! Spans are made through the global tracer. Where no exporter is configured that tracer does nothing, and the
//! context that came in goes out unchanged, so that a trace is whole whichever services export.

use std::time::SystemTime;

use async_nats::HeaderMap;
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, global};
use windlass_core::trace::TraceParent;
use windlass_core::{JobId, Kind, QueueName};

pub mod ids;

/// The header of W3C trace context, in lower case as its specification asks.
pub const TRACEPARENT: &str = "traceparent";
/// The name under which our spans are made.
const SCOPE: &str = "windlass";

/// The job that a span is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Of the job.
    pub job_id: JobId,
    /// Of the job, where it is known.
    pub kind: Option<&'a Kind>,
    /// Of the job.
    pub queue: &'a QueueName,
    /// From 1; 0 where there is none.
    pub attempt: u32,
}

/// One hop. Ends when it is dropped.
#[derive(Debug)]
pub struct Hop {
    context: Context,
    traceparent: TraceParent,
}

/// What a hop is to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Part of it.
    Child,
    /// A trace of its own that names it: for what starts long after.
    Link,
}

// === impl Subject ===

impl Subject<'_> {
    fn attributes(&self, operation: &'static str) -> [KeyValue; 8] {
        let (queue, job_id) = (self.queue.to_string(), self.job_id.to_string());
        [
            KeyValue::new("messaging.system", "nats"),
            KeyValue::new("messaging.operation.name", operation),
            KeyValue::new("messaging.destination.name", queue.clone()),
            KeyValue::new("messaging.message.id", job_id.clone()),
            KeyValue::new("windlass.job.id", job_id),
            KeyValue::new("windlass.job.kind", self.kind.map(ToString::to_string).unwrap_or_default()),
            KeyValue::new("windlass.job.queue", queue),
            KeyValue::new("windlass.job.attempt", i64::from(self.attempt)),
        ]
    }
}

// === impl Hop ===

impl Hop {
    /// Starts a span, as `send <queue>` or `process <queue>`, now or at an instant that has passed.
    pub fn start(
        operation: &'static str,
        kind: SpanKind,
        subject: Subject<'_>,
        parent: Option<TraceParent>,
        relation: Relation,
        started_at: Option<SystemTime>,
    ) -> Self {
        let mut builder = SpanBuilder::from_name(operation).with_kind(kind);
        if let Some(at) = started_at {
            builder = builder.with_start_time(at);
        }
        let mut parent_context = Context::new();
        match (parent, relation) {
            (Some(parent), Relation::Child) if parent.is_undecided() && ids::are_ours() => {
                // The first span of its trace: this program's sampler decides.
                ids::give(parent.trace_id);
            }
            (Some(parent), Relation::Child) => {
                let sampled = parent.sampled || parent.is_undecided();
                let remote = span_context(TraceParent { sampled, ..parent });
                parent_context = parent_context.with_remote_span_context(remote);
            }
            // There is nothing to see where nobody has recorded anything.
            (Some(parent), Relation::Link) if !parent.is_undecided() => {
                builder = builder.with_links(vec![Link::with_context(span_context(parent))]);
            }
            (Some(_), Relation::Link) | (None, _) => {}
        }
        let mut span = global::tracer(SCOPE).build_with_context(builder, &parent_context);
        ids::take();
        // What nobody records is not written out either: that costs more than the span.
        if span.is_recording() {
            span.update_name(format!("{operation} {}", subject.queue));
            span.set_attributes(subject.attributes(operation));
        }
        let context = Context::new().with_span(span);
        if let Some(traceparent) = from_span_context(context.span().span_context()) {
            return Self { context, traceparent };
        }
        // Nothing is recorded here: what follows still belongs to the job's trace, and every job belongs to one.
        let traceparent = parent.unwrap_or_else(|| TraceParent::undecided(rand::random()));
        Self { context: context.with_remote_span_context(span_context(traceparent)), traceparent }
    }

    /// What goes into the headers of what follows: this span, or what came in where nothing is recorded.
    pub fn traceparent(&self) -> TraceParent {
        self.traceparent
    }

    /// For spans that a handler makes.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether anybody records it.
    pub fn is_recorded(&self) -> bool {
        self.context.span().is_recording()
    }

    /// Adds what became of it.
    pub fn set(&self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        self.context.span().set_attribute(KeyValue::new(key, value));
    }

    /// Names a span of another trace that it follows from.
    pub fn link(&self, other: TraceParent) {
        self.context.span().add_link(span_context(other), Vec::new());
    }

    /// Marks it as failed.
    pub fn fail(&self, message: &str) {
        self.context.span().set_status(Status::error(message.to_owned()));
    }

    /// Ends it now.
    pub fn end(self) {
        self.context.span().end();
    }
}

fn span_context(parent: TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from(parent.trace_id),
        SpanId::from(parent.span_id),
        if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
        true,
        TraceState::default(),
    )
}

fn from_span_context(context: &SpanContext) -> Option<TraceParent> {
    context.is_valid().then(|| TraceParent {
        trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(context.span_id().to_bytes()),
        sampled: context.is_sampled(),
    })
}

/// The trace context of the span that the caller is in.
pub fn current() -> Option<TraceParent> {
    from_span_context(Context::current().span().span_context())
}

/// Reads the header; what cannot be read counts as absent (W3C Trace Context, section 4.3).
pub fn from_headers(headers: Option<&HeaderMap>) -> Option<TraceParent> {
    headers?.get(TRACEPARENT)?.as_str().parse().ok()
}

/// Writes the header.
pub fn to_headers(headers: &mut HeaderMap, trace: Option<TraceParent>) {
    if let Some(trace) = trace {
        headers.insert(TRACEPARENT, trace.to_string());
    }
}
