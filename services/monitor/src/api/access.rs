//! The guard before every route: who asks, whether they may, and, of what acts, what became of it.
//!
//! No route is reached past it: a route cannot be made without saying who may use it (`api/table.rs`). What acts is
//! written to the log of actions before it is done, and is not done if that cannot be written.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::problem::Refused;
use super::{Api, Problem, pages, query};
use crate::access::{Principal, Role, Unknown};
use crate::store::Action;

/// What stands before one route.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) api: Api,
    /// Who may use it at least; none: anybody.
    pub(super) least: Option<Role>,
    /// What it does, in the log of actions; none: it only reads.
    pub(super) action: Option<&'static str>,
    /// Of a body.
    pub(super) most_bytes: usize,
}

/// Somebody who may do what a route does. A route that acts takes this before all else.
#[derive(Debug)]
pub(super) struct Operator(Principal);

/// Whoever looks at a page.
#[derive(Debug, Clone)]
pub(super) struct Viewer(pub(super) Principal);

/// The fields of a page's form, whose token was right.
#[derive(Debug, Clone)]
pub(super) struct Fields(pub(super) Arc<Vec<(String, String)>>);

/// Beside an answer: the operation that has begun, which tells of how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted(pub(super) Uuid);

/// Beside an answer: how many have been changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed(pub(super) u64);

/// The field of a form that holds its session's form token.
pub(super) const FORM_TOKEN: &str = "form_token";
/// Of what is told of an action's result.
const MOST_RESULT: usize = 500;

/// Lets a request through that may pass.
pub(super) async fn guard(
    State(guard): State<Guard>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let access = &guard.api.access;
    let who = access.identify(request.headers(), Timestamp::now()).await;
    let refusal = guard.refusal(&who, &request);
    let principal = who.ok();
    if let Some(refused) = refusal {
        metrics::counter!("windlass_monitor_requests_refused_total").increment(1);
        return refuse(&refused, principal.as_ref(), &request);
    }
    let principal = principal.unwrap_or_else(Principal::anonymous);
    request.extensions_mut().insert(principal.clone());
    if is_safe(request.method()) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, guard.most_bytes).await else {
        return refuse_parts(&Problem::too_large(guard.most_bytes), &parts);
    };
    let mut parts = parts;
    let given = Given::read(&parts, path.as_ref().ok(), &bytes);
    if let Some(fields) = &given.fields {
        let shown =
            fields.iter().find(|(name, _)| name == FORM_TOKEN).map_or("", |(_, token)| token.as_str());
        if principal.session().is_some_and(|session| !session.is_form_token(shown)) {
            return refuse_parts(&Problem::stale_form(), &parts);
        }
        let others = fields.iter().filter(|(name, _)| name != FORM_TOKEN).cloned().collect();
        parts.extensions.insert(Fields(Arc::new(others)));
    }
    let rebuilt = Request::from_parts(parts, Body::from(bytes));
    match guard.action.filter(|_| !given.is_preview) {
        Some(action) => guard.logged(action, &principal, given, rebuilt, next).await,
        None => next.run(rebuilt).await,
    }
}

// === impl Guard ===

impl Guard {
    fn refusal(&self, who: &Result<Principal, Unknown>, request: &Request) -> Option<Problem> {
        if let Some(least) = self.least {
            let stranger = || {
                if self.api.access.can_be_told() {
                    Problem::unauthorized()
                } else {
                    Problem::actions_are_off()
                }
            };
            match who {
                Err(Unknown::Oidc(error)) => return Some(Problem::of_provider(error)),
                Err(_) => return Some(stranger()),
                // Whatever its role: who changes anything has a name.
                Ok(principal) if principal.is_anonymous() && !is_safe(request.method()) => {
                    return Some(stranger());
                }
                Ok(principal) if principal.role >= least => {}
                Ok(principal) if principal.is_anonymous() => return Some(stranger()),
                Ok(principal) => return Some(Problem::forbidden(principal.who(), principal.role, least)),
            }
        }
        if is_safe(request.method()) {
            return None;
        }
        if !self.api.access.is_same_site(request.headers()) {
            return Some(Problem::cross_site());
        }
        let by_session = who.as_ref().is_ok_and(|principal| principal.session().is_some());
        (by_session && is_api(request.uri().path())).then(Problem::session_by_api)
    }

