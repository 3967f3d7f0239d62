//! A program that reports are sent to.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use windlass_monitor::webhook::Webhook;

#[derive(Default)]
struct Got {
    refuse: u32,
    bodies: Vec<Value>,
}

pub(crate) struct Receiver {
    url: String,
    got: Arc<Mutex<Got>>,
    serving: tokio::task::JoinHandle<()>,
}

// === impl Receiver ===

impl Receiver {
    /// Refuses so many at first.
    pub(crate) async fn start(refuse: u32) -> Self {
        let got = Arc::new(Mutex::new(Got { refuse, bodies: Vec::new() }));
        let routes = Router::new().route("/hook", post(take)).with_state(got.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, got, serving }
    }

    pub(crate) fn webhook(&self) -> Webhook {
        self.url.parse().unwrap()
    }

    /// What it has taken.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.got.lock().unwrap().bodies.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(got): State<Arc<Mutex<Got>>>, Json(body): Json<Value>) -> StatusCode {
    let mut got = got.lock().unwrap();
    if got.refuse > 0 {
        got.refuse -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    got.bodies.push(body);
    StatusCode::NO_CONTENT
}
