//! Dead letters: by their fingerprint, as a list, and one of them.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use windlass_core::letter::LetterView;

use super::super::access::{Fields, Operator, Viewer};
use super::super::body::Body;
use super::super::letter_query::{self, LetterQuery};
use super::super::query::{RawPath, RawQuery, encoded};
use super::super::schema::{LetterGroups, LetterList};
use super::super::{Api, Problem, actions, letters, payload};
use super::frame::Frame;
use super::{shown, words};

#[derive(Template)]
#[template(path = "dead.html")]
struct GroupsPage {
    frame: Frame,
    groups: LetterGroups,
    filter: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "letters.html")]
struct LettersPage {
    frame: Frame,
    list: LetterList,
    filter: Vec<(String, String)>,
    query: String,
}

#[derive(Template)]
#[template(path = "letter.html")]
struct LetterPage {
    frame: Frame,
    letter: LetterView,
}

pub(in crate::api) async fn groups(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let (frame, raw) = Frame::new(&viewer.0, "/dead").noticing(raw);
    let page = async {
        let filter = words_of(&raw, false)?;
        let Json(groups) = letters::groups(State(api), raw).await?;
        Ok(GroupsPage { frame: frame.every(10), groups, filter })
    };
    shown(page.await, &viewer)
}

pub(in crate::api) async fn letters(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let page = async {
        let filter = words_of(&raw, true)?;
        let pairs = filter.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        let Json(list) = letters::list(State(api), raw).await?;
        Ok(LettersPage { frame: Frame::new(&viewer.0, "/dead"), list, filter, query })
    };
    shown(page.await, &viewer)
}

pub(in crate::api) async fn letter(
    State(api): State<Api>,
    viewer: Viewer,
    path: RawPath,
    raw: RawQuery,
) -> Response {
    let (frame, raw) = Frame::new(&viewer.0, "/dead").noticing(raw);
    let page = letters::letter(State(api), viewer.clone(), path, raw)
        .await
        .map(|Json(letter)| LetterPage { frame, letter });
    shown(page, &viewer)
}

pub(in crate::api) async fn redrive(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    fields: Fields,
) -> Response {
    let to = super::job::back(&path, &raw, "redrive");
    let outcome = actions::redrive(State(api), operator, path, raw, Body((&fields).into())).await;
    super::done(outcome, &to, &viewer)
}

pub(in crate::api) async fn discard(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    fields: Fields,
) -> Response {
    let outcome = actions::discard(State(api), operator, path, raw, Body((&fields).into())).await;
    super::done(outcome, "/dead?done=discard", &viewer)
}

/// What a query asks for, to be shown and asked for again.
fn words_of(raw: &RawQuery, is_list: bool) -> Result<Vec<(String, String)>, Problem> {
    let Ok(query) = raw else { return Ok(Vec::new()) };
    let again = axum::extract::Query(query.0.clone());
    let query = LetterQuery::read(Ok(again), is_list)?;
    Ok(letter_query::words(&query.filter).into_iter().collect())
}

// === impl GroupsPage ===

impl GroupsPage {
    /// The value of a field of the filter.
    fn value(&self, name: &str) -> &str {
        self.filter.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    /// The filter with a group's fingerprint.
    fn with(&self, fingerprint: &str) -> Vec<(String, String)> {
        let others = self.filter.iter().filter(|(name, _)| name != "fingerprint").cloned();
        others.chain([("fingerprint".to_owned(), fingerprint.to_owned())]).collect()
    }

    fn all(&self) -> u64 {
        self.groups.groups.iter().map(|group| group.count).sum::<u64>() + self.groups.others
    }
}

// === impl LetterPage ===

impl LetterPage {
    fn payload(&self) -> String {
        payload::text_of(&self.letter.payload)
    }
}
