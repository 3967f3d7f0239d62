//! Reading letters: one, from the stream's leader, or page by page.

use std::time::Duration;

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;
use windlass_core::letter::{Filter, Letter};
use windlass_core::{JobId, QueueName};
use windlass_proto::{LetterPlace, read_letter};

use crate::batch::{self, Raw, Start};
use crate::connect::{Broker, Error};

/// For each call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Letters read by one request.
const BATCH: usize = 256;
/// How much later than its job's death, by another clock, a letter may be stored.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// The letters of a fleet.
#[derive(Debug, Clone)]
pub struct Letters {
    broker: Broker,
    stream: String,
}

/// A part of the letters, the oldest first.
#[derive(Debug, Default)]
pub struct Page {
    /// Those that match.
    pub letters: Vec<Letter<Bytes>>,
    /// How many were read for it.
    pub read: usize,
    /// Messages among them whose subject is no letter's.
    pub foreign: usize,
    /// Where the part that follows begins; none at the end.
    pub next: Option<u64>,
}

// === impl Letters ===

impl Letters {
    /// The letters of the fleet of this broker.
    pub fn new(broker: &Broker) -> Self {
        Self { broker: broker.clone(), stream: broker.names().dead_stream() }
    }

    /// The letters that match, in the order of storing: at most `limit` of them, of at most `most_read` that are looked
    /// at. So a part may be short, or empty, while more follow.
    pub async fn page(
        &self,
        filter: &Filter,
        cursor: Option<u64>,
        limit: usize,
        most_read: usize,
    ) -> Result<Page, Error> {
        let subjects = self.broker.names().dead_filter(filter.queue.as_ref());
        let mut page = Page::default();
        let mut start = match (cursor, filter.since) {
            (Some(sequence), _) => Start::Sequence(sequence),
            (None, Some(since)) => Start::Time(since.saturating_sub(CLOCKS).unwrap_or(Timestamp::MIN)),
            (None, None) => Start::Sequence(1),
        };
        while page.letters.len() < limit && page.read < most_read {
            let most = BATCH.min(most_read - page.read);
            let batch = batch::read(&self.broker, &self.stream, &subjects, start, most).await?;
            let Some(last) = batch.messages.last().map(|raw| raw.sequence) else {
                page.next = None;
                return Ok(page);
            };
            page.next = batch.more.then_some(last + 1);
            for raw in batch.messages {
                let sequence = raw.sequence;
                page.read += 1;
                match self.letter(raw) {
                    Some(letter) if filter.matches(&letter) => page.letters.push(letter),
                    Some(_) => {}
                    None => page.foreign += 1,
                }
                if page.letters.len() == limit {
                    page.next = (batch.more || sequence < last).then_some(sequence + 1);
                    return Ok(page);
                }
            }
            match page.next {
                Some(next) => start = Start::Sequence(next),
                None => return Ok(page),
            }
        }
        Ok(page)
    }

    /// The letter of a job, from the stream's leader.
    pub async fn find(&self, queue: &QueueName, job_id: JobId) -> Result<Option<Letter<Bytes>>, Error> {
        let subject = self.broker.names().dead_subject(queue, job_id);
        self.next(subject, 1).await.map(|found| found.and_then(|raw| self.letter(raw)))
    }

    /// The letters of this id: of one queue or of several. No more than `most` of them.
    pub async fn find_all(&self, job_id: JobId, most: usize) -> Result<Vec<Letter<Bytes>>, Error> {
        let filter = self.broker.names().dead_filter_any_queue(job_id);
        let (mut letters, mut from) = (Vec::new(), 1);
        while letters.len() < most {
            let Some(raw) = self.next(filter.clone(), from).await? else { break };
            from = raw.sequence + 1;
            letters.extend(self.letter(raw));
        }
        Ok(letters)
    }

    /// Removes a letter. One that is gone already counts as removed.
    pub async fn delete(&self, sequence: u64) -> Result<(), Error> {
        let call = format!("STREAM.MSG.DELETE.{}", self.stream);
        let request = serde_json::json!({ "seq": sequence, "no_erase": true });
        match self.broker.api::<serde_json::Value>(&call, &request, CALL_TIMEOUT).await {
            Ok(_) | Err(Error::Refused { code: 10037 | 10043 | 10057, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn next(&self, filter: String, from: u64) -> Result<Option<Raw>, Error> {
        let malformed =
            |reason: String| Error::Malformed { subject: format!("the stream {}", self.stream), reason };
        let stream = self.broker.jetstream().get_stream_no_info(&self.stream).await;
        let stream = stream.map_err(|e| malformed(e.to_string()))?;
        let asking = timeout(CALL_TIMEOUT, stream.get_first_raw_message_by_subject(&filter, from));
        match self.broker.unless_denied(&self.stream, asking).await? {
            Err(_) => Err(Error::TimedOut { subject: filter.clone(), timeout: CALL_TIMEOUT }),
            Ok(Err(e)) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Ok(Err(e)) => Err(malformed(e.to_string())),
            Ok(Ok(message)) => Ok(Some(message.into())),
        }
    }

    fn letter(&self, raw: Raw) -> Option<Letter<Bytes>> {
        let names = self.broker.names();
        let (queue, job_id) = names.parse_dead_subject(&raw.subject)?;
        let Raw { sequence, stored_at, body, .. } = raw;
        let place = LetterPlace { queue: queue.clone(), job_id, sequence, stored_at };
        Some(read_letter(place, body, |subject| names.queue_of_task(subject) == Some(queue.as_str())))
    }
}
