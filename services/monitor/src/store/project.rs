//! Events into tables.
//!
//! A batch is one transaction: the kept events of its jobs are loaded, the new ones join them (`core::history`: in any
//! order, any number of times, with the same end), and what changed is stored with the rows that follow from it. The
//! same messages again change nothing.
//!
//! A job is written once a batch, however many of its events are in it, so large batches are cheap ones.

use std::collections::HashMap;

use windlass_core::history::{History, JobView};
use windlass_core::told::{LogLine, Progress};
use windlass_core::{Event, JobId, QueueName, Transition};

use super::batch::{most_ids, rows_of};
use super::database::{Connection, Pooled};
use super::rows::{id_of, word};
use super::sequences::{load_ranges, store_ranges};
use super::sql::Sql;
use super::{Error, Store, WRITE_TIMEOUT, figures, history, in_time, write};

const STORE: &str = "store a batch";
const LOAD: &str = "load the jobs of a batch";

/// A message of EVENTS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// Of the message in the stream.
    pub sequence: u64,
    /// What could be read of it.
    pub events: Vec<Event>,
    /// What running handlers told.
    pub progress: Vec<Progress>,
    /// Lines that they logged.
    pub lines: Vec<LogLine>,
}

/// What a batch changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Events that told something new.
    pub changed: usize,
    /// The event by which a job reached its end in this batch, for each that did.
    pub ended: Vec<Event>,
    /// The jobs that changed, as they stand now: without results and transitions.
    pub jobs: Vec<JobView>,
}

/// A job that a batch changed.
pub(super) struct Job {
    pub(super) queue: QueueName,
    pub(super) id: JobId,
    pub(super) history: History,
    /// As it stood before; none where it was not known.
    pub(super) before: Option<JobView>,
    /// None while only remarks are known of it.
    pub(super) after: Option<JobView>,
    /// Remarks on it are stored as such.
    pub(super) had_remarks: bool,
    /// Its acceptance was told in this batch, and other events before.
    pub(super) accepted_late: bool,
}

/// A job that a batch names.
struct Named {
    queue: QueueName,
    id: JobId,
    events: Vec<Event>,
    known: History,
    had_remarks: bool,
}

// === impl Store ===

impl Store {
    /// Stores what these messages tell and that they were processed, all or nothing.
    pub async fn apply(&self, messages: Vec<Message>) -> Result<Applied, Error> {
        let mut writer = self.writer(STORE).await?;
        let outcome = in_time(STORE, WRITE_TIMEOUT, apply(&mut writer, messages)).await;
        self.give_back(writer, outcome).await
    }
}

async fn apply(writer: &mut Pooled, mut messages: Vec<Message>) -> Result<Applied, Error> {
    let write = |source| Error::Statement(STORE, source);
    let mut transaction = writer.begin().await.map_err(write)?;
    let events = messages.iter_mut().flat_map(|message| std::mem::take(&mut message.events)).collect();
    let on = &mut transaction.on();
    let applied = join(on, events).await?;
    super::told::store(on, &messages).await.map_err(write)?;
    let mut ranges = load_ranges(on).await.map_err(write)?;
    for message in &messages {
        ranges.insert(message.sequence..=message.sequence);
    }
    store_ranges(on, &ranges).await.map_err(write)?;
    transaction.commit().await.map_err(write)?;
    Ok(applied)
}

/// Stores what these events tell.
pub(super) async fn join(on: &mut Connection<'_>, events: Vec<Event>) -> Result<Applied, Error> {
    let mut named = group(events);
    load(on, &mut named).await?;
    let mut applied = Applied::default();
    let mut jobs = Vec::with_capacity(named.len());
    for Named { queue, id, events, known: mut history, had_remarks } in named {
        let before = history.outline();
        let accepted = events.iter().any(|event| event.transition == Transition::Accepted);
        let accepted_late = before.is_some() && accepted;
        let changed = events.into_iter().map(|event| history.record(event)).filter(|is_new| *is_new).count();
        if changed == 0 {
            continue;
        }
        applied.changed += changed;
        let after = history.outline();
        let had_ended = before.as_ref().is_some_and(|before| before.state.is_terminal());
        if after.as_ref().is_some_and(|after| after.state.is_terminal()) && !had_ended {
            applied.ended.extend(history.events().last().cloned());
        }
        jobs.push(Job { queue, id, history, before, after, had_remarks, accepted_late });
    }
    let write = |source| Error::Statement(STORE, source);
    write::jobs(on, &jobs).await.map_err(write)?;
    figures::store(on, &jobs).await.map_err(write)?;
    applied.jobs = jobs.into_iter().filter_map(|job| job.after).collect();
    Ok(applied)
}

/// By job, in the order of their first events.
fn group(events: Vec<Event>) -> Vec<Named> {
    let mut places = HashMap::<JobId, Vec<usize>>::with_capacity(events.len() / 2);
    let mut named = Vec::<Named>::new();
    for event in events {
        // An id is unique within its queue.
        let places = places.entry(event.job_id).or_default();
        let place = places.iter().copied().find(|place| named[*place].queue == event.queue);
        let place = place.unwrap_or_else(|| {
            places.push(named.len());
            named.push(Named {
                queue: event.queue.clone(),
                id: event.job_id,
                events: Vec::with_capacity(3),
                known: History::default(),
                had_remarks: false,
            });
            named.len() - 1
        });
        named[place].events.push(event);
    }
    named
}

/// Reads what is known of them.
async fn load(on: &mut Connection<'_>, named: &mut [Named]) -> Result<(), Error> {
    let read = |source| Error::Statement(LOAD, source);
    // There is rarely any.
    let remarks: Option<(String,)> =
        Sql::new("SELECT queue FROM remarks LIMIT 1").optional(on).await.map_err(read)?;
    let sources = [Some("jobs"), remarks.map(|_| "remarks")];
    for chunk in named.chunks_mut(most_ids(on)) {
        let ids: Vec<JobId> = chunk.iter().map(|job| job.id).collect();
        for table in sources.iter().flatten() {
            let select = format!("SELECT queue, id, history FROM {table} WHERE id");
            let rows = rows_of(on, &select, &ids).await.map_err(read)?;
            if rows.is_empty() {
                continue;
            }
            let mut places = HashMap::<JobId, Vec<usize>>::new();
            for (place, job) in chunk.iter().enumerate() {
                places.entry(job.id).or_default().push(place);
            }
            for row in &rows {
                let id = id_of(&row.get::<Vec<u8>>("id").map_err(read)?)?;
                let queue: String = row.get("queue").map_err(read)?;
                let of = places.get(&id).into_iter().flatten().copied();
                let Some(place) = of.into_iter().find(|place| chunk[*place].queue.as_str() == queue) else {
                    continue;
                };
                let job = &mut chunk[place];
                job.known = history::decode(&word("queue", &queue)?, row.get("history").map_err(read)?)?;
                job.had_remarks = *table == "remarks";
            }
        }
    }
    Ok(())
}
