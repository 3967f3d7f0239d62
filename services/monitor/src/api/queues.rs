//! Queues: what is set for them, what waits in them and why; and changes of it. What is told comes from the broker.

use axum::Json;
use axum::extract;
use jiff::Timestamp;
use windlass_broker::flow::Flow;
use windlass_broker::queues::{self, Manner, QueueStore};
use windlass_broker::why::{self, State as QueueState};
use windlass_broker::{Broker, locate};
use windlass_core::flow::{Backlog, Cause, InvalidSettings, Part, Pause, QueueSettings, Why};
use windlass_core::{JobId, QueueName};

use super::access::Operator;
use super::actions::operations;
use super::body::Body;
use super::query::{self, KIND_FORM, Parameters, QUEUE_FORM, RawPath, RawQuery, bad};
use super::schema::{
    ActionProblems, BacklogSchema, Changed, PauseQueue, QueueStateSchema, ResumeQueue, SetQueue, WhySchema,
};
use super::{Api, Problem, routes};
use crate::operations::Operations;

const KEY_FORM: &str = "1 to 256 bytes of text without control characters";
const INSTANT_FORM: &str = "an instant with its offset, as 2026-01-31T09:00:00Z";

/// Why a job does not run: one cause, with the holder or the time.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/why", tag = "jobs", operation_id = "whyJob",
    params(
        ("id" = String, Path, description = "The job's id, a UUID"),
        ("queue" = Option<String>, Query, description = "The job's queue, where several have the id"),
    ),
    responses(
        (status = 200, body = WhySchema),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Several queues have a job of this id: `queues` names them", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn why_job(
    extract::State(api): extract::State<Api>,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<Why>, Problem> {
    let text = path.as_ref().map(|path| path.0.clone()).unwrap_or_default();
    let (id, queue) = query::job(Ok(axum::extract::Path(text.clone())), raw)?;
    let broker = broker(&api)?;
    let places = locate::places(broker, queue.as_ref(), id).await.map_err(|e| unread(e.into()))?;
    let mut queues: Vec<String> = places.iter().map(|place| place.queue.to_string()).collect();
    queues.dedup();
    if queues.len() > 1 {
        return Err(Problem::ambiguous(queues));
    }
    for place in places {
        let flow = Flow::new(broker, place.pool, place.queue);
        if let Some(why) = why::why(&flow, id).await.map_err(unread)? {
            return Ok(Json(why));
        }
    }
    // The broker has forgotten it.
    ended(&api, id, queue.as_ref()).await.map(Json)
}

async fn ended(api: &Api, id: JobId, queue: Option<&QueueName>) -> Result<Why, Problem> {
    let query = queue.map(|queue| ("queue".to_owned(), queue.to_string())).into_iter().collect();
    let path = axum::extract::Path(id.to_string());
    let job = routes::find(api, Ok(path), Ok(axum::extract::Query(query))).await?;
    let unknown =
        || Problem::not_found(format!("the broker has nothing of the job {id}, and no end of it is known"));
    let (true, Some(at)) = (job.state.is_terminal(), job.ended_at) else { return Err(unknown()) };
    let cause = Cause::Ended { state: job.state, at };
    Ok(Why {
        id,
        queue: job.queue.parse().map_err(|_| unknown())?,
        kind: job.kind.parse().map_err(|_| unknown())?,
        state: job.state,
        key: None,
        tenant: None,
        text: cause.to_string(),
        cause,
        asked_at: Timestamp::now(),
    })
}

/// A queue: what is set, by whom and since when, and what waits in it.
#[utoipa::path(
    get, path = "/api/v1/queues/{name}", tag = "queues", operation_id = "getQueue",
    params(("name" = String, Path, description = "The queue's name")),
    responses(
        (status = 200, body = QueueStateSchema),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    extract::State(api): extract::State<Api>,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<QueueState>, Problem> {
    query::none(raw)?;
    why::state(&flow(&api, path).await?).await.map(Json).map_err(unread)
}

/// Why the jobs of a queue wait: each counted under one cause.
#[utoipa::path(
    get, path = "/api/v1/queues/{name}/why", tag = "queues", operation_id = "whyQueue",
    params(("name" = String, Path, description = "The queue's name")),
    responses(
        (status = 200, body = BacklogSchema),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn why_queue(
    extract::State(api): extract::State<Api>,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<Backlog>, Problem> {
    query::none(raw)?;
    why::backlog(&flow(&api, path).await?).await.map(Json).map_err(unread)
}

/// Changes limits, order, rates and fairness of a queue.
///
/// In force within a second; `GET /api/v1/queues/{name}` tells under `applied` when all that waits goes by it.
#[utoipa::path(
    post, path = "/api/v1/queues/{name}/settings", tag = "queues", operation_id = "setQueue",
    params(("name" = String, Path, description = "The queue's name")),
    request_body = SetQueue,
    responses(
        (status = 200, body = Changed),
        (status = 409, description = "The settings have another revision than expected", body = Problem,
            content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn set(
    extract::State(api): extract::State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    Body(mut body): Body,
) -> Result<Json<Changed>, Problem> {
    query::none(raw)?;
    let queue = queue(path)?;
    let patch = body.object("settings")?;
    let how = How::read(&mut body)?;
    body.end("settings, reason, expected_revision, dry_run")?;
    let patch =
        patch.ok_or_else(|| Problem::bad("settings", "settings: is missing", "a JSON object of settings"))?;
    change(&api, &operator, &queue, &how, "set", |settings| settings.patched(&patch)).await
}

/// Starts nothing more of a queue, of a kind or of a key.
#[utoipa::path(
    post, path = "/api/v1/queues/{name}/pause", tag = "queues", operation_id = "pauseQueue",
    params(("name" = String, Path, description = "The queue's name")),
    request_body = PauseQueue,
    responses(
        (status = 200, body = Changed),
        (status = 409, description = "The settings have another revision than expected", body = Problem,
            content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn pause(
    extract::State(api): extract::State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    Body(mut body): Body,
) -> Result<Json<Changed>, Problem> {
    query::none(raw)?;
    let (queue, parts) = (queue(path)?, parts(&mut body)?);
    let until: Option<Timestamp> = body.take("until", INSTANT_FORM)?;
    let hand_back = body.flag("hand_back")?;
    let how = How::read(&mut body)?;
    body.end("kind, key, until, hand_back, reason, expected_revision, dry_run")?;
    let now = Timestamp::now();
    let pause =
        Pause { reason: how.reason.clone(), by: operator.who().to_owned(), at: now, until, hand_back };
    change(&api, &operator, &queue, &how, "pause", |settings| {
        let mut settings = settings.clone();
        for part in &parts {
            settings.pause(part, pause.clone());
        }
        settings.check().map(|()| settings)
    })
    .await
}

/// Goes on with what was paused. What was not paused stays as it is.
#[utoipa::path(
    post, path = "/api/v1/queues/{name}/resume", tag = "queues", operation_id = "resumeQueue",
    params(("name" = String, Path, description = "The queue's name")),
    request_body = ResumeQueue,
    responses(
        (status = 200, body = Changed),
        (status = 409, description = "The settings have another revision than expected", body = Problem,
            content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn resume(
    extract::State(api): extract::State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    Body(mut body): Body,
) -> Result<Json<Changed>, Problem> {
    query::none(raw)?;
    let (queue, parts) = (queue(path)?, parts(&mut body)?);
    let how = How::read(&mut body)?;
    body.end("kind, key, reason, expected_revision, dry_run")?;
    change(&api, &operator, &queue, &how, "resume", |settings| {
        let mut settings = settings.clone();
        for part in &parts {
            settings.resume(part);
        }
        Ok(settings)
    })
    .await
}

/// How a change is made.
struct How {
    reason: String,
    revision: Option<u64>,
    dry_run: bool,
}

// === impl How ===

impl How {
    fn read(body: &mut Parameters) -> Result<Self, Problem> {
        Ok(Self {
            reason: body.reason()?,
            revision: body.number("expected_revision", 0, u32::MAX)?.map(u64::from),
            dry_run: body.flag("dry_run")?,
        })
    }
}

/// What is meant: the queue, where nothing else is named.
fn parts(body: &mut Parameters) -> Result<Vec<Part>, Problem> {
    let kind = body.take("kind", KIND_FORM)?.map(Part::Kind);
    let key = body.take("key", KEY_FORM)?.map(Part::Key);
    let parts: Vec<_> = kind.into_iter().chain(key).collect();
    Ok(if parts.is_empty() { vec![Part::Queue] } else { parts })
}

async fn change(
    api: &Api,
    operator: &Operator,
    queue: &QueueName,
    how: &How,
    action: &'static str,
    change: impl Fn(&QueueSettings) -> Result<QueueSettings, InvalidSettings>,
) -> Result<Json<Changed>, Problem> {
    operations(api)?;
    let (store, who) = (QueueStore::new(broker(api)?), operator.who());
    let stored = store.get(queue).await.map_err(refused)?;
    let revision = stored.as_ref().map_or(0, |stored| stored.revision);
    if let Some(expected) = how.revision.filter(|expected| *expected != revision) {
        return Err(refused(queues::Error::Revision { queue: queue.clone(), expected, found: revision }));
    }
    let before = stored.map(|stored| stored.change.settings).unwrap_or_default();
    let after = change(&before).map_err(|error| refused(error.into()))?;
    if how.dry_run || before == after {
        return Ok(Json(Changed::of(queue, revision, how.dry_run, who, Timestamp::now(), &before, &after)));
    }
    // Before: whoever asks may be gone when it is stored, and this with them.
    tracing::info!(who, action, %queue, reason = how.reason, "an operator's action");
    let manner = Manner { by: who, now: Timestamp::now(), note: &how.reason, revision: how.revision };
    let made = store
        .change_as(queue, &manner, |settings| {
            *settings = change(settings)?;
            Ok(())
        })
        .await
        .map_err(refused)?;
    let before = made.change.previous.unwrap_or_default();
    let (by, at) = (&made.change.by, made.change.at);
    Ok(Json(Changed::of(queue, made.revision, false, by, at, &before, &made.change.settings)))
}

fn broker(api: &Api) -> Result<&Broker, Problem> {
    api.operations.as_ref().map(Operations::broker).ok_or_else(Problem::broker_away)
}

fn queue(path: RawPath) -> Result<QueueName, Problem> {
    let text = path.map(|path| path.0).unwrap_or_default();
    text.parse().map_err(|error| bad("name", &error, QUEUE_FORM))
}

async fn flow(api: &Api, path: RawPath) -> Result<Flow, Problem> {
    let (queue, broker) = (queue(path)?, broker(api)?);
    let pool = locate::serving(broker, &queue).await.map_err(|error| unread(error.into()))?;
    Ok(Flow::new(broker, pool, queue))
}

fn refused(error: queues::Error) -> Problem {
    match error {
        queues::Error::Invalid(InvalidSettings { field, reason }) => {
            let expected = reason.split_once("expected ").map(|(_, expected)| expected.to_owned());
            Problem::bad(
                &field,
                format!("{field}: {reason}"),
                expected.unwrap_or_else(|| "another value".to_owned()),
            )
        }
        error @ (queues::Error::Revision { .. } | queues::Error::Conflict(_)) => {
            Problem::conflict(error.to_string())
        }
        error => unread(error.into()),
    }
}

fn unread(error: why::Error) -> Problem {
    if let why::Error::NoQueue(_) = &error {
        return Problem::not_found(error.to_string());
    }
    tracing::error!(
        error = format!("{:#}", anyhow::Error::new(error)),
        "a queue could not be read or changed"
    );
    Problem::broker_away()
}
