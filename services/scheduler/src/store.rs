//! The schedules on the broker: what an operator changes and a scheduler follows.

use bytes::Bytes;
use prost::Message as _;
use windlass_broker::Broker;
use windlass_broker::kv::{self, Bucket};
use windlass_core::schedule::{Cursor, Schedule};
use windlass_core::{InvalidTask, Limits, ScheduleId};
use windlass_proto::v1;

/// The two buckets: schedules, and how far each has come.
#[derive(Debug, Clone)]
pub struct ScheduleStore {
    schedules: Bucket,
    cursors: Bucket,
}

/// A schedule as it stands on the broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The rule.
    pub schedule: Schedule<Bytes>,
    /// Grows with each change.
    pub revision: u64,
    /// How far it has come; none if nothing was due yet.
    pub cursor: Option<Cursor>,
}

/// What the buckets hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// The schedules, by id.
    pub schedules: Vec<Stored>,
    /// Keys whose value is no valid schedule, and why. A scheduler skips them.
    pub malformed: Vec<(String, windlass_proto::Error)>,
}

/// What an application changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// It is new.
    Created,
    /// It was another.
    Updated,
    /// It was the same.
    Unchanged,
}

/// The schedules could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker did not do it.
    #[error("the schedules cannot be reached")]
    Bucket(#[from] kv::Error),
    /// Somebody else changes it at this moment.
    #[error("schedule {0} was changed by somebody else meanwhile: look at it and try again")]
    Conflict(ScheduleId),
    /// Its task would not be accepted.
    #[error("schedule {id} makes tasks that are not accepted")]
    Task {
        /// Which.
        id: ScheduleId,
        /// Why.
        source: InvalidTask,
    },
    /// What stands under the key is no valid schedule.
    #[error("schedule {id} is malformed on the broker: delete it, or apply it anew")]
    Malformed {
        /// Which.
        id: ScheduleId,
        /// Why.
        source: windlass_proto::Error,
    },
}

/// Reads a value of the schedules' bucket.
pub(crate) fn decode(key: &str, value: Bytes) -> Result<Schedule<Bytes>, windlass_proto::Error> {
    let schedule = Schedule::try_from(v1::Schedule::decode(value)?)?;
    if schedule.id.as_str() != key {
        let reason = format!("is {}: expected that of the key, {key}", schedule.id);
        return Err(windlass_proto::Error::new("id", reason));
    }
    let task = schedule.task_at(schedule.created_at);
    Limits::default().check(&task, schedule.created_at)?;
    Ok(schedule)
}

pub(crate) fn decode_cursor(value: Bytes) -> Result<Cursor, windlass_proto::Error> {
    Cursor::try_from(v1::Cursor::decode(value)?)
}

/// What is to be stored, given what is: the rule of a schedule that goes on unchanged keeps its start.
fn merge(mut new: Schedule<Bytes>, old: Option<&Schedule<Bytes>>) -> (Schedule<Bytes>, Applied) {
    let Some(old) = old else { return (new, Applied::Created) };
    let resumed = old.paused && !new.paused;
    if new.spec == old.spec && !resumed {
        new.created_at = old.created_at;
    }
    let applied = if new == *old { Applied::Unchanged } else { Applied::Updated };
    (new, applied)
}

// === impl ScheduleStore ===

impl ScheduleStore {
    /// The schedules of the broker's fleet; no call is made.
    pub fn new(broker: &Broker) -> Self {
        let names = broker.names();
        Self {
            schedules: broker.bucket(names.schedules_bucket()),
            cursors: broker.bucket(names.cursors_bucket()),
        }
    }

    /// Makes a schedule, or changes it. With another rule, or resumed, it counts from its `created_at`, which is to be
    /// the present; else it keeps the one it had.
    pub async fn apply(&self, schedule: Schedule<Bytes>) -> Result<Applied, Error> {
        let id = schedule.id.clone();
        let task = schedule.task_at(schedule.created_at);
        Limits::default()
            .check(&task, schedule.created_at)
            .map_err(|source| Error::Task { id: id.clone(), source })?;
        let entry = self.schedules.get(id.as_str()).await?;
        // What is malformed is replaced.
        let old = entry.as_ref().and_then(|entry| decode(&entry.key, entry.value.clone()).ok());
        let (new, mut applied) = merge(schedule, old.as_ref());
        if applied == Applied::Unchanged {
            return Ok(applied);
        }
        let value: Bytes = v1::Schedule::from(&new).encode_to_vec().into();
        let written = match entry {
            Some(entry) => {
                applied = Applied::Updated;
                self.schedules.update(id.as_str(), value, entry.revision, None).await
            }
            None => self.schedules.create(id.as_str(), value, None).await,
        };
        match written {
            Ok(_) => Ok(applied),
            Err(kv::Error::Conflict(_)) => Err(Error::Conflict(id)),
            Err(error) => Err(error.into()),
        }
    }

