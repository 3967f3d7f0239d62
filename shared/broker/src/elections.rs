//! Elections of replicated consumers' leaders: a new one may have forgotten what the old one delivered.
//!
//! They are heard once for all consumers of a stream of jobs. A worker may serve a thousand queues, each with a consumer
//! of its own, and a subscription takes some kilobytes, here and in the broker.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Subscriber;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::connect::{Broker, Error};
use crate::names::Names;

/// For subscribing.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Those that a connection hears.
#[derive(Default)]
pub(crate) struct Elections {
    counts: Arc<Counts>,
    /// By what they listen to. Locked while one is begun: nobody is to ask for messages before it is.
    listening: tokio::sync::Mutex<HashMap<String, JoinHandle<()>>>,
}

/// How many there were, by the subject of each consumer's.
type Counts = Mutex<HashMap<String, watch::Sender<u64>>>;

// === impl Elections ===

impl Broker {
    /// Changes with each election of this consumer's leader, from now on.
    pub(crate) async fn elections(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<watch::Receiver<u64>, Error> {
        let subject = Names::elections_subject(stream, consumer);
        // The rights of others are to one consumer.
        let is_shared = self.names().is_stream_of_jobs(stream);
        let filter = if is_shared { Names::elections_subject(stream, "*") } else { subject.clone() };
        let Elections { counts, listening } = self.elections_heard();
        let mut listening = listening.lock().await;
        // Its runtime may have ended.
        if listening.get(&filter).is_none_or(JoinHandle::is_finished) {
            let arriving = timeout(CALL_TIMEOUT, self.client().subscribe(filter.clone()))
                .await
                .map_err(|_| Error::TimedOut { subject: filter.clone(), timeout: CALL_TIMEOUT })?
                .map_err(|_| Error::Closed)?;
            listening.insert(filter, tokio::spawn(listen(arriving, Arc::clone(counts))));
        }
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(counts.entry(subject).or_default().subscribe())
    }
}

impl fmt::Debug for Elections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elections").finish_non_exhaustive()
    }
}

/// Until the connection is closed.
async fn listen(mut arriving: Subscriber, counts: Arc<Counts>) {
    while let Some(message) = arriving.next().await {
        let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get(message.subject.as_str()) {
            count.send_modify(|count| *count += 1);
        }
    }
}
