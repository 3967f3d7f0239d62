//! What a newer version of the fleet's programs wrote, and this one does not understand.
//!
//! It is left to those who understand it. Here it is counted, logged once in a while, and told to whoever reports the
//! state of the process.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::connect::Broker;

/// Between two lines in the log.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What a connection has met of it.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    latest: watch::Sender<Option<Met>>,
}

/// A value that is not known here.
#[derive(Debug, Clone)]
pub struct Met {
    /// What was read: `jobs`, `commands` or `events`.
    pub stream: &'static str,
    /// Which field, and its value.
    pub cause: String,
    /// When it was last said in the log.
    said_at: Instant,
}

impl Broker {
    /// Notes that this was met in a message of the fleet's own, and is left to newer programs.
    pub fn not_understood(&self, stream: &'static str, error: &windlass_proto::Error) {
        metrics::counter!("windlass_not_understood_total", "stream" => stream).increment(1);
        self.unread().latest.send_modify(|latest| {
            let now = Instant::now();
            let cause = error.to_string();
            let said_at =
                latest.as_ref().map(|met| met.said_at).filter(|at| now.duration_since(*at) < SAY_EVERY);
            if said_at.is_none() {
                tracing::error!(
                    stream,
                    field = error.field,
                    value = error.reason,
                    "a newer version wrote this: it is left to programs that understand it; upgrade this one"
                );
            }
            *latest = Some(Met { stream, cause, said_at: said_at.unwrap_or(now) });
        });
    }

    /// What was met last; changes each time.
    pub fn last_not_understood(&self) -> watch::Receiver<Option<Met>> {
        self.unread().latest.subscribe()
    }
}
