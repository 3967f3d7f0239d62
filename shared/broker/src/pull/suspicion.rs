//! Which deliveries may have been made before, by a broker that forgot them: killed just after delivering, it comes back
//! and delivers again, with count 1.

use tokio::sync::oneshot;

use super::CALL_TIMEOUT;
use crate::connect::Broker;
use crate::stream_state::stream_state;

/// It falls on what stood in the stream when it arose, and on no more deliveries than may be out at a time.
pub(super) struct Suspicion {
    broker: Broker,
    stream: String,
    max_ack_pending: u64,
    /// Deliveries that it may still fall on.
    left: u64,
    newest: Newest,
}

/// The last sequence of the stream at some instant since the suspicion arose.
enum Newest {
    Known(u64),
    Asked(oneshot::Receiver<u64>),
    Unknown,
}

// === impl Suspicion ===

impl Suspicion {
    /// At the beginning: nobody knows what was delivered before.
    pub(super) fn new(broker: &Broker, stream: &str, max_ack_pending: u64) -> Self {
        let (broker, stream) = (broker.clone(), stream.to_owned());
        let mut suspicion = Self { broker, stream, max_ack_pending, left: 0, newest: Newest::Unknown };
        suspicion.arise();
        suspicion
    }

    /// From now on, until it is used up.
    pub(super) fn arise(&mut self) {
        self.left = self.max_ack_pending;
        let (answer, asked) = oneshot::channel();
        self.newest = Newest::Asked(asked);
        let (broker, stream) = (self.broker.clone(), self.stream.clone());
        tokio::spawn(async move {
            match stream_state(&broker, &stream, CALL_TIMEOUT).await {
                Ok(state) => drop(answer.send(state.last_seq)),
                // It falls on more than it needs to: that costs a write for each of them, and no more.
                Err(error) => tracing::debug!(stream, %error, "the newest message is not known"),
            }
        });
    }

    /// Whether it falls on a delivery of this message, which it counts.
    pub(super) fn falls_on(&mut self, sequence: u64) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        if let Newest::Asked(asked) = &mut self.newest {
            match asked.try_recv() {
                Ok(sequence) => self.newest = Newest::Known(sequence),
                Err(oneshot::error::TryRecvError::Closed) => self.newest = Newest::Unknown,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
        }
        !matches!(self.newest, Newest::Known(newest) if sequence > newest)
    }
}
