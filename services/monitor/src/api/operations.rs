//! The operations that this monitor has begun.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use uuid::Uuid;

use super::access::Operator;
use super::query::{self, RawPath, RawQuery};
use super::schema::{ActionProblems, OperationList};
use super::{Api, Problem};
use crate::operations::{Operation, OperationState};

/// Lists operations, the newest first: the last 100 of this process.
///
/// A monitor that was started again knows of none. What they had commanded is carried out all the same, and no more.
#[utoipa::path(
    get, path = "/api/v1/operations", tag = "operations", operation_id = "listOperations",
    responses(
        (status = 200, body = OperationList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Api>, raw: RawQuery) -> Result<Json<OperationList>, Problem> {
    query::none(raw)?;
    let operations = api.operations.map(|operations| operations.list()).unwrap_or_default();
    Ok(Json(OperationList { operations }))
}

/// One operation, and how far it is.
#[utoipa::path(
    get, path = "/api/v1/operations/{id}", tag = "operations", operation_id = "getOperation",
    params(("id" = String, Path, description = "The operation's id, a UUID")),
    responses(
        (status = 200, body = Operation),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(
    State(api): State<Api>,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<Operation>, Problem> {
    query::none(raw)?;
    let id = id(path)?;
    api.operations.and_then(|operations| operations.find(id)).map(Json).ok_or_else(|| unknown(id))
}

/// Aborts an operation, between two of its commands.
///
/// What is commanded is carried out; the rest is as it was. The answer waits for the command under way, so it shows how
/// far the operation came. One that has ended stays as it is.
#[utoipa::path(
    delete, path = "/api/v1/operations/{id}", tag = "operations", operation_id = "abortOperation",
    params(("id" = String, Path, description = "The operation's id, a UUID")),
    responses(
        (status = 200, description = "It has ended", body = Operation),
        (status = 202, description = "It will end with the command that is under way", body = Operation),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn abort(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
) -> Result<(StatusCode, Json<Operation>), Problem> {
    query::none(raw)?;
    let id = id(path)?;
    let operations = api.operations.ok_or_else(|| unknown(id))?;
    let seen = operations.abort(id, operator.who()).await.ok_or_else(|| unknown(id))?;
    let status = if seen.state == OperationState::Running { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(seen)))
}

fn id(path: RawPath) -> Result<Uuid, Problem> {
    let text = path.map(|axum::extract::Path(text)| text).unwrap_or_default();
    text.parse().map_err(|error| query::bad("id", &error, "the id of an operation, a UUID"))
}

fn unknown(id: Uuid) -> Problem {
    Problem::not_found(format!("no operation {id} is known to this monitor since it was started"))
}
