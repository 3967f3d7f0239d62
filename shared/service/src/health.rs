//! What a process says of itself: conditions make it ready, heartbeats show it alive.
//!
//! A broker that is away makes a process not ready, and never not alive: to start it again would not help.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

/// The health of this process. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    /// The cause why each condition is not met; none if it is.
    conditions: watch::Sender<BTreeMap<&'static str, Option<String>>>,
    /// What is to be known of conditions that are met all the same.
    remarks: Arc<Mutex<BTreeMap<&'static str, String>>>,
    beats: Arc<Mutex<BTreeMap<u64, Beat>>>,
    next_beat: Arc<AtomicU64>,
    started: Instant,
}

/// Whether the process is ready, with every condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether all conditions are met.
    pub ready: bool,
    /// Each condition.
    pub conditions: Vec<Condition>,
}

/// One thing that must be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// What it is about, as `broker`.
    pub name: &'static str,
    /// Whether it is met.
    pub ready: bool,
    /// Why not; or what is to be known of it although it is met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// A loop that has made no progress for too long.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stalled {
    /// Which.
    pub name: &'static str,
    /// Since its last beat.
    pub silent_seconds: f64,
}

/// The pulse of one loop: without a beat within its limit the process counts as not alive. Dropping it ends the watch.
#[derive(Debug)]
pub struct Heartbeat {
    id: u64,
    last_ms: Arc<AtomicU64>,
    health: Health,
}

#[derive(Debug)]
struct Beat {
    name: &'static str,
    limit: Duration,
    last_ms: Arc<AtomicU64>,
}

/// How often the runtime must get to run a trivial task.
const RUNTIME_BEAT: Duration = Duration::from_secs(1);
/// Without it for so long, it is blocked.
const RUNTIME_LIMIT: Duration = Duration::from_secs(10);

// === impl Health ===

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// No conditions yet.
    pub fn new() -> Self {
        Self {
            conditions: watch::Sender::new(BTreeMap::new()),
            remarks: Arc::default(),
            beats: Arc::default(),
            next_beat: Arc::default(),
            started: Instant::now(),
        }
    }

    /// A condition is met.
    pub fn ready(&self, name: &'static str) {
        self.set(name, None);
    }

    /// A condition is met, but this is to be known of it.
    pub fn ready_but(&self, name: &'static str, remark: Option<String>) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        match remark {
            Some(remark) => drop(remarks.insert(name, remark)),
            None => drop(remarks.remove(name)),
        }
        drop(remarks);
        self.set(name, None);
    }

    /// A condition is not met, for this cause.
    pub fn not_ready(&self, name: &'static str, cause: impl Into<String>) {
        self.set(name, Some(cause.into()));
    }

    fn set(&self, name: &'static str, cause: Option<String>) {
        self.conditions.send_if_modified(|conditions| {
            let changed = conditions.get(name) != Some(&cause);
            if changed {
                tracing::debug!(condition = name, ready = cause.is_none(), cause, "condition changed");
                conditions.insert(name, cause);
            }
            changed
        });
    }

    /// Whether all conditions are met, and which are not.
    pub fn readiness(&self) -> Readiness {
        let remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let conditions: Vec<_> = self
            .conditions
            .borrow()
            .iter()
            .map(|(&name, cause)| Condition {
                name,
                ready: cause.is_none(),
                cause: cause.clone().or_else(|| remarks.get(name).cloned()),
            })
            .collect();
        Readiness { ready: conditions.iter().all(|condition| condition.ready), conditions }
    }

    /// Waits until all conditions are met, at most so long.
    pub async fn wait_ready(&self, limit: Duration) -> Readiness {
        let mut changes = self.conditions.subscribe();
        let all_met = changes.wait_for(|conditions| conditions.values().all(Option::is_none));
        // Out of time: what is not met is the answer.
        let _ = tokio::time::timeout(limit, all_met).await;
        self.readiness()
    }

    /// Watches a loop that must beat more often than `limit`.
    pub fn heartbeat(&self, name: &'static str, limit: Duration) -> Heartbeat {
        let id = self.next_beat.fetch_add(1, Ordering::Relaxed);
        let last_ms = Arc::new(AtomicU64::new(self.now_ms()));
        let beat = Beat { name, limit, last_ms: Arc::clone(&last_ms) };
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).insert(id, beat);
        Heartbeat { id, last_ms, health: self.clone() }
    }

    /// The loops that are silent for too long. The process is alive if there is none.
    pub fn stalled(&self) -> Vec<Stalled> {
        let now = self.now_ms();
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let silent =
            |beat: &Beat| Duration::from_millis(now.saturating_sub(beat.last_ms.load(Ordering::Relaxed)));
        beats
            .values()
            .filter(|beat| silent(beat) > beat.limit)
            .map(|beat| Stalled { name: beat.name, silent_seconds: silent(beat).as_secs_f64() })
            .collect()
    }

    /// Beats for the runtime that runs it, until dropped: silence means that tasks no longer get to run.
    pub async fn watch_runtime(self) {
        let heartbeat = self.heartbeat("runtime", RUNTIME_LIMIT);
        let mut ticks = tokio::time::interval(RUNTIME_BEAT);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            heartbeat.beat();
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Heartbeat ===

impl Heartbeat {
    /// Says that the loop makes progress.
    pub fn beat(&self) {
        self.last_ms.store(self.health.now_ms(), Ordering::Relaxed);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.beats.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ready_when_every_condition_is_met() {
        let health = Health::new();
        health.not_ready("broker", "connecting");
        health.ready("provisioned");
        let readiness = health.wait_ready(Duration::from_secs(5)).await;
        assert!(!readiness.ready);
        assert_eq!(readiness.conditions[0].cause.as_deref(), Some("connecting"));
        let waiting = tokio::spawn({
            let health = health.clone();
            async move { health.wait_ready(Duration::from_hours(1)).await }
        });
        tokio::task::yield_now().await;
        health.ready("broker");
        assert!(waiting.await.unwrap().ready);
    }

    #[test]
    fn a_remark_leaves_a_condition_met() {
        let health = Health::new();
        health.ready_but("clock", Some("an hour ahead".to_owned()));
        let readiness = health.readiness();
        assert!(readiness.ready && readiness.conditions[0].ready);
        assert_eq!(readiness.conditions[0].cause.as_deref(), Some("an hour ahead"));
        health.ready_but("clock", None);
        assert_eq!(health.readiness().conditions[0].cause, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_loop_is_stalled() {
        let health = Health::new();
        let admission = health.heartbeat("admission", Duration::from_secs(3));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(health.stalled(), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.stalled(), [Stalled { name: "admission", silent_seconds: 4.0 }]);
        admission.beat();
        assert_eq!(health.stalled(), []);
        tokio::time::advance(Duration::from_secs(9)).await;
        drop(admission);
        assert_eq!(health.stalled(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn the_runtime_beats_while_it_runs() {
        let health = Health::new();
        let watch = tokio::spawn(health.clone().watch_runtime());
        tokio::time::sleep(Duration::from_mins(5)).await;
        assert_eq!(health.stalled(), []);
        // Time passes and no task gets to run: what a blocked runtime looks like from another thread.
        let started = health.started;
        let blocked =
            Health { started: started.checked_sub(Duration::from_secs(11)).unwrap(), ..health.clone() };
        assert_eq!(blocked.stalled().len(), 1);
        watch.abort();
    }
}
