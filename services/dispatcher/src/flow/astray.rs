//! A held job that stands in no line, or whose queue nobody decides for: it would wait for ever.
//!
//! A place is written and removed in one step with what it means, so this takes somebody who deletes messages, or a
//! queue's settings, by hand. The reconciler looks at what has been held for long.

use windlass_broker::flow::Flow;
use windlass_broker::jobs::{Change, Jobs, SeenRecord, Verdict, nonce};
use windlass_broker::names::{ALL, Line};
use windlass_core::Transition;
use windlass_core::flow::FlowKey;
use windlass_core::protocol::Kind;
use windlass_proto::{Job, RecordBody};

use super::Failure;
use crate::shared::Shared;

/// Has a job decided anew that nobody would let go; true if it was such a one.
pub(crate) async fn bring_back(shared: &Shared, jobs: &Jobs, found: &SeenRecord) -> Result<bool, Failure> {
    let RecordBody::Job(job) = &found.body else { return Ok(false) };
    let (queue, job_id) = (&found.address.queue, found.address.job_id);
    if found.record.kind != Kind::Held || job.awaiting || job.held_since.is_none() {
        return Ok(false);
    }
    let flow = Flow::new(&shared.broker, jobs.pool().clone(), queue.clone());
    let is_owned = shared.settings.knows(queue);
    if is_owned {
        let lines = lines(job);
        // Twice: it may have gone from one line to another between two looks.
        for _ in 0..2 {
            if flow.is_in_line(&found.address, &lines).await? {
                return Ok(false);
            }
        }
    }
    let anew = Job { held_since: None, nonce: nonce(), ..job.clone() };
    let change = Change {
        address: &found.address,
        // Whoever was let go meanwhile is not brought back.
        token: found.record.sequence,
        record: shared.settings.entrance(queue),
        body: anew.encode(),
        nonce: &anew.nonce,
        trace: found.trace,
        ttl: None,
        timer: None,
        purge: Some(found.record.kind.record_kind()),
    };
    let deadline = tokio::time::Instant::now() + super::CALL_TIMEOUT;
    if !matches!(jobs.write(change, deadline).await?, Verdict::Won(_)) {
        return Ok(false);
    }
    tracing::warn!(%job_id, %queue, "a held job stood in no line; it is decided anew");
    let attempt = job.attempts.iter().map(|attempt| attempt.number).max().unwrap_or(0);
    let mut event = found.teller().event(Transition::Released, attempt, shared.broker.now());
    "it was held, and stood in no line".clone_into(&mut event.note);
    // For people; where it is lost, the next transition tells of the job.
    let _ = shared.events.record(event).await;
    // An owner may have let it go by now, with a place or a slot anew: what it had before is for the owner's audit, which
    // goes by sequences.
    if !is_owned {
        flow.drop_places(&found.address, job, super::CALL_TIMEOUT).await?;
    }
    Ok(true)
}

/// Where it may stand.
fn lines(job: &Job) -> Vec<Line> {
    let task = &job.task;
    let key = task.key.as_ref().map(FlowKey::token);
    let of_key = key.into_iter().flat_map(|key| [Line::of_stopped_key(&key), Line::Key(key)]);
    let tenant = task.tenant.as_ref().map(FlowKey::token);
    let turns = tenant.into_iter().chain([ALL.to_owned()]).map(Line::Turn);
    of_key.chain(turns).chain([Line::of_kind(&task.kind)]).collect()
}
