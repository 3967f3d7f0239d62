//! The marks of who waits for whom.
//!
//! An edge is two messages beside those of the jobs, stored in one write and hence one after the other: `awaited`, under
//! the job that is waited for, and then `awaits`, under the job that waits. So who knows the place of either knows that
//! of both. An edge is closed by removing `awaits`; `awaited` goes last, when all that follows is done.

use std::collections::{HashMap, HashSet};

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use jiff::Timestamp;
use tokio::time::timeout;
use windlass_core::{JobId, QueueName};

use super::{CALL_TIMEOUT, Error, Jobs};
use crate::names::{EdgeSubject, Place};

/// A job that waits for another, as the stream has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Of `awaited`; that of `awaits` is the next.
    awaited: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Who waits.
    pub waiting: Place,
    /// For whom.
    pub on: Place,
}

#[derive(serde::Deserialize)]
struct Subjects {
    /// Of the subjects that match, over all parts of the answer.
    #[serde(default)]
    total: u64,
    state: SubjectsState,
}

#[derive(serde::Deserialize)]
struct SubjectsState {
    subjects: Option<HashMap<String, u64>>,
}

// === impl Edge ===

impl Edge {
    /// Where one looks for the edge after this one, among those of whoever is waited for.
    pub fn next_awaited(&self) -> u64 {
        self.awaited + 1
    }
}

// === impl Jobs ===

impl Jobs {
    /// The oldest edge of those who wait for this job, from this place on.
    pub async fn next_awaited(&self, on: (&QueueName, JobId), from: u64) -> Result<Option<Edge>, Error> {
        let filter = self.broker.names().awaited_filter(&self.pool, on.0, on.1);
        self.next_edge(&filter, from, 0).await
    }

    /// The oldest edge of the pool, from this place on.
    pub async fn next_awaited_of_all(&self, from: u64) -> Result<Option<Edge>, Error> {
        let filter = self.broker.names().pool_awaited_filter(&self.pool);
        self.next_edge(&filter, from, 0).await
    }

    /// The jobs of this queue that are waited for, if no more than `most` edges stand there.
    pub async fn awaited_of(&self, queue: &QueueName, most: u64) -> Result<Option<HashSet<JobId>>, Error> {
        let filter = self.broker.names().queue_awaited_filter(&self.pool, queue);
        // Beyond all of them: the answer has their number, and none of their names.
        if self.edges_under(&filter, i32::MAX).await?.total > most {
            return Ok(None);
        }
        let page = self.edges_under(&filter, 0).await?;
        let subjects = page.state.subjects.unwrap_or_default();
        let edges = subjects.keys().filter_map(|subject| self.broker.names().parse_edge_subject(subject));
        Ok(Some(edges.map(|edge| edge.on.1).collect()))
    }

    async fn edges_under(&self, filter: &str, offset: i32) -> Result<Subjects, Error> {
        let call = format!("STREAM.INFO.{}", self.stream);
        let request = serde_json::json!({ "subjects_filter": filter, "offset": offset });
        let page = self.broker.api(&call, &request, CALL_TIMEOUT).await;
        page.map_err(|source| Error::Broker { stream: self.stream.clone(), source })
    }

    /// Whether a job of this queue is waited for.
    pub async fn is_awaited(&self, queue: &QueueName) -> Result<bool, Error> {
        let filter = self.broker.names().queue_awaited_filter(&self.pool, queue);
        Ok(self.next_edge(&filter, 0, 0).await?.is_some())
    }

    /// The oldest open edge of this job.
    pub async fn next_open_edge(&self, waiting: (&QueueName, JobId)) -> Result<Option<Edge>, Error> {
        let filter = self.broker.names().awaits_filter(&self.pool, waiting.0, waiting.1);
        self.next_edge(&filter, 0, 1).await
    }

    /// The jobs that this one waits for: the oldest `most` of the edges that are open, and whether there are more.
    pub async fn open_edges(
        &self,
        queue: &QueueName,
        job_id: JobId,
        most: usize,
    ) -> Result<(Vec<Place>, bool), Error> {
        let filter = self.broker.names().awaits_filter(&self.pool, queue, job_id);
        let (mut open, mut from) = (Vec::new(), 0);
        while let Some(edge) = self.next_edge(&filter, from, 1).await? {
            if open.len() >= most {
                return Ok((open, true));
            }
            from = edge.awaited + 2;
            // Stored twice, it counts once.
            if !open.contains(&edge.on) {
                open.push(edge.on);
            }
        }
        Ok((open, false))
    }

    /// The jobs that wait for this one: the oldest `most`, and whether there are more.
    pub async fn awaited_by(
        &self,
        queue: &QueueName,
        job_id: JobId,
        most: usize,
    ) -> Result<(Vec<Place>, bool), Error> {
        let (mut waiting, mut from) = (Vec::new(), 0);
        while let Some(edge) = self.next_awaited((queue, job_id), from).await? {
            if waiting.len() >= most {
                return Ok((waiting, true));
            }
            from = edge.next_awaited();
            // Stored twice, it counts once.
            if !waiting.contains(&edge.waiting) {
                waiting.push(edge.waiting);
            }
        }
        Ok((waiting, false))
    }

    /// The open edge of this job on that one, if there is any.
    pub async fn open_edge(&self, waiting: (&QueueName, JobId), on: &Place) -> Result<Option<Edge>, Error> {
        let edge = EdgeSubject { waiting: (waiting.0.clone(), waiting.1), on: on.clone() };
        self.next_edge(&self.broker.names().awaits_subject(&self.pool, &edge), 0, 1).await
    }

    /// Closes an edge: its job does not wait for the other any more. May be done again.
    pub async fn close_edge(&self, edge: &Edge) -> Result<(), Error> {
        self.delete(edge.awaited + 1).await
    }

    /// Forgets an edge that is closed, once all that follows is done. May be done again.
    pub async fn forget_edge(&self, edge: &Edge) -> Result<(), Error> {
        self.delete(edge.awaited).await
    }

    /// `past` is how far the message that is looked for stands behind the first of its edge.
    async fn next_edge(&self, filter: &str, mut from: u64, past: u64) -> Result<Option<Edge>, Error> {
        let stream = self.unseen_stream().await?;
        loop {
            let asking = timeout(CALL_TIMEOUT, stream.get_first_raw_message_by_subject(filter, from));
            let message = match asking.await {
                Err(_) => return Err(self.unread("no answer in time")),
                Ok(Err(e)) if e.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
                Ok(Err(e)) => return Err(self.unread(e)),
                Ok(Ok(message)) => message,
            };
            let Some(edge) = self.broker.names().parse_edge_subject(&message.subject) else {
                // Not written by us.
                from = message.sequence + 1;
                continue;
            };
            let stored_at =
                Timestamp::from_nanosecond(message.time.unix_timestamp_nanos()).unwrap_or(Timestamp::MIN);
            let EdgeSubject { waiting, on } = edge;
            return Ok(Some(Edge { awaited: message.sequence.saturating_sub(past), stored_at, waiting, on }));
        }
    }
}
