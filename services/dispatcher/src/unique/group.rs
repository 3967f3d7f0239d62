//! Aggregation: tasks of a group become one job.
//!
//! The job that collects stands as `later`, with a timer that never fires: what has it start is a look at it, as of a
//! job that expires, or the member that fills it. So it starts by a write on its token, which a member that was added
//! meanwhile refuses. A timer of the broker fires whatever was written a moment before, and would leave that member out.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use windlass_broker::failpoint::{Point, hit};
use windlass_broker::jobs::{self, Address, Change, Jobs, Part, SeenRecord, Verdict, nonce};
use windlass_core::expiry::expires_at;
use windlass_core::labels::Labels;
use windlass_core::protocol::Kind;
use windlass_core::unique::{Aggregate, Gathered, Instead, collect};
use windlass_core::{JobId, Priority, RecordKind, Task};
use windlass_proto::{Done, Job, KeyMarker, Teller};

use super::line::Place;
use super::{Entrant, Outcome, end_alone, finish};
use crate::admit::set_expiry;
use crate::shared::Shared;

/// When the timer of a job that still collects would fire: later than anything that is looked after.
const NEVER: i64 = 7_258_118_400;
/// Of tasks that are read at one time.
const READS: usize = 32;
/// For letting a job start.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// Of a worker, which decides first whether a job has expired.
const SLACK: SignedDuration = SignedDuration::from_secs(1);

/// Whether a job still takes members.
pub(crate) fn is_open(kind: Kind, job: &Job) -> bool {
    kind == Kind::Later && job.gathered.is_some() && job.attempts.is_empty()
}

/// The job that collects a group now, as the stream shows it.
struct Collecting {
    last: SeenRecord,
    job: Job,
    gathered: Gathered,
}

/// Deals with tasks of one group; of each what it has come to, none if it stays open.
pub(super) async fn deal_with(shared: &Shared, place: &Place, entrants: &[Entrant]) -> Vec<Option<Outcome>> {
    let jobs = shared.jobs(&place.0);
    let mut outcomes: Vec<Option<Outcome>> = entrants.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..entrants.len()).collect();
    loop {
        open.retain(|index| outcomes[*index].is_none() && !entrants[*index].is_late());
        let Some(first) = open.first().map(|index| &entrants[*index]) else { break };
        let members: Vec<&Entrant> = open.iter().map(|index| &entrants[*index]).collect();
        match step(shared, &jobs, place, &members).await {
            Ok(Step::Collected(told)) => {
                for (index, outcome) in open.iter().zip(told) {
                    outcomes[*index] = Some(outcome);
                }
            }
            Ok(Step::Again) => {}
            // One of them, or what they join, is not as it was.
            Ok(Step::Lost(new)) => {
                let mut reads = Vec::with_capacity(members.len());
                for entrant in &members {
                    reads.push(find(shared, &jobs, entrant, new).boxed());
                }
                let found = stream::iter(reads).buffered(READS).try_collect::<Vec<_>>();
                let Ok(found) = found.await else { break };
                for (index, outcome) in open.iter().zip(found) {
                    outcomes[*index] = outcome;
                }
            }
            Ok(Step::Open) => break,
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::warn!(job_id = %first.id(), error = format!("{error:#}"), "a group cannot be dealt with; its tasks are delivered again");
                break;
            }
        }
    }
    outcomes
}

enum Step {
    /// The first of them are members now.
    Collected(Vec<Outcome>),
    /// Something was made ready for them.
    Again,
    /// Somebody was faster; with the job that was to be made.
    Lost(Option<JobId>),
    /// Not known.
    Open,
}

async fn step(
    shared: &Shared,
    jobs: &Jobs,
    place: &Place,
    members: &[&Entrant],
) -> Result<Step, jobs::Error> {
    let (queue, of) = place;
    let Some(aggregate) = members.first().and_then(|first| first.task.aggregate.as_deref()) else {
        return Ok(Step::Open);
    };
    let marker = jobs.marker(queue, of).await?;
    let collecting = match &marker {
        Some(found) => collecting(jobs, queue, found.marker.job_id).await?,
        None => None,
    };
    let limit = shared.limits.max_payload_bytes;
    let Some(collecting) = collecting else {
        let Some(first) = members.first() else { return Ok(Step::Open) };
        let takes = taken(b"", 0, members, limit).max(1);
        let (address, job) = begin(first, aggregate);
        let gathered = Gathered { members: 0, first_at: first.accepted_at };
        let before = Before { address, token: 0, trace: Some(first.trace) };
        let sequence = marker.map_or(0, |found| found.sequence);
        return add(shared, jobs, place, (before, job, gathered), members, takes, Some(sequence)).await;
    };
    let takes = taken(&collecting.job.task.payload, collecting.gathered.members, members, limit);
    if takes == 0 {
        return Ok(match let_start(shared, jobs, &collecting.last, &collecting.job).await? {
            Verdict::Won(_) | Verdict::Lost => Step::Again,
            Verdict::Undecided => Step::Open,
        });
    }
    let Collecting { last, job, gathered } = collecting;
    let before = Before { address: last.address, token: last.record.sequence, trace: last.trace };
    add(shared, jobs, place, (before, job, gathered), members, takes, None).await
}

