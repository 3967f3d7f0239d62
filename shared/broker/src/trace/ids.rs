//! The trace id of a span that has no parent, where its trace has an id already (`TraceParent::undecided`).
//!
//! The tracer asks a generator for it, and has no other way to be told. Who installs an exporter installs a generator
//! that asks here first.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::trace::TraceId;

thread_local! {
    /// For the span that this thread is about to start.
    static GIVEN: Cell<Option<u128>> = const { Cell::new(None) };
}

static OURS: AtomicBool = AtomicBool::new(false);

/// Whether the program's generator asks here.
pub(super) fn are_ours() -> bool {
    OURS.load(Ordering::Relaxed)
}

/// The program's generator asks here from now on.
pub fn install() {
    OURS.store(true, Ordering::Relaxed);
}

pub(super) fn give(trace_id: u128) {
    GIVEN.set(Some(trace_id));
}

/// What the next span's trace id is to be, if it has one already.
pub fn take() -> Option<TraceId> {
    GIVEN.take().map(TraceId::from)
}
