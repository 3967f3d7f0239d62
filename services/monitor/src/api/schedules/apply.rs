//! Many schedules made to what a body says, as the command line does with files.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};
use windlass_core::ScheduleId;
use windlass_schedules::ScheduleStore;
use windlass_schedules::file::{self, Desired};

use super::change::{author, told};
use super::{broker, refused};
use crate::api::access::{Changed, Operator, content_type};
use crate::api::query::{self, Parameters, RawQuery, bad};
use crate::api::schema::{ActionProblems, AppliedSchedules, ApplySchedules};
use crate::api::{Api, Problem};

/// Of the body: a schedule's payload alone may have half of it.
pub(in crate::api) const MOST_BYTES: usize = 1024 * 1024;

/// Makes schedules, or changes them to what the body says.
///
/// All are checked and compared first: if anything is wrong in any of them, nothing is changed. Each is changed only if
/// nobody else has changed it meanwhile. Should one fail after others were changed, those are in force: apply it again.
#[utoipa::path(
    post, path = "/api/v1/schedules/apply", tag = "schedules", operation_id = "applySchedules",
    request_body = ApplySchedules,
    responses(
        (status = 200, body = AppliedSchedules),
        (status = 409, description = "One has another revision than expected, or somebody changes it now", body = Problem,
            content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(in crate::api) async fn apply(
    State(api): State<Api>,
    operator: Operator,
    raw: RawQuery,
    headers: HeaderMap,
    Large(mut body): Large,
) -> Result<Response, Problem> {
    query::none(raw)?;
    let definitions = body.array("schedules")?;
    let expected = expected(&mut body)?;
    let prune = body.flag("prune")?;
    let dry_run = body.flag("dry_run")?;
    let reason = body.reason()?;
    body.end("schedules, expected_revisions, prune, dry_run, reason")?;
    let definitions = definitions.filter(|definitions| !definitions.is_empty()).ok_or_else(|| {
        Problem::bad(
            "schedules",
            "schedules: is missing, or has none",
            "a list of schedules, as a file has them",
        )
    })?;
    let broker = broker(&api)?;
    let author = author(broker, &operator, &headers, reason.clone()).await;
    let wanted = read(definitions, author.at)?;
    let ids: Vec<_> = wanted.iter().map(|desired| desired.schedule.id.clone()).collect();
    let store = ScheduleStore::new(broker);
    let application = store.plan_all(wanted, prune, &expected).await.map_err(refused)?;
    if dry_run {
        return Ok(Json(json!({ "schedules": application.lines(), "dry_run": true })).into_response());
    }
    for id in &ids {
        told(&operator, "apply", id, &reason);
    }
    let (lines, outcome) = store.carry_out_all(application, &author).await;
    let changed = lines.iter().filter(|line| line.result != "unchanged").count();
    let answer = match outcome {
        Ok(()) => Json(json!({ "schedules": lines, "dry_run": false })).into_response(),
        Err(error) => refused(error).into_response(),
    };
    Ok((Extension(Changed(u64::try_from(changed).unwrap_or(u64::MAX))), answer).into_response())
}

/// Whole: all are valid, and none comes twice.
fn read(definitions: Vec<Value>, now: jiff::Timestamp) -> Result<Vec<Desired>, Problem> {
    let no_files: file::ReadFile<'_> = &|_| {
        Err(std::io::Error::other(
            "files are read by `windlass schedule apply` only: give their times in `exclude`",
        ))
    };
    file::read_values(definitions, now, no_files).map_err(|error| {
        let (field, detail) = match error {
            file::Error::Field { id, field, reason } => (field, format!("schedule {id}: {field}: {reason}")),
            file::Error::Schedule { number, id, source } => {
                ("schedules", format!("schedule {number} ({id}): {source}"))
            }
            other => ("schedules", other.to_string()),
        };
        let expected = detail.split_once("expected ").map(|(_, expected)| expected.to_owned());
        Problem::bad(field, detail, expected.unwrap_or_else(|| "a schedule as a file has it".to_owned()))
    })
}

fn expected(body: &mut Parameters) -> Result<HashMap<ScheduleId, u64>, Problem> {
    let form = "revisions by the ids of schedules, 0 where none may stand";
    let revisions = body.object("expected_revisions")?.unwrap_or_default();
    let read = |(id, revision): (String, Value)| {
        let id: ScheduleId = id.parse().map_err(|error| bad("expected_revisions", &error, form))?;
        let revision = revision.as_u64().ok_or_else(|| {
            Problem::bad(
                "expected_revisions",
                format!("expected_revisions: `{revision}` of {id} is none"),
                form,
            )
        })?;
        Ok((id, revision))
    };
    revisions.into_iter().map(read).collect()
}

/// A body of more bytes than others.
pub(in crate::api) struct Large(Parameters);

impl FromRequest<Api> for Large {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        if content_type(request.headers()) != "application/json" {
            return Err(Problem::unsupported_media_type());
        }
        // The route bounds it.
        let bytes =
            Bytes::from_request(request, api).await.map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(MOST_BYTES),
                _ => bad("body", &rejection.body_text(), "a JSON object"),
            })?;
        Parameters::of_body(&bytes).map(Self)
    }
}
