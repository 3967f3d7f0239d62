//! Actions on many: all dead letters, or all jobs, that match. The set is made first; then an operation commands one
//! after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{Extensions, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use windlass_broker::commands::Verb;
use windlass_broker::commands::paced::{DEFAULT_A_SECOND, MOST_A_SECOND};
use windlass_broker::commands::set::Set;
use windlass_core::letter;

use super::access::{Counted, Operator};
use super::actions::{needs_reason, operations};
use super::body::Body;
use super::query::{self, Parameters, RawQuery};
use super::schema::{ActionProblems, ManyJobs, ManyLetters, Preview};
use super::{Api, MAX_LIMIT, Problem, letter_query, letters};
use crate::job_set;
use crate::operations::{MOST_RUNNING, Operation, Plan};
use crate::store::Filter;

/// To make a set: less than the endpoint gives to an answer.
const SET_TIMEOUT: Duration = Duration::from_secs(60);

/// How to go about it.
struct Manner {
    reason: String,
    rate: u32,
    dry_run: bool,
}

/// What came of it.
pub(super) enum CarriedOut {
    /// This would be done.
    Preview(Preview),
    /// This is being done.
    Begun(Operation),
}

/// Starts dead jobs again, as new ones: all whose letters match.
///
/// What dies after the answer is not among them, and letters that hold no valid task are left out.
#[utoipa::path(
    post, path = "/api/v1/dead/redrive", tag = "dead letters", operation_id = "redriveDeadLetters",
    request_body = ManyLetters,
    responses(
        (status = 200, description = "With `dry_run`: nothing is done", body = Preview),
        (status = 202, description = "It has begun; `Location` says where to look", body = Operation,
            headers(("Location" = String, description = "As `/api/v1/operations/ID`"))),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn redrive(
    State(api): State<Api>,
    operator: Operator,
    raw: RawQuery,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(raw)?;
    of_letters(&api, &operator, Verb::Redrive, body).await.map(IntoResponse::into_response)
}

/// Removes dead letters: all that match.
///
/// A reason must be given. What dies after the answer is not among them.
#[utoipa::path(
    post, path = "/api/v1/dead/discard", tag = "dead letters", operation_id = "discardDeadLetters",
    request_body = ManyLetters,
    responses(
        (status = 200, description = "With `dry_run`: nothing is done", body = Preview),
        (status = 202, description = "It has begun; `Location` says where to look", body = Operation,
            headers(("Location" = String, description = "As `/api/v1/operations/ID`"))),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn discard(
    State(api): State<Api>,
    operator: Operator,
    raw: RawQuery,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(raw)?;
    of_letters(&api, &operator, Verb::Discard, body).await.map(IntoResponse::into_response)
}

/// Ends jobs, whatever they do now: all that match.
///
/// Which those are the monitor knows: what was submitted a moment ago may be missing. What has ended meanwhile stays as
/// it ended.
#[utoipa::path(
    post, path = "/api/v1/jobs/cancel", tag = "jobs", operation_id = "cancelJobs",
    request_body = ManyJobs,
    responses(
        (status = 200, description = "With `dry_run`: nothing is done", body = Preview),
        (status = 202, description = "It has begun; `Location` says where to look", body = Operation,
            headers(("Location" = String, description = "As `/api/v1/operations/ID`"))),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        ActionProblems,
    ),
    security(("operator" = [])),
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    operator: Operator,
    raw: RawQuery,
    Body(body): Body,
) -> Result<Response, Problem> {
    query::none(raw)?;
    of_jobs(&api, &operator, body).await.map(IntoResponse::into_response)
}

const LIVE: &str = "one of scheduled, held, queued, running, retrying";

/// Cancels, or shows what would be.
pub(super) async fn of_jobs(
    api: &Api,
    operator: &Operator,
    mut body: Parameters,
) -> Result<CarriedOut, Problem> {
    let filter = query::filter(&mut body)?;
    if let Some(state) = filter.state.filter(|state| state.is_terminal()) {
        let detail = format!("state: `{state}` jobs have ended: nothing is left to cancel");
        return Err(Problem::bad("state", detail, LIVE));
    }
    let words = query::words(&filter);
    let manner = Manner::read(body, Verb::Cancel, &words, query::FILTER_NAMES)?;
    let make = async {
        let states = job_set::states(filter.state);
        job_set::make(&states, |state, cursor| {
            let (store, filter) = (&api.store, Filter { state: Some(state), ..filter.clone() });
            async move {
                let page = store.list(&filter, cursor, MAX_LIMIT, Timestamp::now()).await?;
                Ok::<_, Problem>((page.jobs, page.next_cursor))
            }
        })
        .await
    };
    carry_out(api, operator, Verb::Cancel, words, manner, make).await
}

/// Redrives or discards, or shows what would be.
pub(super) async fn of_letters(
    api: &Api,
    operator: &Operator,
    verb: Verb,
    mut body: Parameters,
) -> Result<CarriedOut, Problem> {
    let filter: letter::Filter = letter_query::filter(&mut body)?;
    let words = letter_query::words(&filter);
    let manner = Manner::read(body, verb, &words, letter_query::FILTER_NAMES)?;
    let make = async {
        let letters = letters::letters(api)?;
        Set::of_letters(letters, verb, &filter).await.map_err(letters::unread)
    };
    carry_out(api, operator, verb, words, manner, make).await
}

/// Makes the set, within a bound, and shows it or begins with it.
async fn carry_out(
    api: &Api,
    operator: &Operator,
    verb: Verb,
    filter: BTreeMap<String, String>,
    manner: Manner,
    make: impl Future<Output = Result<Set, Problem>>,
) -> Result<CarriedOut, Problem> {
    let operations = operations(api)?;
    let slot = operations.slot().ok_or_else(|| Problem::too_many(MOST_RUNNING))?;
    let Manner { reason, rate, dry_run } = manner;
    let set = tokio::time::timeout(SET_TIMEOUT, make).await.unwrap_or_else(|_| {
        Err(Problem::unavailable(
            "it takes too long to find out which match: ask for fewer, by queue or since",
        ))
    })?;
    if dry_run {
        return Ok(CarriedOut::Preview(Preview::of(set, rate)));
    }
    let who = operator.who().to_owned();
    Ok(CarriedOut::Begun(operations.begin(slot, Plan { verb, filter, reason, rate, set, who })))
}

// === impl CarriedOut ===

impl CarriedOut {
    /// What the log of actions is told of it.
    pub(super) fn counted(&self) -> Option<Counted> {
        match self {
            Self::Preview(_) => None,
            Self::Begun(operation) => Some(Counted(operation.id)),
        }
    }
}

impl IntoResponse for CarriedOut {
    fn into_response(self) -> Response {
        let counted = self.counted();
        let mut response = match self {
            Self::Preview(preview) => Json(preview).into_response(),
            Self::Begun(operation) => {
                let location = [(header::LOCATION, format!("/api/v1/operations/{}", operation.id))];
                (StatusCode::ACCEPTED, location, Json(operation)).into_response()
            }
        };
        response.extensions_mut().extend(counted.into_iter().fold(Extensions::new(), |mut all, counted| {
            all.insert(counted);
            all
        }));
        response
    }
}

// === impl Manner ===

impl Manner {
    /// What is left of a body when its filter was taken.
    fn read(
        mut body: Parameters,
        verb: Verb,
        filter: &BTreeMap<String, String>,
        filter_names: &str,
    ) -> Result<Self, Problem> {
        let all = body.flag("all")?;
        let manner = Self {
            reason: body.reason()?,
            rate: body.number("rate", 1, MOST_A_SECOND)?.unwrap_or(DEFAULT_A_SECOND),
            dry_run: body.flag("dry_run")?,
        };
        body.end(&format!("{filter_names}, all, reason, rate, dry_run"))?;
        if filter.is_empty() != all {
            let detail = if all { "all: stands beside filters" } else { "all: nothing says which are meant" };
            return Err(Problem::bad("all", detail, format!("true, or at least one of {filter_names}")));
        }
        if !manner.dry_run {
            needs_reason(verb, &manner.reason)?;
        }
        Ok(manner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_that_are_offered_are_those_of_jobs_that_go_on() {
        let live: Vec<_> = job_set::states(None).iter().map(|state| state.as_str()).collect();
        assert_eq!(LIVE, format!("one of {}", live.join(", ")));
    }

    #[test]
    fn all_is_said_and_a_discard_has_its_reason() {
        let read = |verb, filtered: bool, body: &str| {
            let filter = filtered.then(|| ("queue".to_owned(), "mail".to_owned())).into_iter().collect();
            Manner::read(Parameters::of_body(body.as_bytes())?, verb, &filter, "queue")
        };
        let manner = read(Verb::Redrive, true, "{}").unwrap();
        assert_eq!((manner.rate, manner.dry_run, manner.reason.as_str()), (50, false, ""));
        for (verb, filtered, body) in [
            (Verb::Cancel, false, r#"{"all": true, "rate": 1000}"#),
            (Verb::Discard, true, r#"{"dry_run": true}"#),
            (Verb::Discard, true, r#"{"reason": "a test", "all": false}"#),
        ] {
            assert!(read(verb, filtered, body).is_ok(), "{body}");
        }
        for (verb, filtered, body, field) in [
            (Verb::Redrive, false, "{}", "all"),
            (Verb::Redrive, false, r#"{"all": false}"#, "all"),
            (Verb::Redrive, true, r#"{"all": true}"#, "all"),
            (Verb::Discard, true, "{}", "reason"),
            (Verb::Cancel, true, r#"{"rate": 1001}"#, "rate"),
            (Verb::Cancel, true, r#"{"dry-run": true}"#, "dry-run"),
        ] {
            assert_eq!(read(verb, filtered, body).err().unwrap().field.as_deref(), Some(field), "{body}");
        }
    }
}
