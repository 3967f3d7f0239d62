//! The HTTP endpoint of a service: `/livez`, `/readyz`, `/metrics`, and whatever routes the service adds.
//!
//! It runs on a thread of its own, so that it still answers, and says so, when the service's runtime is blocked. The
//! service's own routes run on the service's runtime.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::health::Health;

/// Where a service adds its routes. Clones share it.
#[derive(Debug, Clone)]
pub struct Routes {
    added: watch::Sender<Option<Router>>,
    runtime: Handle,
}

#[derive(Clone)]
struct Endpoint {
    health: Health,
    metrics: PrometheusHandle,
    routes: Routes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadyzQuery {
    #[serde(default, with = "humantime_serde")]
    wait: Duration,
}

/// A client that sends its header more slowly is cut off; so is an idle connection.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(15);
/// The most that `/readyz?wait=…` waits.
const MOST_WAIT: Duration = Duration::from_mins(1);
/// From a request's header to its answer's header.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(75);
/// For answers under way when the endpoint stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// More connections wait to be accepted.
const MOST_CONNECTIONS: usize = 512;

// === impl Routes ===

impl Routes {
    /// None yet. Requests of added routes will run on this runtime.
    pub fn new(runtime: Handle) -> Self {
        Self { added: watch::Sender::new(None), runtime }
    }

    /// Serves these routes too, in place of those added before. `/livez`, `/readyz` and `/metrics` stay as they are.
    pub fn serve(&self, router: Router) {
        self.added.send_replace(Some(router));
    }
}

/// Serves until `stop` resolves, then lets answers under way end within a bound.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: PrometheusHandle,
    routes: Routes,
    stop: impl Future<Output = ()>,
) {
    let service = TowerToHyperService::new(router(Endpoint { health, metrics, routes }));
    let open = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let permit = Arc::clone(&open).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, stream) = tokio::select! {
            () = &mut stop => break,
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _)) => (permit, stream),
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service.clone());
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away is no error of ours.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "http connection ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("http answers were cut off");
    }
}

/// A client that left before it was accepted costs nothing; out of file descriptors, trying at once would spin.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind as Kind;
    if matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused) {
        return;
    }
    tracing::warn!(%error, "cannot accept an http connection");
    tokio::time::sleep(Duration::from_millis(500)).await;
}

fn router(endpoint: Endpoint) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .fallback(added_routes)
        .layer(from_fn(time_limit))
        .with_state(endpoint)
}

async fn time_limit(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => failure(StatusCode::SERVICE_UNAVAILABLE, "no answer within the time limit"),
    }
}

async fn livez(State(endpoint): State<Endpoint>) -> Response {
    let stalled = endpoint.health.stalled();
    let status = if stalled.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "alive": stalled.is_empty(), "stalled": stalled }))).into_response()
}

async fn readyz(
    State(endpoint): State<Endpoint>,
    query: Result<Query<ReadyzQuery>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(ReadyzQuery { wait })) = query else {
        return failure(StatusCode::BAD_REQUEST, "expected at most ?wait=DURATION, such as ?wait=10s");
    };
    let readiness = endpoint.health.wait_ready(wait.min(MOST_WAIT)).await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn render_metrics(State(endpoint): State<Endpoint>) -> Response {
    let text_format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (text_format, endpoint.metrics.render()).into_response()
}

async fn added_routes(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let Some(router) = endpoint.routes.added.borrow().clone() else {
        return failure(StatusCode::NOT_FOUND, "no such page");
    };
    let answer = TowerToHyperService::new(router).call(request);
    match AbortOnDropHandle::new(endpoint.routes.runtime.spawn(answer)).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(error) => {
            tracing::error!(%error, "a route failed");
            failure(StatusCode::INTERNAL_SERVER_ERROR, "the route failed")
        }
    }
}

fn failure(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

#[cfg(test)]
mod tests;
