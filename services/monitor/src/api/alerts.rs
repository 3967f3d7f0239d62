//! Alerts and silences.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use windlass_core::alert::Silence;

use super::access::Operator;
use super::body::Body;
use super::query::{self, RawPath, RawQuery};
use super::schema::{ActionProblems, AlertList, NewSilence};
use super::{Api, Problem};
use crate::store::SilenceRow;

/// How many alerts that are over are told.
const MOST: u32 = 100;
/// How many that are not.
const MOST_FIRING: u32 = 1000;
const MOST_SILENCE: Duration = Duration::from_hours(24 * 30);
const FOR_FORM: &str = "a duration of 1s to 30days, as `2h`";
const RULE_FORM: &str = "the name of a rule, as `oldest_age`";
const SUBJECT_FORM: &str = "a queue, a kind or `events`, as alerts name it";

/// Lists the alerts that have fired, those that are over last, and the silences.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "alerts", operation_id = "listAlerts",
    responses(
        (status = 200, body = AlertList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Api>, raw: RawQuery) -> Result<Json<AlertList>, Problem> {
    query::none(raw)?;
    let now = Timestamp::now();
    let silences = api.store.silences(now).await?;
    let (mut firing, resolved) =
        (api.store.alerts(false, MOST_FIRING).await?, api.store.alerts(true, MOST).await?);
    for alert in &mut firing {
        let covers = |row: &SilenceRow| row.silence().covers(&alert.rule, &alert.subject, now);
        alert.silenced = silences.iter().any(covers);
    }
    Ok(Json(AlertList { firing, resolved, silences }))
}

/// Keeps alerts from being told for a while.
///
/// They are evaluated and listed all the same. Without a rule, or a subject, all are meant.
#[utoipa::path(
    post, path = "/api/v1/alerts/silences", tag = "alerts", operation_id = "silenceAlerts",
    request_body = NewSilence,
    responses(
        (status = 201, body = SilenceRow),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn silence(
    State(api): State<Api>,
    operator: Operator,
    raw: RawQuery,
    Body(mut body): Body,
) -> Result<(StatusCode, Json<SilenceRow>), Problem> {
    query::none(raw)?;
    let (rule, subject) = (body.take("rule", RULE_FORM)?, body.take("subject", SUBJECT_FORM)?);
    let lasts: Option<humantime_serde::re::humantime::Duration> = body.take("for", FOR_FORM)?;
    let reason = body.reason()?;
    body.end("rule, subject, for, reason")?;
    let lasts =
        lasts.map(Duration::from).filter(|lasts| (Duration::from_secs(1)..=MOST_SILENCE).contains(lasts));
    let lasts = lasts.ok_or_else(|| Problem::bad("for", "for: is missing, or out of range", FOR_FORM))?;
    if reason.is_empty() {
        return Err(Problem::bad("reason", "reason: is missing", "why nobody is to be told"));
    }
    let until =
        SignedDuration::try_from(lasts).ok().and_then(|lasts| Timestamp::now().checked_add(lasts).ok());
    let silence = Silence { rule, subject, until: until.unwrap_or(Timestamp::MAX) };
    let id = api.store.silence(&silence, &reason).await?;
    tracing::info!(who = operator.who(), ?silence, reason, id, action = "silence", "an operator's action");
    let Silence { rule, subject, until } = silence;
    Ok((StatusCode::CREATED, Json(SilenceRow { id, rule, subject, reason, until })))
}

/// Ends a silence before its time.
#[utoipa::path(
    delete, path = "/api/v1/alerts/silences/{id}", tag = "alerts", operation_id = "endSilence",
    params(("id" = i64, Path, description = "The silence's id")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn end_silence(
    State(api): State<Api>,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
) -> Result<StatusCode, Problem> {
    query::none(raw)?;
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let id: i64 = text.parse().map_err(|error| query::bad("id", &error, "the id of a silence, a number"))?;
    if !api.store.end_silence(id).await? {
        return Err(Problem::not_found(format!("there is no silence {id}")));
    }
    tracing::info!(who = operator.who(), id, action = "end silence", "an operator's action");
    Ok(StatusCode::NO_CONTENT)
}
