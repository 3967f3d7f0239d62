//! All routes, and who may use each: the one table.

use axum::routing::{MethodRouter, delete, get, post};

use super::body::MOST_BYTES;
use super::{
    Api, actions, alerts, audit, calendar, document, fleet, letters, live, log, many, operations, pages,
    past, payload, queues, related, report, reports, routes, schedules, workers,
};
use crate::access::{Role, oidc};

/// A route.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Who may use it at least; none: anybody.
    pub(super) least: Option<Role>,
    /// What it does, in the log of actions; none: it only reads.
    pub(super) action: Option<&'static str>,
    /// Of a body.
    pub(super) most_bytes: usize,
    pub(super) handler: MethodRouter<Api>,
}

/// Who may use a route at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// With its parameters in braces.
    pub path: &'static str,
    /// None: anybody.
    pub least: Option<Role>,
    /// Whether it acts.
    pub acts: bool,
}

/// Who may use which route.
pub fn rights() -> Vec<Right> {
    let right = |route: Route| {
        let Route { method, path, least, action, .. } = route;
        Right { method, path, least, acts: action.is_some() }
    };
    all().into_iter().map(right).collect()
}

/// Every route.
pub(super) fn all() -> Vec<Route> {
    let mut all = programs();
    all.extend(people());
    all
}

/// Those of the API.
fn programs() -> Vec<Route> {
    use Role::{Admin, Operator, Viewer};
    vec![
        reads("/api/v1/jobs", Viewer, get(routes::list_jobs)),
        reads("/api/v1/jobs/{id}", Viewer, get(routes::get_job)),
        reads("/api/v1/jobs/{id}/why", Viewer, get(queues::why_job)),
        reads("/api/v1/jobs/{id}/related", Viewer, get(related::get)),
        reads("/api/v1/jobs/{id}/payload", Viewer, get(payload::get)),
        acts("/api/v1/jobs/cancel", Operator, "cancel", post(many::cancel)),
        acts("/api/v1/jobs/{id}/cancel", Operator, "cancel", post(actions::cancel)),
        acts("/api/v1/jobs/{id}/release", Operator, "release", post(actions::release)),
        reads("/api/v1/queues", Viewer, get(routes::list_queues)),
        reads("/api/v1/queues/{name}", Viewer, get(queues::get)),
        reads("/api/v1/queues/{name}/why", Viewer, get(queues::why_queue)),
        acts("/api/v1/queues/{name}/settings", Admin, "set queue", post(queues::set)),
        acts("/api/v1/queues/{name}/pause", Operator, "pause queue", post(queues::pause)),
        acts("/api/v1/queues/{name}/resume", Operator, "resume queue", post(queues::resume)),
        reads("/api/v1/schedules", Viewer, get(schedules::list)),
        Route {
            most_bytes: schedules::MOST_APPLIED_BYTES,
            ..acts("/api/v1/schedules/apply", Operator, "apply schedules", post(schedules::apply))
        },
        reads("/api/v1/schedules/{id}", Viewer, get(schedules::get)),
        removes("/api/v1/schedules/{id}", Operator, "delete schedule", delete(schedules::delete)),
        reads("/api/v1/schedules/{id}/next", Viewer, get(schedules::next)),
        reads("/api/v1/schedules/{id}/history", Viewer, get(schedules::history)),
        acts("/api/v1/schedules/{id}/pause", Operator, "pause schedule", post(schedules::pause)),
        acts("/api/v1/schedules/{id}/resume", Operator, "resume schedule", post(schedules::resume)),
        acts("/api/v1/schedules/{id}/trigger", Operator, "trigger schedule", post(schedules::trigger)),
        acts("/api/v1/schedules/{id}/backfill", Operator, "backfill schedule", post(schedules::backfill)),
        reads("/api/v1/calendar", Viewer, get(calendar::get)),
        reads("/api/v1/dead", Viewer, get(letters::list)),
        reads("/api/v1/dead/groups", Viewer, get(letters::groups)),
        reads("/api/v1/dead/{id}", Viewer, get(letters::letter)),
        acts("/api/v1/dead/redrive", Operator, "redrive", post(many::redrive)),
        acts("/api/v1/dead/discard", Admin, "discard", post(many::discard)),
        acts("/api/v1/dead/{id}/redrive", Operator, "redrive", post(actions::redrive)),
        acts("/api/v1/dead/{id}/discard", Admin, "discard", post(actions::discard)),
        reads("/api/v1/operations", Viewer, get(operations::list)),
        reads("/api/v1/operations/{id}", Viewer, get(operations::get)),
        removes("/api/v1/operations/{id}", Operator, "abort operation", delete(operations::abort)),
        reads("/api/v1/status", Viewer, get(routes::get_status)),
        reads("/api/v1/audit", Viewer, get(audit::get)),
        reads("/api/v1/report", Viewer, get(report::get)),
        reads("/api/v1/reports/stored", Viewer, get(reports::list)),
        reads("/api/v1/reports/stored/{id}", Viewer, get(reports::get)),
        reads("/api/v1/past", Viewer, get(past::get)),
        reads("/api/v1/past/jobs", Viewer, get(past::list)),
        reads("/api/v1/past/jobs/{id}", Viewer, get(past::job)),
        reads("/api/v1/live", Viewer, get(live::watch)),
        reads("/api/v1/alerts", Viewer, get(alerts::list)),
        acts("/api/v1/alerts/silences", Operator, "silence", post(alerts::silence)),
        removes("/api/v1/alerts/silences/{id}", Operator, "end silence", delete(alerts::end_silence)),
        reads("/api/v1/workers", Viewer, get(workers::list)),
        reads("/api/v1/fleet", Viewer, get(fleet::get)),
        reads("/api/v1/actions", Viewer, get(log::list)),
        reads("/api/v1/openapi.json", Viewer, get(document::get)),
    ]
}

