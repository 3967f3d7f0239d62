//! Dead letters, as the stream has them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use windlass_broker::connect;
use windlass_broker::dead::Letters;
use windlass_core::letter::{Groups, Letter, LetterRow, LetterView};

use super::access::Viewer;
use super::letter_query::LetterQuery;
use super::query::{self, RawPath, RawQuery};
use super::schema::{LetterFilter, LetterGroups, LetterList, LetterViewSchema};
use super::{Api, Problem, payload};

/// Letters that are looked at for one part of a list.
const MOST_LISTED: usize = 5_000;
/// Letters that are counted for one answer, and how many are held at a time.
const MOST_COUNTED: usize = 50_000;
const PORTION: usize = 500;
/// Different fingerprints of one answer.
const MOST_GROUPS: usize = 1_000;
/// Queues with a letter of one id that are told apart.
const MOST_QUEUES: usize = 16;

/// Lists dead letters, the oldest first.
///
/// In the order in which they were stored. Pages neither shift nor repeat while letters come and go.
#[utoipa::path(
    get, path = "/api/v1/dead", tag = "dead letters", operation_id = "listDeadLetters",
    params(
        LetterFilter,
        ("limit" = Option<u32>, Query, description = "How many at most, 50 unless told", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses(
        (status = 200, body = LetterList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Api>, raw: RawQuery) -> Result<Json<LetterList>, Problem> {
    let query = LetterQuery::read(raw, true)?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let page = letters(&api)?.page(&query.filter, query.cursor, limit, MOST_LISTED).await.map_err(unread)?;
    Ok(Json(LetterList {
        letters: page.letters.iter().map(LetterRow::of).collect(),
        next_cursor: page.next.map(|next| next.to_string()),
    }))
}

/// Counts dead letters by their fingerprint, so that alike errors are one.
#[utoipa::path(
    get, path = "/api/v1/dead/groups", tag = "dead letters", operation_id = "groupDeadLetters",
    params(
        LetterFilter,
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses(
        (status = 200, body = LetterGroups),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn groups(State(api): State<Api>, raw: RawQuery) -> Result<Json<LetterGroups>, Problem> {
    let query = LetterQuery::read(raw, false)?;
    let letters = letters(&api)?;
    let (mut groups, mut next, mut read) = (Groups::new(MOST_GROUPS), query.cursor, 0);
    loop {
        let page = letters.page(&query.filter, next, PORTION, PORTION).await.map_err(unread)?;
        page.letters.iter().for_each(|letter| groups.count(letter));
        (next, read) = (page.next, read + page.read);
        if next.is_none() || read >= MOST_COUNTED {
            break;
        }
    }
    let (groups, others) = groups.finish();
    Ok(Json(LetterGroups { groups, others, next_cursor: next.map(|next| next.to_string()) }))
}

/// One dead letter, with its payload, its headers and every attempt.
#[utoipa::path(
    get, path = "/api/v1/dead/{id}", tag = "dead letters", operation_id = "getDeadLetter",
    params(
        ("id" = String, Path, description = "The job's id, a UUID"),
        ("queue" = Option<String>, Query, description = "The job's queue, where several have a letter of the id"),
    ),
    responses(
        (status = 200, body = LetterViewSchema),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Several queues have a letter of this id: `queues` names them", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The broker cannot be read", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn letter(
    State(api): State<Api>,
    viewer: Viewer,
    path: RawPath,
    raw: RawQuery,
) -> Result<Json<LetterView>, Problem> {
    let letter = LetterView::of(&find(&api, path, raw).await?);
    let payload = if payload::is_shown(&api, &viewer) { letter.payload } else { payload::hidden(&api) };
    Ok(Json(LetterView { payload, ..letter }))
}

/// The letter that a request names.
pub(super) async fn find(api: &Api, path: RawPath, raw: RawQuery) -> Result<Letter<Bytes>, Problem> {
    let (id, queue) = query::job(path, raw)?;
    let letters = letters(api)?;
    let mut found = match &queue {
        Some(queue) => letters.find(queue, id).await.map_err(unread)?.into_iter().collect(),
        None => letters.find_all(id, MOST_QUEUES).await.map_err(unread)?,
    };
    match (found.pop(), found.is_empty()) {
        (Some(letter), true) => Ok(letter),
        (None, _) => Err(Problem::not_found(format!("there is no dead letter of the job {id}"))),
        (Some(last), false) => {
            found.push(last);
            Err(Problem::ambiguous(found.into_iter().map(|letter| letter.queue.to_string()).collect()))
        }
    }
}

pub(super) fn letters(api: &Api) -> Result<&Letters, Problem> {
    api.letters.as_ref().ok_or_else(Problem::broker_away)
}

pub(super) fn unread(error: connect::Error) -> Problem {
    tracing::error!(error = %anyhow::Error::new(error), "the dead letters could not be read");
    Problem::broker_away()
}
