//! What is measured of every job. To find a metric by its name and labels costs more than to record it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::Histogram;
use windlass_core::QueueName;

/// Those of all queues, each found when its first job comes.
#[derive(Default)]
pub(crate) struct Meters {
    queues: Mutex<HashMap<QueueName, Arc<Meter>>>,
}

/// Those of one queue.
pub(super) struct Meter {
    queue: String,
    waited: Histogram,
    succeeded: Histogram,
}

/// How most attempts end.
const SUCCEEDED: &str = "succeeded";

// === impl Meters ===

impl Meters {
    pub(super) fn of(&self, queue: &QueueName) -> Arc<Meter> {
        // It is whole between calls, whoever panicked.
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = queues.get(queue) {
            return Arc::clone(meter);
        }
        let meter = Arc::new(Meter::new(queue.to_string()));
        queues.insert(queue.clone(), Arc::clone(&meter));
        meter
    }
}

// === impl Meter ===

impl Meter {
    fn new(queue: String) -> Self {
        Self {
            waited: metrics::histogram!("windlass_queue_wait_seconds", "queue" => queue.clone()),
            succeeded: processed(&queue, SUCCEEDED),
            queue,
        }
    }

    /// How long a job was ready before its attempt began.
    pub(super) fn waited(&self, time: Duration) {
        self.waited.record(time.as_secs_f64());
    }

    /// How long an attempt ran, and how it ended.
    pub(super) fn processed(&self, outcome: &'static str, seconds: f64) {
        if outcome == SUCCEEDED {
            self.succeeded.record(seconds);
        } else {
            processed(&self.queue, outcome).record(seconds);
        }
    }
}

fn processed(queue: &str, outcome: &'static str) -> Histogram {
    metrics::histogram!("messaging_process_duration_seconds", "queue" => queue.to_owned(), "outcome" => outcome)
}
