//! What an operator decides about the streams.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::{PoolName, QueueName};

/// What an operator decides about the streams. All programs of a fleet take the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layout {
    /// Copies of each stream: 1, 3 or 5.
    pub replicas: usize,
    /// The queues of each pool but the default one, which has all others.
    pub pools: BTreeMap<PoolName, Vec<QueueName>>,
    /// The default pool's queues whose consumers are made at provisioning; the others' are made on first use.
    pub queues: Vec<QueueName>,
    /// How many queues a pool may have: each costs the broker a consumer, a raft group where it is replicated.
    pub max_queues: usize,
    /// How long a job's end is remembered in JOBS.
    #[serde(with = "humantime_serde")]
    pub horizon: Duration,
    /// How long a delivered message may stay without a sign of life before another gets it.
    #[serde(with = "humantime_serde")]
    pub ack_wait: Duration,
    /// How many messages of a queue may be delivered and not yet acknowledged.
    pub max_ack_pending: i64,
    /// Of one message, headers included.
    pub max_message_bytes: i32,
    /// Of all tasks that no dispatcher has admitted; publishers get an error beyond it.
    pub tasks_max_bytes: i64,
    /// How much history is kept.
    pub events: Retention,
    /// How many dead letters are kept.
    pub dead: Retention,
    /// Of each pool's payloads in Object Store; publishers get an error beyond it.
    pub payloads_max_bytes: i64,
    /// Of each pool's results in Object Store; beyond it the oldest are lost before their time.
    pub results_max_bytes: i64,
}

/// How much a stream keeps: what is older, and the oldest beyond the size, is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Age at which a message is removed.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// Size of the stream.
    pub max_bytes: i64,
}

/// A value of the layout is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidLayout {
    /// Which.
    pub field: &'static str,
    /// What it is, and what was expected.
    pub reason: String,
}

const DAY: Duration = Duration::from_hours(24);
const GIB: i64 = 1 << 30;

// === impl Layout ===

impl Default for Layout {
    fn default() -> Self {
        Self {
            replicas: 1,
            pools: BTreeMap::new(),
            queues: vec![QueueName::default()],
            max_queues: 1000,
            horizon: Duration::from_mins(15),
            ack_wait: Duration::from_secs(30),
            max_ack_pending: 1000,
            // What a server takes by default.
            max_message_bytes: 1 << 20,
            // A server reserves these bounds, and by default gives three quarters of the free space: 10 GiB will do.
            tasks_max_bytes: GIB,
            events: Retention { max_age: 7 * DAY, max_bytes: 4 * GIB },
            dead: Retention { max_age: 28 * DAY, max_bytes: GIB },
            payloads_max_bytes: GIB,
            results_max_bytes: GIB / 2,
        }
    }
}

impl Layout {
    /// The pool whose workers serve this queue.
    pub fn pool_of(&self, queue: &QueueName) -> PoolName {
        self.pools
            .iter()
            .find(|(_, queues)| queues.contains(queue))
            .map(|(pool, _)| pool.clone())
            .unwrap_or_default()
    }

    /// Every pool, the default one first.
    pub fn all_pools(&self) -> Vec<PoolName> {
        std::iter::once(PoolName::default()).chain(self.pools.keys().cloned()).collect()
    }

    /// The queues of a pool whose consumers are made at provisioning.
    pub fn queues_of(&self, pool: &PoolName) -> &[QueueName] {
        if *pool == PoolName::default() {
            &self.queues
        } else {
            self.pools.get(pool).map_or(&[], Vec::as_slice)
        }
    }

