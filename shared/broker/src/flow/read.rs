//! What stands in line, and what is taken.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use windlass_core::flow::{FlowKey, Holders, KeySlot, Lane, MeterState, Slot};
use windlass_core::{JobId, Kind, Priority, RecordKind};
use windlass_proto::Waiting;

use super::{Flow, TIMEOUT};
use crate::batch::{self, Reading, Start};
use crate::connect::Error;
use crate::jobs::{self, Address, SeenRecord};
use crate::names::{FlowSubject, Line};

/// Jobs that are asked for at once.
const MOST_HELD: usize = 240;
/// JetStream: there is no such message.
const NOT_FOUND: u64 = 10037;

/// A held job's place in a line.
#[derive(Debug, Clone, PartialEq)]
pub struct InLine {
    /// Of the place: the order of the line.
    pub sequence: u64,
    /// Which line.
    pub line: Line,
    /// Of the job.
    pub priority: Priority,
    /// Which job.
    pub job_id: JobId,
    /// The sequence of its `held`.
    pub held: u64,
    /// Of its task.
    pub key: Option<FlowKey>,
    /// Of its task.
    pub tenant: Option<FlowKey>,
    /// Since when it waits.
    pub since: Timestamp,
    /// Of its key, if it has that and waits for its turn.
    pub key_slot: Option<KeySlot>,
    /// Of its task.
    pub points: u32,
    /// Of its task.
    pub kind: Kind,
}

/// A slot that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Of its message.
    pub sequence: u64,
    /// Of this key, by its token; none: of the queue.
    pub key: Option<String>,
    /// By whom.
    pub job_id: JobId,
    /// Since when.
    pub since: Timestamp,
}

/// A part of `STREAM.INFO` that lists subjects.
#[derive(Deserialize)]
struct Subjects {
    #[serde(default)]
    total: u64,
    state: SubjectsState,
}

#[derive(Deserialize)]
struct SubjectsState {
    last_seq: u64,
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

// === impl Flow ===

impl Flow {
    /// The next in a line: of a key (at this priority, if one is named), or of a lane. Any replica may answer, so what
    /// was written last may be missing, and what was removed last may be there.
    pub async fn line(
        &self,
        line: &Line,
        priority: Option<Priority>,
        reading: &mut Reading,
        most: usize,
    ) -> Result<(Vec<InLine>, bool), Error> {
        self.in_line(&self.line_filter(line, priority), reading, most).await
    }

