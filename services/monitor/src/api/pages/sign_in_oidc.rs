//! Signing in at the OpenID provider: to it, and back from it.
//!
//! It begins by a link, not by a form: the pages' policy lets no form lead to another site. Whoever has somebody follow
//! that link gains nothing, as the sign-in is bound to the browser by its cookie.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use jiff::Timestamp;

use super::super::access::Viewer;
use super::super::query::RawQuery;
use super::super::{Api, Problem};
use super::frame::Frame;
use super::sign_in::{SignInPage, log, next_in, within};
use super::{problem, render};
use crate::access::oidc::{Answer, Error, Oidc};

/// Sends a browser to the provider.
pub(in crate::api) async fn begin(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let next = next_in(raw);
    let Some(oidc) = api.access.oidc() else { return off(&viewer) };
    match oidc.begin(&next, Timestamp::now()).await {
        Ok((url, attempt)) => {
            ([(header::SET_COOKIE, api.access.attempt_cookie(&attempt))], Redirect::to(&url)).into_response()
        }
        Err(error) => refuse(&api, &viewer, next, &error).await,
    }
}

/// Takes what the provider sends a browser back with.
pub(in crate::api) async fn finish(
    State(api): State<Api>,
    viewer: Viewer,
    headers: HeaderMap,
    raw: RawQuery,
) -> Response {
    let Some(oidc) = api.access.oidc() else { return off(&viewer) };
    let cookie = api.access.attempt_in(&headers);
    let found = match answer(raw) {
        Some(answer) => finished(&api, oidc, cookie, &answer).await,
        None => Err(Refusal::Oidc(Error::Stray)),
    };
    // That sign-in is over, whatever came of it.
    let over = (header::SET_COOKIE, api.access.attempt_cookie(""));
    match found {
        Ok((session, next)) => {
            (AppendHeaders([over, (header::SET_COOKIE, session)]), Redirect::to(&next)).into_response()
        }
        // It may be another's, begun in another tab: that goes on.
        Err(Refusal::Oidc(error @ Error::Stray)) => refuse(&api, &viewer, "/".to_owned(), &error).await,
        Err(Refusal::Oidc(error)) => {
            (AppendHeaders([over]), refuse(&api, &viewer, "/".to_owned(), &error).await).into_response()
        }
        Err(Refusal::Ours(refused)) => problem(&refused, &viewer.0),
    }
}

/// Whose fault it is.
enum Refusal {
    Oidc(Error),
    Ours(Problem),
}

/// The cookie of the session that begins, and where it leads.
async fn finished(
    api: &Api,
    oidc: &Oidc,
    cookie: Option<&str>,
    answer: &Answer,
) -> Result<(String, String), Refusal> {
    let now = Timestamp::now();
    let (person, next) = oidc.finish(cookie, answer, now).await.map_err(Refusal::Oidc)?;
    let by = [("provider", oidc.host().to_owned()), ("subject", person.subject.clone())];
    let by: BTreeMap<_, _> = by.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let begun = api.access.sign_in_person(person, now);
    let (principal, session) = begun.ok_or(Refusal::Oidc(Error::Stray))?;
    log(api, &principal, by).await.map_err(Refusal::Ours)?;
    Ok((session, within(next)))
}

fn answer(raw: RawQuery) -> Option<Answer> {
    let Query(pairs) = raw.ok()?;
    let mut answer = Answer::default();
    for (name, value) in pairs {
        match name.as_str() {
            "code" => answer.code = value,
            "state" => answer.state = value,
            "iss" => answer.issuer = Some(value),
            "error" => answer.error = Some(value),
            "error_description" => answer.error_description = value,
            _ => {}
        }
    }
    Some(answer)
}

fn off(viewer: &Viewer) -> Response {
    problem(&Problem::not_found("no OpenID provider is configured: see monitor.oidc"), &viewer.0)
}

/// The page where one can try again, with why not.
async fn refuse(api: &Api, viewer: &Viewer, next: String, error: &Error) -> Response {
    metrics::counter!("windlass_monitor_requests_refused_total").increment(1);
    tracing::warn!(error = error.to_string(), "somebody could not sign in at the identity provider");
    let status = match error {
        Error::Away { .. } => StatusCode::BAD_GATEWAY,
        Error::Stray => StatusCode::BAD_REQUEST,
        Error::Refused(_) | Error::Token(_) | Error::NoRole { .. } => StatusCode::FORBIDDEN,
    };
    let page = SignInPage::new(api, Frame::new(&viewer.0, "/sign-in"), next);
    // The provider would send whoever has no role here back at once, as the same person.
    let page = match (error, api.access.oidc()) {
        (Error::NoRole { .. }, Some(oidc)) => page.leading_out(oidc).await,
        _ => page,
    };
    render(status, &page.refusing(capital(&error.to_string())))
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}
