//! A schedule for tests.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use windlass_core::schedule::{Interval, Policy, Rule, Schedule, Spec, Template};
use windlass_core::{Priority, QueueName};

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn schedule(id: &str, period_seconds: u64, created_at: i64) -> Schedule<Bytes> {
    Schedule {
        id: id.parse().unwrap(),
        queue: QueueName::default(),
        task: Template {
            kind: "report.make".parse().unwrap(),
            payload: Bytes::from_static(b"{}"),
            content_type: "application/json".to_owned(),
            priority: Priority::Normal,
            retry: None,
            attempt_timeout: None,
            max_wait: None,
        },
        spec: Spec::from(Rule::Interval(
            Interval::new(Duration::from_secs(period_seconds), Duration::ZERO).unwrap(),
        )),
        policy: Policy::default(),
        pause: None,
        created_at: at(created_at),
        requests: Vec::new(),
        edits: Vec::new(),
    }
}
