//! What a job has to do with others: who made it, whom it made, for whom it waits, and who waits for it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_broker::{Broker, jobs, locate};
use windlass_core::history::JobView;
use windlass_core::relations::JobPath;
use windlass_core::{JobId, JobState, QueueName, ScheduleId};

use super::query::{RawPath, RawQuery};
use super::schema::JobStateSchema;
use super::{Api, Problem, routes};
use crate::store::{Filter, JobRow};

/// Children that are named; all of them are a list of jobs.
const CHILDREN: u32 = 10;
/// Jobs that wait for one and are named.
const WAITING: usize = 50;
/// For what stands on the broker.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a job has to do with others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct Related {
    /// The schedule that published it; null if none did.
    #[schema(required, value_type = Option<String>)]
    pub schedule_id: Option<ScheduleId>,
    /// The job whose handler published it; null if none did.
    #[schema(required)]
    pub parent: Option<RelatedJob>,
    /// The jobs that its handler published.
    pub children: Children,
    /// The jobs that it waited for before it could start, the first 50 of them.
    pub after: Vec<RelatedJob>,
    /// How many those are.
    pub after_count: u32,
    /// The jobs that wait for it now, at most 50; null where the broker cannot be read.
    #[schema(required)]
    pub awaited_by: Option<Vec<RelatedJob>>,
    /// Whether more wait for it.
    pub awaited_by_more: bool,
}

/// Another job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct RelatedJob {
    /// Its queue.
    #[schema(value_type = String)]
    pub queue: QueueName,
    /// Which.
    #[schema(value_type = String, format = "uuid")]
    pub id: JobId,
    /// Where it stands; null where the monitor does not know it, or not any more.
    #[schema(required, value_type = Option<JobStateSchema>)]
    pub state: Option<JobState>,
}

/// The jobs that a job's handler published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct Children {
    /// How many are known.
    pub count: u64,
    /// Whether there are more.
    pub more: bool,
    /// How many of them stand where; states without any are left out.
    pub states: BTreeMap<String, u64>,
    /// The latest, at most 10: `GET /api/v1/jobs?parent=QUEUE/ID` lists all.
    pub latest: Vec<JobRow>,
}

/// What a job has to do with others: its parent, its children, the jobs that it waits for, and those that wait for it.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/related", tag = "jobs", operation_id = "relatedToJob",
    params(
        ("id" = String, Path, description = "The job's id, a UUID"),
        ("queue" = Option<String>, Query, description = "The job's queue, where several have the id"),
    ),
    responses(
        (status = 200, body = Related),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Several queues have a job of this id: `queues` names them", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    State(api): State<Api>,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<Related>, Problem> {
    let job = routes::find(&api, path, raw).await?;
    related(&api, &job).await.map(Json)
}

/// The same of a job that was read already.
pub(super) async fn related(api: &Api, job: &JobView) -> Result<Related, Problem> {
    let now = Timestamp::now();
    let queue: QueueName = job.queue.parse().map_err(|_| Problem::not_found("the job has no queue"))?;
    let (awaited_by, awaited_by_more) = match awaited_by(api, &queue, job).await {
        Some((waiting, more)) => (Some(waiting), more),
        None => (None, false),
    };
    let relations = &job.relations;
    let parent = relations.parent.iter().map(|parent| (parent.queue.clone(), parent.job_id));
    let after =
        relations.after.iter().map(|on| (on.queue.clone().unwrap_or_else(|| queue.clone()), on.job_id));
    let (parent, after): (Vec<_>, Vec<_>) = (parent.collect(), after.collect());
    let others = parent.iter().chain(&after).chain(awaited_by.iter().flatten());
    let mut ids: Vec<JobId> = others.map(|(_, id)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    let states: HashMap<(String, JobId), JobState> = api
        .store
        .states(&ids, now)
        .await?
        .into_iter()
        .map(|(queue, id, state)| ((queue, id), state))
        .collect();
    let shown = |(queue, id): (QueueName, JobId)| RelatedJob {
        state: states.get(&(queue.to_string(), id)).copied(),
        queue,
        id,
    };
    Ok(Related {
        schedule_id: relations.schedule_id.clone(),
        parent: parent.into_iter().map(shown).next(),
        children: children(api, JobPath { queue, job_id: job.id }, now).await?,
        after: after.into_iter().map(shown).collect(),
        after_count: relations.after_count,
        awaited_by: awaited_by.map(|waiting| waiting.into_iter().map(shown).collect()),
        awaited_by_more,
    })
}

async fn children(api: &Api, parent: JobPath, now: Timestamp) -> Result<Children, Problem> {
    let (states, more) = api.store.children(&parent, now).await?;
    let count = states.values().sum();
    let latest = if count == 0 {
        Vec::new()
    } else {
        let filter = Filter { parent: Some(parent), ..Filter::default() };
        api.store.list(&filter, None, CHILDREN, now).await?.jobs
    };
    Ok(Children { count, more, states, latest })
}

/// Who waits for it, and whether more do; none where that cannot be read. Nobody waits for what has ended.
async fn awaited_by(api: &Api, queue: &QueueName, job: &JobView) -> Option<(Vec<(QueueName, JobId)>, bool)> {
    if job.state.is_terminal() {
        return Some((Vec::new(), false));
    }
    let broker = api.broker.as_ref()?;
    let reading = tokio::time::timeout(TIMEOUT, read(broker, queue, job.id)).await;
    match reading {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(error, job_id = %job.id, "who waits for a job cannot be read");
            None
        }
        Err(_) => None,
    }
}

async fn read(
    broker: &Broker,
    queue: &QueueName,
    id: JobId,
) -> Result<(Vec<(QueueName, JobId)>, bool), jobs::Error> {
    let pool = locate::serving(broker, queue).await?;
    jobs::Jobs::new(broker, pool).awaited_by(queue, id, WAITING).await
}
