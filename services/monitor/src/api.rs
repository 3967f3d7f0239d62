//! The HTTP API and the pages.
//!
//! What acts needs the operator's token; the rest only reads. What jobs bring (payloads, results, errors, kinds) is data from strangers: JSON is sent as
//! JSON, HTML is escaped by the templates, and no page may run a script.

pub mod access;
mod actions;
mod alerts;
mod audit;
mod body;
mod document;
mod letter_query;
mod letters;
mod live;
mod many;
mod operations;
mod page;
mod past;
mod past_page;
mod problem;
mod query;
mod queues;
mod report;
mod routes;
mod schedules;
pub mod schema;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{delete, get, post};
use tokio::sync::{Semaphore, watch};
use windlass_broker::Broker;
use windlass_broker::dead::Letters;

pub use access::OperatorToken;
pub use live::MOST_LOOKING;
pub use problem::{Problem, RejectedMessage};

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
    /// What who acts must show; none: nobody may.
    pub operator_token: Option<OperatorToken>,
}

/// The most jobs of one list.
pub const MAX_LIMIT: u32 = 500;
/// How many jobs a list has unless told.
pub const DEFAULT_LIMIT: u32 = 50;

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'";

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
            operator_token: None,
        }
    }
}

/// The routes of the API and of the pages.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/jobs", get(routes::list_jobs))
        .route("/api/v1/jobs/{id}", get(routes::get_job))
        .route("/api/v1/jobs/cancel", post(many::cancel))
        .route("/api/v1/jobs/{id}/cancel", post(actions::cancel))
        .route("/api/v1/jobs/{id}/why", get(queues::why_job))
        .route("/api/v1/queues", get(routes::list_queues))
        .route("/api/v1/queues/{name}", get(queues::get))
        .route("/api/v1/queues/{name}/why", get(queues::why_queue))
        .route("/api/v1/queues/{name}/settings", post(queues::set))
        .route("/api/v1/queues/{name}/pause", post(queues::pause))
        .route("/api/v1/queues/{name}/resume", post(queues::resume))
        .route("/api/v1/schedules", get(schedules::list))
        .route(
            "/api/v1/schedules/apply",
            post(schedules::apply).layer(DefaultBodyLimit::max(schedules::MOST_APPLIED_BYTES)),
        )
        .route("/api/v1/schedules/{id}", get(schedules::get).delete(schedules::delete))
        .route("/api/v1/schedules/{id}/next", get(schedules::next))
        .route("/api/v1/schedules/{id}/history", get(schedules::history))
        .route("/api/v1/schedules/{id}/pause", post(schedules::pause))
        .route("/api/v1/schedules/{id}/resume", post(schedules::resume))
        .route("/api/v1/schedules/{id}/trigger", post(schedules::trigger))
        .route("/api/v1/schedules/{id}/backfill", post(schedules::backfill))
        .route("/api/v1/dead", get(letters::list))
        .route("/api/v1/dead/groups", get(letters::groups))
        .route("/api/v1/dead/redrive", post(many::redrive))
        .route("/api/v1/dead/discard", post(many::discard))
        .route("/api/v1/dead/{id}", get(letters::letter))
        .route("/api/v1/dead/{id}/redrive", post(actions::redrive))
        .route("/api/v1/dead/{id}/discard", post(actions::discard))
        .route("/api/v1/operations", get(operations::list))
        .route("/api/v1/operations/{id}", get(operations::get).delete(operations::abort))
        .route("/api/v1/status", get(routes::get_status))
        .route("/api/v1/audit", get(audit::get))
        .route("/api/v1/report", get(report::get))
        .route("/api/v1/past", get(past::get))
        .route("/api/v1/past/jobs", get(past::list))
        .route("/api/v1/past/jobs/{id}", get(past::job))
        .route("/api/v1/live", get(live::watch))
        .route("/api/v1/alerts", get(alerts::list))
        .route("/api/v1/alerts/silences", post(alerts::silence))
        .route("/api/v1/alerts/silences/{id}", delete(alerts::end_silence))
        .route("/api/v1/workers", get(workers::list))
        .route("/api/v1/openapi.json", get(document::get))
        .route("/", get(page::list))
        .route("/jobs/{id}", get(page::job))
        .route("/past", get(past_page::past))
        .route("/past/jobs/{id}", get(past_page::job))
        .route("/style.css", get(page::style))
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
    headers.insert(header::REFERRER_POLICY, fixed("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(fixed("no-store"));
    response
}
