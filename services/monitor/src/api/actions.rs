//! Actions on one: a dead letter, or a job. Each stores a command, which a dispatcher carries out.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use windlass_broker::commands::Verb;
use windlass_broker::commands::set::Member;
use windlass_broker::connect;
use windlass_core::{JobId, JobState, QueueName};

use super::access::Operator;
use super::body::Body;
use super::query::{Parameters, RawPath, RawQuery};
use super::schema::{ActionProblems, Commanded, Why};
use super::{Api, Problem, letters, routes};
use crate::operations::Operations;

/// Starts a dead job again, as a new one.
///
/// The command is stored when this is answered; a dispatcher makes the new job, and then the letter goes. Asking twice
/// makes one job.
#[utoipa::path(
    post, path = "/api/v1/dead/{id}/redrive", tag = "dead letters", operation_id = "redriveDeadLetter",
    params(
        ("id" = String, Path, description = "The job's id, a UUID"),
        ("queue" = Option<String>, Query, description = "The job's queue, where several have a letter of the id"),
    ),
    request_body = Why,
    responses(
        (status = 202, description = "The command is stored", body = Commanded),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It holds no valid task; or several queues have a letter of this id: `queues` \
            names them", body = Problem, content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn redrive(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    Body(body): Body,
) -> Result<(StatusCode, Json<Commanded>), Problem> {
    let reason = reason(body)?;
    let letter = letters::find(&api, path, raw).await?;
    if let Err(why) = &letter.task {
        return Err(Problem::conflict(format!("the letter holds no valid task: {why}")));
    }
    command(&api, &operator, Verb::Redrive, &Member::from(&letter), &reason, Some(letter.redriven_id())).await
}

/// Removes a dead letter.
///
/// The command is stored when this is answered; a dispatcher writes who and why into the job's history, and removes the
/// letter with its payload. A reason must be given.
#[utoipa::path(
    post, path = "/api/v1/dead/{id}/discard", tag = "dead letters", operation_id = "discardDeadLetter",
    params(
        ("id" = String, Path, description = "The job's id, a UUID"),
        ("queue" = Option<String>, Query, description = "The job's queue, where several have a letter of the id"),
    ),
    request_body = Why,
    responses(
        (status = 202, description = "The command is stored", body = Commanded),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Several queues have a letter of this id: `queues` names them", body = Problem,
            content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn discard(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    Body(body): Body,
) -> Result<(StatusCode, Json<Commanded>), Problem> {
    let reason = reason(body)?;
    needs_reason(Verb::Discard, &reason)?;
    let letter = letters::find(&api, path, raw).await?;
    command(&api, &operator, Verb::Discard, &Member::from(&letter), &reason, None).await
}

/// Ends a job, whatever it does now.
///
/// The command is stored when this is answered; a dispatcher ends the job, unless it has ended meanwhile.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs", operation_id = "cancelJob",
    params(
        ("id" = String, Path, description = "The job's id, a UUID"),
        ("queue" = Option<String>, Query, description = "The job's queue, where several have the id"),
    ),
    request_body = Why,
    responses(
        (status = 202, description = "The command is stored", body = Commanded),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has ended; or several queues have a job of this id: `queues` names them",
            body = Problem, content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    Body(body): Body,
) -> Result<(StatusCode, Json<Commanded>), Problem> {
    let reason = reason(body)?;
    let job = routes::find(&api, path, raw).await?;
    if job.state.is_terminal() {
        return Err(Problem::conflict(format!("the job has ended: it is {}", job.state)));
    }
    let member = Member { queue: queue(&job.queue)?, job_id: job.id, dead_at: None };
    command(&api, &operator, Verb::Cancel, &member, &reason, None).await
}

/// Lets a job that waits for its time, or for somebody's leave, run at once.
///
/// The command is stored when this is answered; a dispatcher lets the job run, unless it runs or has ended meanwhile.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/release", tag = "jobs", operation_id = "releaseJob",
    params(
        ("id" = String, Path, description = "The job's id, a UUID"),
        ("queue" = Option<String>, Query, description = "The job's queue, where several have the id"),
    ),
    request_body = Why,
    responses(
        (status = 202, description = "The command is stored", body = Commanded),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It does not wait; or several queues have a job of this id: `queues` names them",
            body = Problem, content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn release(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    Body(body): Body,
) -> Result<(StatusCode, Json<Commanded>), Problem> {
    let reason = reason(body)?;
    let job = routes::find(&api, path, raw).await?;
    if !is_releasable(job.state) {
        return Err(Problem::conflict(format!(
            "the job waits for nothing that can be let go: it is {}",
            job.state
        )));
    }
    let member = Member { queue: queue(&job.queue)?, job_id: job.id, dead_at: None };
    command(&api, &operator, Verb::Release, &member, &reason, None).await
}

/// Whether somebody can let it run at once.
pub(super) fn is_releasable(state: JobState) -> bool {
    matches!(state, JobState::Scheduled | JobState::Held | JobState::Retrying)
}

fn reason(mut body: Parameters) -> Result<String, Problem> {
    let reason = body.reason()?;
    body.end("reason")?;
    Ok(reason)
}

/// What is discarded is gone, so its history must say why.
pub(super) fn needs_reason(verb: Verb, reason: &str) -> Result<(), Problem> {
    if verb == Verb::Discard && reason.is_empty() {
        let detail = "reason: is missing: the job's history says why its letter is gone";
        return Err(Problem::bad("reason", detail, "why, for people"));
    }
    Ok(())
}

pub(super) fn operations(api: &Api) -> Result<&Operations, Problem> {
    match &api.operations {
        Some(operations) if !operations.is_stopping() => Ok(operations),
        Some(_) => Err(Problem::unavailable("the monitor is stopping: try again when it runs")),
        None => Err(Problem::unavailable("the broker is not reached just now: try again")),
    }
}

fn queue(text: &str) -> Result<QueueName, Problem> {
    text.parse().map_err(|error| Problem::conflict(format!("the job's queue: {error}")))
}

async fn command(
    api: &Api,
    operator: &Operator,
    verb: Verb,
    member: &Member,
    reason: &str,
    redriven_id: Option<JobId>,
) -> Result<(StatusCode, Json<Commanded>), Problem> {
    let operations = operations(api)?;
    let Member { queue, job_id, .. } = member;
    // Before: whoever asks may be gone when it is stored, and this with them.
    tracing::info!(who = operator.who(), action = %verb, %queue, %job_id, reason, count = 1, "an operator's action");
    operations.command(verb, member, reason, operator.who()).await.map_err(not_stored)?;
    Ok((StatusCode::ACCEPTED, Json(Commanded { id: *job_id, queue: queue.to_string(), redriven_id })))
}

fn not_stored(error: connect::Error) -> Problem {
    tracing::error!(error = format!("{:#}", anyhow::Error::new(error)), "a command was not stored");
    Problem::unavailable(
        "the command was not stored, or it is not known whether it was: asking again does no harm",
    )
}
