//! Looking at lines, slots and records from outside: for who asks why jobs wait. Nothing is decided by it.

use serde::Deserialize;
use std::collections::BTreeMap;
use windlass_core::{JobId, Priority};

use super::{Flow, InLine, TIMEOUT, Taken};
use crate::batch::{self, Raw, Reading, Start};
use crate::connect::Error;
use crate::names::{FlowSubject, Line};

/// Subjects that stood in the stream at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listed {
    /// How many there are.
    pub(crate) total: u64,
    /// The first 100,000 of them, where they were asked for.
    pub(crate) subjects: Vec<String>,
    /// The stream's last sequence and its number of messages: as long as both are the same, nothing has changed.
    pub(crate) moment: (u64, u64),
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    total: u64,
    state: State,
}

#[derive(Deserialize)]
struct State {
    last_seq: u64,
    messages: u64,
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

// === impl Flow ===

impl Flow {
    /// What stands under a filter, from the stream's leader; the subjects themselves where `named`.
    pub(crate) async fn list(&self, filter: &str, named: bool) -> Result<Listed, Error> {
        let call = format!("STREAM.INFO.{}", self.jobs().stream());
        let offset = if named { 0 } else { i32::MAX };
        let request = serde_json::json!({ "subjects_filter": filter, "offset": offset });
        let info: Info = self.broker().api(&call, &request, TIMEOUT).await?;
        Ok(Listed {
            total: info.total,
            subjects: info.state.subjects.unwrap_or_default().into_keys().collect(),
            moment: (info.state.last_seq, info.state.messages),
        })
    }

    /// How many stand under a filter after this sequence.
    pub(crate) async fn after(&self, filter: &str, sequence: u64) -> Result<u64, Error> {
        let start = Start::Sequence(sequence + 1);
        let batch = batch::read(self.broker(), self.jobs().stream(), filter, start, 1).await?;
        Ok(batch.messages.len() as u64 + batch.pending)
    }

    /// The first messages under a filter from this sequence on, and whether there are more.
    pub(crate) async fn raw(&self, filter: &str, from: u64, most: usize) -> Result<(Vec<Raw>, bool), Error> {
        let start = Start::Sequence(from);
        let batch = batch::read(self.broker(), self.jobs().stream(), filter, start, most).await?;
        Ok((batch.messages, batch.more))
    }

    /// The oldest slots under this filter, and how many more there are.
    pub(crate) async fn taken_of(&self, filter: &str, most: usize) -> Result<(Vec<Taken>, u64), Error> {
        self.slots_under(filter, 1, most).await
    }

    /// The place of a job in this line, if it stands there.
    pub(crate) async fn place_of(
        &self,
        line: &Line,
        priority: Priority,
        job_id: JobId,
    ) -> Result<Option<InLine>, Error> {
        let subject = FlowSubject::Wait(line.clone(), priority, job_id);
        let subject = self.broker().names().flow_subject(self.pool(), self.queue(), &subject);
        Ok(self.in_line(&subject, &mut Reading::default(), 1).await?.0.pop())
    }

    /// The first of all that stand in any line.
    pub(crate) async fn first_in_line(&self) -> Result<Option<InLine>, Error> {
        let filter = self.broker().names().all_lines_filter(self.pool(), self.queue());
        Ok(self.in_line(&filter, &mut Reading::default(), 1).await?.0.pop())
    }
}
