//! The settings of queues: what operators change and dispatchers follow.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use windlass_core::QueueName;
use windlass_core::flow::{Change, InvalidSettings, QueueSettings};

use crate::connect::Broker;
use crate::kv::{self, Bucket};

/// How often a change is made anew on what somebody else has written meanwhile.
const ROUNDS: usize = 8;

/// The bucket of queues' settings.
#[derive(Debug, Clone)]
pub struct QueueStore {
    bucket: Bucket,
}

/// What stands for a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Which queue.
    pub queue: QueueName,
    /// Grows with each change.
    pub revision: u64,
    /// What was set, by whom, when, and what held before.
    pub change: Change,
}

/// Who changes settings, and how.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    /// Who.
    pub by: &'a str,
    /// When.
    pub now: Timestamp,
    /// Why, for people.
    pub note: &'a str,
    /// Only if they still have this revision; 0: only if nothing was ever set.
    pub revision: Option<u64>,
}

/// Settings could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker did not do it.
    #[error("the settings of queues cannot be reached")]
    Bucket(#[from] kv::Error),
    /// They cannot be used.
    #[error("the settings cannot be used")]
    Invalid(#[from] InvalidSettings),
    /// Others change them all the time.
    #[error("the settings of queue {0} are changed by others at this moment: look at them and try again")]
    Conflict(QueueName),
    /// They are not those that the change was made for.
    #[error(
        "the settings of queue {queue} have revision {found}, not {expected}: look at them and try again"
    )]
    Revision {
        /// Which.
        queue: QueueName,
        /// As the caller said.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// What stands there cannot be read.
    #[error("the settings of queue {queue} are malformed on the broker: set them anew")]
    Malformed {
        /// Which.
        queue: String,
        /// Why.
        source: serde_json::Error,
    },
}

// === impl QueueStore ===

impl QueueStore {
    /// The settings of the broker's fleet; no call is made.
    pub fn new(broker: &Broker) -> Self {
        Self { bucket: broker.bucket(broker.names().queues_bucket()) }
    }

    /// What stands for a queue; none if it was never set.
    pub async fn get(&self, queue: &QueueName) -> Result<Option<Stored>, Error> {
        match self.bucket.get(queue.as_str()).await? {
            Some(entry) => decode(&entry.key, &entry.value, entry.revision).map(Some),
            None => Ok(None),
        }
    }

    /// What stands for every queue that was ever set.
    pub async fn list(&self) -> Result<Vec<Stored>, Error> {
        let entries = self.bucket.entries().await?;
        let mut all = entries
            .iter()
            .map(|entry| decode(&entry.key, &entry.value, entry.revision))
            .collect::<Result<Vec<_>, _>>()?;
        all.sort_by(|a, b| a.queue.cmp(&b.queue));
        Ok(all)
    }

    /// Changes the settings of a queue, from what stands there now; checked before they are stored. Who wrote
    /// meanwhile is not overwritten: the change is made anew on what they wrote.
    pub async fn change(
        &self,
        queue: &QueueName,
        by: &str,
        now: Timestamp,
        change: impl Fn(&mut QueueSettings) -> Result<(), InvalidSettings>,
    ) -> Result<Stored, Error> {
        self.change_as(queue, &Manner { by, now, note: "", revision: None }, change).await
    }

    /// As [`Self::change`], with a note, and perhaps only from one revision.
    pub async fn change_as(
        &self,
        queue: &QueueName,
        manner: &Manner<'_>,
        change: impl Fn(&mut QueueSettings) -> Result<(), InvalidSettings>,
    ) -> Result<Stored, Error> {
        for _ in 0..ROUNDS {
            let entry = self.bucket.get(queue.as_str()).await?;
            let found = entry.as_ref().map_or(0, |entry| entry.revision);
            if let Some(expected) = manner.revision.filter(|expected| *expected != found) {
                return Err(Error::Revision { queue: queue.clone(), expected, found });
            }
            // What is malformed is replaced.
            let before = entry.as_ref().and_then(|e| decode(&e.key, &e.value, e.revision).ok());
            let previous = before.map(|stored| stored.change.settings);
            let mut settings = previous.clone().unwrap_or_default();
            change(&mut settings)?;
            settings.check()?;
            let (by, note) = (manner.by.to_owned(), manner.note.to_owned());
            let change = Change { settings, by, at: manner.now, note, previous };
            let value: Bytes = serde_json::to_vec(&change)
                .map_err(|source| Error::Malformed { queue: queue.to_string(), source })?
                .into();
            let written = match entry {
                Some(entry) => self.bucket.update(queue.as_str(), value, entry.revision, None).await,
                None => self.bucket.create(queue.as_str(), value, None).await,
            };
            match written {
                Ok(revision) => return Ok(Stored { queue: queue.clone(), revision, change }),
                Err(kv::Error::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Conflict(queue.clone()))
    }

    /// What stands for every queue, then every change, for as long as it is read. What cannot be read is an error of
    /// its own, and what follows it is read.
    pub async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Result<(String, Option<Stored>), Error>> + Send + Unpin + use<>, Error>
    {
        let changes = self.bucket.watch().await?;
        Ok(changes.map(|change| {
            let change = change?;
            let stored =
                change.value.map(|value| decode(&change.key, &value, change.revision)).transpose()?;
            Ok((change.key, stored))
        }))
    }
}

fn decode(key: &str, value: &[u8], revision: u64) -> Result<Stored, Error> {
    let malformed = |source| Error::Malformed { queue: key.to_owned(), source };
    let change: Change = serde_json::from_slice(value).map_err(malformed)?;
    let queue = key.parse().map_err(|error: windlass_core::InvalidName| {
        malformed(<serde_json::Error as serde::de::Error>::custom(error))
    })?;
    Ok(Stored { queue, revision, change })
}
