//! The log of actions.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::query::{Parameters, RawQuery};
use super::{Api, Problem};
use crate::store::Action;

/// What was done by the API and the pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionList {
    /// The newest first.
    pub actions: Vec<Action>,
    /// Give it as `cursor` for the part that follows; null at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Lists what was done by the API and the pages: by whom, to what, and what came of it; the newest first.
///
/// What is refused for want of a role is not listed.
#[utoipa::path(
    get, path = "/api/v1/actions", tag = "status", operation_id = "listActions",
    params(
        ("limit" = Option<u32>, Query, description = "How many at most, 50 unless told", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the part before"),
    ),
    responses(
        (status = 200, body = ActionList),
        (status = 400, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Api>, raw: RawQuery) -> Result<Json<ActionList>, Problem> {
    page(&api, raw).await.map(Json)
}

/// A part of it.
pub(super) async fn page(api: &Api, raw: RawQuery) -> Result<ActionList, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let limit = parameters.limit()?;
    let before: Option<Uuid> = parameters.take("cursor", "the `next_cursor` of an earlier answer")?;
    parameters.end("limit, cursor")?;
    // One more than asked for tells whether more follow.
    let mut actions = api.store.actions(before, limit + 1).await?;
    let within = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = actions.len() > within;
    actions.truncate(within);
    let next_cursor = actions.last().filter(|_| more).map(|action| action.id.to_string());
    Ok(ActionList { actions, next_cursor })
}
