//! What a worker can be told, and what may be wrong with it.

use std::time::Duration;

use windlass_core::{PoolName, QueueName, RetryPolicy};

use crate::codec::Codec;

/// How a worker runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name in histories; unique among those that live.
    pub id: String,
    /// The trust domain whose stream it reads.
    pub pool: PoolName,
    /// Whose jobs it runs; all workers of a queue serve the same kinds.
    pub queues: Vec<QueueName>,
    /// How many attempts at a time, for each queue.
    pub slots: usize,
    /// For tasks that bring none.
    pub retry: RetryPolicy,
    /// Time allowed for one attempt, for tasks that bring none.
    pub attempt_timeout: Duration,
    /// How long an attempt may go on after it was cancelled, before it is aborted.
    pub cancel_grace: Duration,
    /// How long attempts may go on when the worker is told to stop, before they are handed back.
    pub drain_timeout: Duration,
    /// How long a record of a job's end is kept, and refuses duplicates and stale holders.
    pub horizon: Duration,
    /// Threads that handlers run on, apart from those that keep leases; as many as there are cores, if none.
    pub handler_threads: Option<usize>,
    /// How long a job that is to run alone waits for its neighbours before it is handed on.
    pub isolation_wait: Duration,
    /// How long a job of a kind that no worker here handles is handed on before it is dead.
    pub unknown_kind_patience: Duration,
    /// Opens payloads, and compresses and seals results and errors.
    pub codec: Codec,
    /// Of one payload once it is decompressed: each attempt may take so much memory.
    pub max_payload_bytes: usize,
    /// Of one result before it is compressed.
    pub max_result_bytes: usize,
}

/// A worker cannot run, or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is not what it must be.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What it was, and what was expected.
        reason: String,
    },
    /// The client has no connection, as one of `windlass::testing` has none.
    #[error("the client has no connection to a broker")]
    NoBroker,
    /// The threads for handlers could not be made.
    #[error("the threads for handlers could not be started")]
    Threads(#[source] std::io::Error),
    /// The connection is closed for good.
    #[error("the connection to the broker is closed")]
    Closed,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            id: format!("worker-{:08x}", rand::random::<u32>()),
            pool: PoolName::default(),
            queues: vec![QueueName::default()],
            slots: 16,
            retry: RetryPolicy::default(),
            attempt_timeout: Duration::from_secs(300),
            cancel_grace: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            horizon: Duration::from_secs(900),
            handler_threads: None,
            isolation_wait: Duration::from_secs(60),
            unknown_kind_patience: Duration::from_secs(600),
            codec: Codec::default(),
            max_payload_bytes: 64 * 1024 * 1024,
            max_result_bytes: 16 * 1024 * 1024,
        }
    }
}

impl Options {
    /// Names what is out of range.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |field, reason: &str| Err(Error::Invalid { field, reason: reason.to_owned() });
        if self.queues.is_empty() {
            return invalid("queues", "is empty: expected at least one queue");
        }
        if !(1..=10_000).contains(&self.slots) {
            return invalid("slots", "expected 1 to 10000");
        }
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = self.queues.iter().find(|queue| !seen.insert(*queue)) {
            return invalid("queues", &format!("has `{twice}` twice"));
        }
        if self.attempt_timeout.is_zero() {
            return invalid("attempt_timeout", "expected more than 0");
        }
        // Sums of them are instants, which have an end.
        for (field, found, most_days) in [
            ("attempt_timeout", self.attempt_timeout, 30),
            ("cancel_grace", self.cancel_grace, 1),
            ("drain_timeout", self.drain_timeout, 30),
            ("horizon", self.horizon, 366),
            ("isolation_wait", self.isolation_wait, 1),
            ("unknown_kind_patience", self.unknown_kind_patience, 366),
        ] {
            if found > Duration::from_secs(most_days * 86_400) {
                return invalid(field, &format!("expected at most {most_days} days"));
            }
        }
        for (field, found) in
            [("max_payload_bytes", self.max_payload_bytes), ("max_result_bytes", self.max_result_bytes)]
        {
            if !(1..=1 << 30).contains(&found) {
                return invalid(field, &format!("is {found}: expected 1 to {}", 1 << 30));
            }
        }
        if self.handler_threads.is_some_and(|threads| !(1..=1024).contains(&threads)) {
            return invalid("handler_threads", "expected 1 to 1024");
        }
        if self.horizon < Duration::from_secs(1) {
            return invalid("horizon", "expected at least 1s");
        }
        let id_is_word = !self.id.is_empty()
            && self.id.len() <= 128
            && self.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !id_is_word {
            return invalid("id", "expected 1 to 128 letters, digits, `_` and `-`");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        let good = Options::default;
        assert!(good().check().is_ok());
        let long = Duration::MAX;
        let queue = QueueName::default();
        for (options, field) in [
            (Options { queues: vec![queue.clone(), queue], ..good() }, "queues"),
            (Options { slots: 0, ..good() }, "slots"),
            (Options { attempt_timeout: long, ..good() }, "attempt_timeout"),
            (Options { cancel_grace: long, ..good() }, "cancel_grace"),
            (Options { drain_timeout: long, ..good() }, "drain_timeout"),
            (Options { horizon: long, ..good() }, "horizon"),
            (Options { isolation_wait: long, ..good() }, "isolation_wait"),
            (Options { unknown_kind_patience: long, ..good() }, "unknown_kind_patience"),
            (Options { max_payload_bytes: usize::MAX, ..good() }, "max_payload_bytes"),
            (Options { max_result_bytes: 0, ..good() }, "max_result_bytes"),
            (Options { id: "a b".to_owned(), ..good() }, "id"),
        ] {
            match options.check() {
                Err(Error::Invalid { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
