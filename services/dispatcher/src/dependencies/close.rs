//! What follows from the end of a job that others wait for.
//!
//! `awaits` is removed first: the edge is closed. Then the job is released if no other is open; of two that close the last
//! two edges at one time, at least one finds none, and the job's token decides between both. `awaited` goes last, so that
//! whoever is cut short in between is followed by another, who does the same again.

use futures::{StreamExt as _, stream};
use tokio::time::Instant;
use windlass_broker::failpoint::{Point, hit};
use windlass_broker::jobs::{self, Change, Edge, Jobs, Seen, SeenRecord, Verdict, nonce};
use windlass_broker::names::Place;
use windlass_core::dependency::{Effect, OnFailure, Readiness, Standing, readiness};
use windlass_core::expiry::expires_at;
use windlass_core::settle::DeadCause;
use windlass_core::{Event, JobError, JobId, JobState, QueueName, RecordKind, Transition};
use windlass_proto::Job;

use super::{WRITE_TIMEOUT, awaiting, standing, standings};
use crate::ended::{self, End};
use crate::shared::Shared;

/// How often a job that moves on under our hands is looked at anew.
const ROUNDS: usize = 8;
/// Of those who wait for one job, how many are dealt with at one time.
const AT_ONCE: usize = 16;
/// Edges that are read before they are dealt with.
const PAGE: usize = 128;
/// How long an edge whose job is not made yet is waited for: its dispatcher may be about to.
const UNMADE: std::time::Duration = std::time::Duration::from_mins(1);

/// What became of a try to move a job.
enum Moved {
    /// It is done.
    Yes,
    /// The job has moved otherwise.
    Lost,
    /// Not known, or not all of it is done.
    Open,
}

/// Tells everybody who waits for this job how it stands; true once nothing is left to do.
pub(super) async fn ended(shared: &Shared, on: &Place) -> bool {
    let jobs = shared.jobs(&on.0);
    let first = match jobs.next_awaited((&on.0, on.1), 0).await {
        Ok(Some(first)) => first,
        Ok(None) => return true,
        Err(error) => return failed(on, &error),
    };
    let standing = match standing(&jobs, on).await {
        Ok(Some(standing @ Standing::Ended(_))) => standing,
        // Whoever looks later decides.
        Ok(_) => return true,
        Err(error) => return failed(on, &error),
    };
    let (mut all, mut next) = (true, Some(first));
    while next.is_some() {
        let mut some = Vec::with_capacity(PAGE);
        while let Some(edge) = next.take() {
            match jobs.next_awaited((&on.0, on.1), edge.next_awaited()).await {
                Ok(following) => next = following,
                Err(error) => return failed(on, &error),
            }
            some.push(edge);
            if some.len() == PAGE {
                break;
            }
        }
        let closing = some.into_iter().map(|edge| closed(shared, &jobs, edge, standing));
        let closed: Vec<bool> = stream::iter(closing).buffer_unordered(AT_ONCE).collect().await;
        all &= closed.into_iter().all(|one| one);
    }
    all
}

async fn closed(shared: &Shared, jobs: &Jobs, edge: Edge, standing: Standing) -> bool {
    let closed = Box::pin(close(shared, jobs, &edge, standing)).await;
    closed.unwrap_or_else(|error| failed(&edge.on, &error))
}

fn failed(on: &Place, error: &jobs::Error) -> bool {
    tracing::warn!(job_id = %on.1, queue = %on.0, %error, "those who wait for a job could not be told of its end; trying again");
    false
}

/// Does what follows for the job that waits, by one of its edges; true once nothing is left to do.
pub(super) async fn close(
    shared: &Shared,
    jobs: &Jobs,
    edge: &Edge,
    standing: Standing,
) -> Result<bool, jobs::Error> {
    let waiting = (&edge.waiting.0, edge.waiting.1);
    for _ in 0..ROUNDS {
        let seen = jobs.read(waiting.0, waiting.1).await?;
        let Some((last, job)) = awaiting(&seen) else {
            return waits_no_more(shared, jobs, edge, &seen).await;
        };
        let moved = match policy(job, waiting.0, &edge.on).effect(standing) {
            Effect::None => return Ok(true),
            Effect::Satisfied => {
                jobs.close_edge(edge).await?;
                hit(Point::EdgeClosed).await;
                if jobs.next_open_edge(waiting).await?.is_some() {
                    Moved::Yes
                } else {
                    release(shared, jobs, last, job, "all that it waited for has ended").await?
                }
            }
            Effect::Start => {
                let note = format!("the job {} of the queue {} {}", edge.on.1, edge.on.0, standing.words());
                release(shared, jobs, last, job, &note).await?
            }
            Effect::Die => die(shared, jobs, last, &edge.on, standing).await?,
        };
        match moved {
            Moved::Yes => {
                jobs.close_edge(edge).await?;
                jobs.forget_edge(edge).await?;
                return Ok(true);
            }
            Moved::Lost => {}
            Moved::Open => return Ok(false),
        }
    }
    Ok(false)
}

