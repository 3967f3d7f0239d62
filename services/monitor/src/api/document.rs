//! The OpenAPI document.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi;

use super::{Problem, letters, query, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Windlass monitor",
        description = "What became of the jobs. All of it only reads. Instants are RFC 3339 in UTC.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        routes::list_jobs, routes::get_job, routes::list_queues, routes::get_status, get,
        letters::list, letters::groups, letters::letter,
    ),
    tags((name = "jobs"), (name = "queues"), (name = "dead letters"), (name = "status")),
)]
struct Document;

/// This document.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "status", operation_id = "getOpenApi",
    responses(
        (status = 200, description = "OpenAPI 3.1", body = serde_json::Value),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(raw: query::RawQuery) -> Result<Json<openapi::OpenApi>, Problem> {
    query::none(raw)?;
    Ok(Json(Document::openapi()))
}