    /// Whether nobody is in a line from here on: from the stream's leader.
    pub async fn is_empty(
        &self,
        line: &Line,
        priority: Option<Priority>,
        from: &Reading,
    ) -> Result<bool, Error> {
        let call = format!("STREAM.MSG.GET.{}", self.jobs.stream());
        let filter = self.line_filter(line, priority);
        let request = serde_json::json!({ "seq": from.next(), "next_by_subj": filter });
        match self.broker().api::<serde::de::IgnoredAny>(&call, &request, TIMEOUT).await {
            Ok(_) => Ok(false),
            Err(Error::Refused { code: NOT_FOUND, .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn line_filter(&self, line: &Line, priority: Option<Priority>) -> String {
        let (names, pool, queue) = (self.broker().names(), self.pool(), &self.queue);
        match line {
            Line::Key(key) => names.key_line_filter(pool, queue, key, priority),
            Line::Turn(tenant) => names.turn_line_filter(pool, queue, priority.unwrap_or_default(), tenant),
            Line::Kind(kind) => names.kind_line_filter(pool, queue, kind),
        }
    }

    /// What was let go under the rate of a key, or of the queue, as it was kept: from the stream's leader.
    pub async fn meter(&self, key: Option<&str>) -> Result<Option<MeterState>, Error> {
        let subject = FlowSubject::Meter(key.map(str::to_owned));
        let subject = self.broker().names().flow_subject(self.pool(), &self.queue, &subject);
        let Some(found) = self.last(&subject).await? else { return Ok(None) };
        let malformed = |reason: String| Error::Malformed { subject: subject.clone(), reason };
        serde_json::from_slice(&found.body(&subject)?).map(Some).map_err(|e| malformed(e.to_string()))
    }

    /// Who owns the queue, or did last: from the stream's leader.
    pub async fn owner(&self) -> Result<Option<String>, Error> {
        let subject = self.broker().names().flow_owner(self.pool(), &self.queue);
        let Some(found) = self.last(&subject).await? else { return Ok(None) };
        let owner = windlass_proto::flow_owner_of(found.body(&subject)?.into());
        owner.map(Some).map_err(|e| Error::Malformed { subject, reason: e.to_string() })
    }

    /// The next in all lines of this sort: `key`, `turn` or `kind`.
    pub async fn all_in_line(
        &self,
        sort: &str,
        reading: &mut Reading,
        most: usize,
    ) -> Result<(Vec<InLine>, bool), Error> {
        let filter = self.broker().names().lines_filter(self.pool(), &self.queue, sort);
        self.in_line(&filter, reading, most).await
    }

    pub(super) async fn in_line(
        &self,
        filter: &str,
        reading: &mut Reading,
        most: usize,
    ) -> Result<(Vec<InLine>, bool), Error> {
        let (messages, more) = reading.page(self.broker(), self.jobs.stream(), filter, most).await?;
        let mut found = Vec::with_capacity(messages.len());
        for raw in messages {
            let malformed = |reason: String| Error::Malformed { subject: raw.subject.clone(), reason };
            let Some(FlowSubject::Wait(line, priority, job_id)) =
                self.broker().names().parse_flow_subject(&raw.subject)
            else {
                return Err(malformed("is no place in line".to_owned()));
            };
            let waiting = Waiting::decode(raw.body.clone()).map_err(|e| malformed(e.to_string()))?;
            let key_slot = waiting.key_slot.map(|key| KeySlot {
                // Counted from the place itself.
                slot: Slot::At(key.slot.sequence(raw.sequence)),
                ..key
            });
            found.push(InLine {
                sequence: raw.sequence,
                line,
                priority,
                job_id,
                held: waiting.held_sequence.unwrap_or(raw.sequence - 1),
                key: waiting.key,
                tenant: waiting.tenant,
                since: waiting.since,
                key_slot,
                points: waiting.points,
                kind: waiting.kind,
            });
        }
        Ok((found, more))
    }

    /// The lines of the queue that may have somebody in them, with the sequence of what says so.
    pub async fn lanes(&self) -> Result<Vec<(Lane, u64)>, Error> {
        let filter = self.broker().names().lanes_filter(self.pool(), &self.queue);
        let (mut lanes, mut from) = (Vec::new(), 1);
        loop {
            let start = Start::Sequence(from);
            let batch = batch::read(self.broker(), self.jobs.stream(), &filter, start, 1000).await?;
            for raw in &batch.messages {
                if let Some(FlowSubject::Lane(priority, tenant)) =
                    self.broker().names().parse_flow_subject(&raw.subject)
                {
                    lanes.push((Lane::new(priority, tenant), raw.sequence));
                }
                from = raw.sequence + 1;
            }
            if !batch.more {
                return Ok(lanes);
            }
        }
    }

    /// Whose slots of a key are taken, or of the queue: from the stream's leader.
    pub async fn slots(&self, key: Option<&str>) -> Result<Holders, Error> {
        let filter = self.broker().names().slots_filter(self.pool(), &self.queue, key);
        let call = format!("STREAM.INFO.{}", self.jobs.stream());
        let mut taken: Vec<JobId> = Vec::new();
        // The stream's state is read before its subjects: what is listed was there at that sequence or later.
        let mut last_sequence = 0;
        loop {
            let request = serde_json::json!({ "subjects_filter": filter, "offset": taken.len() });
            let page: Subjects = self.broker().api(&call, &request, TIMEOUT).await?;
            last_sequence = if taken.is_empty() { page.state.last_seq } else { last_sequence };
            let subjects = page.state.subjects.unwrap_or_default();
            if subjects.is_empty() {
                return Ok(Holders::as_read(taken, last_sequence));
            }
            for subject in subjects.keys() {
                if let Some(FlowSubject::Slot(_, job_id)) = self.broker().names().parse_flow_subject(subject)
                {
                    taken.push(job_id);
                }
            }
            if taken.len() as u64 >= page.total {
                return Ok(Holders::as_read(taken, last_sequence));
            }
        }
    }

    /// The slots that are taken, of keys and of the queue, from this sequence on; and whether there are more. As
    /// [`Self::line`], any replica may answer.
    pub async fn taken(&self, from: u64, most: usize) -> Result<(Vec<Taken>, bool), Error> {
        let filter = self.broker().names().all_slots_filter(self.pool(), &self.queue);
        let (taken, more) = self.slots_under(&filter, from, most).await?;
        Ok((taken, more > 0))
    }

    /// As [`Self::taken`], under a filter of slots; and how many more there are.
    pub(super) async fn slots_under(
        &self,
        filter: &str,
        from: u64,
        most: usize,
    ) -> Result<(Vec<Taken>, u64), Error> {
        let start = Start::Sequence(from.max(1));
        let batch = batch::read(self.broker(), self.jobs.stream(), filter, start, most).await?;
        let taken = batch.messages.into_iter().filter_map(|raw| {
            let FlowSubject::Slot(key, job_id) = self.broker().names().parse_flow_subject(&raw.subject)?
            else {
                return None;
            };
            Some(Taken { sequence: raw.sequence, key, job_id, since: raw.stored_at })
        });
        Ok((taken.collect(), batch.pending))
    }

    /// The slot of a key, by its token, that this job has: from the stream's leader.
    pub async fn slot_of(&self, key: &str, job_id: JobId) -> Result<Option<Taken>, Error> {
        let subject = FlowSubject::Slot(Some(key.to_owned()), job_id);
        let subject = self.broker().names().flow_subject(self.pool(), &self.queue, &subject);
        let key = Some(key.to_owned());
        let taken = |last: Last| Taken { sequence: last.seq, key, job_id, since: Timestamp::UNIX_EPOCH };
        Ok(self.last(&subject).await?.map(taken))
    }

    /// Whether there is a message under this subject: from the stream's leader.
    pub async fn stands(&self, subject: &FlowSubject) -> Result<bool, Error> {
        let subject = self.broker().names().flow_subject(self.pool(), &self.queue, subject);
        Ok(self.last(&subject).await?.is_some())
    }

    /// Whether a job stands in one of these lines, looked at in this order: from the stream's leader.
    pub async fn is_in_line(&self, address: &Address, lines: &[Line]) -> Result<bool, Error> {
        for line in lines {
            if self.stands(&FlowSubject::Wait(line.clone(), address.priority, address.job_id)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many messages stand under a filter: at the cost of one call.
    pub async fn count(&self, filter: &str) -> Result<u64, Error> {
        let call = format!("STREAM.INFO.{}", self.jobs.stream());
        let request = serde_json::json!({ "subjects_filter": filter, "offset": i32::MAX });
        self.broker().api::<Subjects>(&call, &request, TIMEOUT).await.map(|page| page.total)
    }

    /// The `held` of each of these jobs, of this sequence, in the same order; none where it is gone. What stands at a
    /// sequence never changes, so any replica may say what it is, by one request for all; only the stream's leader says
    /// that it is gone.
    pub async fn held(&self, jobs: &[(&Address, u64)]) -> Result<Vec<Option<SeenRecord>>, jobs::Error> {
        let mut found: HashMap<u64, SeenRecord> = HashMap::new();
        // For one alone the leader is asked at once.
        for some in jobs.chunks(MOST_HELD).filter(|some| some.len() > 1) {
            let subjects: Vec<_> =
                some.iter().map(|(address, _)| self.jobs.subject(address, RecordKind::Held)).collect();
            let of_broker = |source| jobs::Error::Broker { stream: self.jobs.stream().to_owned(), source };
            let batch = batch::read_last(self.broker(), self.jobs.stream(), &subjects).await;
            for raw in batch.map_err(of_broker)?.messages {
                found.insert(raw.sequence, self.jobs.seen(raw)?);
            }
        }
        let mut records = Vec::with_capacity(jobs.len());
        for (_, sequence) in jobs {
            records.push(match found.remove(sequence) {
                Some(record) => Some(record),
                None => self.jobs.at(*sequence).await?,
            });
        }
        Ok(records)
    }

    /// The last message of a subject, from the stream's leader.
    pub(super) async fn last(&self, subject: &str) -> Result<Option<Last>, Error> {
        #[derive(Deserialize)]
        struct Found {
            message: Last,
        }
        let call = format!("STREAM.MSG.GET.{}", self.jobs.stream());
        let request = serde_json::json!({ "last_by_subj": subject });
        match self.broker().api::<Found>(&call, &request, TIMEOUT).await {
            Ok(found) => Ok(Some(found.message)),
            Err(Error::Refused { code: NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A message as the broker's API shows it.
#[derive(Deserialize)]
pub(super) struct Last {
    pub(super) seq: u64,
    /// In Base64; none where the body is empty.
    data: Option<String>,
}

impl Last {
    /// What it says, under this subject.
    pub(super) fn body(&self, subject: &str) -> Result<Vec<u8>, Error> {
        let malformed = |reason: String| Error::Malformed { subject: subject.to_owned(), reason };
        STANDARD.decode(self.data.as_deref().unwrap_or_default()).map_err(|e| malformed(e.to_string()))
    }
}
