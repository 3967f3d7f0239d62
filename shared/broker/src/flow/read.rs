//! What stands in line, and what is taken.

use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use windlass_core::flow::{FlowKey, Holders, KeySlot, Lane, Slot};
use windlass_core::{JobId, Priority};
use windlass_proto::Waiting;

use super::{Flow, TIMEOUT};
use crate::batch::{self, Start};
use crate::connect::Error;
use crate::jobs::{self, SeenRecord};
use crate::names::{FlowSubject, Line};

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
    /// The next in a line, at or after this sequence: of a key (at this priority, if one is named), or of a lane. Any
    /// replica may answer, so what was written last may be missing, and what was removed last may be there.
    pub async fn line(
        &self,
        line: &Line,
        priority: Option<Priority>,
        from: u64,
        most: usize,
    ) -> Result<(Vec<InLine>, bool), Error> {
        self.in_line(&self.line_filter(line, priority), from, most).await
    }

    /// Whether nobody is in a line: from the stream's leader.
    pub async fn is_empty(&self, line: &Line, priority: Option<Priority>) -> Result<bool, Error> {
        Ok(self.count(&self.line_filter(line, priority)).await? == 0)
    }

    fn line_filter(&self, line: &Line, priority: Option<Priority>) -> String {
        let (names, pool, queue) = (self.broker().names(), self.pool(), &self.queue);
        match line {
            Line::Key(key) => names.key_line_filter(pool, queue, key, priority),
            Line::Turn(tenant) => names.turn_line_filter(pool, queue, priority.unwrap_or_default(), tenant),
        }
    }

    /// The next in all lines of this sort, `key` or `turn`.
    pub async fn all_in_line(
        &self,
        sort: &str,
        from: u64,
        most: usize,
    ) -> Result<(Vec<InLine>, bool), Error> {
        let filter = self.broker().names().lines_filter(self.pool(), &self.queue, sort);
        self.in_line(&filter, from, most).await
    }

    async fn in_line(&self, filter: &str, from: u64, most: usize) -> Result<(Vec<InLine>, bool), Error> {
        let start = Start::Sequence(from.max(1));
        let batch = batch::read(self.broker(), self.jobs.stream(), filter, start, most).await?;
        let mut found = Vec::with_capacity(batch.messages.len());
        for raw in batch.messages {
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
            });
        }
        Ok((found, batch.more))
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

    /// How many messages stand under a filter: at the cost of one call.
    pub async fn count(&self, filter: &str) -> Result<u64, Error> {
        let call = format!("STREAM.INFO.{}", self.jobs.stream());
        let request = serde_json::json!({ "subjects_filter": filter, "offset": i32::MAX });
        self.broker().api::<Subjects>(&call, &request, TIMEOUT).await.map(|page| page.total)
    }

    /// The message of this sequence, a job's `held`, from the stream's leader; none if it is gone.
    pub async fn held(&self, sequence: u64) -> Result<Option<SeenRecord>, jobs::Error> {
        self.jobs.at(sequence).await
    }

    /// The sequence of the last message of a subject, from the stream's leader.
    pub(super) async fn last_sequence(&self, subject: &str) -> Result<Option<u64>, Error> {
        #[derive(Deserialize)]
        struct Found {
            message: Message,
        }
        #[derive(Deserialize)]
        struct Message {
            seq: u64,
        }
        let call = format!("STREAM.MSG.GET.{}", self.jobs.stream());
        let request = serde_json::json!({ "last_by_subj": subject });
        match self.broker().api::<Found>(&call, &request, TIMEOUT).await {
            Ok(found) => Ok(Some(found.message.seq)),
            Err(Error::Refused { code: 10037, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