/// The pages, and what their forms send.
fn people() -> Vec<Route> {
    use Role::{Admin, Operator, Viewer};
    vec![
        open("GET", "/style.css", get(pages::files::style)),
        open("GET", "/script.js", get(pages::files::script)),
        open("GET", "/icon.svg", get(pages::files::icon)),
        open("GET", "/sign-in", get(pages::sign_in::page)),
        open("POST", "/sign-in", post(pages::sign_in::sign_in)),
        open("GET", "/sign-in/oidc", get(pages::sign_in_oidc::begin)),
        open("GET", oidc::CALLBACK, get(pages::sign_in_oidc::finish)),
        acts("/sign-out", Viewer, "sign out", post(pages::sign_in::sign_out)),
        reads("/", Viewer, get(pages::overview::page)),
        reads("/queues", Viewer, get(pages::queues::list)),
        reads("/queues/{name}", Viewer, get(pages::queues::one)),
        acts("/queues/{name}/settings", Admin, "set queue", post(pages::queues::set)),
        acts("/queues/{name}/pause", Operator, "pause queue", post(pages::queues::pause)),
        acts("/queues/{name}/resume", Operator, "resume queue", post(pages::queues::resume)),
        reads("/jobs", Viewer, get(pages::jobs::page)),
        acts("/jobs/cancel", Operator, "cancel", post(pages::bulk::cancel)),
        reads("/jobs/{id}", Viewer, get(pages::job::page)),
        acts("/jobs/{id}/cancel", Operator, "cancel", post(pages::job::cancel)),
        acts("/jobs/{id}/release", Operator, "release", post(pages::job::release)),
        reads("/schedules", Viewer, get(pages::schedules::page)),
        reads("/schedules/{id}", Viewer, get(pages::schedule::page)),
        acts("/schedules/{id}/pause", Operator, "pause schedule", post(pages::schedule::pause)),
        acts("/schedules/{id}/resume", Operator, "resume schedule", post(pages::schedule::resume)),
        acts("/schedules/{id}/trigger", Operator, "trigger schedule", post(pages::schedule::trigger)),
        acts("/schedules/{id}/backfill", Operator, "backfill schedule", post(pages::schedule::backfill)),
        acts("/schedules/{id}/delete", Operator, "delete schedule", post(pages::schedule::delete)),
        reads("/calendar", Viewer, get(pages::calendar::page)),
        reads("/past", Viewer, get(pages::past::page)),
        reads("/past/jobs/{id}", Viewer, get(pages::past::job)),
        reads("/workers", Viewer, get(pages::workers::page)),
        reads("/fleet", Viewer, get(pages::fleet::page)),
        reads("/dead", Viewer, get(pages::dead::groups)),
        reads("/dead/letters", Viewer, get(pages::dead::letters)),
        acts("/dead/redrive", Operator, "redrive", post(pages::bulk::redrive)),
        acts("/dead/discard", Admin, "discard", post(pages::bulk::discard)),
        reads("/dead/{id}", Viewer, get(pages::dead::letter)),
        acts("/dead/{id}/redrive", Operator, "redrive", post(pages::dead::redrive)),
        acts("/dead/{id}/discard", Admin, "discard", post(pages::dead::discard)),
        reads("/operations", Viewer, get(pages::operations::list)),
        reads("/operations/{id}", Viewer, get(pages::operations::one)),
        acts("/operations/{id}/abort", Operator, "abort operation", post(pages::operations::abort)),
        reads("/alerts", Viewer, get(pages::alerts::page)),
        acts("/alerts/silences", Operator, "silence", post(pages::alerts::silence)),
        acts("/alerts/silences/{id}/end", Operator, "end silence", post(pages::alerts::end_silence)),
        reads("/reports", Viewer, get(pages::report::page)),
        reads("/reports/{id}", Viewer, get(pages::report::stored)),
        reads("/log", Viewer, get(pages::log::page)),
    ]
}

fn reads(path: &'static str, least: Role, handler: MethodRouter<Api>) -> Route {
    Route { least: Some(least), ..open("GET", path, handler) }
}

fn acts(path: &'static str, least: Role, action: &'static str, handler: MethodRouter<Api>) -> Route {
    Route { least: Some(least), action: Some(action), ..open("POST", path, handler) }
}

fn removes(path: &'static str, least: Role, action: &'static str, handler: MethodRouter<Api>) -> Route {
    Route { method: "DELETE", ..acts(path, least, action, handler) }
}

/// For whoever has not signed in yet.
fn open(method: &'static str, path: &'static str, handler: MethodRouter<Api>) -> Route {
    Route { method, path, least: None, action: None, most_bytes: MOST_BYTES, handler }
}
