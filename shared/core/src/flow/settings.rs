//! What an operator sets for a queue.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Pause;
use super::duration_text;
use super::key::{FlowKey, shown};
use crate::Kind;

/// The limits, order and pauses of one queue; with nothing set of these, the queue is not controlled.
///
/// As JSON, with everything set:
///
/// ```
/// # use windlass_core::flow::QueueSettings;
/// let settings: QueueSettings = serde_json::from_str(r#"{
///     "concurrency": 100, "key_concurrency": 1, "order": "fifo", "on_dead": "block", "at_limit": "hold",
///     "priorities": "weighted", "fairness": {"weights": {"acme": 4}},
///     "rate": {"limit": 600, "per": "1m"}, "key_rate": {"limit": 10, "per": "1s", "burst": 20},
///     "paused": {"reason": "migration", "by": "ada", "at": "2026-11-23T08:00:00Z"},
///     "paused_kinds": {"mail.send": {"reason": "provider down", "by": "ada", "at": "2026-11-23T08:00:00Z"}},
///     "paused_keys": {"account-42": {"reason": "abuse", "by": "ada", "at": "2026-11-23T08:00:00Z"}},
///     "outcome_ttl": "5m"
/// }"#)?;
/// settings.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What is read is of the right form, but may hold any numbers: [`QueueSettings::check`] says whether they can be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Jobs that run at one time, over the fleet: 1 to 100,000.
    #[serde(skip_serializing_if = "is_default")]
    pub concurrency: Option<u32>,
    /// The same of one key: 1 to 10,000.
    #[serde(skip_serializing_if = "is_default")]
    pub key_concurrency: Option<u32>,
    /// In which order the jobs of one key run.
    #[serde(skip_serializing_if = "is_default")]
    pub order: Order,
    /// What becomes of a key's order when one of its jobs dies; [`OnDead::Block`] if none. Only for
    /// [`Order::Fifo`].
    #[serde(skip_serializing_if = "is_default")]
    pub on_dead: Option<OnDead>,
    /// What becomes of a job that finds a concurrency limit reached.
    #[serde(skip_serializing_if = "is_default")]
    pub at_limit: AtLimit,
    /// What priorities count for.
    #[serde(skip_serializing_if = "is_default")]
    pub priorities: Priorities,
    /// Turns between tenants; first come, first served, if none.
    #[serde(skip_serializing_if = "is_default")]
    pub fairness: Option<Fairness>,
    /// How fast its jobs start.
    #[serde(skip_serializing_if = "is_default")]
    pub rate: Option<Rate>,
    /// The same of one key.
    #[serde(skip_serializing_if = "is_default")]
    pub key_rate: Option<Rate>,
    /// While set, none of its jobs starts.
    #[serde(skip_serializing_if = "is_default")]
    pub paused: Option<Pause>,
    /// None of these kinds starts: at most 100.
    #[serde(skip_serializing_if = "is_default")]
    pub paused_kinds: BTreeMap<Kind, Pause>,
    /// None of these keys' jobs starts: at most 1000.
    #[serde(skip_serializing_if = "is_default")]
    pub paused_keys: BTreeMap<String, Pause>,
    /// How long ends are remembered at least, where that is shorter than the horizon and nothing else is set: 1 s to 366
    /// days. Whoever still has a job's work is refused as ever; what comes later is not (`crate::forgetting`).
    #[serde(with = "duration_text::option", skip_serializing_if = "is_default")]
    pub outcome_ttl: Option<Duration>,
}

/// In which order the jobs of one key run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they come, several at a time where limits allow it; a retry lets others pass.
    #[default]
    Any,
    /// One at a time, in the order of their acceptance: a job waits until the one before it has ended.
    Fifo,
}

/// What becomes of a key's order when one of its jobs dies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDead {
    /// The key's next jobs wait until an operator has dealt with the dead one.
    #[default]
    Block,
    /// The next one goes on.
    Skip,
}

/// What becomes of a job that finds a concurrency limit reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtLimit {
    /// It waits.
    #[default]
    Hold,
    /// The one that has run longest is cancelled for it.
    CancelOldest,
    /// It is cancelled.
    CancelNew,
    /// It is refused: it ends dead, so that somebody looks at it.
    Reject,
}

