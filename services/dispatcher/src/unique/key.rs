//! Unique keys: deciding by who holds them, and writing what was decided.

use futures::{FutureExt as _, StreamExt as _, stream};
use jiff::Timestamp;
use windlass_broker::cancel::{Mark, mark};
use windlass_broker::failpoint::{Point, hit};
use windlass_broker::jobs::{self, Change, Jobs, Part, Verdict, nonce};
use windlass_core::admission::kept_for;
use windlass_core::expiry::expires_at;
use windlass_core::protocol::{self, Kind, Removal};
use windlass_core::unique::{Decision, Instead, OnConflict, Unique, Wish, decide};
use windlass_core::{Event, JobId, JobState, RecordKind, Transition};
use windlass_proto::{Done, Job, KeyMarker, RecordBody};

use super::line::Place;
use super::standing::{Holder, look};
use super::{Entrant, Outcome, end_alone, error, finish};
use crate::admit::set_expiry;
use crate::shared::Shared;
use crate::{cancel, children, ended};

/// Ends that are written at one time.
const ENDS: usize = 32;

/// Tasks that are replaced at once: with one message each, a write has room for them.
const MOST_TOGETHER: usize = 200;
/// How often that is tried before they are dealt with one by one.
const TRIES: usize = 3;

/// Deals with tasks of one key, in their order; of each what it has come to, none if it stays open.
pub(super) async fn deal_with(shared: &Shared, place: &Place, entrants: &[Entrant]) -> Vec<Option<Outcome>> {
    let jobs = shared.jobs(&place.0);
    let mut outcomes: Vec<Option<Outcome>> = entrants.iter().map(|_| None).collect();
    let mut refused = Vec::new();
    let mut holder: Option<Option<Holder>> = None;
    let (mut index, mut tries) = (0, 0);
    while index < entrants.len() {
        let run = if tries < TRIES { together(&entrants[index..]) } else { 1 };
        let (folded, entrant) = (&entrants[index..index + run - 1], &entrants[index + run - 1]);
        let step = if entrants[index..index + run].iter().any(Entrant::is_late) {
            Step::Open
        } else {
            let known = match holder.take() {
                Some(known) => Ok(known),
                None => look(&jobs, place, tells_running(entrants)).await,
            };
            match known {
                Ok(known) => {
                    let step = one(shared, &jobs, place, (folded, entrant), known.as_ref()).await;
                    holder = matches!(step, Step::Refused(..)).then_some(known);
                    step
                }
                Err(error) => {
                    report(entrant, error);
                    Step::Open
                }
            }
        };
        match step {
            Step::Refused(instead, other) => refused.push((index, instead, other)),
            Step::Written(told) => {
                for (outcome, told) in outcomes[index..].iter_mut().zip(told) {
                    *outcome = Some(told);
                }
            }
            Step::Lost => {
                tries += 1;
                continue;
            }
            Step::Open => {}
        }
        (index, tries) = (index + run, 0);
    }
    // They change nothing of the key, so they go together.
    let mut ends = Vec::with_capacity(refused.len());
    for (index, instead, other) in refused {
        let ending = end_alone(shared, &jobs, &entrants[index], instead, other);
        ends.push(ending.map(move |outcome| (index, outcome)).boxed());
    }
    let ended: Vec<_> = stream::iter(ends).buffer_unordered(ENDS).collect().await;
    for (index, outcome) in ended {
        outcomes[index] = outcome;
    }
    outcomes
}

enum Step {
    /// It gets no job, for this one's sake.
    Refused(Instead, JobId),
    /// What those that were dealt with have come to.
    Written(Vec<Outcome>),
    /// Somebody was faster: to be decided anew.
    Lost,
    /// Not known: the task is delivered again.
    Open,
}

/// How many of the first go together: all that would replace the one before are replaced at once, by the last of them.
fn together(entrants: &[Entrant]) -> usize {
    let replaces = |entrant: &Entrant| {
        entrant.task.unique.as_ref().is_some_and(|unique| unique.on_conflict == OnConflict::Replace)
    };
    let like = |entrant: &&Entrant| replaces(entrant) && entrant.task.unique == entrants[0].task.unique;
    entrants.iter().take(MOST_TOGETHER).take_while(like).count().max(1)
}

