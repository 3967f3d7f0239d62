//! The kinds of jobs of measurements, and what the worker does with them.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use serde::{Deserialize, Serialize};
use windlass::core::retry::{Backoff, InvalidPolicy, Parts};
use windlass::{AttemptNumber, Client, Failure, Handlers, Job, RetryPolicy, State};

use super::work;

/// A job that does nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Nothing {
    filling: String,
}

/// A job that fails so often before it succeeds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failing {
    failures: u32,
    filling: String,
}

/// A job that runs until its worker is killed, and ends at once on another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Held {
    filling: String,
}

/// A job that takes a while, and no processor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Taking {
    millis: u64,
    filling: String,
}

/// A job that submits children.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FanOut {
    pub(super) children: u64,
    /// Bytes of a child's payload.
    pub(super) payload: usize,
    /// Which the children are spread over.
    pub(super) queues: usize,
    pub(super) detached: bool,
}

impl Job for Nothing {
    const KIND: &'static str = "bench.nothing";
}

impl Job for Failing {
    const KIND: &'static str = "bench.failing";
}

impl Job for Held {
    const KIND: &'static str = "bench.held";
}

impl Job for Taking {
    const KIND: &'static str = "bench.taking";
}

impl Job for FanOut {
    const KIND: &'static str = "bench.fan_out";
}

/// Whether [`Held`] runs on in this worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holds(pub(super) bool);

/// Of the JSON around the filling.
const AROUND_BYTES: usize = r#"{"filling":""}"#.len();
const AROUND_FAILING_BYTES: usize = r#"{"failures":0,"filling":""}"#.len();
const AROUND_TAKING_BYTES: usize = r#"{"millis":,"filling":""}"#.len();
/// Children that wait for their acceptance at a time.
const IN_FLIGHT: usize = 500;

// === impl Nothing ===

impl Nothing {
    /// With a payload of so many bytes, or of the least that it can have.
    pub(super) fn of(bytes: usize) -> Self {
        Self { filling: filling(bytes, AROUND_BYTES) }
    }
}

// === impl Failing ===

impl Failing {
    /// As [`Nothing::of`].
    pub(super) fn of(bytes: usize, failures: u32) -> Self {
        Self { failures, filling: filling(bytes, AROUND_FAILING_BYTES) }
    }

    /// So that it is tried again after this delay, exactly, until it succeeds.
    pub(super) fn policy(failures: u32, delay: Duration) -> Result<RetryPolicy, InvalidPolicy> {
        let seconds = delay.as_secs_f64();
        Parts {
            max_attempts: failures + 1,
            backoff: Backoff::Fixed,
            initial_delay_seconds: seconds,
            max_delay_seconds: seconds,
            jitter: 0.0,
            ..Parts::default()
        }
        .try_into()
    }
}

// === impl Held ===

impl Held {
    /// As [`Nothing::of`].
    pub(super) fn of(bytes: usize) -> Self {
        Self { filling: filling(bytes, AROUND_BYTES) }
    }
}

// === impl Taking ===

impl Taking {
    /// As [`Nothing::of`].
    pub(super) fn of(bytes: usize, time: Duration) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { millis, filling: filling(bytes, AROUND_TAKING_BYTES + millis.to_string().len()) }
    }
}

fn filling(bytes: usize, around: usize) -> String {
    "x".repeat(bytes.saturating_sub(around))
}

/// The handlers of the worker.
pub(super) fn handlers(holds: Holds) -> Result<Handlers<Holds>, windlass::handler::Error> {
    let handlers = Handlers::with_state(holds).register(nothing)?.register(failing)?.register(held)?;
    handlers.register(taking)?.register(fan_out)
}

async fn nothing(_: Nothing) -> Result<(), Failure> {
    Ok(())
}

async fn failing(job: Failing, AttemptNumber(attempt): AttemptNumber) -> Result<(), Failure> {
    if attempt <= job.failures { Err(Failure::new("as asked for").code("bench")) } else { Ok(()) }
}

async fn held(_: Held, State(Holds(holds)): State<Holds>) -> Result<(), Failure> {
    if holds {
        // Until the process is killed, or the attempt's time is over.
        std::future::pending::<()>().await;
    }
    Ok(())
}

async fn taking(job: Taking) -> Result<(), Failure> {
    tokio::time::sleep(Duration::from_millis(job.millis)).await;
    Ok(())
}

async fn fan_out(job: FanOut, client: Client) -> Result<(), Failure> {
    let payload = Nothing::of(job.payload);
    let queues = work::queues(job.queues);
    let mut under_way = FuturesUnordered::new();
    for (_, queue) in (0..job.children).zip(queues.iter().cycle()) {
        while under_way.len() >= IN_FLIGHT {
            under_way.next().await.transpose()?;
        }
        let child = client.task(&payload).queue(queue.as_str());
        under_way.push(if job.detached { child.detached() } else { child }.submit());
    }
    while let Some(answer) = under_way.next().await {
        answer?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_the_size_that_is_asked_for() {
        assert_eq!(bytes(&Nothing::of(200)), 200);
        assert_eq!(bytes(&Failing::of(200, 2)), 200);
        assert_eq!(bytes(&Held::of(200)), 200);
        assert_eq!(bytes(&Taking::of(200, Duration::from_millis(20))), 200);
        assert_eq!(bytes(&Nothing::of(0)), AROUND_BYTES);
    }

    fn bytes(job: &impl Serialize) -> usize {
        serde_json::to_vec(job).unwrap().len()
    }
}
