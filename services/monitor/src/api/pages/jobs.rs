//! Jobs: a search and what it finds.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use windlass_core::JobState;

use super::super::access::Viewer;
use super::super::query::{ListQuery, RawQuery, words as filter_words};
use super::super::search::{self, Sought};
use super::super::{Api, Problem, payload};
use super::frame::Frame;
use super::{shown, words};
use crate::store::JobRow;

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsPage {
    frame: Frame,
    jobs: Vec<JobRow>,
    query: ListQuery,
    older: Option<String>,
    newest: Option<String>,
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    // A job's id alone is that job.
    if let Ok(Query(pairs)) = &raw
        && let Some((_, text)) = pairs.iter().find(|(name, _)| name == "q")
        && let Ok(Sought::Job(id)) = search::read(text, Timestamp::now())
    {
        return Redirect::to(&format!("/jobs/{id}")).into_response();
    }
    shown(list(&api, &viewer, raw).await, &viewer)
}

async fn list(api: &Api, viewer: &Viewer, raw: RawQuery) -> Result<JobsPage, Problem> {
    let (frame, raw) = Frame::new(&viewer.0, "/jobs").noticing(raw);
    let query = ListQuery::read(raw)?;
    let page = payload::list(api, viewer, &query, frame.now).await?;
    // A list of older ones stands still, and one of payloads, as each look reads them.
    let frame =
        if query.cursor.is_some() || query.text.is_some() { frame } else { frame.follows(changes(&query)) };
    Ok(JobsPage {
        frame,
        jobs: page.jobs,
        older: page.next_cursor.map(|cursor| query.to_text(Some(cursor))),
        newest: query.cursor.map(|_| query.to_text(None)),
        query,
    })
}

/// What of a search `/api/v1/live` knows: at least the jobs that are listed. Not the state, as they leave it too.
fn changes(query: &ListQuery) -> String {
    let filter = &query.filter;
    let parts = [
        filter.queue.as_ref().map(|queue| format!("queue={queue}")),
        filter.kind.as_ref().map(|kind| format!("kind={kind}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("&")
}

// === impl JobsPage ===

impl JobsPage {
    /// The search without its state.
    fn with_state(&self, state: Option<&JobState>) -> String {
        let mut words = self.query.words();
        words.remove("state");
        words.extend(state.map(|state| ("state".to_owned(), state.to_string())));
        let text = search::write(&words);
        if text.is_empty() {
            "/jobs".to_owned()
        } else {
            format!("/jobs?q={}", super::super::query::encoded(&text))
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn is_state(&self, state: &JobState) -> bool {
        self.query.filter.state == Some(*state)
    }

    /// What a cancellation of all that match would be asked by; none, where nothing of it can be cancelled.
    fn cancels(&self) -> Option<Vec<(String, String)>> {
        let ended = self.query.filter.state.is_some_and(JobState::is_terminal);
        // A cancellation knows nothing of payloads.
        (!ended && self.query.text.is_none()).then(|| filter_words(&self.query.filter).into_iter().collect())
    }
}