/// Deals with one task, which stands for others that have no job yet.
async fn one(
    shared: &Shared,
    jobs: &Jobs,
    place: &Place,
    (folded, entrant): (&[Entrant], &Entrant),
    holder: Option<&Holder>,
) -> Step {
    let Some(unique) = &entrant.task.unique else { return Step::Open };
    let held_by = |entrant: &Entrant| holder.is_some_and(|holder| holder.found.marker.job_id == entrant.id());
    if folded.iter().any(held_by) || held_by(entrant) {
        // By an earlier delivery.
        return lost(shared, jobs, folded, entrant, Ok(Verdict::Lost)).await;
    }
    let now = shared.broker.now();
    let accepted_at = entrant.accepted_at;
    let wish = Wish {
        unique,
        accepted_at,
        first_at: folded.first().map_or(accepted_at, |first| first.accepted_at),
        due_at: unique.due_at(entrant.task.start, accepted_at, now),
    };
    match (decide(&wish, holder.map(|holder| &holder.standing), now), holder) {
        (Decision::Refuse, Some(holder)) => Step::Refused(Instead::Refused, holder.found.marker.job_id),
        (Decision::Merge, Some(holder)) => Step::Refused(Instead::Merged, holder.found.marker.job_id),
        (Decision::Advance { due_at }, Some(holder)) => {
            match advance(shared, jobs, entrant, holder, due_at).await {
                Ok((Verdict::Won(_), outcome)) => Step::Written(vec![outcome]),
                other => lost(shared, jobs, folded, entrant, other.map(|(verdict, _)| verdict)).await,
            }
        }
        (Decision::Replace { due_at, since }, Some(holder)) => {
            let times = Times { due_at, since };
            replace(shared, jobs, place, (folded, entrant), holder, times).await
        }
        (Decision::Make { due_at, since }, holder) => {
            let before = holder.map_or(0, |holder| holder.found.sequence);
            let ends = ends(shared, folded, entrant);
            let with = end_parts(shared, &ends);
            let times = Times { due_at, since };
            match make(shared, jobs, place, entrant, (before, with), times).await {
                Ok(Verdict::Won(_)) => Step::Written(made(shared, &ends, entrant, due_at, "made").await),
                other => lost(shared, jobs, folded, entrant, other).await,
            }
        }
        // Only who holds a key is in the way.
        (_, None) => Step::Open,
    }
}

/// The ends of those that are replaced at once.
fn ends<'a>(shared: &Shared, folded: &'a [Entrant], entrant: &Entrant) -> Vec<(&'a Entrant, Done)> {
    let end = |one: &'a Entrant| (one, one.done(shared, Instead::Replaced, entrant.id()));
    folded.iter().map(end).collect()
}