    /// Every schedule, by id.
    pub async fn list(&self) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        for entry in self.schedules.entries().await? {
            match decode(&entry.key, entry.value) {
                Ok(schedule) => {
                    listing.schedules.push(Stored { schedule, revision: entry.revision, cursor: None });
                }
                Err(error) => listing.malformed.push((entry.key, error)),
            }
        }
        let mut cursors: std::collections::HashMap<_, _> =
            self.cursors.entries().await?.into_iter().map(|entry| (entry.key, entry.value)).collect();
        for stored in &mut listing.schedules {
            let value = cursors.remove(stored.schedule.id.as_str());
            stored.cursor = value.and_then(|value| decode_cursor(value).ok());
        }
        listing.schedules.sort_by(|a, b| a.schedule.id.cmp(&b.schedule.id));
        Ok(listing)
    }

    /// One schedule.
    pub async fn get(&self, id: &ScheduleId) -> Result<Option<Stored>, Error> {
        let Some(entry) = self.schedules.get(id.as_str()).await? else { return Ok(None) };
        let schedule =
            decode(&entry.key, entry.value).map_err(|source| Error::Malformed { id: id.clone(), source })?;
        let cursor = self.cursors.get(id.as_str()).await?;
        let cursor = cursor.and_then(|entry| decode_cursor(entry.value).ok());
        Ok(Some(Stored { schedule, revision: entry.revision, cursor }))
    }

    /// Removes a schedule; false if there is none. Jobs that it made go on. Its cursor is removed by the scheduler:
    /// who may write cursors can make instants fire again, so people may not.
    pub async fn delete(&self, id: &ScheduleId) -> Result<bool, Error> {
        let existed = self.schedules.get(id.as_str()).await?.is_some();
        if existed {
            self.schedules.delete(id.as_str()).await?;
        }
        Ok(existed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fire::tests::{at, schedule};

    #[test]
    fn a_new_rule_or_a_resumption_counts_from_the_present() {
        let old = schedule("a", 60, 100);
        let check = |change: fn(&mut Schedule<Bytes>), old: &Schedule<Bytes>, created_at, expected| {
            let mut new = schedule("a", 60, 500);
            change(&mut new);
            let (merged, applied) = merge(new, Some(old));
            assert_eq!((merged.created_at, applied), (at(created_at), expected));
        };
        check(|_| {}, &old, 100, Applied::Unchanged);
        check(|s| s.task.payload = Bytes::from_static(b"7"), &old, 100, Applied::Updated);
        check(|s| s.paused = true, &old, 100, Applied::Updated);
        check(|s| s.spec = schedule("a", 30, 0).spec, &old, 500, Applied::Updated);
        let mut paused = old.clone();
        paused.paused = true;
        check(|_| {}, &paused, 500, Applied::Updated);
        assert_eq!(merge(old.clone(), None), (old, Applied::Created));
    }

    #[test]
    fn malformed_values_are_refused() {
        let good = schedule("a", 60, 100);
        let value = |schedule: &Schedule<Bytes>| Bytes::from(v1::Schedule::from(schedule).encode_to_vec());
        assert_eq!(decode("a", value(&good)), Ok(good.clone()));
        let field = |key: &str, value: Bytes| decode(key, value).unwrap_err().field;
        assert_eq!(field("b", value(&good)), "id");
        assert_eq!(field("a", Bytes::from_static(b"\xff\xff")), "body");
        assert_eq!(field("a", Bytes::new()), "id");
        let mut large = good;
        large.task.payload = vec![0; 600 * 1024].into();
        assert_eq!(field("a", value(&large)), "payload");
    }
}
