//! What happened within a time.

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};

use super::query::{INSTANT_FORM, Parameters, RawQuery};
use super::{Api, Problem};
use crate::store::Report;

const DAY: SignedDuration = SignedDuration::from_hours(24);
const MOST: SignedDuration = SignedDuration::from_hours(24 * 92);

/// What happened within a time: by queue and kind, over time, and of what jobs died.
///
/// Jobs that were removed for their age still count, but for `failures`, which are those of jobs that are kept.
#[utoipa::path(
    get, path = "/api/v1/report", tag = "reports", operation_id = "getReport",
    params(
        ("since" = Option<String>, Query, description = "From the minute of this instant on; a day before `until` unless told"),
        ("until" = Option<String>, Query, description = "Up to the minute of this instant; now unless told"),
    ),
    responses(
        (status = 200, body = Report),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn get(State(api): State<Api>, raw: RawQuery) -> Result<Json<Report>, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let (since, until) = (parameters.take("since", INSTANT_FORM)?, parameters.take("until", INSTANT_FORM)?);
    parameters.end("since, until")?;
    // What happens in this minute is a part of it.
    let until: Timestamp = until.unwrap_or_else(|| soon(Timestamp::now()));
    let since: Timestamp = since.or_else(|| until.checked_sub(DAY).ok()).unwrap_or(until);
    let spans = until.duration_since(since);
    if spans <= SignedDuration::ZERO || spans > MOST {
        let detail = "since: is not before until, or more than 92 days before it";
        return Err(Problem::bad("since", detail, "an instant before `until`, at most 92 days"));
    }
    Ok(Json(api.store.report(since, until).await?))
}

fn soon(now: Timestamp) -> Timestamp {
    now.checked_add(SignedDuration::from_mins(1)).unwrap_or(now)
}
