//! Of one job.

use windlass_core::flow::{Cause, FlowKey, On, Why};
use windlass_core::protocol::Kind;
use windlass_core::{JobId, RecordKind};
use windlass_proto::{Claim, Job, RecordBody, v1};

use super::Error;
use super::facts::{self, Facts, KeyFacts};
use crate::flow::{Delivered, Flow, InLine};
use crate::jobs::SeenRecord;
use crate::names::{ALL, Line};

/// Jobs that are named of those that one waits for.
const MOST_SHOWN: usize = 5;

/// Why this job of the queue does not run; none if the stream has nothing of it.
pub async fn why(flow: &Flow, job_id: JobId) -> Result<Option<Why>, Error> {
    let seen = flow.jobs().read(flow.queue(), job_id).await?;
    let Some(last) = seen.last else { return Ok(None) };
    let asked_at = flow.broker().now();
    let (cause, job) = match (&seen.done, &last.body) {
        (Some(done), _) | (None, RecordBody::Done(done)) => {
            (Cause::Ended { state: done.state, at: done.ended_at }, None)
        }
        (None, RecordBody::Job(job)) => (of_job(flow, &last, job).await?, Some(job)),
        (None, RecordBody::Claim(claim)) => (of_claim(flow, claim).await?, None),
    };
    let named = |key: Option<&FlowKey>| key.map(ToString::to_string);
    Ok(Some(Why {
        id: job_id,
        queue: flow.queue().clone(),
        kind: last.body.kind().clone(),
        state: cause.state(),
        key: named(job.and_then(|job| job.task.key.as_ref())),
        tenant: named(job.and_then(|job| job.task.tenant.as_ref())),
        text: cause.to_string(),
        cause,
        asked_at,
    }))
}

async fn of_job(flow: &Flow, last: &SeenRecord, job: &Job) -> Result<Cause, Error> {
    let attempts = || job.attempts.iter().map(|attempt| attempt.number).max().unwrap_or(0);
    match last.record.kind {
        Kind::Later if job.attempts.is_empty() => Ok(Cause::NotDue { until: job.due_at }),
        Kind::Later => Ok(Cause::Retrying { until: job.due_at, attempts: attempts() }),
        Kind::Due => Ok(Cause::Decision { since: last.stored_at, dispatcher: flow.owner().await? }),
        Kind::Held => held(flow, last, job).await,
        _ => ready(flow, last).await,
    }
}

async fn of_claim(flow: &Flow, claim: &Claim) -> Result<Cause, Error> {
    if claim.reason != v1::ClaimReason::HandBack {
        return Ok(Cause::Running { worker: Some(claim.worker.clone()), since: claim.claimed_at });
    }
    if let Some(since) = claim.kind_unknown_since {
        return Ok(Cause::NoWorkerForKind { kind: claim.kind.clone(), since });
    }
    // It is delivered again before all that was never delivered.
    worker(flow, 0).await
}

async fn ready(flow: &Flow, last: &SeenRecord) -> Result<Cause, Error> {
    let delivered = flow.delivered().await?;
    match delivered {
        Some(Delivered { up_to, .. }) if last.record.sequence <= up_to => {
            Ok(Cause::Running { worker: None, since: last.stored_at })
        }
        _ => {
            let filter = flow.broker().names().records_filter(flow.pool(), flow.queue(), RecordKind::Ready);
            let after = flow.after(&filter, last.record.sequence).await?;
            let pending = match delivered {
                Some(delivered) => delivered.pending,
                None => flow.count(&filter).await?,
            };
            worker(flow, pending.saturating_sub(after + 1)).await
        }
    }
}

async fn worker(flow: &Flow, ahead: u64) -> Result<Cause, Error> {
    let is_served = facts::is_served(flow).await?;
    Ok(if is_served { Cause::Worker { ahead } } else { Cause::NoWorker { ahead } })
}

/// Of a held job: by the line that it stands in, or nobody but an operator lets it go.
async fn held(flow: &Flow, last: &SeenRecord, job: &Job) -> Result<Cause, Error> {
    if job.awaiting {
        return waits(flow, last, job).await;
    }
    let Some(place) = place(flow, last, job).await? else {
        return Ok(Cause::Held { since: job.held_since.unwrap_or(last.stored_at) });
    };
    let delivered = flow.delivered().await?;
    let facts = Facts::read(flow, delivered).await?;
    let (kind, gate) = (&job.task.kind, facts.gate());
    let key = match &job.task.key {
        Some(key) if facts.settings.has_key_stage() || matches!(place.line, Line::Key(_)) => {
            Some(KeyFacts::read(flow, &facts, key, job.task.points, delivered).await?)
        }
        _ => None,
    };
    let key_gate = key.as_ref().map(KeyFacts::gate);
    Ok(match (&place.line, key_gate) {
        (Line::Kind(_), key) => gate.in_kind_line(kind, key.map(|key| key.key)),
        (Line::Key(_), Some(key)) => gate.in_key_line(Some(kind), &key, ahead(flow, &place).await?),
        (_, key) => gate.in_turn_line(Some(kind), key.as_ref(), ahead(flow, &place).await?),
    })
}

/// Of a job that waits for others.
async fn waits(flow: &Flow, last: &SeenRecord, job: &Job) -> Result<Cause, Error> {
    let since = job.held_since.unwrap_or(last.stored_at);
    let (open, more) = flow.jobs().open_edges(&last.address.queue, last.address.job_id, MOST_SHOWN).await?;
    if open.is_empty() {
        // The last of them has just ended.
        return Ok(Cause::Decision { since, dispatcher: None });
    }
    let on = open.into_iter().map(|(queue, job_id)| On { queue, job_id }).collect();
    Ok(Cause::Dependencies { on, more, since })
}

/// How many stand before it, in its line.
async fn ahead(flow: &Flow, place: &InLine) -> Result<u64, Error> {
    let filter = flow.line_filter(&place.line, Some(place.priority));
    let (all, after) = tokio::try_join!(flow.count(&filter), flow.after(&filter, place.sequence))?;
    Ok(all.saturating_sub(after + 1))
}

/// Where it stands.
async fn place(flow: &Flow, last: &SeenRecord, job: &Job) -> Result<Option<InLine>, Error> {
    let task = &job.task;
    let tenant = task.tenant.as_ref().map(FlowKey::token);
    let turns = tenant.into_iter().chain([ALL.to_owned()]).map(Line::Turn);
    let keys = task.key.iter().flat_map(|key| [Line::Key(key.token()), Line::of_stopped_key(&key.token())]);
    let all = turns.chain(keys).chain([Line::of_kind(&task.kind)]);
    for line in all {
        let found = flow.place_of(&line, last.address.priority, last.address.job_id).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
