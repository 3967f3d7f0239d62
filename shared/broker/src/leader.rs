//! One leader at a time: a key with a lease, taken and renewed by compare-and-set.
//!
//! A leader that cannot renew within its lease stops before the broker lets another in: it counts from before it
//! asked, the broker from when it stored. The epoch fences what a former leader writes late.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::time::Instant;
use windlass_proto::v1;

use crate::kv::{Bucket, Entry, Error};

/// A role that one of many holds.
#[derive(Debug, Clone)]
pub struct Lease {
    bucket: Bucket,
    key: String,
    holder: String,
    ttl: Duration,
}

/// A time of leadership.
#[derive(Debug)]
pub struct Term {
    lease: Lease,
    revision: u64,
    valid_until: Instant,
    /// Grows from leader to leader.
    pub epoch: u64,
}

/// Somebody else may lead now.
#[derive(Debug, thiserror::Error)]
#[error("the lease {key} is lost")]
pub struct Lost {
    key: String,
    source: Option<Error>,
}

// === impl Lease ===

impl Lease {
    /// A role, by its key. `ttl` is in whole seconds.
    pub fn new(bucket: Bucket, key: impl Into<String>, holder: impl Into<String>, ttl: Duration) -> Self {
        Self { bucket, key: key.into(), holder: holder.into(), ttl }
    }

    fn value(&self) -> Bytes {
        v1::LeaderLease { holder: self.holder.clone() }.encode_to_vec().into()
    }

    /// Takes the role if nobody has it.
    pub async fn acquire(&self) -> Result<Option<Term>, Error> {
        let asked = Instant::now();
        match self.bucket.create(&self.key, self.value(), Some(self.ttl)).await {
            Ok(revision) => Ok(Some(Term {
                lease: self.clone(),
                revision,
                valid_until: asked + self.ttl,
                epoch: revision,
            })),
            Err(Error::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

// === impl Term ===

impl Term {
    /// Until when nobody else can lead.
    pub fn valid_until(&self) -> Instant {
        self.valid_until
    }

    /// Keeps the role for another lease. An answer that does not come may be followed by another try while the lease
    /// lasts.
    pub async fn renew(&mut self) -> Result<(), Lost> {
        loop {
            let asked = Instant::now();
            let lost = |source| Lost { key: self.lease.key.clone(), source };
            let update = self.lease.bucket.update(
                &self.lease.key,
                self.lease.value(),
                self.revision,
                Some(self.lease.ttl),
            );
            match tokio::time::timeout_at(self.valid_until, update).await {
                Err(_) => return Err(lost(None)),
                Ok(Ok(revision)) => {
                    self.revision = revision;
                    self.valid_until = asked + self.lease.ttl;
                    return Ok(());
                }
                // It may be our own write, whose answer was lost.
                Ok(Err(Error::Conflict(_))) => match self.look().await {
                    Some(entry) if entry.value == self.lease.value() && entry.revision > self.revision => {
                        self.revision = entry.revision;
                    }
                    _ => return Err(lost(None)),
                },
                Ok(Err(error)) => {
                    if Instant::now() + Duration::from_millis(100) >= self.valid_until {
                        return Err(lost(Some(error)));
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Keeps the role until it is lost, which is what is returned: renews it early enough for two more tries. `renewed` is
    /// told until when it is kept.
    pub async fn keep(&mut self, mut renewed: impl FnMut(Instant)) -> Lost {
        loop {
            tokio::time::sleep(self.lease.ttl / 3).await;
            if let Err(lost) = self.renew().await {
                return lost;
            }
            renewed(self.valid_until);
        }
    }

    /// What the key holds, if that is known while the lease lasts.
    async fn look(&self) -> Option<Entry> {
        let looking = self.lease.bucket.get(&self.lease.key);
        tokio::time::timeout_at(self.valid_until, looking).await.ok()?.ok()?
    }

    /// Gives the role up, so that another need not wait for the lease to end.
    pub async fn release(self) {
        if let Err(error) = self.lease.bucket.delete_revision(&self.lease.key, self.revision).await {
            tracing::debug!(key = self.lease.key, %error, "the lease was not released");
        }
    }
}
