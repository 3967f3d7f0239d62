//! The statements that write jobs.

use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use windlass_core::flow::FlowKey;
use windlass_core::history::JobView;
use windlass_core::relations::JobPath;
use windlass_core::{Event, JobError, JobState, ScheduleId, Transition};

use super::batch::Type::{self, Bool, Bytes, Int, Text};
use super::batch::{Insert, most_ids, rows_of};
use super::database::Connection;
use super::history;
use super::project::Job;
use super::rows::{error_columns, id_of, to_ns};
use super::sql::{Sql, Value};

const COLUMN_COUNT: usize = 23;
/// In the order in which they are written.
pub(super) const COLUMNS: [(&str, Type); COLUMN_COUNT] = [
    ("queue", Text),
    ("id", Bytes),
    ("kind", Text),
    ("state", Text),
    ("priority", Text),
    ("attempt_count", Int),
    ("accepted_at_ns", Int),
    ("due_at_ns", Int),
    ("ended_at_ns", Int),
    ("ready_at_ns", Int),
    ("attempt_started_ns", Int),
    ("attempt_ended_ns", Int),
    ("error_code", Text),
    ("error_message", Text),
    ("error_terminal", Bool),
    ("fingerprint", Text),
    ("key", Text),
    ("tenant", Text),
    ("schedule_id", Text),
    ("parent", Text),
    ("trace_id", Text),
    ("claimed_id", Bytes),
    ("history", Bytes),
];
/// What changes while a job lives.
const MOVED: &str = "state = excluded.state, attempt_count = excluded.attempt_count, due_at_ns = excluded.due_at_ns, \
     ended_at_ns = excluded.ended_at_ns, ready_at_ns = excluded.ready_at_ns, \
     attempt_started_ns = excluded.attempt_started_ns, attempt_ended_ns = excluded.attempt_ended_ns, \
     error_code = excluded.error_code, error_message = excluded.error_message, \
     error_terminal = excluded.error_terminal, fingerprint = excluded.fingerprint, history = excluded.history";
/// What is known from the first event on, unless that came late: an index on it is left alone otherwise.
const FIXED: &str = "kind = excluded.kind, priority = excluded.priority, accepted_at_ns = excluded.accepted_at_ns, \
     key = excluded.key, tenant = excluded.tenant, schedule_id = excluded.schedule_id, parent = excluded.parent, \
     trace_id = excluded.trace_id, claimed_id = excluded.claimed_id";

pub(super) static STORE_MOVED: LazyLock<Insert<COLUMN_COUNT>> = LazyLock::new(|| upsert(MOVED));
static STORE_WHOLE: LazyLock<Insert<COLUMN_COUNT>> = LazyLock::new(|| upsert(&format!("{MOVED}, {FIXED}")));

static STORE_LABELS: LazyLock<Insert<2>> = LazyLock::new(|| {
    Insert::new("job_labels", [("label", Text), ("job_seq", Int)], "ON CONFLICT (label, job_seq) DO NOTHING")
});

fn upsert(set: &str) -> Insert<COLUMN_COUNT> {
    Insert::new("jobs", COLUMNS, &format!("ON CONFLICT (id, queue) DO UPDATE SET {set}"))
}

/// Stores jobs as they stand after a batch.
pub(super) async fn jobs(on: &mut Connection<'_>, jobs: &[Job]) -> Result<(), sqlx::Error> {
    let (mut moved, mut whole) = (Vec::with_capacity(jobs.len()), Vec::new());
    for job in jobs {
        match &job.after {
            Some(after)
                if !job.accepted_late && job.before.as_ref().is_none_or(|before| is_fixed(before, after)) =>
            {
                moved.push((job, after));
            }
            Some(after) => whole.push((job, after)),
            None => store_remark(on, job).await?,
        }
        if job.had_remarks && job.after.is_some() {
            const SQL: &str = "DELETE FROM remarks WHERE id = $1 AND queue = $2";
            Sql::new(SQL).bind(job.id).bind(job.queue.as_str()).execute(on).await?;
        }
    }
    STORE_MOVED.execute(on, &moved, |(job, after)| values(job, after)).await?;
    STORE_WHOLE.execute(on, &whole, |(job, after)| values(job, after)).await?;
    labels(on, jobs).await
}