    /// Checks what the types do not.
    pub fn validate(&self) -> Result<(), InvalidLayout> {
        let check = |holds: bool, field: &'static str, reason: String| {
            if holds { Ok(()) } else { Err(InvalidLayout { field, reason }) }
        };
        let at_least = |field, found: Duration, least: Duration| {
            check(found >= least, field, format!("is {found:?}: expected at least {least:?}"))
        };
        check(
            matches!(self.replicas, 1 | 3 | 5),
            "replicas",
            format!("is {}: expected 1, 3 or 5", self.replicas),
        )?;
        check(
            !self.pools.contains_key(&PoolName::default()),
            "pools",
            "names the default pool: expected its queues under `queues`".to_owned(),
        )?;
        check(
            self.queues.contains(&QueueName::default()),
            "queues",
            format!("lacks `{}`, the queue of tasks that name none", QueueName::default()),
        )?;
        let mut seen = BTreeSet::new();
        for queue in self.queues.iter().chain(self.pools.values().flatten()) {
            check(
                seen.insert(queue),
                "pools",
                format!("has the queue `{queue}` twice: expected one pool for it"),
            )?;
        }
        for pool in self.all_pools() {
            let count = self.queues_of(&pool).len();
            check(
                count <= self.max_queues,
                "max_queues",
                format!("is {}: expected at least {count}, the queues of pool `{pool}`", self.max_queues),
            )?;
        }
        check(
            (1..=10_000).contains(&self.max_queues),
            "max_queues",
            format!("is {}: expected 1 to 10000", self.max_queues),
        )?;
        at_least("ack_wait", self.ack_wait, Duration::from_secs(1))?;
        // A record of the end must outlive the next delivery of the work that it ends.
        at_least("horizon", self.horizon, 2 * self.ack_wait)?;
        // History and dead letters must outlive the record that says them again.
        at_least("events.max_age", self.events.max_age, self.horizon)?;
        at_least("dead.max_age", self.dead.max_age, self.horizon)?;
        for (field, found, least) in [
            ("max_ack_pending", self.max_ack_pending, 1),
            ("max_message_bytes", i64::from(self.max_message_bytes), 1024),
            ("tasks_max_bytes", self.tasks_max_bytes, i64::from(self.max_message_bytes)),
            ("events.max_bytes", self.events.max_bytes, i64::from(self.max_message_bytes)),
            ("dead.max_bytes", self.dead.max_bytes, i64::from(self.max_message_bytes)),
            ("payloads_max_bytes", self.payloads_max_bytes, i64::from(self.max_message_bytes)),
            ("results_max_bytes", self.results_max_bytes, i64::from(self.max_message_bytes)),
        ] {
            check(found >= least, field, format!("is {found}: expected at least {least}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_reads_back() {
        let layout = Layout::default();
        assert_eq!(layout.validate(), Ok(()));
        let text = serde_json::to_string(&layout).unwrap();
        assert!(text.contains(r#""horizon":"15m""#), "{text}");
        assert_eq!(serde_json::from_str::<Layout>(&text).unwrap(), layout);
        assert!(serde_json::from_str::<Layout>(r#"{"replica": 3}"#).is_err());
    }

    #[test]
    fn each_rule_names_its_field() {
        let check = |change: fn(&mut Layout), field: &str| {
            let mut layout = Layout::default();
            change(&mut layout);
            assert_eq!(layout.validate().unwrap_err().field, field);
        };
        check(|l| l.replicas = 2, "replicas");
        check(|l| l.queues.clear(), "queues");
        check(|l| drop(l.pools.insert(PoolName::default(), vec![])), "pools");
        check(|l| drop(l.pools.insert("billing".parse().unwrap(), vec![QueueName::default()])), "pools");
        check(|l| l.max_queues = 0, "max_queues");
        check(|l| l.ack_wait = Duration::ZERO, "ack_wait");
        check(|l| l.horizon = Duration::from_secs(31), "horizon");
        check(|l| l.events.max_age = Duration::from_secs(1), "events.max_age");
        check(|l| l.max_ack_pending = 0, "max_ack_pending");
        check(|l| l.dead.max_bytes = -1, "dead.max_bytes");
    }

    #[test]
    fn a_queue_that_no_pool_names_is_the_default_pools() {
        let mut layout = Layout::default();
        layout.pools.insert("billing".parse().unwrap(), vec!["invoices".parse().unwrap()]);
        assert_eq!(layout.pool_of(&"invoices".parse().unwrap()).as_str(), "billing");
        assert_eq!(layout.pool_of(&"anything".parse().unwrap()), PoolName::default());
    }
}
