//! Tasks by the million: published one by one, many on their way at a time, their starts spread over an interval.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, sleep_until};
use windlass_core::{JobId, Start};

use super::{Error, Submission, Submitted};

/// Tasks that are on their way at one time, unless it is said otherwise.
const IN_FLIGHT: usize = 512;

/// How many tasks are published.
///
/// Unlike a [`Batch`](super::Batch), it is not all or none: each task is accepted, or not, by itself. Memory is bounded by
/// what is on its way, so the tasks may come from a file of any length.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `submit`"]
pub struct Bulk {
    spread: Duration,
    rate: Option<u32>,
    in_flight: usize,
}

/// What became of one task.
#[derive(Debug)]
pub struct Outcome {
    /// Its place in the stream, from 0.
    pub index: u64,
    /// Its job, or why it was not accepted.
    pub submitted: Result<Submitted, Error>,
}

impl Default for Bulk {
    fn default() -> Self {
        Self { spread: Duration::ZERO, rate: None, in_flight: IN_FLIGHT }
    }
}

// === impl Bulk ===

impl Bulk {
    /// At once, as fast as the broker takes them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spreads the starts of the jobs over this time, for those that name no start of their own: each is delayed by a
    /// part of it that follows from its id, so that one which is submitted again has the same.
    pub fn spread(mut self, interval: Duration) -> Self {
        self.spread = interval;
        self
    }

    /// No more than so many a second are published. 0: no limit.
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = (per_second > 0).then_some(per_second);
        self
    }

    /// How many may be on their way at one time: at least 1.
    pub fn in_flight(mut self, tasks: usize) -> Self {
        self.in_flight = tasks.max(1);
        self
    }

    /// Publishes the tasks of a stream. What becomes of each comes in the order of the tasks; no more are taken from the
    /// stream than are asked for and on their way.
    pub fn submit(self, tasks: impl Stream<Item = Submission>) -> impl Stream<Item = Outcome> {
        let Self { spread, rate, in_flight } = self;
        let begun = Instant::now();
        stream::StreamExt::enumerate(tasks)
            .then(move |(number, task)| async move {
                if let Some(rate) = rate {
                    let at = Duration::from_micros(number as u64 * 1_000_000 / u64::from(rate));
                    sleep_until(begun + at).await;
                }
                (number, task)
            })
            .map(move |(number, task)| async move {
                let index = number as u64;
                let submitted = Box::pin(spread_over(task, spread).submit()).await;
                Outcome { index, submitted }
            })
            .buffered(in_flight)
    }
}

fn spread_over(task: Submission, interval: Duration) -> Submission {
    if interval.is_zero() {
        return task;
    }
    task.with(|task| {
        if task.start == Start::Now {
            task.start = Start::After(place_in(task.id, interval));
        }
        Ok(())
    })
}

/// The place of a job in an interval, in milliseconds: it follows from the id alone, and ids of any version are spread
/// evenly.
pub fn place_in(id: JobId, interval: Duration) -> Duration {
    // The last 62 bits of a UUID are random, or a hash.
    let bits = id.as_uuid().as_u128() & ((1 << 62) - 1);
    let millis = (interval.as_millis() * bits) >> 62;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::testing::Bench;

    #[test]
    fn places_are_spread_evenly_and_stay() {
        let hour = Duration::from_secs(3600);
        let mut quarters = [0; 4];
        for n in 0..4000 {
            let id = JobId::of_message(jiff::Timestamp::UNIX_EPOCH, n);
            let place = place_in(id, hour);
            assert!(place < hour);
            assert_eq!(place, place_in(id, hour));
            quarters[usize::try_from(place.as_secs() / 900).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|n| (850..1150).contains(n)), "{quarters:?}");
    }

    #[tokio::test]
    async fn each_has_its_outcome_in_order() {
        let bench = Bench::new(crate::Handlers::new());
        let client = bench.client();
        let tasks = (0..100).map(|n| {
            let kind = if n == 50 { "no kind" } else { "a.b" };
            client.raw(kind, Bytes::new(), "text/plain")
        });
        let outcomes: Vec<_> = Bulk::new().in_flight(7).submit(stream::iter(tasks)).collect().await;
        assert!(outcomes.iter().enumerate().all(|(n, one)| one.index == n as u64));
        let failed: Vec<_> =
            outcomes.iter().filter(|one| one.submitted.is_err()).map(|one| one.index).collect();
        assert_eq!(failed, [50]);
    }
}
