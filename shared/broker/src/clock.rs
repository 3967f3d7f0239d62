//! The broker's time, as it is known here.
//!
//! What one machine writes down another one judges: when a dispatcher was seen, when a job is due, how long it has
//! waited. One clock must be meant, and it is the broker's, because all ages and timers in the streams go by it. It is
//! read from the broker's answers; between two of them it goes on by the monotonic clock of this process, never by the
//! wall clock of this machine, which may be wrong, and may be set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::connect::{Broker, Error};

/// How wrong the clock of this machine may be before it is said.
pub const SKEW_BOUND: Duration = Duration::from_secs(5);

/// Between two looks at the broker's clock.
const EVERY: Duration = Duration::from_secs(30);
/// Before a look that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// For one look.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Not measured yet.
const UNKNOWN: i64 = i64::MIN;

/// The broker's clock, as far as it was read.
#[derive(Debug)]
pub(crate) struct Clock {
    begun: Instant,
    /// What it showed when this one began, in nanoseconds since 1970.
    origin_ns: AtomicI64,
    /// What it showed then at least: it is within the time of one answer's way above this.
    floor_ns: AtomicI64,
    /// By how much the clock of this machine is ahead; none before it is known.
    skew: watch::Sender<Option<SignedDuration>>,
    /// Held by the one that looks now and then.
    keeper: tokio::sync::Mutex<()>,
}

#[derive(serde::Deserialize)]
struct Told {
    ts: Timestamp,
}

// === impl Clock ===

impl Default for Clock {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            origin_ns: AtomicI64::new(UNKNOWN),
            floor_ns: AtomicI64::new(UNKNOWN),
            skew: watch::Sender::new(None),
            keeper: tokio::sync::Mutex::default(),
        }
    }
}

impl Clock {
    /// This machine's time until the broker's was read once.
    fn now(&self) -> Timestamp {
        self.since(&self.origin_ns)
    }

    fn since(&self, origin_ns: &AtomicI64) -> Timestamp {
        match origin_ns.load(Ordering::Relaxed) {
            UNKNOWN => own_time(),
            origin => from_ns(origin.saturating_add(nanos(self.begun.elapsed()))),
        }
    }

    /// Learns from an answer that came just now, and says when its broker wrote it.
    fn learn(&self, asked: Instant, told: Timestamp) {
        // It was written between the question and now. What is believed changes by no more than that demands, so that
        // the time does not go to and fro by the length of each answer's way.
        let lowest = nanos_of(told).saturating_sub(nanos(self.begun.elapsed()));
        let highest = lowest.saturating_add(nanos(asked.elapsed()));
        let origin = match self.origin_ns.load(Ordering::Relaxed) {
            UNKNOWN => lowest.midpoint(highest),
            known => known.clamp(lowest, highest),
        };
        self.origin_ns.store(origin, Ordering::Relaxed);
        let floor = match self.floor_ns.load(Ordering::Relaxed) {
            UNKNOWN => lowest,
            known => known.clamp(lowest, highest),
        };
        self.floor_ns.store(floor, Ordering::Relaxed);
        let skew = own_time().duration_since(self.now());
        metrics::gauge!("windlass_clock_skew_seconds").set(skew.as_secs_f64());
        let was_wrong = self.skew.borrow().is_some_and(is_wrong);
        if is_wrong(skew) && !was_wrong {
            let skew_seconds = skew.as_secs_f64();
            tracing::warn!(
                skew_seconds,
                "the clock of this machine is wrong, or the broker's is: synchronize them"
            );
        }
        self.skew.send_replace(Some(skew));
    }
}

/// Whether a difference from the broker's clock is to be said.
pub fn is_wrong(skew: SignedDuration) -> bool {
    skew.unsigned_abs() > SKEW_BOUND
}

impl Broker {
    /// What the broker's clock shows now, as far as it was read: exact to about the time of one answer.
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// What the broker's clock shows now at least: for what must not come early.
    pub fn now_at_least(&self) -> Timestamp {
        self.clock().since(&self.clock().floor_ns)
    }