/// What priorities count for between jobs that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priorities {
    /// Nothing.
    #[default]
    Ignored,
    /// A share of the turns each: 8, 4, 2 and 1 for critical, high, normal and low.
    Weighted,
    /// The most urgent first, and others only while it has none.
    Strict,
}

/// Turns between tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fairness {
    /// Turns of a tenant for each one of another: 1 to 1000; 1 for those that are not named. At most 1000 of them.
    pub weights: BTreeMap<String, u32>,
}

/// How fast jobs may start: points over a time. A job is one point unless its task says otherwise.
///
/// Without `burst`, never more than `limit` points in any interval of length `per`: what most services that count
/// calls promise to allow. With it, a bucket of `burst` points that fills evenly, `limit` points each `per`: smoother,
/// and up to `burst + limit` points in the worst `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Points: 1 to 1,000,000.
    pub limit: u32,
    /// For which time: 1 s to 31 days.
    #[serde(with = "duration_text")]
    pub per: Duration,
    /// What the bucket holds, in points: 1 to 1,000,000, and no more than flows in within 366 days; no bucket if none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub burst: Option<u32>,
}

/// A setting is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidSettings {
    /// Which, as `key_rate.limit`.
    pub field: String,
    /// What it was, and what was expected.
    pub reason: String,
}

/// Points of a rate or a burst.
const POINTS: RangeInclusive<u32> = 1..=1_000_000;
const OUTCOME_TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
const SHORTEST_PER: Duration = Duration::from_secs(1);
const LONGEST_PER: Duration = Duration::from_secs(31 * 86_400);
/// Of a bucket: as long as any other wait may be.
const LONGEST_FILL: Duration = Duration::from_secs(366 * 86_400);
const MAX_WEIGHTS: usize = 1000;
const MAX_PAUSED_KINDS: usize = 100;
const MAX_PAUSED_KEYS: usize = 1000;
/// As JSON: they are kept as one value, and a broker takes 1 MiB by default.
const MAX_SETTINGS_BYTES: usize = 512 * 1024;

// === impl QueueSettings ===

impl QueueSettings {
    /// Whether anything is set that needs a decision before a job starts.
    pub fn is_controlled(&self) -> bool {
        self.has_key_stage() || self.has_turn_stage()
    }

    /// Whether a job's key decides on it: by a limit, a rate, an order or a pause.
    pub fn has_key_stage(&self) -> bool {
        self.key_limit().is_some() || self.key_rate.is_some() || !self.paused_keys.is_empty()
    }

    /// Whether a job needs a turn among all that wait: for a limit, priorities, fairness, a rate or a pause.
    pub fn has_turn_stage(&self) -> bool {
        self.concurrency.is_some()
            || self.shares_turns()
            || self.rate.is_some()
            || self.paused.is_some()
            || !self.paused_kinds.is_empty()
    }

    /// Whether jobs that wait take turns by their tenant or their priority.
    pub fn shares_turns(&self) -> bool {
        self.fairness.is_some() || self.priorities != Priorities::Ignored
    }

    /// Jobs of one key that run at one time; no limit, if none. A strict order is a limit of one.
    pub fn key_limit(&self) -> Option<u32> {
        match self.order {
            Order::Any => self.key_concurrency,
            Order::Fifo => Some(1),
        }
    }

    /// What a dead job does to its key's order; none where there is no order.
    pub fn fifo(&self) -> Option<OnDead> {
        (self.order == Order::Fifo).then(|| self.on_dead.unwrap_or_default())
    }

    /// Turns of this tenant for each one of another with a weight of 1.
    pub fn weight_of(&self, tenant: &str) -> u32 {
        self.fairness.as_ref().and_then(|f| f.weights.get(tenant)).copied().unwrap_or(1)
    }

