//! Parts of a bucket that is too large to be read as a whole.

use std::collections::{HashMap, HashSet};

use super::{Bucket, Entry, Error};
use crate::batch::{self, Raw, Start};
use crate::names::Names;

/// Keys of one request.
const MOST_KEYS: usize = 1000;

// === impl Bucket ===

impl Bucket {
    /// Values in the order of their last change, from this revision on; and the revision from which to go on, if more
    /// follow. Of so many changes at most: there are fewer values where a key has changed since. Any replica may answer, and may lack what was changed a moment ago.
    pub async fn page(&self, from: u64, most: usize) -> Result<(Vec<Entry>, Option<u64>), Error> {
        let stream = format!("KV_{}", self.name);
        let filter = Names::key_subject(&self.name, ">");
        let read = batch::read(&self.broker, &stream, &filter, Start::Sequence(from), most);
        let batch = read.await.map_err(|source| self.unread(source))?;
        let next = batch.messages.last().map(|last| last.sequence + 1).filter(|_| batch.more);
        let found: Vec<_> = batch.messages.into_iter().filter_map(|raw| self.entry(raw)).collect();
        // Earlier values of a key may be kept, and stand in the place of their own change.
        let mut keys: Vec<_> = found.iter().map(|entry| entry.key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let last = self.many(&keys).await?.into_iter().map(|entry| (entry.key, entry.revision));
        let last: HashMap<_, _> = last.collect();
        Ok((found.into_iter().filter(|entry| last.get(&entry.key) == Some(&entry.revision)).collect(), next))
    }

    /// The values of these keys, of those that have one. Any replica may answer, as with [`Self::page`].
    pub async fn many(&self, keys: &[String]) -> Result<Vec<Entry>, Error> {
        let stream = format!("KV_{}", self.name);
        let mut entries = Vec::new();
        for keys in keys.chunks(MOST_KEYS) {
            let mut left: Vec<_> = keys.iter().map(|key| Names::key_subject(&self.name, key)).collect();
            while !left.is_empty() {
                let read = batch::read_last(&self.broker, &stream, &left);
                let batch = read.await.map_err(|source| self.unread(source))?;
                let seen: HashSet<_> = batch.messages.iter().map(|raw| raw.subject.clone()).collect();
                // An answer is bounded in bytes: the rest is asked for again.
                left.retain(|subject| !seen.contains(subject));
                entries.extend(batch.messages.into_iter().filter_map(|raw| self.entry(raw)));
                if !batch.more || seen.is_empty() {
                    break;
                }
            }
        }
        Ok(entries)
    }

    /// The values of all keys under this one, as `presence`: at most 1024, of more the broker says nothing. Any replica may
    /// answer.
    pub async fn under(&self, key: &str) -> Result<Vec<Entry>, Error> {
        let stream = format!("KV_{}", self.name);
        let filter = Names::key_subject(&self.name, &format!("{key}.>"));
        let read = batch::read_last_under(&self.broker, &stream, &filter);
        let batch = read.await.map_err(|source| self.unread(source))?;
        Ok(batch.messages.into_iter().filter_map(|raw| self.entry(raw)).collect())
    }

    /// None: the key was removed.
    fn entry(&self, raw: Raw) -> Option<Entry> {
        let removed = raw.headers.get("KV-Operation").or(raw.headers.get("Nats-Marker-Reason")).is_some();
        let prefix = Names::key_subject(&self.name, "");
        let key = raw.subject.strip_prefix(&prefix).filter(|_| !removed)?.to_owned();
        Some(Entry { key, value: raw.body, revision: raw.sequence, stored_at: raw.stored_at })
    }

    fn unread(&self, source: crate::connect::Error) -> Error {
        Error::Broker { bucket: self.name.clone(), source }
    }
}
