//! The schedules on the broker: what an operator changes and a scheduler follows.

mod edit;

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use windlass_broker::Broker;
use windlass_broker::kv::{self, Bucket};
use windlass_core::schedule::{Cursor, Edit, MOST_EDITS, Schedule};
use windlass_core::{InvalidTask, Limits, ScheduleId};
use windlass_proto::v1;

pub use self::edit::{Author, pause_until};
use crate::describe::{Difference, differences};
use crate::file::Desired;

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

/// What an application is to change.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Of what there is to do.
    pub applied: Applied,
    /// In what it differs from what stands.
    pub differences: Vec<Difference>,
    schedule: Schedule<Bytes>,
    /// Of what it was compared with.
    pub(crate) revision: Option<u64>,
}

/// For people, in characters.
const LONGEST_NOTE: usize = 500;

/// The schedules could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker did not do it.
    #[error("the schedules cannot be reached")]
    Bucket(#[from] kv::Error),
    /// Somebody else changes it at this moment.
    #[error("schedule {0} was changed by somebody else meanwhile: look at it and try again")]
    Conflict(ScheduleId),
    /// It is none.
    #[error("no schedule {0} is known")]
    None(ScheduleId),
    /// It is another than the one that was meant.
    #[error("schedule {id} has the revision {found}: expected {expected}")]
    Revision {
        /// Which.
        id: ScheduleId,
        /// That was meant.
        expected: u64,
        /// That stands.
        found: u64,
    },
    /// No instant is left.
    #[error("schedule {id} names no instant after {after}: expected a rule that does, within its bounds")]
    NeverFires {
        /// Which.
        id: ScheduleId,
        /// From when it would count.
        after: Timestamp,
    },
    /// It cannot be asked for this now.
    #[error("schedule {id} {reason}")]
    Busy {
        /// Which.
        id: ScheduleId,
        /// Why.
        reason: &'static str,
    },
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
pub fn decode(key: &str, value: Bytes) -> Result<Schedule<Bytes>, windlass_proto::Error> {
    let schedule = Schedule::try_from(v1::Schedule::decode(value)?)?;
    if schedule.id.as_str() != key {
        let reason = format!("is {}: expected that of the key, {key}", schedule.id);
        return Err(windlass_proto::Error::new("id", reason));
    }
    let task = schedule.task_at(schedule.created_at);
    Limits::default().check(&task, schedule.created_at)?;
    Ok(schedule)
}

/// Reads a value of the cursors' bucket.
pub fn decode_cursor(value: Bytes) -> Result<Cursor, windlass_proto::Error> {
    Cursor::try_from(v1::Cursor::decode(value)?)
}

/// What is to be stored, given what is: the rule of a schedule that goes on unchanged keeps its start.
fn merge(desired: Desired, old: Option<&Schedule<Bytes>>) -> (Schedule<Bytes>, Applied) {
    let mut new = desired.schedule;
    let Some(old) = old else { return (new, Applied::Created) };
    // Of a pause that goes on the note stays.
    if desired.keeps_pause || (old.pause.is_some() && new.pause.is_some()) {
        new.pause.clone_from(&old.pause);
    }
    let resumed = old.pause.is_some() && new.pause.is_none();
    if new.spec == old.spec && !resumed {
        new.created_at = old.created_at;
    }
    new.requests.clone_from(&old.requests);
    new.edits.clone_from(&old.edits);
    let applied = if new == *old { Applied::Unchanged } else { Applied::Updated };
    (new, applied)
}

fn remember(schedule: &mut Schedule<Bytes>, author: &Author, what: &str) {
    let reason = if author.reason.is_empty() { String::new() } else { format!(": {}", author.reason) };
    let what = format!("{what}{reason}").chars().take(LONGEST_NOTE).collect();
    schedule.edits.push(Edit { at: author.at, by: author.by.clone(), what, trace: author.trace });
    let excess = schedule.edits.len().saturating_sub(MOST_EDITS);
    schedule.edits.drain(..excess);
}

// === impl Listing ===

impl Listing {
    fn of(entries: Vec<kv::Entry>) -> Self {
        let mut listing = Self::default();
        for entry in entries {
            match decode(&entry.key, entry.value) {
                Ok(schedule) => {
                    listing.schedules.push(Stored { schedule, revision: entry.revision, cursor: None });
                }
                Err(error) => listing.malformed.push((entry.key, error)),
            }
        }
        listing
    }

    fn join(&mut self, cursors: Vec<kv::Entry>) {
        let mut cursors: HashMap<_, _> = cursors.into_iter().map(|entry| (entry.key, entry.value)).collect();
        for stored in &mut self.schedules {
            let value = cursors.remove(stored.schedule.id.as_str());
            stored.cursor = value.and_then(|value| decode_cursor(value).ok());
        }
    }
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
    pub async fn apply(&self, desired: Desired, author: &Author) -> Result<Applied, Error> {
        let planned = self.plan(desired).await?;
        self.carry_out(planned, author).await
    }

    /// What [`Self::apply`] would do. Nothing is changed.
    pub async fn plan(&self, desired: Desired) -> Result<Planned, Error> {
        let schedule = &desired.schedule;
        let (id, start) = (schedule.id.clone(), schedule.created_at);
        let task = schedule.task_at(start);
        Limits::default().check(&task, start).map_err(|source| Error::Task { id: id.clone(), source })?;
        let entry = self.schedules.get(id.as_str()).await?;
        // What is malformed is replaced.
        let old = entry.as_ref().and_then(|entry| decode(&entry.key, entry.value.clone()).ok());
        let (schedule, mut applied) = merge(desired, old.as_ref());
        if entry.is_some() && applied == Applied::Created {
            applied = Applied::Updated;
        }
        let is_new_rule = old.as_ref().is_none_or(|old| old.spec != schedule.spec);
        if is_new_rule && schedule.spec.next_after(start).is_none() {
            return Err(Error::NeverFires { id, after: start });
        }
        let differences = differences(old.as_ref(), &schedule);
        Ok(Planned { applied, differences, schedule, revision: entry.map(|entry| entry.revision) })
    }

    /// Does what was planned, if nobody has changed the schedule since.
    pub async fn carry_out(&self, planned: Planned, author: &Author) -> Result<Applied, Error> {
        let Planned { applied, differences, mut schedule, revision } = planned;
        if applied == Applied::Unchanged {
            return Ok(applied);
        }
        let fields: Vec<_> = differences.iter().map(|difference| difference.field.as_str()).collect();
        let what = match applied {
            Applied::Created => "created".to_owned(),
            _ => format!("changed {}", fields.join(", ")),
        };
        remember(&mut schedule, author, &what);
        self.write(&schedule, revision).await.map(|_| applied)
    }

    async fn write(&self, schedule: &Schedule<Bytes>, revision: Option<u64>) -> Result<u64, Error> {
        let id = &schedule.id;
        let value: Bytes = v1::Schedule::from(schedule).encode_to_vec().into();
        let written = match revision {
            Some(revision) => self.schedules.update(id.as_str(), value, revision, None).await,
            None => self.schedules.create(id.as_str(), value, None).await,
        };
        written.map_err(|error| match error {
            kv::Error::Conflict(_) => Error::Conflict(id.clone()),
            error => error.into(),
        })
    }

    /// Every schedule, by id.
    pub async fn list(&self) -> Result<Listing, Error> {
        let mut listing = Listing::of(self.schedules.read_all().await?);
        listing.join(self.cursors.read_all().await?);
        listing.schedules.sort_by(|a, b| a.schedule.id.cmp(&b.schedule.id));
        Ok(listing)
    }

    /// A part of them, at most so many, in the order of their last change; and the revision from which to go on, if more
    /// follow. Any replica may answer, and may lack what was changed a moment ago.
    pub async fn page(&self, from: u64, most: usize) -> Result<(Listing, Option<u64>), Error> {
        let (entries, next) = self.schedules.page(from, most).await?;
        let keys: Vec<_> = entries.iter().map(|entry| entry.key.clone()).collect();
        let mut listing = Listing::of(entries);
        listing.join(self.cursors.many(&keys).await?);
        Ok((listing, next))
    }

    /// One schedule.
    pub async fn get(&self, id: &ScheduleId) -> Result<Option<Stored>, Error> {
        let Some(entry) = self.schedules.get(id.as_str()).await? else { return Ok(None) };
        let schedule =
            decode(&entry.key, entry.value).map_err(|source| Error::Malformed { id: id.clone(), source })?;
        Ok(Some(Stored { schedule, revision: entry.revision, cursor: self.cursor(id).await? }))
    }

    /// Of what stands under a schedule's key, which may be malformed; none if nothing does.
    pub async fn revision(&self, id: &ScheduleId) -> Result<Option<u64>, Error> {
        Ok(self.schedules.get(id.as_str()).await?.map(|entry| entry.revision))
    }

    /// How far each schedule has come, as it is stored, with the revision that says so, by the schedule's id.
    pub async fn cursors(&self) -> Result<HashMap<String, (Bytes, u64)>, kv::Error> {
        let entries = self.cursors.read_all().await?;
        Ok(entries.into_iter().map(|entry| (entry.key, (entry.value, entry.revision))).collect())
    }

    /// How far a schedule has come; none if nothing was due yet, and if it cannot be read.
    pub async fn cursor(&self, id: &ScheduleId) -> Result<Option<Cursor>, Error> {
        let cursor = self.cursors.get(id.as_str()).await?;
        Ok(cursor.and_then(|entry| decode_cursor(entry.value).ok()))
    }

    /// Removes a schedule, if it has this revision.
    pub async fn delete_revision(&self, id: &ScheduleId, revision: u64) -> Result<(), Error> {
        self.schedules.delete_revision(id.as_str(), revision).await.map_err(|error| match error {
            kv::Error::Conflict(_) => Error::Conflict(id.clone()),
            error => error.into(),
        })
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
    use windlass_core::schedule::Pause;

    use crate::sample::{at, schedule};

    fn desired(schedule: Schedule<Bytes>) -> Desired {
        Desired { schedule, keeps_pause: false }
    }

    #[test]
    fn a_new_rule_or_a_resumption_counts_from_the_present() {
        let old = schedule("a", 60, 100);
        let check = |change: fn(&mut Desired), old: &Schedule<Bytes>, created_at, expected| {
            let mut new = desired(schedule("a", 60, 500));
            change(&mut new);
            let (merged, applied) = merge(new, Some(old));
            assert_eq!((merged.created_at, applied), (at(created_at), expected));
            merged
        };
        check(|_| {}, &old, 100, Applied::Unchanged);
        check(|d| d.schedule.task.payload = Bytes::from_static(b"7"), &old, 100, Applied::Updated);
        check(|d| d.schedule.pause = Some(Pause::default()), &old, 100, Applied::Updated);
        check(|d| d.schedule.spec = schedule("a", 30, 0).spec, &old, 500, Applied::Updated);
        let mut paused = old.clone();
        paused.pause = Some(Pause { note: "moving".into(), until: None });
        check(|_| {}, &paused, 500, Applied::Updated);
        // What the file does not say stays; a pause that it says as well keeps its note.
        check(|d| d.keeps_pause = true, &paused, 100, Applied::Unchanged);
        check(|d| d.schedule.pause = Some(Pause::default()), &paused, 100, Applied::Unchanged);
        assert_eq!(merge(desired(old.clone()), None), (old, Applied::Created));
    }

    #[test]
    fn changes_are_remembered_within_bounds() {
        let mut schedule = schedule("a", 60, 100);
        let author = Author { by: "me".into(), at: at(7), trace: None, reason: String::new() };
        for number in 0..MOST_EDITS + 5 {
            remember(&mut schedule, &author, &format!("{number}"));
        }
        assert_eq!((schedule.edits.len(), schedule.edits[0].what.as_str()), (MOST_EDITS, "5"));
        remember(&mut schedule, &Author { reason: "as agreed".into(), ..author }, "resumed");
        assert_eq!(schedule.edits.last().unwrap().what, "resumed: as agreed");
    }

    #[test]
    fn malformed_values_are_refused() {
        let good = schedule("a", 60, 100);
        let value = |schedule: &Schedule<Bytes>| Bytes::from(v1::Schedule::from(schedule).encode_to_vec());
        assert_eq!(decode("a", value(&good)), Ok(good.clone()));
        let field = |key: &str, value: Bytes| decode(key, value).unwrap_err().field;
        assert_eq!(field("b", value(&good)), "id");
        assert_eq!(field("a", Bytes::from_static(b"\xff\xff")), "body");
        let mut large = good;
        large.task.payload = vec![0; 600 * 1024].into();
        assert_eq!(field("a", value(&large)), "payload");
    }
}