fn policy(job: &Job, own: &QueueName, on: &Place) -> OnFailure {
    let mut after = job.task.after.iter();
    let edge = after.find(|one| one.job_id == on.1 && *one.queue_or(own) == on.0);
    edge.map(|one| one.on_failure).unwrap_or_default()
}

/// An edge of a job that was released, has ended, or is not made.
async fn waits_no_more(shared: &Shared, jobs: &Jobs, edge: &Edge, seen: &Seen) -> Result<bool, jobs::Error> {
    let (queue, job_id) = (&edge.waiting.0, edge.waiting.1);
    let age = shared.broker.now().duration_since(edge.stored_at).unsigned_abs();
    if seen.last.is_none() && age < UNMADE {
        // Were it forgotten now, the other edges of the job would let it start whatever this one says.
        return Ok(false);
    }
    if !is_buried(shared, jobs, (queue, job_id), seen).await {
        return Ok(false);
    }
    jobs.close_edge(edge).await?;
    jobs.forget_edge(edge).await?;
    Ok(true)
}

/// A job that is dead by our hand, or by another's who was cut short: true once all that follows its death is done.
async fn is_buried(shared: &Shared, jobs: &Jobs, (queue, job_id): (&QueueName, JobId), seen: &Seen) -> bool {
    let of_ours = |error: &JobError| error.code == DeadCause::Dependency.as_str();
    let is_ours = seen.done.as_ref().is_some_and(|done| done.error.as_ref().is_some_and(of_ours));
    !is_ours || ended::clear_up(shared, jobs, queue, job_id, seen).await
}

/// After a job with dependencies was made, or found to exist: what ended before anybody could hear of it is seen now.
/// `known` is how they stood just before the job was made. True once nothing is left to do.
pub(crate) async fn settle(
    shared: &Shared,
    queue: &QueueName,
    job_id: JobId,
    known: Option<&[Standing]>,
) -> bool {
    let jobs = shared.jobs(queue);
    for _ in 0..ROUNDS {
        match look(shared, &jobs, (queue, job_id), known).await {
            Ok(Moved::Yes) => return true,
            Ok(Moved::Lost) => {}
            Ok(Moved::Open) => return false,
            Err(error) => {
                tracing::warn!(%job_id, %error, "what a job waits for could not be looked at; trying again");
                return false;
            }
        }
    }
    false
}

async fn look(
    shared: &Shared,
    jobs: &Jobs,
    waiting: (&QueueName, JobId),
    known: Option<&[Standing]>,
) -> Result<Moved, jobs::Error> {
    let seen = jobs.read(waiting.0, waiting.1).await?;
    let Some((last, job)) = awaiting(&seen) else {
        let buried = is_buried(shared, jobs, waiting, &seen).await;
        return Ok(if buried { Moved::Yes } else { Moved::Open });
    };
    let after = &job.task.after;
    let policies = || after.iter().map(|one| one.on_failure);
    // What is satisfied stays so, and need not be read again.
    let satisfied: Vec<bool> = match known.filter(|known| known.len() == after.len()) {
        Some(known) => policies().zip(known).map(|(p, s)| p.effect(*s) == Effect::Satisfied).collect(),
        None => vec![false; after.len()],
    };
    let places: Vec<Place> = after.iter().map(|one| (one.queue_or(waiting.0).clone(), one.job_id)).collect();
    let ask = places.iter().zip(&satisfied).filter(|(_, done)| !**done).map(|(place, _)| place.clone());
    let mut found = standings(jobs, ask.collect()).await?.into_iter();
    let now: Vec<Standing> = satisfied
        .iter()
        .map(|done| {
            if *done {
                return Standing::Ended(JobState::Succeeded);
            }
            // It was known when the job was made.
            found.next().flatten().unwrap_or(Standing::Forgotten)
        })
        .collect();
    match readiness(policies().zip(now.iter().copied())) {
        Readiness::Starts => {
            let moved = release(shared, jobs, last, job, "nothing that it waits for is open").await?;
            abandon_if(moved, jobs, waiting).await
        }
        Readiness::Dies(number) => {
            let moved = die(shared, jobs, last, &places[number], now[number]).await?;
            abandon_if(moved, jobs, waiting).await
        }
        Readiness::Waits => {
            for ((place, standing), done) in places.iter().zip(&now).zip(&satisfied) {
                while !done
                    && *standing != Standing::Open
                    && let Some(edge) = jobs.open_edge(waiting, place).await?
                {
                    if !Box::pin(close(shared, jobs, &edge, *standing)).await? {
                        return Ok(Moved::Open);
                    }
                }
            }
            Ok(Moved::Yes)
        }
    }
}

