//! The OpenAPI document: it describes every path, and what is sent fits it.

use windlass_core::{Event, Transition};

use crate::Server;
use crate::fixture::conform::conform;
use crate::fixture::{accepted, error, event, job_id, life, second};

/// All that the document describes.
const PATHS: &[&str] = &[
    "/api/v1/jobs",
    "/api/v1/jobs/{id}",
    "/api/v1/dead",
    "/api/v1/dead/groups",
    "/api/v1/dead/{id}",
    "/api/v1/dead/redrive",
    "/api/v1/dead/discard",
    "/api/v1/dead/{id}/redrive",
    "/api/v1/dead/{id}/discard",
    "/api/v1/jobs/cancel",
    "/api/v1/jobs/{id}/cancel",
    "/api/v1/operations",
    "/api/v1/operations/{id}",
    "/api/v1/jobs/{id}/why",
    "/api/v1/jobs/{id}/payload",
    "/api/v1/jobs/{id}/related",
    "/api/v1/calendar",
    "/api/v1/fleet",
    "/api/v1/queues",
    "/api/v1/queues/{name}",
    "/api/v1/queues/{name}/why",
    "/api/v1/queues/{name}/settings",
    "/api/v1/queues/{name}/pause",
    "/api/v1/queues/{name}/resume",
    "/api/v1/schedules",
    "/api/v1/schedules/apply",
    "/api/v1/schedules/{id}",
    "/api/v1/schedules/{id}/next",
    "/api/v1/schedules/{id}/history",
    "/api/v1/schedules/{id}/pause",
    "/api/v1/schedules/{id}/resume",
    "/api/v1/schedules/{id}/trigger",
    "/api/v1/schedules/{id}/backfill",
    "/api/v1/status",
    "/api/v1/audit",
    "/api/v1/alerts",
    "/api/v1/alerts/silences",
    "/api/v1/alerts/silences/{id}",
    "/api/v1/live",
    "/api/v1/past",
    "/api/v1/past/jobs",
    "/api/v1/past/jobs/{id}",
    "/api/v1/report",
    "/api/v1/reports/stored",
    "/api/v1/reports/stored/{id}",
    "/api/v1/workers",
    "/api/v1/actions",
    "/api/v1/jobs/{id}/release",
    "/api/v1/openapi.json",
];

#[tokio::test]
async fn the_document_describes_what_is_sent() {
    let mut server = Server::start(None).await;
    server.database.tell(life("mail", 1)).await;
    let dead = Event { error: Some(error("gone")), ..event("mail", 2, Transition::Dead, 1, 9) };
    server
        .database
        .tell(vec![dead, accepted("mail", 3, 0), accepted("web", 4, 0), accepted("mail", 4, 0)])
        .await;
    server.database.store.record_gaps(9, second(1)).await.unwrap();
    server.database.store.record_lost(&"mail".parse().unwrap(), &[job_id(3)], second(2)).await.unwrap();
    server.database.fire("oldest_age", "mail").await;
    let document = server.json("/api/v1/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = PATHS.to_vec();
    expected.sort_unstable();
    assert_eq!(paths, expected);
    // OpenAPI 3.1, "Response Object": each has a description.
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
    for (method, operation) in operations {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let described = response["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(described, "{method} {}: {status}", operation["operationId"]);
        }
    }
    let (done, failed, twice) = (job_id(1), job_id(2), job_id(4));
    for (route, path, status) in [
        ("/api/v1/jobs", "/api/v1/jobs?limit=1".to_owned(), "200"),
        ("/api/v1/jobs", "/api/v1/jobs?state=dead".to_owned(), "200"),
        ("/api/v1/jobs", "/api/v1/jobs?limit=0".to_owned(), "400"),
        (
            "/api/v1/report",
            "/api/v1/report?since=2023-11-01T00:00:00Z&until=2023-12-01T00:00:00Z".to_owned(),
            "200",
        ),
        (
            "/api/v1/report",
            "/api/v1/report?since=2023-11-01T00:00:00Z&until=2023-11-01T00:00:00Z".to_owned(),
            "400",
        ),
        ("/api/v1/past", format!("/api/v1/past?at={}", second(5)), "200"),
        ("/api/v1/past/jobs/{id}", format!("/api/v1/past/jobs/{twice}?at={}", second(5)), "409"),
        ("/api/v1/audit", "/api/v1/audit".to_owned(), "200"),
        ("/api/v1/alerts", "/api/v1/alerts".to_owned(), "200"),
        ("/api/v1/actions", "/api/v1/actions".to_owned(), "200"),
        ("/api/v1/actions", "/api/v1/actions?limit=0".to_owned(), "400"),
        ("/api/v1/workers", "/api/v1/workers".to_owned(), "503"),
        ("/api/v1/fleet", "/api/v1/fleet".to_owned(), "503"),
        ("/api/v1/calendar", "/api/v1/calendar".to_owned(), "503"),
        ("/api/v1/jobs/{id}/related", format!("/api/v1/jobs/{done}/related"), "200"),
        ("/api/v1/jobs/{id}/related", format!("/api/v1/jobs/{twice}/related"), "409"),
        ("/api/v1/jobs/{id}", format!("/api/v1/jobs/{done}"), "200"),
        ("/api/v1/jobs/{id}", format!("/api/v1/jobs/{failed}"), "200"),
        ("/api/v1/jobs/{id}", "/api/v1/jobs/x".to_owned(), "400"),
        ("/api/v1/jobs/{id}", format!("/api/v1/jobs/{}", job_id(9)), "404"),
        ("/api/v1/jobs/{id}", format!("/api/v1/jobs/{twice}"), "409"),
        // The letters themselves are in `letters.rs`; here there is no broker.
        ("/api/v1/dead", "/api/v1/dead".to_owned(), "503"),
        ("/api/v1/dead/groups", "/api/v1/dead/groups?until=now".to_owned(), "400"),
        ("/api/v1/queues", "/api/v1/queues".to_owned(), "200"),
        ("/api/v1/status", "/api/v1/status".to_owned(), "200"),
        ("/api/v1/openapi.json", "/api/v1/openapi.json".to_owned(), "200"),
    ] {
        let response = server.get(&path).await;
        assert_eq!(response.status().as_str(), status, "{path}");
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        let described =
            &document["paths"][route]["get"]["responses"][status]["content"][&content_type]["schema"];
        assert!(described.is_object(), "{route} {status} {content_type}");
        let place = if status == "200" { "answer" } else { "problem" };
        conform(&document, described, &response.json().await.unwrap(), place);
    }
}
