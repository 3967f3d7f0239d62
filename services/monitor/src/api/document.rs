//! The OpenAPI document.

use axum::Json;
use axum::http::StatusCode;
use utoipa::openapi::RefOr;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{self, ComponentsBuilder};
use utoipa::{Modify, OpenApi};

use super::{
    Problem, actions, alerts, audit, calendar, fleet, letters, live, log, many, operations, past, payload,
    query, queues, related, report, reports, routes, schedules, workers,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Windlass monitor",
        description = "What became of the jobs, and what an operator does about them. What acts stores durable commands, \
            which dispatchers carry out, and needs a token. Instants are RFC 3339 in UTC.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        routes::list_jobs, routes::get_job, routes::list_queues, routes::get_status, audit::get, alerts::list, alerts::silence, alerts::end_silence, report::get, reports::list, reports::get, live::watch, workers::list, fleet::get, log::list, get,
        past::get, past::list, past::job,
        letters::list, letters::groups, letters::letter,
        actions::redrive, actions::discard, actions::cancel, actions::release,
        many::redrive, many::discard, many::cancel,
        queues::why_job, related::get, payload::get, queues::get, queues::why_queue, queues::set, queues::pause, queues::resume,
        schedules::list, schedules::get, schedules::next, schedules::history, schedules::apply, schedules::delete,
        schedules::pause, schedules::resume, schedules::trigger, schedules::backfill, calendar::get,
        operations::list, operations::get, operations::abort,
    ),
    tags((name = "jobs"), (name = "past"), (name = "queues"), (name = "schedules"), (name = "workers"), (name = "fleet"), (name = "dead letters"), (name = "operations"), (name = "alerts"), (name = "reports"), (name = "status")),
    modifiers(&Token, &Described),
)]
struct Document;

/// What nobody has described says what its status means: OpenAPI 3.1 wants words for every response.
struct Described;

impl Modify for Described {
    fn modify(&self, document: &mut openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten();
            for (status, response) in operations.flat_map(|operation| &mut operation.responses.responses) {
                let reason =
                    status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()?.canonical_reason());
                if let (RefOr::T(response), Some(reason)) = (response, reason)
                    && response.description.is_empty()
                {
                    reason.clone_into(&mut response.description);
                }
            }
        }
    }
}

/// What actions need.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The line in the file of `monitor.operator_token_file`, or of one of `monitor.access.tokens` whose role is enough; or a token of the provider of `monitor.oidc`, a JWT, whose groups are."))
            .build();
        let components = document.components.get_or_insert_with(|| ComponentsBuilder::new().build());
        components.add_security_scheme("operator", SecurityScheme::Http(token));
    }
}

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
