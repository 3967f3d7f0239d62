//! Changes as they happen, over a socket.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared with the tests of the API")]
mod fixture;

use fixture::conform::conform;
use fixture::{Database, accepted, job_id, life, second};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use windlass_monitor::api::{Api, router};
use windlass_monitor::live::Teller;

/// The monitor's routes on a free port, until dropped.
struct Server {
    database: Database,
    url: String,
    teller: Teller,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let (database, teller) = (Database::new().await, Teller::new());
        let routes = router(Api { live: Some(teller.live()), ..Api::of_database(database.store.clone()) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { database, url, teller, serving }
    }

    async fn get(&self, path: &str) -> Response {
        reqwest::get(format!("{}{path}", self.url)).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The next event of a stream of them.
async fn next_event(response: &mut Response) -> (String, Value) {
    let chunk = response.chunk().await.unwrap().unwrap();
    let text = String::from_utf8(chunk.to_vec()).unwrap();
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    (line("event:"), serde_json::from_str(&line("data:")).unwrap())
}

#[tokio::test]
async fn changes_are_told_as_they_happen() {
    let mut server = Server::start().await;
    let mut all = server.get("/api/v1/live").await;
    let mut ended = server.get("/api/v1/live?state=succeeded&queue=mail").await;
    assert_eq!(all.headers()["content-type"], "text/event-stream");
    let accepted = server.database.tell_all(vec![accepted("mail", 1, 1)]).await;
    server.teller.tell(&accepted);
    let (name, job) = next_event(&mut all).await;
    assert_eq!((name.as_str(), &job["id"], &job["state"]), ("job", &json!(job_id(1)), &json!("queued")));
    let done = server.database.tell_all(life("mail", 1)).await;
    server.teller.tell(&done);
    assert_eq!(next_event(&mut all).await.1["state"], "succeeded");
    let (_, job) = next_event(&mut ended).await;
    assert_eq!((&job["attempt_count"], &job["ended_at"]), (&json!(2), &json!(second(25))));
    let document: Value = server.get("/api/v1/openapi.json").await.json().await.unwrap();
    conform(&document, &json!({ "$ref": "#/components/schemas/JobChange" }), &job, "change");
}

#[tokio::test]
async fn a_reader_that_stalls_is_told_what_it_missed_and_holds_nothing_up() {
    let mut server = Server::start().await;
    let jobs = server.database.tell_all((1..=300).map(|job| accepted("mail", job, 1)).collect()).await;
    let mut stalled = server.get("/api/v1/live").await;
    // Far more than sockets and the channel hold; nothing of it is waited for.
    for _ in 0..2000 {
        server.teller.tell(&jobs);
    }
    let mut seen = String::new();
    while !seen.contains("event: missed") {
        seen.push_str(&String::from_utf8_lossy(&stalled.chunk().await.unwrap().unwrap()));
    }
    assert!(seen.contains("event: job") || seen.starts_with("event: missed"), "{seen}");
}

#[tokio::test]
async fn only_so_many_look_on() {
    let server = Server::start().await;
    let mut open = Vec::new();
    for _ in 0..windlass_monitor::api::MOST_LOOKING {
        open.push(server.get("/api/v1/live").await);
    }
    assert_eq!(server.get("/api/v1/live").await.status(), StatusCode::TOO_MANY_REQUESTS);
    let refused: Value = server.get("/api/v1/live?colour=red").await.json().await.unwrap();
    assert_eq!(refused["field"], "colour");
}
