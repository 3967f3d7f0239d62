//! The workers that live.

use std::collections::BTreeMap;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::Response;

use super::super::access::Viewer;
use super::super::query::RawQuery;
use super::super::schema::Worker;
use super::super::{Api, workers};
use super::frame::Frame;
use super::{shown, words};

#[derive(Template)]
#[template(path = "workers.html")]
struct WorkersPage {
    frame: Frame,
    workers: Vec<Worker>,
    /// How many run each version.
    versions: BTreeMap<String, usize>,
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let listed = workers::list(State(api), raw).await;
    let page = listed.map(|Json(list)| {
        let mut versions = BTreeMap::new();
        for worker in &list.workers {
            *versions.entry(worker.version.clone()).or_default() += 1;
        }
        WorkersPage { frame: Frame::new(&viewer.0, "/workers").every(5), workers: list.workers, versions }
    });
    shown(page, &viewer)
}

// === impl WorkersPage ===

impl WorkersPage {
    fn running(&self) -> u32 {
        self.workers.iter().map(|worker| worker.running).sum()
    }

    fn all_slots(&self) -> u32 {
        self.workers.iter().map(|worker| worker.slots).fold(0, u32::saturating_add)
    }
}
