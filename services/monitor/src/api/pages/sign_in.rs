//! Signing in with a token, and out.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;

use super::super::Api;
use super::super::access::{Fields, Viewer};
use super::super::query::RawQuery;
use super::frame::Frame;
use super::{problem, render, words};
use crate::store::Action;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    /// Where it leads.
    next: String,
    has_tokens: bool,
    is_wrong: bool,
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let (frame, raw) = Frame::new(&viewer.0, "/sign-in").noticing(raw);
    let next = raw.ok().and_then(|Query(pairs)| pairs.into_iter().find(|(name, _)| name == "next"));
    let next = within(next.map_or_else(String::new, |(_, next)| next));
    let page = SignInPage { frame, next, has_tokens: api.access.has_tokens(), is_wrong: false };
    render(StatusCode::OK, &page)
}

pub(in crate::api) async fn sign_in(State(api): State<Api>, viewer: Viewer, fields: Fields) -> Response {
    let value =
        |name: &str| fields.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.as_str());
    let next = within(value("next").to_owned());
    let Some((principal, cookie)) = api.access.sign_in(value("token"), Timestamp::now()) else {
        metrics::counter!("windlass_monitor_requests_refused_total").increment(1);
        tracing::warn!("somebody tried to sign in with a token that is none");
        let frame = Frame::new(&viewer.0, "/sign-in");
        let page = SignInPage { frame, next, has_tokens: api.access.has_tokens(), is_wrong: true };
        return render(StatusCode::FORBIDDEN, &page);
    };
    let (who, role) = (principal.who(), principal.role.as_str());
    let line =
        Action { result: "done".to_owned(), ..Action::asked(who, role, "sign in", BTreeMap::new(), "") };
    if let Err(error) = api.store.log_action(&line).await {
        return problem(&error.into(), &viewer.0);
    }
    tracing::info!(who, role, action = "sign in", "an operator's action");
    ([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response()
}

pub(in crate::api) async fn sign_out(State(api): State<Api>, viewer: Viewer) -> Response {
    let cookie = api.access.sign_out(&viewer.0);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in?done=sign-out")).into_response()
}

/// An address of ours, and no other's.
fn within(next: String) -> String {
    let ours = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic());
    if ours && plain && !next.starts_with("/sign-in") { next } else { "/".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        assert_eq!(within("/jobs?q=state%3Adead".to_owned()), "/jobs?q=state%3Adead");
        for other in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/a\r\nb",
            "javascript:x",
            "/sign-in",
        ] {
            assert_eq!(within(other.to_owned()), "/", "{other}");
        }
    }
}
