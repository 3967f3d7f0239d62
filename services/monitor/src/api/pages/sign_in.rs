//! The page where one signs in, with a token or at the OpenID provider; signing in with a token; signing out.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;

use super::super::access::{Fields, Viewer};
use super::super::query::{self, RawQuery};
use super::super::{Api, Problem};
use super::frame::Frame;
use super::{problem, render, words};
use crate::access::Principal;
use crate::access::oidc::Oidc;
use crate::store::Action;

#[derive(Template)]
#[template(path = "sign_in.html")]
pub(super) struct SignInPage {
    frame: Frame,
    /// Where it leads.
    next: String,
    has_tokens: bool,
    /// The host of the OpenID provider.
    provider: Option<String>,
    /// Why somebody was not let in.
    refusal: Option<String>,
    /// Where one signs out of the provider as well, after signing out here.
    end_session: Option<String>,
}

// === impl SignInPage ===

impl SignInPage {
    pub(super) fn new(api: &Api, frame: Frame, next: String) -> Self {
        let provider = api.access.oidc().map(|oidc| oidc.host().to_owned());
        Self { frame, next, has_tokens: api.access.has_tokens(), provider, refusal: None, end_session: None }
    }

    /// For who is signed in at the provider, and may want to be another.
    pub(super) async fn leading_out(self, oidc: &Oidc) -> Self {
        Self { end_session: oidc.end_session_url().await, ..self }
    }

    pub(super) fn refusing(self, why: impl Into<String>) -> Self {
        Self { refusal: Some(why.into()), ..self }
    }
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let (frame, raw) = Frame::new(&viewer.0, "/sign-in").noticing(raw);
    let next = next_in(raw);
    let has_left = frame.notice.is_some();
    let page = SignInPage::new(&api, frame, next);
    let page = match api.access.oidc().filter(|_| has_left) {
        Some(oidc) => page.leading_out(oidc).await,
        None => page,
    };
    render(StatusCode::OK, &page)
}

pub(in crate::api) async fn sign_in(State(api): State<Api>, viewer: Viewer, fields: Fields) -> Response {
    let value =
        |name: &str| fields.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.as_str());
    let next = within(value("next").to_owned());
    let Some((principal, cookie)) = api.access.sign_in(value("token"), Timestamp::now()) else {
        metrics::counter!("windlass_monitor_requests_refused_total").increment(1);
        tracing::warn!("somebody tried to sign in with a token that is none");
        let page = SignInPage::new(&api, Frame::new(&viewer.0, "/sign-in"), next);
        return render(StatusCode::FORBIDDEN, &page.refusing("This token is none that the monitor knows."));
    };
    match log(&api, &principal, BTreeMap::new()).await {
        Ok(()) => ([(header::SET_COOKIE, cookie)], Redirect::to(&next)).into_response(),
        Err(refused) => problem(&refused, &viewer.0),
    }
}

/// Writes down who signs in, and by what; without that nobody does.
pub(super) async fn log(
    api: &Api,
    principal: &Principal,
    by: BTreeMap<String, String>,
) -> Result<(), Problem> {
    let (who, role) = (principal.who(), principal.role.as_str());
    let line = Action { result: "done".to_owned(), ..Action::asked(who, role, "sign in", by, "") };
    api.store.log_action(&line).await?;
    tracing::info!(who, role, action = "sign in", "an operator's action");
    Ok(())
}

pub(in crate::api) async fn sign_out(State(api): State<Api>, viewer: Viewer) -> Response {
    let cookie = api.access.sign_out(&viewer.0);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in?done=sign-out")).into_response()
}

/// Where a sign-in is to lead, by the query of its page.
pub(super) fn next_in(raw: RawQuery) -> String {
    let next = raw.ok().and_then(|Query(pairs)| pairs.into_iter().find(|(name, _)| name == "next"));
    within(next.map_or_else(String::new, |(_, next)| next))
}

/// An address of ours, and no other's.
pub(super) fn within(next: String) -> String {
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
