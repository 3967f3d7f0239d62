use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;

struct Running {
    address: SocketAddr,
    health: Health,
    routes: Routes,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (health, routes, stop) = (Health::new(), Routes::new(Handle::current()), CancellationToken::new());
    let recorder = crate::recorder::install("tester").unwrap();
    let served = tokio::spawn(serve(
        listener,
        health.clone(),
        recorder,
        routes.clone(),
        stop.clone().cancelled_owned(),
    ));
    Running { address, health, routes, stop, served }
}

impl Running {
    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test]
async fn readyz_lists_each_condition_and_its_cause() {
    let running = start().await;
    running.health.ready("broker");
    running.health.not_ready("provisioned", "stream JOBS is missing");
    let (status, text) = running.get("/readyz").await;
    let expected = json!({ "ready": false, "conditions": [
        { "name": "broker", "ready": true },
        { "name": "provisioned", "ready": false, "cause": "stream JOBS is missing" },
    ]});
    assert_eq!((status, serde_json::from_str::<serde_json::Value>(&text).unwrap()), (503, expected));
    assert_eq!(running.get("/livez").await.0, 200);
    running.health.ready("provisioned");
    assert_eq!(running.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn readyz_waits_until_ready_or_out_of_time() {
    let running = start().await;
    running.health.not_ready("broker", "connecting");
    assert_eq!(running.get("/readyz?wait=20ms").await.0, 503);
    assert_eq!(running.get("/readyz?wait=soon").await.0, 400);
    assert_eq!(running.get("/readyz?wiat=1s").await.0, 400);
    let (answer, ()) =
        tokio::join!(running.get("/readyz?wait=50s"), async { running.health.ready("broker") });
    assert_eq!(answer.0, 200);
}

#[tokio::test]
async fn livez_names_what_is_stalled() {
    let running = start().await;
    let heartbeat = running.health.heartbeat("admission", Duration::ZERO);
    let mut answer = running.get("/livez").await;
    // The heartbeat counts in milliseconds, so it is over its limit with the next one.
    while answer.0 == 200 {
        answer = running.get("/livez").await;
    }
    assert_eq!(answer.0, 503);
    assert!(answer.1.contains(r#""name":"admission""#), "{}", answer.1);
    drop(heartbeat);
    assert_eq!(running.get("/livez").await.0, 200);
}

#[tokio::test]
async fn metrics_are_rendered() {
    let running = start().await;
    let answer = reqwest::get(format!("http://{}/metrics", running.address)).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text().await.unwrap().contains("windlass_build_info{service=\"tester\""));
}

#[tokio::test]
async fn a_service_adds_routes_and_cannot_hide_ours() {
    let running = start().await;
    assert_eq!(running.get("/api").await.0, 404);
    let router = Router::new()
        .route("/api", get(|| async { "jobs" }))
        .route("/fails", get(|| async { panic!("a bug") as &str }))
        .route("/livez", get(|| async { StatusCode::IM_A_TEAPOT }));
    running.routes.serve(router);
    assert_eq!(running.get("/api").await, (200, "jobs".to_owned()));
    assert_eq!(running.get("/fails").await.0, 500);
    assert_eq!(running.get("/livez").await.0, 200);
}

#[tokio::test]
async fn an_answer_under_way_survives_the_stop() {
    let running = start().await;
    running.health.not_ready("broker", "connecting");
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(b"GET /readyz?wait=60s HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // Another request after it is answered: the first has arrived.
    assert_eq!(running.get("/livez").await.0, 200);
    running.stop.cancel();
    running.health.ready("broker");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.served.await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_header_that_never_ends_is_cut_off() {
    let running = start().await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Time is paused and passes only while all wait: without the limit this would never return.
    let read = tokio::time::timeout(10 * HEADER_READ_TIMEOUT, client.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "still open");
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}
