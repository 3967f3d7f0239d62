//! The kind against a server in this process.

use std::future::pending;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{any, get, post};
use futures::stream;
use tokio::net::TcpListener;

use super::*;

const ATTEMPT: Duration = Duration::from_mins(1);

/// A server for as long as the test's runtime lives; its address.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn job(url: impl Into<String>) -> HttpRequest {
    HttpRequest { url: url.into(), method: None, headers: BTreeMap::new(), body: None, timeout_seconds: None }
}

fn settings() -> Settings {
    Settings { proxy_from_environment: false, ..Settings::default() }
}

async fn request(job: HttpRequest) -> Result<Answered, Error> {
    Requester::new(settings()).request(job, ATTEMPT).await
}

async fn answer_of(response: impl IntoResponse + Clone + Send + Sync + 'static) -> Result<Answered, Error> {
    let url = serve(Router::new().route("/", get(async move || response))).await;
    request(job(url)).await
}

#[tokio::test]
async fn sends_what_it_is_told_and_gives_the_answer() {
    let echo = async |headers: HeaderMap, body: String| {
        let said = headers["x-test"].to_str().unwrap().to_owned();
        (StatusCode::CREATED, [("x-said", said), ("x-said-more", "1".to_owned())], format!("got {body}"))
    };
    let url = serve(Router::new().route("/a", post(echo))).await;
    let job = HttpRequest {
        method: Some("POST".to_owned()),
        headers: BTreeMap::from([("X-Test".to_owned(), "hello".to_owned())]),
        body: Some("ä".to_owned()),
        ..job(format!("{url}/a"))
    };
    let answered = request(job).await.unwrap();
    assert_eq!((answered.status, answered.body.as_str(), answered.truncated), (201, "got ä", false));
    assert_eq!(answered.headers["x-said"], "hello");
}

#[tokio::test]
async fn answers_below_500_are_results() {
    for status in [200, 204, 302, 400, 404, 499] {
        let answered = answer_of(StatusCode::from_u16(status).unwrap()).await.unwrap();
        assert_eq!(answered.status, status);
    }
}

#[tokio::test]
async fn others_are_tried_again() {
    for status in [408, 429, 500, 503, 599] {
        let error = answer_of((StatusCode::from_u16(status).unwrap(), "why")).await.unwrap_err();
        assert_eq!((error.code(), error.is_terminal()), (format!("http_{status}"), false));
        assert_eq!(error.retry_after(), None);
        assert!(error.to_string().ends_with(": why"), "{error}");
    }
}

#[tokio::test]
async fn a_server_says_when_to_come_back() {
    let after = async |status, seconds: &'static str| {
        let error = answer_of((status, [(RETRY_AFTER, seconds)])).await.unwrap_err();
        error.retry_after().map(|delay| delay.as_secs())
    };
    assert_eq!(after(StatusCode::SERVICE_UNAVAILABLE, "7").await, Some(7));
    assert_eq!(after(StatusCode::TOO_MANY_REQUESTS, "7").await, Some(7));
    assert_eq!(after(StatusCode::INTERNAL_SERVER_ERROR, "7").await, None);
    assert_eq!(after(StatusCode::SERVICE_UNAVAILABLE, "4000000000").await, Some(3600));
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let endless = async || {
        let zeros = Bytes::from_static(&[0; 1000]);
        Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(zeros.clone())))
    };
    let url = serve(Router::new().route("/", get(endless))).await;
    let settings = Settings { body_limit_bytes: 30 * 1024, ..settings() };
    let answered = Requester::new(settings).request(job(url), ATTEMPT).await.unwrap();
    assert!(answered.truncated);
    assert!(serde_json::to_vec(&answered).unwrap().len() <= 64 * 1024);
}

#[test]
fn many_headers_are_cut() {
    let mut all = HeaderMap::new();
    all.append("a", HeaderValue::from_static("1"));
    all.append("a", HeaderValue::from_static("2"));
    all.append("long", HeaderValue::try_from("x".repeat(100)).unwrap());
    let (kept, cut) = headers_within(&all, 100);
    assert_eq!((kept, cut), (BTreeMap::from([("a".to_owned(), "1, 2".to_owned())]), true));
    assert!(!headers_within(&all, 1000).1);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_time_out() {
    let url = serve(Router::new().route("/", get(pending::<()>))).await;
    let error = request(HttpRequest { timeout_seconds: Some(0.05), ..job(url) }).await.unwrap_err();
    assert_eq!((error.code().as_str(), error.is_terminal()), ("timeout", false));
    assert_eq!(error.to_string(), "no answer within 0.05 s");
}

#[tokio::test]
async fn no_connection_is_tried_again_and_shows_no_password() {
    // Bound and dropped: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = request(job(format!("http://user:secret@{address}/"))).await.unwrap_err();
    assert_eq!((error.code().as_str(), error.is_terminal()), ("connect", false));
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn redirections_are_followed_only_where_that_is_configured() {
    let router = Router::new()
        .route("/once", get(async || Redirect::temporary("/end")))
        .route("/loop", get(async || Redirect::temporary("/loop")))
        .route("/away", get(async || Redirect::temporary("http://evil.invalid/")))
        .route("/end", any(async || "here"));
    let url = serve(router).await;
    let follow = Settings { max_redirects: 1, allow_hosts: vec!["127.0.0.1".to_owned()], ..settings() };
    let follow = Requester::new(follow);
    let at = |path: &str| job(format!("{url}{path}"));
    assert_eq!(request(at("/once")).await.unwrap().headers["location"], "/end");
    assert_eq!(follow.request(at("/once"), ATTEMPT).await.unwrap().body, "here");
    for path in ["/loop", "/away"] {
        let error = follow.request(at(path), ATTEMPT).await.unwrap_err();
        assert_eq!((error.code().as_str(), error.is_terminal()), ("redirected", true), "{path}: {error:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_requested_fails_for_good() {
    let headers = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let good = job("http://127.0.0.1:1/");
    for (bad, field) in [
        (job("no url"), "url"),
        (job("file:///etc/hosts"), "url"),
        (HttpRequest { method: Some("get".to_owned()), ..good.clone() }, "method"),
        (HttpRequest { method: Some("CONNECT".to_owned()), ..good.clone() }, "method"),
        (HttpRequest { headers: headers("a b", ""), ..good.clone() }, "headers"),
        (HttpRequest { headers: headers("a", "b\r\nc: d"), ..good.clone() }, "headers"),
        (HttpRequest { headers: headers("Host", "internal"), ..good.clone() }, "headers"),
        (HttpRequest { timeout_seconds: Some(61.0), ..good.clone() }, "timeout_seconds"),
    ] {
        let error = request(bad).await.unwrap_err();
        assert_eq!((error.code().as_str(), error.is_terminal()), ("invalid_payload", true), "{error}");
        assert!(error.to_string().starts_with(&format!("payload: {field}: ")), "{error}");
    }
    let closed = Settings { allow_hosts: vec!["example.com".to_owned()], ..settings() };
    let error = Requester::new(closed).request(good, ATTEMPT).await.unwrap_err();
    assert_eq!((error.code().as_str(), error.is_terminal()), ("not_allowed", true));
}
