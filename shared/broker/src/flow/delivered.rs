//! What the workers of a queue have been given.

use serde::Deserialize;

use super::{Flow, TIMEOUT};
use crate::connect::Error;

/// JetStream: there is no such consumer.
pub(super) const NO_CONSUMER: u64 = 10014;

/// How far the workers' consumer of a queue has come.
#[derive(Debug, Clone, Copy)]
pub struct Delivered {
    /// What stands above this sequence was given to nobody.
    pub up_to: u64,
    /// How many jobs those are: they wait for a worker.
    pub pending: u64,
    /// How many workers have.
    pub out: u64,
}

#[derive(Deserialize)]
struct ConsumerInfo {
    delivered: Place,
    num_pending: u64,
    num_ack_pending: u64,
}

#[derive(Deserialize)]
struct Place {
    stream_seq: u64,
}

// === impl Flow ===

impl Flow {
    /// What workers have; none if the queue has no consumer.
    pub async fn delivered(&self) -> Result<Option<Delivered>, Error> {
        let call = self.of_workers("INFO");
        match self.broker().api::<ConsumerInfo>(&call, &serde_json::json!({}), TIMEOUT).await {
            Ok(info) => Ok(Some(Delivered {
                up_to: info.delivered.stream_seq,
                pending: info.num_pending,
                out: info.num_ack_pending,
            })),
            Err(Error::Refused { code: NO_CONSUMER, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A call about the workers' consumer.
    pub(super) fn of_workers(&self, call: &str) -> String {
        let consumer = self.broker().names().worker_consumer(self.queue());
        format!("CONSUMER.{call}.{}.{consumer}", self.jobs().stream())
    }
}