async fn abandon_if(
    moved: Moved,
    jobs: &Jobs,
    (queue, job_id): (&QueueName, JobId),
) -> Result<Moved, jobs::Error> {
    if matches!(moved, Moved::Yes) {
        abandon(jobs, queue, job_id).await?;
    }
    Ok(moved)
}

/// Forgets all edges of a job that waits no more. May be done again.
pub(crate) async fn abandon(jobs: &Jobs, queue: &QueueName, job_id: JobId) -> Result<(), jobs::Error> {
    while let Some(edge) = jobs.next_open_edge((queue, job_id)).await? {
        jobs.close_edge(&edge).await?;
        jobs.forget_edge(&edge).await?;
    }
    Ok(())
}

/// Lets a job go that waits for others no longer: to the workers, to its queue's dispatcher, or to the timer of its own
/// delay.
async fn release(
    shared: &Shared,
    jobs: &Jobs,
    last: &SeenRecord,
    job: &Job,
    note: &str,
) -> Result<Moved, jobs::Error> {
    let (address, now) = (&last.address, shared.broker.now());
    let entrance = shared.settings.entrance(&address.queue);
    let is_later = job.due_at > now;
    let due_at = job.due_at.max(now);
    let mut job = Job { awaiting: false, due_at, nonce: nonce(), ..job.clone() };
    // Its time to wait begins here.
    if let Some(at) = expires_at(due_at, job.task.max_wait) {
        job.expiry_sequence = jobs.set_expiry(&address.queue, address.job_id, at, WRITE_TIMEOUT).await?;
    }
    let change = Change {
        address,
        token: last.record.sequence,
        record: if is_later { RecordKind::Later } else { entrance },
        body: job.encode(),
        nonce: &job.nonce,
        trace: last.trace,
        ttl: None,
        timer: is_later.then_some((due_at, entrance)),
        purge: Some(RecordKind::Held),
    };
    match jobs.write(change, Instant::now() + WRITE_TIMEOUT).await? {
        Verdict::Won(_) => {}
        Verdict::Lost => return Ok(Moved::Lost),
        Verdict::Undecided => return Ok(Moved::Open),
    }
    metrics::counter!("windlass_dependencies_released_total", "queue" => address.queue.to_string())
        .increment(1);
    let event = |transition| Event {
        due_at: Some(due_at),
        note: note.to_owned(),
        ..last.teller().event(transition, 0, now)
    };
    let mut events = vec![event(Transition::Released)];
    // Where its queue has flow control, the queue's dispatcher says when it passes.
    if entrance == RecordKind::Ready {
        events.push(event(Transition::Queued));
    }
    let said = shared.events.record_all(events).await;
    hit(Point::EdgeReleased).await;
    // Its record does not say that it was released, so an event that is lost here is lost.
    Ok(if said.is_ok() { Moved::Yes } else { Moved::Open })
}

/// Ends a job as dead because of one that it waited for.
async fn die(
    shared: &Shared,
    jobs: &Jobs,
    last: &SeenRecord,
    on: &Place,
    standing: Standing,
) -> Result<Moved, jobs::Error> {
    let (queue, job_id) = (&last.address.queue, last.address.job_id);
    let message =
        format!("the job {} of the queue {}, which it waited for, {}", on.1, on.0, standing.words());
    // Not `terminal`, which a letter would show in the place of the code.
    let error = JobError { message, code: DeadCause::Dependency.as_str().to_owned(), terminal: false };
    // Its timer stays for now: the letter is made of what it holds.
    let end = End { token: last.record.sequence, purge_timer: false, state: JobState::Dead, error };
    match ended::write(shared, jobs, last, end).await? {
        (Verdict::Won(_), _) => {}
        (Verdict::Lost, _) => return Ok(Moved::Lost),
        (Verdict::Undecided, _) => return Ok(Moved::Open),
    }
    hit(Point::EdgeDied).await;
    metrics::counter!("windlass_dependencies_failed_total", "queue" => queue.to_string()).increment(1);
    let seen = jobs.read(queue, job_id).await?;
    if !ended::clear_up(shared, jobs, queue, job_id, &seen).await {
        return Ok(Moved::Open);
    }
    Ok(Moved::Yes)
}