    /// Asks for the broker's time: that by which the control bucket's entries are stored.
    pub async fn read_time(&self) -> Result<Timestamp, Error> {
        let call = format!("STREAM.INFO.KV_{}", self.names().control_bucket());
        let asked = Instant::now();
        let told = self.api::<Told>(&call, &serde_json::json!({}), CALL_TIMEOUT).await?;
        self.learn_time(asked, told.ts);
        Ok(told.ts)
    }

    /// Learns the time from an answer to what was asked then.
    pub(crate) fn learn_time(&self, asked: Instant, told: Timestamp) {
        self.clock().learn(asked, told);
    }

    /// Reads the broker's time now and then, for as long as it is polled. Of several on one connection one does it.
    pub async fn keep_time(&self) {
        let _keeper = self.clock().keeper.lock().await;
        let mut status = self.status();
        loop {
            status.mark_unchanged();
            let pause = match self.read_time().await {
                Ok(_) => EVERY,
                // What else is answered here tells the time as well.
                Err(Error::PermissionDenied(_)) => return std::future::pending().await,
                Err(error) => {
                    tracing::debug!(%error, "the broker's time could not be read");
                    AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // After a reconnection another server may answer.
                changed = status.changed() => if changed.is_err() { return },
            }
        }
    }

    /// By how much the clock of this machine is ahead of the broker's, as it is learnt.
    pub fn skew(&self) -> watch::Receiver<Option<SignedDuration>> {
        self.clock().skew.subscribe()
    }
}

/// What the clock of this machine shows. Tests set it wrong, in builds with debug assertions: by so many seconds from the
/// start, or by those that a file holds, which may change.
fn own_time() -> Timestamp {
    #[cfg(debug_assertions)]
    {
        static WRONG_BY: std::sync::LazyLock<i64> = std::sync::LazyLock::new(|| {
            let seconds = std::env::var("WINDLASS_CLOCK_OFFSET_SECONDS").unwrap_or_default();
            seconds.parse().unwrap_or_default()
        });
        static FILE: std::sync::LazyLock<Option<std::ffi::OsString>> =
            std::sync::LazyLock::new(|| std::env::var_os("WINDLASS_CLOCK_OFFSET_FILE"));
        let jumped = FILE.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let jumped: i64 = jumped.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or_default();
        let wrong_by = SignedDuration::from_secs(*WRONG_BY + jumped);
        Timestamp::now().saturating_add(wrong_by).unwrap_or(Timestamp::MAX)
    }
    #[cfg(not(debug_assertions))]
    Timestamp::now()
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn nanos_of(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

fn from_ns(ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off(clock: &Clock, from: Timestamp) -> f64 {
        clock.now().duration_since(from).as_secs_f64()
    }

    #[test]
    fn the_time_is_the_brokers_whatever_this_machine_shows() {
        let clock = Clock::default();
        let told = Timestamp::now() - SignedDuration::from_hours(1);
        clock.learn(Instant::now(), told);
        assert!((0.0..1.0).contains(&off(&clock, told)), "{}", off(&clock, told));
        assert!(clock.skew.borrow().is_some_and(is_wrong));
        // An answer that took a minute says no more than that minute: what is known within it stays.
        let minute_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        clock.learn(minute_ago, told - SignedDuration::from_secs(30));
        assert!((0.0..1.0).contains(&off(&clock, told)), "{}", off(&clock, told));
        // An answer that took two seconds was written within them: at least as late as if it had been written at their
        // end.
        let clock = Clock::default();
        clock.learn(Instant::now().checked_sub(Duration::from_secs(2)).unwrap(), told);
        let at_least = clock.since(&clock.floor_ns).duration_since(told).as_secs_f64();
        assert!((0.0..0.5).contains(&at_least), "{at_least}");
        assert!((1.0..1.5).contains(&off(&clock, told)), "{}", off(&clock, told));
        // A better one makes that exact.
        clock.learn(Instant::now(), told + SignedDuration::from_secs(1));
        let at_least = clock.since(&clock.floor_ns).duration_since(told).as_secs_f64();
        assert!((1.0..1.5).contains(&at_least), "{at_least}");
        // The broker's clock was set.
        let told = Timestamp::now();
        clock.learn(Instant::now(), told);
        assert!((-0.1..1.0).contains(&off(&clock, told)), "{}", off(&clock, told));
        assert!(!clock.skew.borrow().is_some_and(is_wrong));
    }
}