    /// Does it, with a line before and what came of it after.
    async fn logged(
        &self,
        action: &'static str,
        principal: &Principal,
        given: Given,
        request: Request,
        next: Next,
    ) -> Response {
        let Given { target, reason, .. } = given;
        let line = Action::asked(principal.who(), principal.role.as_str(), action, target, &reason);
        let path = request.uri().path().to_owned();
        if let Err(error) = self.api.store.log_action(&line).await {
            tracing::error!(
                error = format!("{:#}", anyhow::Error::new(error)),
                action,
                "an action could not be logged"
            );
            let refused = Problem::unavailable(
                "the log of actions cannot be written, so nothing was done: try again, or use the command line",
            );
            return if is_api(&path) { refused.into_response() } else { pages::problem(&refused, principal) };
        }
        let response = next.run(request).await;
        let refused = response.extensions().get::<Refused>().map(|Refused(detail)| detail.to_string());
        let failed = !response.status().is_success() && !response.status().is_redirection();
        let result = match refused {
            Some(detail) => detail.chars().take(MOST_RESULT).collect(),
            None if failed => format!("refused: {}", response.status()),
            None => "done".to_owned(),
        };
        let begun = response.extensions().get::<Counted>().copied();
        if let (Some(Counted(operation)), Some(operations)) = (begun, &self.api.operations) {
            let (store, operations) = (self.api.store.clone(), operations.clone());
            let matched =
                operations.find(operation).map(|seen| u64::try_from(seen.matched).unwrap_or(u64::MAX));
            end(&store, line.id, matched, &format!("operation {operation} has begun")).await;
            // Ends with the operation, which ends with the monitor.
            tokio::spawn(async move {
                if let Some(seen) = operations.ended(operation).await {
                    let (state, commanded, failed) = (seen.state.as_str(), seen.commanded, seen.failed);
                    let result =
                        format!("operation {operation} {state}: {commanded} commanded, {failed} failed");
                    end(&store, line.id, matched, &result).await;
                }
            });
        } else {
            let changed = response.extensions().get::<Changed>().map(|Changed(count)| *count);
            let one = (result == "done" && line.target.contains_key("id")).then_some(1);
            let count = changed.or(one);
            end(&self.api.store, line.id, count, &result).await;
        }
        response
    }
}

async fn end(store: &crate::store::Store, id: Uuid, count: Option<u64>, result: &str) {
    if let Err(error) = store.end_action(id, count, result).await {
        let error = format!("{:#}", anyhow::Error::new(error));
        tracing::error!(error, action_id = %id, result, "what came of an action could not be logged");
    }
}

/// What a request that acts says.
struct Given {
    target: BTreeMap<String, String>,
    reason: String,
    is_preview: bool,
    fields: Option<Vec<(String, String)>>,
}

// === impl Given ===

impl Given {
    /// Whatever can be read of it: what cannot is refused by the route.
    fn read(parts: &Parts, path: Option<&RawPathParams>, body: &Bytes) -> Self {
        let mut target = BTreeMap::new();
        let path: Vec<(String, String)> = path
            .into_iter()
            .flat_map(|params| params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())))
            .collect();
        let query = query::pairs(parts.uri.query().unwrap_or_default());
        let is_form = content_type(&parts.headers) == "application/x-www-form-urlencoded";
        let fields = is_form.then(|| query::pairs(str::from_utf8(body).unwrap_or_default()));
        let members = match serde_json::from_slice::<Value>(body) {
            Ok(Value::Object(members)) if !is_form => {
                members.into_iter().map(|(name, value)| (name, shown(value))).collect()
            }
            _ => Vec::new(),
        };
        let (mut reason, mut is_preview) = (String::new(), false);
        for (name, value) in
            path.into_iter().chain(query).chain(members).chain(fields.iter().flatten().cloned())
        {
            match name.as_str() {
                // Secrets.
                FORM_TOKEN | "token" => {}
                "reason" => reason = value.chars().take(MOST_RESULT).collect(),
                "dry_run" => is_preview = value == "true",
                _ if value.is_empty() || target.len() >= 20 => {}
                _ => {
                    target.insert(name.chars().take(64).collect(), value.chars().take(MOST_RESULT).collect());
                }
            }
        }
        Self { target, reason, is_preview, fields }
    }
}

fn shown(value: Value) -> String {
    match value {
        Value::String(text) => text,
        // What a schedule brings is no part of it.
        Value::Array(all) if all.iter().all(|one| one["id"].is_string()) => {
            all.iter().filter_map(|one| one["id"].as_str()).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn is_api(path: &str) -> bool {
    path.starts_with("/api/")
}

/// Programs are told; people are asked who they are, where that can help.
fn refuse(refused: &Problem, principal: Option<&Principal>, request: &Request) -> Response {
    let path = request.uri().path();
    if is_api(path) {
        return refused.clone().into_response();
    }
    let is_known = principal.is_some_and(|principal| !principal.is_anonymous());
    if is_safe(request.method()) && !is_known {
        let next = request.uri().path_and_query().map_or("/", |uri| uri.as_str());
        return Redirect::to(&format!("/sign-in?next={}", query::encoded(next))).into_response();
    }
    pages::problem(refused, principal.unwrap_or(&Principal::anonymous()))
}

fn refuse_parts(refused: &Problem, parts: &Parts) -> Response {
    metrics::counter!("windlass_monitor_requests_refused_total").increment(1);
    let principal = parts.extensions.get::<Principal>().cloned().unwrap_or_else(Principal::anonymous);
    if is_api(parts.uri.path()) {
        refused.clone().into_response()
    } else {
        pages::problem(refused, &principal)
    }
}

// === impl Operator ===

impl Operator {
    /// As histories and logs name it.
    pub(super) fn who(&self) -> &str {
        self.0.who()
    }
}

impl FromRequestParts<Api> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let found = parts.extensions.get::<Principal>().filter(|principal| !principal.is_anonymous());
        found.cloned().map(Self).ok_or_else(Problem::unauthorized)
    }
}

// === impl Viewer ===

impl FromRequestParts<Api> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        parts.extensions.get::<Principal>().cloned().map(Self).ok_or_else(Problem::unauthorized)
    }
}

// === impl Fields ===

impl FromRequestParts<Api> for Fields {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unsupported_form)
    }
}
