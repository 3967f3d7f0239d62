//! The scheduler's metrics.

use std::time::Duration;

const FIRES: &str = "windlass_scheduler_fires_total";
const MISFIRES: &str = "windlass_scheduler_misfires_total";
const SKIPPED: &str = "windlass_scheduler_skipped_total";
const FAILURES: &str = "windlass_scheduler_failures_total";
const MALFORMED: &str = "windlass_scheduler_malformed_schedules_total";
const LATENESS: &str = "windlass_scheduler_lateness_seconds";
const LEADER: &str = "windlass_scheduler_leader";
const SCHEDULES: &str = "windlass_scheduler_schedules";

/// Says what they mean, and shows them before the first event.
pub(crate) fn describe() {
    metrics::describe_counter!(
        FIRES,
        "tasks of schedules that the broker has stored, those stored before included"
    );
    metrics::describe_counter!(MISFIRES, "instants of schedules that were missed");
    metrics::describe_counter!(SKIPPED, "instants of schedules that were passed over because a job was live");
    metrics::describe_counter!(FAILURES, "fires that did not come to their end and are tried again");
    metrics::describe_counter!(MALFORMED, "entries that are no valid schedule and were skipped");
    metrics::describe_histogram!(LATENESS, "from an instant to the moment at which its task was stored");
    metrics::describe_gauge!(LEADER, "1 while this scheduler is the one that fires");
    metrics::describe_gauge!(SCHEDULES, "schedules that this scheduler follows as the leader");
    for counter in [FIRES, MISFIRES, SKIPPED, FAILURES, MALFORMED] {
        metrics::counter!(counter).increment(0);
    }
    leader(false);
}

pub(crate) fn fired(lateness: Duration) {
    metrics::counter!(FIRES).increment(1);
    metrics::histogram!(LATENESS).record(lateness.as_secs_f64());
}

pub(crate) fn missed(count: u64) {
    metrics::counter!(MISFIRES).increment(count);
}

pub(crate) fn skipped(count: u64) {
    metrics::counter!(SKIPPED).increment(count);
}

pub(crate) fn failed() {
    metrics::counter!(FAILURES).increment(1);
}

pub(crate) fn malformed() {
    metrics::counter!(MALFORMED).increment(1);
}

pub(crate) fn leader(leads: bool) {
    metrics::gauge!(LEADER).set(if leads { 1.0 } else { 0.0 });
    if !leads {
        schedules(0);
    }
}

pub(crate) fn schedules(count: usize) {
    // Exact up to 2^53.
    #[allow(clippy::cast_precision_loss)]
    metrics::gauge!(SCHEDULES).set(count as f64);
}
