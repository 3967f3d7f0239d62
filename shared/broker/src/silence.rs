//! Whether the broker answers. A connection may stand for a while and carry nothing, in one direction or in both, before
//! it is found dead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::connect::Broker;

/// Without any answer for so long the broker is silent: longer than the loss of a stream's leader takes.
const SILENT_AFTER: Duration = Duration::from_secs(8);

/// What was heard on a connection.
#[derive(Debug)]
pub(crate) struct Silence {
    begun: Instant,
    /// When the oldest request was made that no answer to any has followed, in milliseconds from the beginning; 0 if
    /// there is none.
    unanswered_ms: AtomicU64,
    silent: watch::Sender<bool>,
}

// === impl Silence ===

impl Default for Silence {
    fn default() -> Self {
        Self { begun: Instant::now(), unanswered_ms: AtomicU64::new(0), silent: watch::Sender::new(false) }
    }
}

impl Silence {
    /// A request was answered.
    pub(crate) fn answered(&self) {
        // This is on the way of every request: nothing is written while all is well.
        if self.unanswered_ms.load(Ordering::Relaxed) != 0 {
            self.unanswered_ms.store(0, Ordering::Relaxed);
            self.silent.send_if_modified(|silent| std::mem::replace(silent, false));
        }
    }

    /// A request of then has had no answer in its time.
    pub(crate) fn unanswered(&self, asked: Instant) {
        let asked_ms = self.millis(asked).max(1);
        let since =
            match self.unanswered_ms.compare_exchange(0, asked_ms, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => asked_ms,
                Err(earlier) => earlier,
            };
        if self.millis(Instant::now()).saturating_sub(since) >= millis(SILENT_AFTER) {
            self.silent.send_if_modified(|silent| !std::mem::replace(silent, true));
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.begun))
    }
}

impl Broker {
    /// The signs of life that it owes have not come.
    pub(crate) fn heard_nothing(&self) {
        if let Some(long_ago) = Instant::now().checked_sub(SILENT_AFTER) {
            self.silence().unanswered(long_ago);
        }
    }

    /// Whether requests have had no answer for a while, although the connection stands.
    pub fn is_silent(&self) -> watch::Receiver<bool> {
        self.silence().silent.subscribe()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_late_answer_is_no_silence() {
        let silence = Silence::default();
        let silent = silence.silent.subscribe();
        tokio::time::advance(Duration::from_mins(1)).await;
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        silence.unanswered(asked);
        assert!(!*silent.borrow());
        tokio::time::advance(Duration::from_secs(3)).await;
        silence.unanswered(Instant::now());
        assert!(*silent.borrow(), "nothing was answered for 8 s");
        silence.answered();
        assert!(!*silent.borrow());
        tokio::time::advance(Duration::from_secs(20)).await;
        silence.unanswered(Instant::now());
        assert!(!*silent.borrow(), "there was an answer in between");
    }
}