async fn collecting(
    jobs: &Jobs,
    queue: &windlass_core::QueueName,
    job_id: JobId,
) -> Result<Option<Collecting>, jobs::Error> {
    let seen = jobs.read(queue, job_id).await?;
    let Some(last) = seen.last.filter(|_| !seen.view.done) else { return Ok(None) };
    let windlass_proto::RecordBody::Job(job) = &last.body else { return Ok(None) };
    let Some(gathered) = job.gathered.filter(|_| is_open(last.record.kind, job)) else { return Ok(None) };
    let job = job.clone();
    Ok(Some(Collecting { last, job, gathered }))
}

/// How many of these go into a job that has so many members: by their number, and by the bytes of the list.
fn taken(list: &[u8], has: u32, members: &[&Entrant], limit: usize) -> usize {
    let (mut bytes, mut count, mut takes) = (list.len().max(2), has, 0);
    for member in members {
        let Some(aggregate) = &member.task.aggregate else { break };
        bytes += member.task.payload.len().max(4) + 1;
        if count >= aggregate.max_size || bytes > limit {
            break;
        }
        (count, takes) = (count + 1, takes + 1);
    }
    takes
}

/// A job for a group that has none, without members yet.
fn begin(first: &Entrant, _: &Aggregate) -> (Address, Job) {
    let id = JobId::of_aggregate(first.id());
    let task = Task {
        id,
        payload: Bytes::new(),
        content_type: "application/json".to_owned(),
        parent: None,
        // Of its members each may have others.
        schedule_id: None,
        labels: Labels::default(),
        aggregate: None,
        ..first.task.clone()
    };
    let job = Job::new(task, first.accepted_at, first.due_at, nonce());
    let priority: Priority = first.address.priority;
    (Address { queue: first.address.queue.clone(), priority, job_id: id }, job)
}

/// The job as it was before members are added.
struct Before {
    address: Address,
    /// 0: it is to be made.
    token: u64,
    trace: Option<windlass_core::trace::TraceParent>,
}

/// Adds the first members to a job, in one write with their ends. `marker`: of a job that is made, the sequence of the
/// marker before.
async fn add(
    shared: &Shared,
    jobs: &Jobs,
    (queue, of): &Place,
    (before, job, gathered): (Before, Job, Gathered),
    members: &[&Entrant],
    takes: usize,
    marker: Option<u64>,
) -> Result<Step, jobs::Error> {
    let (added, rest) = members.split_at(takes);
    let Some((last, aggregate)) =
        added.last().and_then(|last| Some((*last, last.task.aggregate.as_deref()?)))
    else {
        return Ok(Step::Open);
    };
    let count = gathered.members + u32::try_from(takes).unwrap_or(u32::MAX);
    let gathered = Gathered { members: count, ..gathered };
    let payloads = added.iter().map(|member| member.task.payload.as_ref());
    let payload: Bytes = collect(&job.task.payload, payloads).into();
    let now = shared.broker.now();
    // Whoever is left over does not fit.
    let is_full = count >= aggregate.max_size || !rest.is_empty();
    let due_at = if is_full { now } else { aggregate.due_at(&gathered, last.accepted_at) };
    let job = Job {
        task: Task { payload, ..job.task.clone() },
        due_at,
        nonce: nonce(),
        gathered: Some(gathered),
        ..job
    };
    let address = &before.address;
    let entrance = shared.settings.entrance(queue);
    let change = Change {
        address,
        token: before.token,
        record: if is_full { entrance } else { RecordKind::Later },
        body: job.encode(),
        nonce: &job.nonce,
        trace: before.trace,
        ttl: None,
        timer: (!is_full).then_some((never(), entrance)),
        purge: (is_full && before.token > 0).then_some(RecordKind::Later),
    };
    let ends: Vec<(&Entrant, Done)> =
        added.iter().map(|member| (*member, member.done(shared, Instead::Merged, address.job_id))).collect();
    let mut parts: Vec<_> =
        ends.iter().map(|(member, done)| Part::Record(member.end(shared, done))).collect();
    parts.push(Part::Record(change));
    if let Some(sequence) = marker {
        let job_id = address.job_id;
        let marker = KeyMarker { job_id, since: gathered.first_at, due_at, until: None, window_until: None };
        parts.push(Part::Marker { of, before: sequence, marker });
    }
    let look_at = if is_full { expires_at(now, job.task.max_wait).map(with_slack) } else { Some(due_at) };
    parts.extend(look_at.map(|at| Part::Look { job_id: address.job_id, at }));
    let may_write = shared.lines.may_write().await;
    let verdict = jobs.write_together(queue, &parts, last.deadline.min(members[0].deadline)).await?;
    drop(may_write);
    match verdict {
        Verdict::Won(_) => {}
        Verdict::Lost => return Ok(Step::Lost((before.token == 0).then_some(address.job_id))),
        Verdict::Undecided => return Ok(Step::Open),
    }
    let mut outcomes = Vec::with_capacity(ends.len());
    for (member, done) in &ends {
        outcomes.push(member.ended(shared, done).await);
    }
    if before.token == 0
        && let Some(first) = outcomes.first_mut()
    {
        let teller = Teller {
            queue,
            job_id: address.job_id,
            priority: address.priority,
            kind: &job.task.kind,
            accepted_at: job.accepted_at,
            trace: before.trace,
        };
        first.events.push(teller.accepted(due_at.max(job.accepted_at)).of_task(&job.task));
        metrics::counter!("windlass_tasks_admitted_total", "queue" => queue.to_string()).increment(1);
    }
    Ok(Step::Collected(outcomes))
}

