//! How a worker stands with each of its queues, and what to do where it does not serve one.

use std::collections::BTreeMap;
use std::fmt;

use tokio::sync::watch;
use windlass_broker::connect;
use windlass_core::QueueName;

/// JetStream has no such consumer.
const NO_CONSUMER: u64 = 10014;

/// How a worker stands with a queue. Its `Display` says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serving {
    /// It was not looked at yet.
    Opening,
    /// Its jobs are asked for.
    Served,
    /// It has no consumer yet. The worker is as ready as it can be.
    NoConsumer,
    /// It was served, and its consumer is gone. The dispatchers make it again if work waits there.
    Missing,
    /// The broker refuses it for lack of a right, in these words.
    Denied(String),
    /// The broker cannot be asked, for this reason.
    Unreachable(String),
}

/// All queues of a worker.
#[derive(Debug)]
pub(super) struct Board {
    queues: watch::Sender<BTreeMap<QueueName, Serving>>,
}

// === impl Serving ===

impl Serving {
    pub(super) fn of_error(error: &connect::Error) -> Self {
        match error {
            connect::Error::Refused { code: NO_CONSUMER, .. } => Self::NoConsumer,
            connect::Error::PermissionDenied(words) => Self::Denied(words.clone()),
            other => Self::Unreachable(other.to_string()),
        }
    }

    /// Whether nothing is left that this worker could do: it serves the queue, or will with its first task.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Served | Self::NoConsumer)
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("not looked at yet"),
            Self::Served => f.write_str("served"),
            Self::NoConsumer => {
                f.write_str("has no consumer yet: publish to it, or name it in layout.queues")
            }
            Self::Missing => f.write_str(
                "its consumer was removed: a dispatcher makes it again with the next task, or within seconds if work \
                 waits",
            ),
            Self::Denied(words) => write!(
                f,
                "this worker has no right to its jobs ({words}): give its user the rights of the pool, or take the \
                 queue out of its queues"
            ),
            Self::Unreachable(reason) => {
                write!(f, "the broker cannot be asked for its jobs ({reason}): trying again")
            }
        }
    }
}

// === impl Board ===

impl Board {
    pub(super) fn new(queues: &[QueueName]) -> Self {
        let queues = queues.iter().map(|queue| (queue.clone(), Serving::Opening)).collect();
        Self { queues: watch::Sender::new(queues) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<BTreeMap<QueueName, Serving>> {
        self.queues.subscribe()
    }

    pub(super) fn is_denied(&self, queue: &QueueName) -> bool {
        matches!(self.queues.borrow().get(queue), Some(Serving::Denied(_)))
    }

    /// Says it in the log where it is another state than before.
    pub(super) fn set(&self, queue: &QueueName, now: Serving) {
        self.queues.send_if_modified(|queues| {
            let before = queues.get(queue);
            let now = match (before, now) {
                (Some(Serving::Served | Serving::Missing), Serving::NoConsumer) => Serving::Missing,
                (_, now) => now,
            };
            let is_alike = before.is_some_and(|b| std::mem::discriminant(b) == std::mem::discriminant(&now));
            if is_alike {
                return false;
            }
            match &now {
                Serving::Opening => {}
                Serving::Served => tracing::info!(%queue, "serving the queue"),
                Serving::NoConsumer | Serving::Missing => {
                    tracing::warn!(%queue, state = %now, "the queue's consumer is missing; looking again");
                }
                Serving::Denied(_) => tracing::error!(%queue, state = %now, "the queue may not be served"),
                Serving::Unreachable(_) => {
                    tracing::warn!(%queue, state = %now, "the queue cannot be served now");
                }
            }
            queues.insert(queue.clone(), now);
            true
        });
    }

    /// Waits until none of them is left that could be served and is not.
    pub(super) async fn settled(&self) {
        let mut queues = self.watch();
        if queues.wait_for(|queues| queues.values().all(Serving::is_settled)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_cause_is_told_apart() {
        let refused = |code| connect::Error::Refused { code, description: "no".to_owned() };
        let timed_out = connect::Error::TimedOut { subject: "s".to_owned(), timeout: Duration::from_secs(5) };
        for (error, settled, words) in [
            (refused(NO_CONSUMER), true, "publish to it"),
            (refused(10059), false, "trying again"),
            (connect::Error::PermissionDenied("to x".to_owned()), false, "no right to its jobs (to x)"),
            (connect::Error::Disconnected, false, "not connected to the broker"),
            (timed_out, false, "no answer from the broker"),
        ] {
            let serving = Serving::of_error(&error);
            assert_eq!(serving.is_settled(), settled, "{serving:?}");
            assert!(serving.to_string().contains(words), "{serving}");
        }
    }

    #[test]
    fn a_queue_that_was_served_and_has_no_consumer_is_not_settled() {
        let queue = QueueName::default();
        let board = Board::new(std::slice::from_ref(&queue));
        let is = |serving: &Serving| board.watch().borrow()[&queue] == *serving;
        board.set(&queue, Serving::NoConsumer);
        assert!(is(&Serving::NoConsumer), "it has none yet");
        board.set(&queue, Serving::Served);
        board.set(&queue, Serving::NoConsumer);
        assert!(is(&Serving::Missing) && !Serving::Missing.is_settled());
        board.set(&queue, Serving::NoConsumer);
        assert!(is(&Serving::Missing));
        board.set(&queue, Serving::Served);
        assert!(is(&Serving::Served));
    }
}
