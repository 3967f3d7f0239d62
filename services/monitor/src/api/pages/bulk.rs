//! One thing done to many: first shown, then asked for.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use windlass_broker::commands::Verb;
use windlass_broker::commands::paced::DEFAULT_A_SECOND;

use super::super::access::{Fields, Operator, Viewer};
use super::super::many::{self, CarriedOut};
use super::super::schema::Preview;
use super::super::{Api, Problem};
use super::frame::Frame;
use super::{problem, render, words};

#[derive(Template)]
#[template(path = "preview.html")]
struct PreviewPage {
    frame: Frame,
    verb: Verb,
    /// Where to ask for it.
    path: &'static str,
    /// The page that led here.
    back: String,
    preview: Preview,
    /// By what the set was made, and how fast it would go.
    fields: Vec<(String, String)>,
    rate: u32,
    reason: String,
}

pub(in crate::api) async fn cancel(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    fields: Fields,
) -> Response {
    let outcome = many::of_jobs(&api, &operator, (&fields).into()).await;
    answer(Verb::Cancel, outcome, &viewer, &fields)
}

pub(in crate::api) async fn redrive(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    fields: Fields,
) -> Response {
    let outcome = many::of_letters(&api, &operator, Verb::Redrive, (&fields).into()).await;
    answer(Verb::Redrive, outcome, &viewer, &fields)
}

pub(in crate::api) async fn discard(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    fields: Fields,
) -> Response {
    let outcome = many::of_letters(&api, &operator, Verb::Discard, (&fields).into()).await;
    answer(Verb::Discard, outcome, &viewer, &fields)
}

fn answer(verb: Verb, outcome: Result<CarriedOut, Problem>, viewer: &Viewer, fields: &Fields) -> Response {
    match outcome {
        Ok(CarriedOut::Preview(preview)) => {
            let page = PreviewPage::new(verb, preview, viewer, fields);
            render(axum::http::StatusCode::OK, &page)
        }
        Ok(CarriedOut::Begun(operation)) => {
            let to = format!("/operations/{}", operation.id);
            let mut response = Redirect::to(&to).into_response();
            response.extensions_mut().insert(super::super::access::Counted(operation.id));
            response
        }
        Err(refused) => problem(&refused, &viewer.0),
    }
}

// === impl PreviewPage ===

impl PreviewPage {
    fn new(verb: Verb, preview: Preview, viewer: &Viewer, given: &Fields) -> Self {
        let (path, section) = match verb {
            Verb::Cancel | Verb::Release => ("/jobs/cancel", "/jobs"),
            Verb::Redrive => ("/dead/redrive", "/dead"),
            Verb::Discard => ("/dead/discard", "/dead"),
        };
        let value =
            |name: &str| given.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        let manner = ["reason", "rate", "dry_run"];
        let fields = given
            .0
            .iter()
            .filter(|(name, value)| !manner.contains(&name.as_str()) && !value.trim().is_empty());
        Self {
            frame: Frame::new(&viewer.0, section),
            verb,
            path,
            back: section.to_owned(),
            preview,
            fields: fields.cloned().collect(),
            rate: value("rate").and_then(|rate| rate.parse().ok()).unwrap_or(DEFAULT_A_SECOND),
            reason: value("reason").unwrap_or_default(),
        }
    }

    fn matched(&self) -> u64 {
        u64::try_from(self.preview.matched).unwrap_or(u64::MAX)
    }

    /// What it does, for the button.
    fn does(&self) -> &'static str {
        match self.verb {
            Verb::Cancel => "Cancel",
            Verb::Release => "Run now",
            Verb::Redrive => "Start again",
            Verb::Discard => "Discard",
        }
    }
}