/// What a member has come to. The job that it was to begin exists if it has begun it before: it is in there, though its
/// own end is forgotten.
async fn find(
    shared: &Shared,
    jobs: &Jobs,
    entrant: &Entrant,
    new: Option<JobId>,
) -> Result<Option<Outcome>, finish::Open> {
    let found = finish::find(shared, jobs, entrant).await?;
    if found.is_some() || new != Some(JobId::of_aggregate(entrant.id())) {
        return Ok(found);
    }
    let id = JobId::of_aggregate(entrant.id());
    match jobs.read(&entrant.address.queue, id).await {
        Ok(seen) if seen.last.is_some() => Ok(end_alone(shared, jobs, entrant, Instead::Merged, id).await),
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::warn!(job_id = %id, %error, "a job could not be read");
            Err(finish::Open)
        }
    }
}

/// Has a job that collects start, if its time has come. True once there is nothing left to do.
pub(crate) async fn let_go(shared: &Shared, jobs: &Jobs, last: &SeenRecord, job: &Job) -> bool {
    let (queue, job_id) = (&last.address.queue, last.address.job_id);
    let done = if job.due_at > shared.broker.now() {
        // It was given more time, and the timer fired through it.
        let parts = [Part::Look { job_id, at: job.due_at }];
        jobs.write_together(queue, &parts, Instant::now() + WRITE_TIMEOUT).await
    } else {
        let_start(shared, jobs, last, job).await
    };
    match done {
        // Who was faster has set a timer of its own, or let it go.
        Ok(Verdict::Won(_) | Verdict::Lost) => true,
        Ok(Verdict::Undecided) => false,
        Err(error) => {
            tracing::warn!(%job_id, error = %anyhow::Error::new(error), "a job of several tasks could not be started");
            false
        }
    }
}

async fn let_start(
    shared: &Shared,
    jobs: &Jobs,
    last: &SeenRecord,
    waiting: &Job,
) -> Result<Verdict, jobs::Error> {
    let deadline = Instant::now() + WRITE_TIMEOUT;
    let now = shared.broker.now();
    let due_at = waiting.due_at.min(now);
    let job = Job { due_at, nonce: nonce(), ..waiting.clone() };
    let change = Change {
        address: &last.address,
        token: last.record.sequence,
        record: shared.settings.entrance(&last.address.queue),
        body: job.encode(),
        nonce: &job.nonce,
        trace: last.trace,
        ttl: None,
        timer: None,
        purge: Some(RecordKind::Later),
    };
    let verdict = jobs.write(change, deadline).await?;
    if let Verdict::Won(_) = verdict {
        hit(Point::JobCreated).await;
        // In the place of the timer that led here.
        let expires = expires_at(due_at, job.task.max_wait);
        if set_expiry(jobs, &last.address, expires, deadline).await.is_none() {
            return Ok(Verdict::Undecided);
        }
    }
    Ok(verdict)
}

fn never() -> Timestamp {
    Timestamp::from_second(NEVER).unwrap_or(Timestamp::MAX)
}

fn with_slack(at: Timestamp) -> Timestamp {
    at.saturating_add(SLACK).unwrap_or(Timestamp::MAX)
}
