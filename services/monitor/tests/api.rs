//! The HTTP API and the pages, over a socket.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared with the tests of the projection")]
mod fixture;

use fixture::conform::conform;
use fixture::{Database, accepted, error, event, job_id, life, second};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use windlass_core::fingerprint::fingerprint;
use windlass_core::{Event, Transition};
use windlass_monitor::api::{Api, router};
use windlass_monitor::progress::{Progress, Standstill};

/// The monitor's routes on a free port, until dropped.
struct Server {
    database: Database,
    url: String,
    progress: watch::Sender<Progress>,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(trace_url: Option<&str>) -> Self {
        let database = Database::new().await;
        let (progress, seen) = watch::channel(Progress::default());
        let trace_url = trace_url.map(|url| url.parse().unwrap());
        let routes = router(Api { progress: seen, trace_url, ..Api::of_database(database.store.clone()) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { database, url, progress, serving }
    }

    async fn get(&self, path: &str) -> Response {
        reqwest::get(format!("{}{path}", self.url)).await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    async fn html(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        response.text().await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn ids(list: &Value) -> Vec<String> {
    list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn one_job_has_one_shape() {
    let mut server = Server::start(None).await;
    server.database.tell(life("mail", 1)).await;
    let job = server.json(&format!("/api/v1/jobs/{}", job_id(1))).await;
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["result"], json!({"bytes": 3}));
    assert_eq!(job["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(job["accepted_at"], "2023-11-14T22:13:30Z");
    assert_eq!(
        job["attempts"][0],
        json!({
            "number": 1, "worker": "worker-1", "started_at": "2023-11-14T22:13:31Z",
            "ended_at": "2023-11-14T22:13:32Z", "outcome": "failed",
            "error": {
                "message": "no such file", "code": "handler", "terminal": false,
                "fingerprint": fingerprint("handler", "no such file"),
            },
            "alone": false,
        })
    );
    let moves: Vec<_> = job["transitions"].as_array().unwrap().iter().map(|t| &t["transition"]).collect();
    assert_eq!(moves, ["accepted", "started", "retried", "started", "succeeded"]);
}

#[tokio::test]
async fn an_attempt_that_ran_alone_says_so() {
    let mut server = Server::start(None).await;
    let started = Event { alone: true, ..event("mail", 1, Transition::Started, 1, 1) };
    server.database.tell(vec![accepted("mail", 1, 0), started]).await;
    // As it was stored, and read again for what comes next.
    let next = event("mail", 1, Transition::Started, 2, 3);
    server.database.tell(vec![event("mail", 1, Transition::Crashed, 1, 2), next]).await;
    let job = server.json(&format!("/api/v1/jobs/{}", job_id(1))).await;
    let attempts: Vec<_> =
        job["attempts"].as_array().unwrap().iter().map(|a| (&a["outcome"], &a["alone"])).collect();
    assert_eq!(attempts, [(&json!("crashed"), &json!(true)), (&Value::Null, &json!(false))]);
}

#[tokio::test]
async fn lists_are_filtered() {
    let mut server = Server::start(None).await;
    server.database.tell(life("mail", 1)).await;
    server.database.tell(vec![accepted("mail", 2, 30), accepted("web", 3, 31)]).await;
    let listed = async |query: &str| ids(&server.json(&format!("/api/v1/jobs?{query}")).await);
    let id = |number| job_id(number).to_string();
    assert_eq!(listed("").await, [id(3), id(2), id(1)]);
    assert_eq!(listed("queue=mail").await, [id(2), id(1)]);
    assert_eq!(listed("state=queued").await, [id(3), id(2)]);
    assert_eq!(listed("state=succeeded&kind=file.digest&queue=mail").await, [id(1)]);
    assert_eq!(listed("kind=http.request").await, [""; 0]);
}

#[tokio::test]
async fn pages_stay_where_they_are_while_jobs_come_in() {
    let mut server = Server::start(None).await;
    for job in 1..=5 {
        server.database.tell(vec![accepted("mail", job, 0)]).await;
    }
    let first = server.json("/api/v1/jobs?limit=2").await;
    let mut seen = ids(&first);
    let mut cursor = first["next_cursor"].clone();
    let mut newer = 6;
    while let Some(text) = cursor.as_str() {
        // Between two pages a job comes in, and one that was listed changes.
        server
            .database
            .tell(vec![accepted("mail", newer, 9), event("mail", 4, Transition::Started, 1, 9)])
            .await;
        newer += 1;
        let page = server.json(&format!("/api/v1/jobs?limit=2&cursor={text}")).await;
        seen.extend(ids(&page));
        cursor = page["next_cursor"].clone();
    }
    let expected: Vec<_> = [5, 4, 3, 2, 1].map(|job| job_id(job).to_string()).into();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn bad_input_is_a_problem_that_names_its_field() {
    let mut server = Server::start(None).await;
    server.database.tell(vec![accepted("mail", 1, 0), accepted("web", 1, 0)]).await;
    let id = job_id(1);
    for (path, status, field) in [
        ("/api/v1/jobs/7".to_owned(), 400, Some("id")),
        ("/api/v1/jobs/%ff".to_owned(), 400, Some("id")),
        (format!("/api/v1/jobs/{id}?queue=a.b"), 400, Some("queue")),
        ("/api/v1/jobs?limit=501".to_owned(), 400, Some("limit")),
        ("/api/v1/jobs?state=gone".to_owned(), 400, Some("state")),
        ("/api/v1/jobs?colour=red".to_owned(), 400, Some("colour")),
        ("/api/v1/queues?x=1".to_owned(), 400, Some("x")),
        (format!("/api/v1/jobs/{}", job_id(2)), 404, None),
        (format!("/api/v1/jobs/{id}?queue=none"), 404, None),
        ("/api/v1/nothing".to_owned(), 404, None),
        (format!("/api/v1/jobs/{id}"), 409, None),
    ] {
        let response = server.get(&path).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(
            (problem["status"].as_u64(), problem["field"].as_str()),
            (Some(status.into()), field),
            "{path}"
        );
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{path}");
        assert_eq!(field.is_some(), problem["expected"].is_string(), "{path}");
        assert_eq!(problem["queues"], if status == 409 { json!(["mail", "web"]) } else { Value::Null });
    }
    let chosen = server.json(&format!("/api/v1/jobs/{id}?queue=web")).await;
    assert_eq!(chosen["queue"], "web");
    let posted = reqwest::Client::new().post(format!("{}/api/v1/jobs", server.url)).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(posted.headers()["content-type"], "application/problem+json");
}

#[tokio::test]
async fn what_jobs_bring_is_escaped() {
    const SCRIPT: &str = "<script>alert('x')</script>";
    const OURS: &str = "<script src=\"/script.js\"";
    let mut server = Server::start(None).await;
    let text = |event: Event| Event { note: SCRIPT.to_owned(), worker: SCRIPT.to_owned(), ..event };
    let dead = Event { error: Some(error(SCRIPT)), ..event("mail", 1, Transition::Dead, 1, 9) };
    let mut succeeded = event("mail", 2, Transition::Succeeded, 1, 9);
    succeeded.result = Some(SCRIPT.as_bytes().to_vec());
    succeeded.result_content_type = "text/plain".to_owned();
    server.database.tell(vec![text(dead), text(succeeded), accepted("mail", 1, 0)]).await;
    for path in [format!("/jobs/{}", job_id(1)), format!("/jobs/{}", job_id(2))] {
        let html = server.html(&path).await;
        assert!(html.contains("script&") && html.contains("alert("), "the text is shown: {html}");
        assert!(!html.replace(OURS, "").contains("<script"), "{html}");
    }
    for path in ["/", "/jobs", "/queues", "/reports", "/log"] {
        assert!(!server.html(path).await.replace(OURS, "").contains("<script"), "{path}");
    }
    let refused = server.get("/jobs?state=%3Cscript%3E").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(!refused.text().await.unwrap().replace(OURS, "").contains("<script"));
}

#[tokio::test]
async fn every_answer_forbids_the_scripts_of_others() {
    let server = Server::start(None).await;
    for path in ["/", "/style.css", "/script.js", "/sign-in", "/api/v1/jobs", "/nothing", "/jobs/7"] {
        let response = server.get(path).await;
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; ") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
    }
}

#[tokio::test]
async fn pages_show_lists_and_jobs() {
    let mut server = Server::start(None).await;
    for job in 1..=60 {
        server.database.tell(life("mail", job)).await;
    }
    let list = server.html("/jobs?queue=mail&state=succeeded").await;
    assert!(list.contains(&job_id(60).to_string()) && !list.contains(&job_id(10).to_string()));
    let older = list
        .split("href=\"/jobs?")
        .find_map(|part| part.split_once("\" rel=\"next\"").filter(|(query, _)| !query.contains('"')))
        .unwrap()
        .0;
    let next = server.html(&format!("/jobs?{}", older.replace("&amp;", "&").replace("&#38;", "&"))).await;
    assert!(next.contains(&job_id(10).to_string()) && !next.contains(&job_id(60).to_string()));
    let job = server.html(&format!("/jobs/{}", job_id(1))).await;
    assert!(job.contains("<details id=\"result\">") && job.contains("no such file"));
    assert!(job.contains("4bf92f3577b34da6a3ce929d0e0e4736") && !job.contains("16686"));
}

#[tokio::test]
async fn a_trace_is_linked_where_its_address_is_configured() {
    let mut server = Server::start(Some("http://localhost:16686/trace/{trace_id}")).await;
    server.database.tell(life("mail", 1)).await;
    let job = server.html(&format!("/jobs/{}", job_id(1))).await;
    assert!(job.contains("href=\"http://localhost:16686/trace/4bf92f3577b34da6a3ce929d0e0e4736\""), "{job}");
}

/// A rejected message is told under an id of its own; whoever looks for the id that it bears is led there, unless a job
/// has that id.
#[tokio::test]
async fn a_rejected_message_is_found_by_the_id_that_it_bears() {
    let mut server = Server::start(None).await;
    let rejected = Event {
        claimed_id: Some(job_id(7)),
        error: Some(error("Windlass-Delay: `soon` is no duration")),
        ..event("mail", 1, Transition::Rejected, 0, 9)
    };
    server.database.tell(vec![rejected]).await;
    let path = format!("/api/v1/jobs/{}", job_id(7));
    let answer = server.get(&path).await;
    let (status, problem): (_, Value) = (answer.status().as_u16(), answer.json().await.unwrap());
    assert_eq!((status, &problem["rejected"]["id"]), (404, &json!(job_id(1))), "{problem}");
    assert_eq!(
        (&problem["rejected"]["queue"], &problem["rejected"]["reason"]),
        (&json!("mail"), &json!("Windlass-Delay: `soon` is no duration"))
    );
    assert!(problem["detail"].as_str().unwrap().contains(&job_id(1).to_string()), "{problem}");
    let document = server.json("/api/v1/openapi.json").await;
    let content = &document["paths"]["/api/v1/jobs/{id}"]["get"]["responses"]["404"]["content"];
    conform(&document, &content["application/problem+json"]["schema"], &problem, "problem");
    let elsewhere: Value = server.get(&format!("{path}?queue=web")).await.json().await.unwrap();
    assert!(elsewhere.get("rejected").is_none(), "{elsewhere}");
    let told = server.json(&format!("/api/v1/jobs/{}", job_id(1))).await;
    let note = told["transitions"][0]["note"].as_str().unwrap().to_owned();
    assert!(told["state"] == "dead" && note.contains(&job_id(7).to_string()), "{told}");

    server.database.tell(life("mail", 7)).await;
    let job = server.json(&path).await;
    assert_eq!((&job["id"], &job["state"]), (&json!(job_id(7)), &json!("succeeded")));
    assert!(!job.to_string().contains("rejected"), "{job}");
}

#[tokio::test]
async fn status_tells_lag_and_gaps() {
    let server = Server::start(None).await;
    assert_eq!(server.json("/api/v1/status").await["events"]["lag"], Value::Null);
    server.database.store.record_gaps(4, second(1)).await.unwrap();
    server.progress.send_replace(Progress {
        last_sequence: Some(9),
        processed_sequence: 7,
        lag: Some(2),
        checked_at: Some(second(2)),
        standstill: Some(Standstill { since: second(1), reason: "the disk is full".to_owned() }),
    });
    let status = server.json("/api/v1/status").await;
    assert_eq!(status["events"]["lag"], 2);
    assert_eq!(status["events"]["standstill"]["reason"], "the disk is full");
    assert_eq!(status["gaps"][0]["last_sequence"], 3);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let page = server.html("/").await;
    assert!(page.contains("Events 1 to 3 were gone") && page.contains("the disk is full"), "{page}");
}

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
