//! The HTTP API and the pages.
//!
//! Every route is in one table (`table`) that says who may use it, and stands behind a guard (`access`) that holds to it.
//! What jobs bring (payloads, results, errors, kinds) is data from strangers: JSON is sent as JSON, HTML is escaped by the
//! templates, and no page may run a script but the one that the monitor serves.

mod access;
mod actions;
mod alerts;
mod audit;
mod backlog;
mod body;
mod calendar;
mod document;
mod fleet;
mod letter_query;
mod letters;
mod live;
pub mod log;
mod many;
mod operations;
mod pages;
mod past;
mod payload;
mod problem;
mod query;
mod queues;
mod related;
mod report;
mod reports;
mod routes;
mod schedules;
pub mod schema;
mod search;
mod table;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use tokio::sync::{Semaphore, watch};
use windlass_broker::Broker;
use windlass_broker::dead::Letters;

pub use live::MOST_LOOKING;
pub use problem::{Problem, RejectedMessage};
pub(crate) use reports::bundle as report_bundle;
pub use table::{Right, rights};

use self::access::Guard;
use crate::access::Access;
use crate::audit::Audited;
use crate::live::Live;
use crate::operations::Operations;
use crate::progress::Progress;
use crate::store::Store;
use crate::trace_url::TraceUrl;

/// What the routes answer from.
#[derive(Debug, Clone)]
pub struct Api {
    /// The jobs.
    pub store: Store,
    /// How far the projection has come.
    pub progress: watch::Receiver<Progress>,
    /// Where changes are told; none where no events are read.
    pub live: Option<Live>,
    /// The right to look on.
    pub looking: Arc<Semaphore>,
    /// What the streams know of workers; none where the broker is not reached.
    pub broker: Option<Broker>,
    /// What the latest audit found.
    pub audited: watch::Receiver<Audited>,
    /// Where a trace can be seen.
    pub trace_url: Option<TraceUrl>,
    /// The dead letters; none where the broker is not reached.
    pub letters: Option<Letters>,
    /// What acts; none where the broker is not reached.
    pub operations: Option<Operations>,
    /// Who may do what.
    pub access: Access,
}

/// The most jobs of one list.
pub const MAX_LIMIT: u32 = 500;
/// How many jobs a list has unless told.
pub const DEFAULT_LIMIT: u32 = 50;

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

// === impl Api ===

impl Api {
    /// Answers from a database alone: of the broker nothing is known, and nobody may act.
    pub fn of_database(store: Store) -> Self {
        Self {
            store,
            progress: watch::channel(Progress::default()).1,
            live: None,
            looking: Arc::new(Semaphore::new(MOST_LOOKING)),
            broker: None,
            audited: watch::channel(Audited::default()).1,
            trace_url: None,
            letters: None,
            operations: None,
            access: Access::local(None),
        }
    }
}

/// The routes of the API and of the pages, each behind its guard.
pub fn router(api: Api) -> Router {
    let routes = table::all().into_iter().fold(Router::new(), |router, route| {
        let guard = Guard {
            api: api.clone(),
            least: route.least,
            action: route.action,
            most_bytes: route.most_bytes,
        };
        let handler = route.handler.route_layer(DefaultBodyLimit::max(route.most_bytes));
        router.route(route.path, handler.route_layer(from_fn_with_state(guard, access::guard)))
    });
    routes
        .fallback(routes::not_found)
        .method_not_allowed_fallback(routes::method_not_allowed)
        .layer(DefaultBodyLimit::max(body::MOST_BYTES))
        .layer(from_fn(protect))
        .with_state(api)
}

/// What a browser may not do with our answers.
async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(header::CONTENT_SECURITY_POLICY, fixed(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, fixed("DENY"));
    // Not `no-referrer`: a form would then say that it comes from nowhere.
    headers.insert(header::REFERRER_POLICY, fixed("same-origin"));
    headers.insert("cross-origin-opener-policy", fixed("same-origin"));
    headers.insert("cross-origin-resource-policy", fixed("same-origin"));
    headers.insert("permissions-policy", fixed("camera=(), geolocation=(), microphone=()"));
    headers.entry(header::CACHE_CONTROL).or_insert(fixed("no-store"));
    response
}
