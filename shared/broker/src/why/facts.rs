//! What holds of a queue, and of a key, as causes are decided by it.

use std::time::Duration;

use jiff::Timestamp;
use prost::Message as _;
use windlass_core::flow::{Doing, FlowKey, Gate, Holder, KeyGate, OnDead, QueueSettings, Rate};
use windlass_core::protocol::Kind;
use windlass_core::{JobId, JobState, QueueName};
use windlass_proto::{RecordBody, v1};

use super::Error;
use crate::flow::{Delivered, Flow};
use crate::queues::QueueStore;

/// For each call.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Of those who have slots, so many are named.
const NAMED: usize = 3;

/// A queue.
pub(super) struct Facts {
    /// As they hold now.
    pub(super) settings: QueueSettings,
    /// Whether anything was ever set.
    pub(super) is_set: bool,
    /// When this was read.
    pub(super) now: Timestamp,
    taken: u64,
    holders: Vec<Holder>,
    until: Option<Timestamp>,
    dispatcher: Option<String>,
}

/// A key.
pub(super) struct KeyFacts {
    key: FlowKey,
    taken: u64,
    holders: Vec<Holder>,
    until: Option<Timestamp>,
}

// === impl Facts ===

impl Facts {
    pub(super) async fn read(flow: &Flow, delivered: Option<Delivered>) -> Result<Self, Error> {
        let now = flow.broker().now();
        let store = QueueStore::new(flow.broker());
        let stored = store.get(flow.queue()).await?;
        let is_set = stored.is_some();
        let (settings, _) = stored.map(|stored| stored.change.settings).unwrap_or_default().at(now);
        let (owner, kept) = tokio::try_join!(flow.owner(), flow.meter(None))?;
        let (taken, holders) = held(flow, &settings, None, delivered).await?;
        let until = Rate::next_start(settings.rate.as_ref(), kept.as_ref(), 1, now);
        Ok(Self { settings, is_set, now, taken, holders, until, dispatcher: owner })
    }

    pub(super) fn gate(&self) -> Gate<'_> {
        Gate {
            settings: &self.settings,
            taken: self.taken,
            holders: self.holders.clone(),
            until: self.until,
            now: self.now,
            dispatcher: self.dispatcher.clone(),
        }
    }
}

// === impl KeyFacts ===

impl KeyFacts {
    pub(super) async fn read(
        flow: &Flow,
        facts: &Facts,
        key: &FlowKey,
        points: u32,
        delivered: Option<Delivered>,
    ) -> Result<Self, Error> {
        let token = key.token();
        let (taken, holders) = held(flow, &facts.settings, Some(&token), delivered).await?;
        let kept = flow.meter(Some(&token)).await?;
        let until = Rate::next_start(facts.settings.key_rate.as_ref(), kept.as_ref(), points, facts.now);
        Ok(Self { key: key.clone(), taken, holders, until })
    }

    pub(super) fn gate(&self) -> KeyGate<'_> {
        KeyGate {
            key: self.key.as_str(),
            taken: self.taken,
            holders: self.holders.clone(),
            until: self.until,
        }
    }
}

/// How many slots of a key, by its token, or of the queue, are taken, and who has had one longest.
async fn held(
    flow: &Flow,
    settings: &QueueSettings,
    key: Option<&str>,
    delivered: Option<Delivered>,
) -> Result<(u64, Vec<Holder>), Error> {
    let filter = flow.broker().names().slots_filter(flow.pool(), flow.queue(), key);
    let (first, more) = flow.taken_of(&filter, NAMED).await?;
    let taken = first.len() as u64 + more;
    let mut holders = Vec::new();
    for slot in first {
        let doing = doing(flow, settings, slot.job_id, delivered).await?;
        holders.push(Holder { job_id: slot.job_id, doing, since: slot.since });
    }
    Ok((taken, holders))
}

/// What a job does that has a slot.
async fn doing(
    flow: &Flow,
    settings: &QueueSettings,
    job_id: JobId,
    delivered: Option<Delivered>,
) -> Result<Doing, Error> {
    let seen = flow.jobs().read(flow.queue(), job_id).await?;
    Ok(match (&seen.done, &seen.last) {
        (Some(done), _) if done.state == JobState::Dead => Doing::Dead,
        // Its end is forgotten, and it still blocks its key.
        (None, None) if settings.fifo() == Some(OnDead::Block) => Doing::Dead,
        (Some(_), _) | (None, None) => Doing::Ended,
        (None, Some(last)) => match (&last.body, last.record.kind) {
            (_, Kind::Later) => Doing::Retrying,
            (_, Kind::Held | Kind::Due) => Doing::Waiting,
            (_, Kind::Ready) if delivered.is_none_or(|d| last.record.sequence > d.up_to) => Doing::Queued,
            (RecordBody::Claim(claim), _) if claim.reason == v1::ClaimReason::HandBack => Doing::Queued,
            _ => Doing::Running,
        },
    })
}

/// Whether a worker that lives, and takes work, serves the queue.
pub(super) async fn is_served(flow: &Flow) -> Result<bool, Error> {
    let bucket = flow.broker().bucket(flow.broker().names().workers_bucket());
    let serves = |queues: &[String], queue: &QueueName| queues.iter().any(|name| name == queue.as_str());
    Ok(bucket.entries().await?.into_iter().any(|entry| {
        v1::WorkerInfo::decode(entry.value).is_ok_and(|worker| {
            worker.pool == flow.pool().as_str() && !worker.draining && serves(&worker.queues, flow.queue())
        })
    }))
}
