//! Ends of jobs of which some are waited for: durable consumers of EVENTS, one a queue, that exist only while it has such
//! a job. An event is a reason to look; the stream of jobs decides.

use std::time::Duration;

use serde::Deserialize;
use windlass_core::QueueName;

use super::{CALL_TIMEOUT, Error, EventReader};
use crate::connect::{self, Broker};
use crate::pull::Puller;

/// What a dispatcher was given and did not deal with is given to another after this.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// Messages that dispatchers have in hand, of one queue.
const MAX_ACK_PENDING: u64 = 256;
/// JetStream: a consumer of this name exists, with other settings.
const EXISTS_OTHERWISE: [u64; 2] = [10_013, 10_148];

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    total: usize,
    consumers: Option<Vec<String>>,
}

/// Makes the consumer of a queue's events unless it exists: from here on, no end is missed. The broker removes it when
/// nobody has asked it for anything for this long.
pub async fn ensure(broker: &Broker, queue: &QueueName, kept: Duration) -> Result<(), connect::Error> {
    let names = broker.names();
    let (stream, name, filter) =
        (names.events_stream(), names.ends_consumer(queue), names.event_filter(queue));
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let request = serde_json::json!({ "stream_name": stream, "action": "create", "config": {
        "durable_name": name, "filter_subject": filter, "ack_policy": "explicit", "deliver_policy": "new",
        "ack_wait": nanos(ACK_WAIT), "max_ack_pending": MAX_ACK_PENDING, "max_deliver": -1,
        "inactive_threshold": nanos(kept),
    }});
    // The subject names the filter, so that a right to create can name it too.
    let call = format!("CONSUMER.CREATE.{stream}.{name}.{filter}");
    match broker.api::<serde_json::Value>(&call, &request, CALL_TIMEOUT).await {
        Err(connect::Error::Refused { code, .. }) if EXISTS_OTHERWISE.contains(&code) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// The queues that have such a consumer.
pub async fn followed(broker: &Broker) -> Result<Vec<QueueName>, connect::Error> {
    let call = format!("CONSUMER.NAMES.{}", broker.names().events_stream());
    let (mut queues, mut offset) = (Vec::new(), 0);
    loop {
        let page: Page = broker.api(&call, &serde_json::json!({ "offset": offset }), CALL_TIMEOUT).await?;
        let names = page.consumers.unwrap_or_default();
        offset += names.len();
        queues.extend(names.iter().filter_map(|name| broker.names().queue_of_ends_consumer(name)));
        if names.is_empty() || offset >= page.total {
            return Ok(queues);
        }
    }
}

impl EventReader {
    /// Starts to read the events of a queue with such a consumer.
    pub async fn of_ends(broker: &Broker, queue: &QueueName) -> Result<Self, Error> {
        let names = broker.names();
        let puller = Puller::open(broker, names.events_stream(), names.ends_consumer(queue)).await?;
        Ok(Self { puller })
    }
}