/// Stores the labels of jobs whose acceptance is told in this batch.
async fn labels(on: &mut Connection<'_>, jobs: &[Job]) -> Result<(), sqlx::Error> {
    let is_accepted = |job: &&Job| job.after.is_some() && (job.before.is_none() || job.accepted_late);
    let labelled: HashMap<_, _> = jobs
        .iter()
        .filter(is_accepted)
        .filter_map(|job| Some(((job.id, job.queue.as_str()), job.history.labels()?)))
        .collect();
    let ids: Vec<_> = labelled.keys().map(|(id, _)| *id).collect();
    let mut rows = Vec::new();
    for ids in ids.chunks(most_ids(on)) {
        for row in &rows_of(on, "SELECT queue, id, seq FROM jobs WHERE id", ids).await? {
            let id = id_of(&row.get::<Vec<u8>>("id")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
            let (queue, seq): (String, i64) = (row.get("queue")?, row.get("seq")?);
            let labels = labelled.get(&(id, queue.as_str())).into_iter().flat_map(|labels| labels.texts());
            rows.extend(labels.map(|label| (label, seq)));
        }
    }
    STORE_LABELS.execute(on, &rows, |(label, seq)| [label.clone().into(), (*seq).into()]).await
}

fn is_fixed(before: &JobView, after: &JobView) -> bool {
    let fixed = |view: &JobView| (view.priority, view.accepted_at);
    fixed(before) == fixed(after) && before.kind == after.kind && before.trace_id == after.trace_id
}

async fn store_remark(on: &mut Connection<'_>, job: &Job) -> Result<(), sqlx::Error> {
    const SQL: &str = "INSERT INTO remarks (queue, id, told_ns, history) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (id, queue) DO UPDATE SET told_ns = excluded.told_ns, history = excluded.history";
    let told_at = job.history.events().map(|event| event.at).max().unwrap_or_default();
    let sql = Sql::new(SQL).bind(job.queue.as_str()).bind(job.id);
    sql.bind(to_ns(told_at)).bind(history::encode(&job.history)).execute(on).await.map(|_| ())
}

fn values(job: &Job, after: &JobView) -> [Value; COLUMN_COUNT] {
    let (code, message, terminal) = error_columns(after.error.as_ref());
    let latest = after.attempts.last();
    let relations = job.history.relations();
    let claimed = job.history.events().find(|event| event.transition == Transition::Rejected);
    // Said with the acceptance alone.
    let of_task =
        |part: fn(&Event) -> Option<&FlowKey>| job.history.events().find_map(part).map(FlowKey::as_str);
    [
        job.queue.as_str().into(),
        job.id.into(),
        after.kind.as_str().into(),
        after.state.as_str().into(),
        after.priority.as_str().into(),
        i64::try_from(after.attempts.len()).unwrap_or(i64::MAX).into(),
        after.accepted_at.map(to_ns).into(),
        after.due_at.map(to_ns).into(),
        after.ended_at.map(to_ns).into(),
        ready_at(after).map(to_ns).into(),
        latest.and_then(|a| a.started_at).map(to_ns).into(),
        latest.and_then(|a| a.ended_at).map(to_ns).into(),
        code.into(),
        message.into(),
        terminal.into(),
        after.error.as_ref().map(JobError::fingerprint).into(),
        of_task(|event| event.key.as_ref()).into(),
        of_task(|event| event.tenant.as_ref()).into(),
        relations.and_then(|relations| relations.schedule_id.as_ref()).map(ScheduleId::as_str).into(),
        relations
            .and_then(|relations| relations.parent.as_ref())
            .map(|it| JobPath::from(it).to_string())
            .into(),
        after.trace_id.as_deref().into(),
        claimed.and_then(|event| event.claimed_id).into(),
        history::encode(&job.history).into(),
    ]
}

/// Since when the job can run, or could before its latest attempt: it was due, and no earlier attempt was under way.
pub(super) fn ready_at(view: &JobView) -> Option<Timestamp> {
    let waits = !view.state.is_terminal() && view.state != JobState::Running;
    let ended_before = view.attempts.iter().rev().skip(usize::from(!waits)).find_map(|a| a.ended_at);
    view.due_at.or(view.accepted_at).max(ended_before)
}
