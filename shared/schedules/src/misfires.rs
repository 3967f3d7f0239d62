//! What was missed lately, as the scheduler that leads tells it: one entry of the control bucket, so that who raises an
//! alarm reads no cursors. The cursors count all of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use windlass_broker::Broker;
use windlass_broker::kv;
use windlass_core::ScheduleId;

/// What was missed lately.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// By schedule; at most [`Self::MOST`].
    pub schedules: Vec<Missed>,
    /// Of more schedules than are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Instants>,
}

/// Instants of a schedule that were missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Of which schedule.
    pub id: ScheduleId,
    /// How many, and when.
    #[serde(flatten)]
    pub instants: Instants,
}

/// Instants that were missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instants {
    /// How many, since there was nothing to tell.
    pub count: u64,
    /// When the last of them was recorded.
    pub last_at: Timestamp,
}

/// The entry's key in the control bucket.
const KEY: &str = "scheduler.misfires";

// === impl Recent ===

impl Recent {
    /// Schedules that are named.
    pub const MOST: usize = 100;
    /// For so long it is told.
    pub const TOLD_FOR: Duration = Duration::from_mins(5);

    /// So many instants were recorded as missed.
    pub fn add(&mut self, id: &ScheduleId, count: u64, at: Timestamp) {
        self.forget(at);
        if let Some(missed) = self.schedules.iter_mut().find(|missed| missed.id == *id) {
            missed.instants.add(count, at);
        } else if self.schedules.len() < Self::MOST {
            self.schedules.push(Missed { id: id.clone(), instants: Instants { count, last_at: at } });
        } else {
            self.others.get_or_insert(Instants { count: 0, last_at: at }).add(count, at);
        }
    }

    /// Leaves out what is no longer to be told.
    pub fn forget(&mut self, now: Timestamp) {
        self.schedules.retain(|missed| missed.instants.is_recent(now));
        self.others = self.others.filter(|others| others.is_recent(now));
    }

    /// Reads it; what cannot be understood is nothing.
    pub async fn read(broker: &Broker) -> Result<Self, kv::Error> {
        let entry = broker.bucket(broker.names().control_bucket()).get(KEY).await?;
        Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default())
    }

    /// Stores it, whatever stood there.
    pub async fn tell(&self, broker: &Broker) -> Result<(), kv::Error> {
        let value = serde_json::to_vec(self).unwrap_or_default();
        let bucket = broker.bucket(broker.names().control_bucket());
        bucket.put(KEY, value.into(), Some(Self::TOLD_FOR)).await.map(|_| ())
    }
}

// === impl Instants ===

impl Instants {
    fn add(&mut self, count: u64, at: Timestamp) {
        self.count = self.count.saturating_add(count);
        self.last_at = self.last_at.max(at);
    }

    fn is_recent(&self, now: Timestamp) -> bool {
        now.duration_since(self.last_at)
            <= jiff::SignedDuration::try_from(Recent::TOLD_FOR).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::at;

    #[test]
    fn it_is_told_for_a_while_and_within_bounds() {
        let id = |number: usize| format!("s{number}").parse::<ScheduleId>().unwrap();
        let mut recent = Recent::default();
        recent.add(&id(0), 2, at(0));
        recent.add(&id(0), 3, at(10));
        recent.add(&id(1), 1, at(200));
        let told = |recent: &Recent| {
            let told = recent.schedules.iter().map(|m| (m.id.to_string(), m.instants.count));
            told.collect::<Vec<_>>()
        };
        assert_eq!(told(&recent), [("s0".to_owned(), 5), ("s1".to_owned(), 1)]);
        let text = serde_json::to_string(&recent).unwrap();
        assert_eq!(serde_json::from_str::<Recent>(&text).unwrap(), recent);
        recent.forget(at(311));
        assert_eq!(told(&recent), [("s1".to_owned(), 1)]);
        for number in 0..Recent::MOST + 7 {
            recent.add(&id(number), 1, at(320));
        }
        assert_eq!(recent.schedules.len(), Recent::MOST);
        assert_eq!(recent.others.unwrap().count, 7);
    }
}