fn end_parts<'a>(shared: &Shared, ends: &'a [(&'a Entrant, Done)]) -> Vec<Part<'a>> {
    ends.iter().map(|(one, done)| Part::Record(one.end(shared, done))).collect()
}

/// After a write that is not in force, as far as is known: the task may be known by now, by ourselves.
async fn lost(
    shared: &Shared,
    jobs: &Jobs,
    folded: &[Entrant],
    entrant: &Entrant,
    verdict: Result<Verdict, jobs::Error>,
) -> Step {
    match verdict {
        // Of several, which one is known is found out one by one.
        Ok(Verdict::Lost) if !folded.is_empty() => Step::Lost,
        Ok(Verdict::Lost) => match finish::find(shared, jobs, entrant).await {
            Ok(Some(outcome)) => Step::Written(vec![outcome]),
            Ok(None) => Step::Lost,
            Err(finish::Open) => Step::Open,
        },
        Ok(_) => Step::Open,
        Err(error) => {
            report(entrant, error);
            Step::Open
        }
    }
}

/// After the write that made a job: what the tasks have come to, in their order.
async fn made(
    shared: &Shared,
    ends: &[(&Entrant, Done)],
    entrant: &Entrant,
    due_at: Timestamp,
    how: &'static str,
) -> Vec<Outcome> {
    hit(Point::JobCreated).await;
    let mut outcomes = Vec::with_capacity(ends.len() + 1);
    for (one, done) in ends {
        outcomes.push(one.ended(shared, done).await);
    }
    entrant.count(how);
    let queue = entrant.address.queue.to_string();
    metrics::counter!("windlass_tasks_admitted_total", "queue" => queue).increment(1);
    outcomes.push(Outcome { events: vec![entrant.accepted(due_at)] });
    outcomes
}

#[derive(Debug, Clone, Copy)]
struct Times {
    due_at: Timestamp,
    since: Timestamp,
}

/// Makes the task's job, with the marker in the place of the one of this sequence; and more, in the same write.
async fn make(
    shared: &Shared,
    jobs: &Jobs,
    (queue, of): &Place,
    entrant: &Entrant,
    (before, mut parts): (u64, Vec<Part<'_>>),
    Times { due_at, since }: Times,
) -> Result<Verdict, jobs::Error> {
    let task = &entrant.task;
    let Some(unique) = &task.unique else { return Ok(Verdict::Undecided) };
    let expires = expires_at(due_at, task.max_wait);
    let Some(expiry_sequence) = set_expiry(jobs, &entrant.address, expires, entrant.deadline).await else {
        return Ok(Verdict::Undecided);
    };
    let job = Job { expiry_sequence, ..Job::new(task.clone(), entrant.accepted_at, due_at, nonce()) };
    let entrance = shared.settings.entrance(queue);
    let timer = (due_at > shared.broker.now()).then_some((due_at, entrance));
    let change = Change {
        address: &entrant.address,
        token: 0,
        record: if timer.is_some() { RecordKind::Later } else { entrance },
        body: job.encode(),
        nonce: &job.nonce,
        trace: Some(entrant.trace),
        ttl: None,
        timer,
        purge: None,
    };
    let marker = KeyMarker {
        job_id: entrant.id(),
        since,
        due_at,
        until: unique.until(entrant.accepted_at),
        window_until: unique.window_until(due_at),
    };
    parts.extend([Part::Record(change), Part::Marker { of, before, marker }]);
    let _may_write = shared.lines.may_write().await;
    jobs.write_together(queue, &parts, entrant.deadline).await
}

/// Ends the job that holds the key, and makes the task's in its place.
async fn replace(
    shared: &Shared,
    jobs: &Jobs,
    place: &Place,
    (folded, entrant): (&[Entrant], &Entrant),
    holder: &Holder,
    times: Times,
) -> Step {
    let (Removal::Write { token, purge_timer, then_delete }, Some(last)) =
        (protocol::cancel(&holder.seen.view), &holder.seen.last)
    else {
        return Step::Lost;
    };
    let replaced = last.address.job_id;
    let why = error(Instead::Replaced, entrant.id());
    let done: Done = ended::record(shared, last, JobState::Cancelled, why, Some(entrant.id()));
    let ttl = kept_for(shared.layout.horizon);
    let ends = ends(shared, folded, entrant);
    let mut with = end_parts(shared, &ends);
    with.push(Part::Record(ended::change(shared, last, &done, token, purge_timer)));
    with.push(Part::Replaced { by: entrant.id(), job_id: replaced, ttl });
    match make(shared, jobs, place, entrant, (holder.found.sequence, with), times).await {
        Ok(Verdict::Won(_)) => {}
        other => return lost(shared, jobs, folded, entrant, other).await,
    }
    let outcomes = made(shared, &ends, entrant, times.due_at, "replaced").await;
    if matches!(last.record.kind, Kind::Ready | Kind::Claim { .. }) {
        // A worker may have been given it in the meantime: it stops. Whatever it writes is refused.
        let mark_it = Mark {
            job_id: replaced,
            token,
            reason: error(Instead::Replaced, entrant.id()).message,
            hand_back: false,
        };
        if let Err(error) = mark(&shared.broker, &place.0, &mark_it).await {
            tracing::warn!(job_id = %replaced, %error, "the end of a job could not be marked");
        }
    }
    let followed = cancel::after(shared, jobs, last, &done, then_delete).await
        && (last.body.attempts().is_empty() || children::cancel_all(shared, &place.0, replaced).await);
    // If not, the task is delivered again, and finds what is left to do.
    if followed { Step::Written(outcomes) } else { Step::Open }
}

/// Has the job that holds the key run from an earlier instant; the task is merged into it.
async fn advance(
    shared: &Shared,
    jobs: &Jobs,
    entrant: &Entrant,
    holder: &Holder,
    due_at: Timestamp,
) -> Result<(Verdict, Outcome), jobs::Error> {
    let nothing = Outcome { events: Vec::new() };
    let Some(last) = &holder.seen.last else { return Ok((Verdict::Lost, nothing)) };
    let RecordBody::Job(waiting) = &last.body else { return Ok((Verdict::Lost, nothing)) };
    let queue = &last.address.queue;
    let expires = expires_at(due_at, waiting.task.max_wait);
    let Some(expiry_sequence) = set_expiry(jobs, &last.address, expires, entrant.deadline).await else {
        return Ok((Verdict::Undecided, nothing));
    };
    let job = Job { due_at, nonce: nonce(), expiry_sequence, ..waiting.clone() };
    let now = shared.broker.now();
    let entrance = shared.settings.entrance(queue);
    let timer = (due_at > now).then_some((due_at, entrance));
    let change = Change {
        address: &last.address,
        token: last.record.sequence,
        record: if timer.is_some() { RecordKind::Later } else { entrance },
        body: job.encode(),
        nonce: &job.nonce,
        trace: last.trace,
        ttl: None,
        timer,
        purge: timer.is_none().then_some(RecordKind::Later),
    };
    let done = entrant.done(shared, Instead::Merged, last.address.job_id);
    let parts = [Part::Record(entrant.end(shared, &done)), Part::Record(change)];
    let may_write = shared.lines.may_write().await;
    let verdict = jobs.write_together(queue, &parts, entrant.deadline).await?;
    drop(may_write);
    if !matches!(verdict, Verdict::Won(_)) {
        return Ok((verdict, nothing));
    }
    let mut outcome = entrant.ended(shared, &done).await;
    if timer.is_none() {
        let note = format!("{} of its unique key came, which may start at once", entrant.id());
        let released = last.teller().event(Transition::Released, 0, now);
        outcome.events.push(Event { due_at: Some(due_at), note, ..released });
    }
    Ok((verdict, outcome))
}

fn tells_running(entrants: &[Entrant]) -> bool {
    entrants.iter().any(|entrant| entrant.task.unique.as_deref().is_some_and(Unique::tells_running))
}

fn report(entrant: &Entrant, error: jobs::Error) {
    let error = anyhow::Error::new(error);
    tracing::warn!(job_id = %entrant.id(), error = format!("{error:#}"), "a unique key cannot be dealt with; the task is delivered again");
}