    /// Whether all of it can be used, and does not contradict itself.
    pub fn check(&self) -> Result<(), InvalidSettings> {
        if let Some(limit) = self.concurrency {
            within("concurrency", limit, &(1..=100_000))?;
        }
        if let Some(limit) = self.key_concurrency {
            within("key_concurrency", limit, &(1..=10_000))?;
            if self.order == Order::Fifo && limit != 1 {
                return Err(InvalidSettings::new(
                    "key_concurrency",
                    format!("is {limit} beside order fifo: expected 1, or none"),
                ));
            }
        }
        if self.on_dead.is_some() && self.order != Order::Fifo {
            return Err(InvalidSettings::new("on_dead", "is set without order fifo: expected none"));
        }
        if self.at_limit != AtLimit::Hold && self.concurrency.is_none() && self.key_limit().is_none() {
            return Err(InvalidSettings::new(
                "at_limit",
                "is set without a limit: expected hold, or concurrency, key_concurrency or order fifo beside it",
            ));
        }
        if let Some(fairness) = &self.fairness {
            at_most("fairness.weights", fairness.weights.len(), MAX_WEIGHTS)?;
            for (tenant, weight) in &fairness.weights {
                check_key("fairness.weights", tenant)?;
                within(&format!("fairness.weights.{}", shown(tenant)), *weight, &(1..=1000))?;
            }
        }
        for (field, rate) in [("rate", &self.rate), ("key_rate", &self.key_rate)] {
            rate.as_ref().map_or(Ok(()), |rate| rate.check(field))?;
        }
        self.check_pauses()?;
        if let Some(ttl) = self.outcome_ttl.filter(|ttl| !OUTCOME_TTL.contains(ttl)) {
            let ttl = duration_text::text(ttl);
            return Err(InvalidSettings::new("outcome_ttl", format!("is {ttl}: expected 1s to 366 days")));
        }
        // Numbers and text: it always is JSON.
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if bytes > MAX_SETTINGS_BYTES {
            return Err(InvalidSettings::new(
                "settings",
                format!("have {bytes} bytes as JSON: expected at most {MAX_SETTINGS_BYTES}"),
            ));
        }
        Ok(())
    }

    fn check_pauses(&self) -> Result<(), InvalidSettings> {
        self.paused.as_ref().map_or(Ok(()), |pause| pause.check("paused"))?;
        at_most("paused_kinds", self.paused_kinds.len(), MAX_PAUSED_KINDS)?;
        for (kind, pause) in &self.paused_kinds {
            pause.check(&format!("paused_kinds.{kind}"))?;
        }
        at_most("paused_keys", self.paused_keys.len(), MAX_PAUSED_KEYS)?;
        for (key, pause) in &self.paused_keys {
            check_key("paused_keys", key)?;
            pause.check(&format!("paused_keys.{}", shown(key)))?;
        }
        Ok(())
    }
}

// === impl Rate ===

impl Rate {
    /// The most points that may go at one instant: a job that costs more could never start.
    pub fn max_points(&self) -> u32 {
        self.burst.unwrap_or(self.limit)
    }

    fn check(&self, field: &str) -> Result<(), InvalidSettings> {
        within(&format!("{field}.limit"), self.limit, &POINTS)?;
        if !(SHORTEST_PER..=LONGEST_PER).contains(&self.per) {
            let per = duration_text::text(self.per);
            return Err(InvalidSettings::new(
                format!("{field}.per"),
                format!("is {per}: expected 1s to 31 days"),
            ));
        }
        let Some(burst) = self.burst else { return Ok(()) };
        within(&format!("{field}.burst"), burst, &POINTS)?;
        let filled = self.per.as_secs_f64() * f64::from(burst) / f64::from(self.limit);
        if filled > LONGEST_FILL.as_secs_f64() {
            return Err(InvalidSettings::new(
                format!("{field}.burst"),
                format!("fills in {} days: expected at most 366", (filled / 86_400.0).round()),
            ));
        }
        Ok(())
    }
}

// === impl InvalidSettings ===

impl InvalidSettings {
    pub(super) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

fn within(field: &str, value: u32, range: &RangeInclusive<u32>) -> Result<(), InvalidSettings> {
    if range.contains(&value) {
        return Ok(());
    }
    let (low, high) = (range.start(), range.end());
    Err(InvalidSettings::new(field, format!("is {value}: expected {low} to {high}")))
}

fn at_most(field: &str, entries: usize, max: usize) -> Result<(), InvalidSettings> {
    if entries <= max {
        return Ok(());
    }
    Err(InvalidSettings::new(field, format!("has {entries} entries: expected at most {max}")))
}

fn check_key(field: &str, key: &str) -> Result<(), InvalidSettings> {
    key.parse::<FlowKey>()
        .map_or_else(|error| Err(InvalidSettings::new(field, error.to_string())), |_| Ok(()))
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
