//! What the workers of a queue have been given.

use std::time::Duration;

use serde::Deserialize;

use super::Flow;
use crate::connect::Error;

/// For the call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// JetStream: there is no such consumer.
const NO_CONSUMER: u64 = 10014;

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
        let consumer = self.broker().names().worker_consumer(self.queue());
        let call = format!("CONSUMER.INFO.{}.{consumer}", self.jobs().stream());
        match self.broker().api::<ConsumerInfo>(&call, &serde_json::json!({}), CALL_TIMEOUT).await {
            Ok(info) => Ok(Some(Delivered {
                up_to: info.delivered.stream_seq,
                pending: info.num_pending,
                out: info.num_ack_pending,
            })),
            Err(Error::Refused { code: NO_CONSUMER, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
