//! Actions over HTTP, on a real broker: what is stored, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "actions/access.rs"]
mod access;
#[path = "actions/chromium.rs"]
mod chromium;
#[path = "actions/chromium_schedules.rs"]
mod chromium_schedules;
#[path = "actions/driver.rs"]
mod driver;
#[allow(dead_code, reason = "shared with the tests of the projection")]
mod fixture;
#[path = "actions/fleet.rs"]
mod fleet;
#[path = "actions/pages.rs"]
mod pages;
#[path = "actions/populated.rs"]
mod populated;
#[path = "actions/schedule_pages.rs"]
mod schedule_pages;
#[path = "actions/schedules.rs"]
mod schedules;
#[path = "actions/speed.rs"]
mod speed;

use fixture::conform::conform;
use fixture::served::{GRACE, Served, TOKEN};
use fixture::{accepted, event, job_id};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_broker::commands::Verb;
use windlass_broker::commands::set::Member;
use windlass_broker::connect;
use windlass_core::Transition;
use windlass_monitor::operations::{MOST_KEPT, MOST_RUNNING};
use windlass_proto::v1;
use windlass_testkit::PATIENCE;
use windlass_testkit::process::Signal;

const JSON: (&str, &str) = ("content-type", "application/json");

/// Every route that acts, with a path that fits it.
const ACTS: &[(&str, &str, &str)] = &[
    ("post", "/api/v1/dead/{id}/redrive", "/api/v1/dead/01890a5d-ac96-774b-bcce-000000000001/redrive"),
    ("post", "/api/v1/dead/{id}/discard", "/api/v1/dead/01890a5d-ac96-774b-bcce-000000000001/discard"),
    ("post", "/api/v1/jobs/{id}/cancel", "/api/v1/jobs/01890a5d-ac96-774b-bcce-000000000001/cancel"),
    ("post", "/api/v1/jobs/{id}/release", "/api/v1/jobs/01890a5d-ac96-774b-bcce-000000000001/release"),
    ("post", "/api/v1/dead/redrive", "/api/v1/dead/redrive"),
    ("post", "/api/v1/dead/discard", "/api/v1/dead/discard"),
    ("post", "/api/v1/jobs/cancel", "/api/v1/jobs/cancel"),
    ("post", "/api/v1/queues/{name}/settings", "/api/v1/queues/mail/settings"),
    ("post", "/api/v1/queues/{name}/pause", "/api/v1/queues/mail/pause"),
    ("post", "/api/v1/queues/{name}/resume", "/api/v1/queues/mail/resume"),
    ("post", "/api/v1/schedules/apply", "/api/v1/schedules/apply"),
    ("post", "/api/v1/schedules/{id}/pause", "/api/v1/schedules/a/pause"),
    ("post", "/api/v1/schedules/{id}/resume", "/api/v1/schedules/a/resume"),
    ("post", "/api/v1/schedules/{id}/trigger", "/api/v1/schedules/a/trigger"),
    ("post", "/api/v1/schedules/{id}/backfill", "/api/v1/schedules/a/backfill"),
    ("delete", "/api/v1/schedules/{id}", "/api/v1/schedules/a"),
    ("post", "/api/v1/alerts/silences", "/api/v1/alerts/silences"),
    ("delete", "/api/v1/alerts/silences/{id}", "/api/v1/alerts/silences/1"),
    ("delete", "/api/v1/operations/{id}", "/api/v1/operations/01890a5d-ac96-774b-bcce-000000000001"),
];

/// Checks an answer against the document, and returns it.
async fn described(document: &Value, method: &str, route: &str, status: u16, response: Response) -> Value {
    let found = response.status().as_u16();
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    let value: Value = response.json().await.unwrap();
    assert_eq!(found, status, "{method} {route}: {value}");
    let described = &document["paths"][route][method]["responses"][status.to_string()];
    let schema = &described["content"][&content_type]["schema"];
    assert!(schema.is_object(), "{method} {route} {status} {content_type} is not described");
    conform(document, schema, &value, if status < 300 { "answer" } else { "problem" });
    value
}

fn method(name: &str) -> Method {
    name.to_uppercase().parse().unwrap()
}

/// Waits until an operation has ended.
async fn ended(server: &Served, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = server.json(&format!("/api/v1/operations/{id}")).await;
        if seen["state"] != "running" {
            return seen;
        }
        assert!(Instant::now() < deadline, "{seen}");
    }
}

#[tokio::test]
async fn nobody_acts_without_the_token() {
    let (server, off) = (Served::start().await, Served::start_with(None).await);
    for served in [&server, &off] {
        served.dead("mail", 1, "mail.send", "no user 7", 5).await;
    }
    let document = server.json("/api/v1/openapi.json").await;
    let mut acting = Vec::new();
    for (route, methods) in document["paths"].as_object().unwrap() {
        for (name, operation) in methods.as_object().unwrap() {
            assert_eq!(operation["security"].is_array(), name != "get", "{name} {route}");
            if name != "get" {
                acting.push((name.as_str(), route.as_str()));
            }
        }
    }
    let mut tried: Vec<_> = ACTS.iter().map(|(name, route, _)| (*name, *route)).collect();
    acting.sort_unstable();
    tried.sort_unstable();
    assert_eq!(acting, tried, "each is tried");
    assert_eq!(document["components"]["securitySchemes"]["operator"]["scheme"], "bearer");

    let (right, wrong) = (format!("Bearer {TOKEN}"), format!("Bearer {TOKEN}x"));
    let body = json!({ "all": true, "reason": "x" }).to_string();
    for (name, route, path) in ACTS {
        for headers in [&[][..], &[JSON], &[JSON, ("authorization", &wrong)]] {
            let response = server.send(method(name), path, headers, body.clone()).await;
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{route}");
            let problem = described(&document, name, route, 401, response).await;
            assert!(!problem.to_string().contains(TOKEN), "{problem}");
        }
        let response = off.send(method(name), path, &[JSON, ("authorization", &right)], body.clone()).await;
        let problem = described(&document, name, route, 403, response).await;
        assert!(problem["detail"].as_str().unwrap().contains("monitor.operator_token_file"), "{problem}");
    }
    assert_eq!((server.commands().await, off.commands().await), (vec![], vec![]));
    assert_eq!(server.json("/api/v1/operations").await, json!({ "operations": [] }));
}

#[tokio::test]
async fn a_body_is_bounded_json_that_means_what_it_says() {
    let server = Served::start().await;
    server.dead("mail", 1, "mail.send", "no user 7", 5).await;
    let document = server.json("/api/v1/openapi.json").await;
    let token = format!("Bearer {TOKEN}");
    let (authorized, text) = (("authorization", token.as_str()), ("content-type", "text/plain"));
    let large = |bytes: usize| json!({ "reason": "x".repeat(bytes) }).to_string();
    for (name, route, path) in ACTS.iter().filter(|(name, ..)| *name == "post") {
        let send = async |headers: &[(&str, &str)], body: &str| {
            server.send(method(name), path, headers, body.to_owned()).await
        };
        for headers in [&[authorized][..], &[authorized, text]] {
            described(&document, name, route, 415, send(headers, "{}").await).await;
        }
        // Schedules are larger than orders.
        let large = large(if route.ends_with("/apply") { 2_000_000 } else { 20_000 });
        described(&document, name, route, 413, send(&[authorized, JSON], &large).await).await;
        for (body, field) in [
            ("", "body"),
            ("[]", "body"),
            (r#"{"reason": 7}"#, "reason"),
            (r#"{"reason": "x", "zest": 1}"#, "zest"),
        ] {
            let problem = described(&document, name, route, 400, send(&[authorized, JSON], body).await).await;
            assert_eq!(problem["field"], field, "{route}: {body}");
        }
    }
    for (path, body, field) in [
        ("/api/v1/dead/redrive", json!({}), "all"),
        ("/api/v1/dead/redrive", json!({ "all": true, "queue": "mail" }), "all"),
        ("/api/v1/dead/redrive", json!({ "queue": "" }), "queue"),
        ("/api/v1/dead/discard", json!({ "queue": "mail" }), "reason"),
        ("/api/v1/jobs/cancel", json!({ "state": "dead" }), "state"),
        ("/api/v1/jobs/cancel", json!({ "queue": "mail", "rate": 0 }), "rate"),
        ("/api/v1/jobs/cancel?queue=mail", json!({ "queue": "mail" }), "queue"),
    ] {
        let response = server.act(Method::POST, path, &body).await;
        let problem: Value = response.json().await.unwrap();
        assert_eq!((&problem["status"], &problem["field"]), (&json!(400), &json!(field)), "{path} {body}");
    }
    assert_eq!(server.commands().await, []);
}

#[tokio::test]
async fn one_is_redriven_discarded_or_cancelled() {
    let mut server = Served::start().await;
    server.dead("mail", 1, "mail.send", "no user 7", 5).await;
    server.dead("mail", 2, "mail.send", "no user 8", 6).await;
    server.dead("web", 2, "page.get", "no page", 7).await;
    let rubbish = v1::DeadLetter { original_body: b"\xff".to_vec().into(), ..v1::DeadLetter::default() };
    server.letter("mail", 3, rubbish).await;
    server.database.tell(vec![accepted("mail", 4, 0), accepted("mail", 5, 0)]).await;
    server.database.tell(vec![event("mail", 5, Transition::Cancelled, 0, 9)]).await;
    let document = server.json("/api/v1/openapi.json").await;
    let redriven = server.json(&format!("/api/v1/dead/{}", job_id(1))).await["redriven_id"].clone();
    let id = |job: u64| job_id(job).to_string();
    for (what, job, query, reason, status, field) in [
        ("dead/{id}/redrive", 1, "", "mended", 202, None),
        ("dead/{id}/redrive", 2, "", "", 409, None),
        ("dead/{id}/redrive", 2, "?queue=web", "", 202, None),
        ("dead/{id}/redrive", 3, "", "", 409, None),
        ("dead/{id}/redrive", 9, "", "", 404, None),
        ("dead/{id}/redrive", 1, "?queue=a.b", "", 400, Some("queue")),
        ("dead/{id}/discard", 3, "", "", 400, Some("reason")),
        ("dead/{id}/discard", 3, "", "rubbish", 202, None),
        ("dead/{id}/discard", 2, "", "rubbish", 409, None),
        ("jobs/{id}/cancel", 4, "", "wrong region", 202, None),
        ("jobs/{id}/cancel", 5, "", "", 409, None),
        ("jobs/{id}/cancel", 9, "", "", 404, None),
    ] {
        let route = format!("/api/v1/{what}");
        let path = format!("{}{query}", route.replace("{id}", &id(job)));
        let body = if reason.is_empty() { json!({}) } else { json!({ "reason": reason }) };
        let response = server.act(Method::POST, &path, &body).await;
        let value = described(&document, "post", &route, status, response).await;
        if status == 202 {
            assert_eq!(value["id"], id(job));
            assert_eq!(value["redriven_id"].is_string(), what.ends_with("redrive"), "{value}");
        } else {
            assert_eq!(value["field"].as_str(), field, "{value}");
            assert_eq!(value["queues"].is_array(), status == 409 && job == 2, "{value}");
        }
        if job == 1 && status == 202 {
            assert_eq!((&value["queue"], &value["redriven_id"]), (&json!("mail"), &redriven));
        }
    }
    let stored = server.commands().await;
    let told: Vec<_> =
        stored.iter().map(|(verb, c)| (verb.as_str(), c.job_id.as_str(), c.reason.as_str())).collect();
    let (one, two, three, four) = (id(1), id(2), id(3), id(4));
    assert_eq!(
        told,
        [
            ("redrive", one.as_str(), "mended"),
            ("redrive", &two, ""),
            ("discard", &three, "rubbish"),
            ("cancel", &four, "wrong region")
        ]
    );
    for (verb, command) in stored {
        assert_eq!((command.requested_by.as_str(), command.dead_at.is_some()), ("api", verb != "cancel"));
    }
    // What the broker does not take is not said to be stored.
    server.refuse_commands(true).await;
    let response = server.act(Method::POST, &format!("/api/v1/dead/{one}/redrive"), &json!({})).await;
    described(&document, "post", "/api/v1/dead/{id}/redrive", 503, response).await;
}

#[tokio::test]
async fn many_are_shown_and_then_commanded_as_shown() {
    let mut server = Served::start().await;
    for job in 0..12 {
        let queue = if job < 8 { "mail" } else { "web" };
        server.dead(queue, job, "mail.send", "no user 7", 5).await;
    }
    let rubbish = v1::DeadLetter { original_body: b"\xff".to_vec().into(), ..v1::DeadLetter::default() };
    server.letter("mail", 20, rubbish).await;
    server.database.tell((30..33).map(|job| accepted("mail", job, 0)).collect()).await;
    server.database.tell(vec![accepted("web", 33, 0), event("mail", 32, Transition::Cancelled, 0, 9)]).await;
    let document = server.json("/api/v1/openapi.json").await;

    let which = json!({ "queue": "mail", "rate": 4, "dry_run": true });
    let response = server.act(Method::POST, "/api/v1/dead/redrive", &which).await;
    let preview = described(&document, "post", "/api/v1/dead/redrive", 200, response).await;
    let sample = preview["sample"].as_array().unwrap();
    assert_eq!((&preview["matched"], &preview["unfit"], sample.len()), (&json!(8), &json!(1), 5));
    assert_eq!((&preview["estimated_seconds"], &preview["more"]), (&json!(2.0), &json!(false)));
    assert_eq!(server.commands().await, [], "nothing is done so far");

    for (what, body, matched, verb) in [
        ("dead/redrive", json!({ "queue": "mail", "rate": 1000, "reason": "mended" }), 8, "redrive"),
        ("dead/discard", json!({ "all": true, "rate": 1000, "reason": "rubbish" }), 13, "discard"),
        ("jobs/cancel", json!({ "queue": "mail", "kind": "file.digest", "rate": 1000 }), 2, "cancel"),
        ("jobs/cancel", json!({ "state": "running" }), 0, "cancel"),
    ] {
        let (route, before) = (format!("/api/v1/{what}"), server.commands().await.len());
        let response = server.act(Method::POST, &route, &body).await;
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let begun = described(&document, "post", &route, 202, response).await;
        let id = begun["id"].as_str().unwrap();
        assert_eq!(location, format!("/api/v1/operations/{id}"));
        let seen = ended(&server, id).await;
        assert_eq!((&seen["state"], &seen["action"]), (&json!("done"), &json!(verb)));
        assert_eq!((&seen["matched"], &seen["commanded"]), (&json!(matched), &json!(matched)), "{seen}");
        assert_eq!((&seen["failed"], seen["ended_at"].is_string()), (&json!(0), true));
        assert_eq!(seen["filter"].get("queue"), body.get("queue"));
        let stored = server.commands().await.split_off(before);
        assert_eq!(stored.len(), matched);
        assert!(stored.iter().all(|(found, command)| found == verb && command.requested_by == "api"));
    }
    // Three in a row that are not stored are enough.
    server.refuse_commands(true).await;
    let response =
        server.act(Method::POST, "/api/v1/dead/redrive", &json!({ "queue": "mail", "rate": 1000 })).await;
    let begun: Value = response.json().await.unwrap();
    let failed = ended(&server, begun["id"].as_str().unwrap()).await;
    assert_eq!((&failed["state"], &failed["failed"]), (&json!("failed"), &json!(3)), "{failed}");
    assert_eq!(failed["errors"].as_array().unwrap().len(), 3);
    let list = server.json("/api/v1/operations").await;
    conform(&document, &json!({ "$ref": "#/components/schemas/OperationList" }), &list, "answer");
    assert_eq!(
        (list["operations"].as_array().unwrap().len(), &list["operations"][0]["id"]),
        (5, &begun["id"])
    );
}

#[tokio::test]
async fn operations_are_bounded_and_aborted_between_two_commands() {
    let server = Served::start().await;
    for job in 0..5 {
        server.dead("mail", job, "mail.send", "no user 7", 5).await;
    }
    let document = server.json("/api/v1/openapi.json").await;
    let slow = json!({ "all": true, "rate": 1 });
    let mut ids = Vec::new();
    for _ in 0..MOST_RUNNING {
        let response = server.act(Method::POST, "/api/v1/dead/redrive", &slow).await;
        let begun = described(&document, "post", "/api/v1/dead/redrive", 202, response).await;
        ids.push(begun["id"].as_str().unwrap().to_owned());
    }
    for body in [&slow, &json!({ "all": true, "dry_run": true })] {
        let response = server.act(Method::POST, "/api/v1/dead/redrive", body).await;
        described(&document, "post", "/api/v1/dead/redrive", 429, response).await;
    }
    let path = format!("/api/v1/operations/{}", ids[0]);
    for _ in 0..2 {
        let response = server.act(Method::DELETE, &path, &Value::Null).await;
        let seen = described(&document, "delete", "/api/v1/operations/{id}", 200, response).await;
        assert!(seen["state"] == "aborted" && seen["commanded"].as_u64().unwrap() < 5, "{seen}");
        assert_eq!(server.json(&path).await, seen, "it stays as it ended");
    }
    let unknown = format!("/api/v1/operations/{}", job_id(1));
    let response = server.act(Method::DELETE, &unknown, &Value::Null).await;
    described(&document, "delete", "/api/v1/operations/{id}", 404, response).await;
    assert_eq!((server.get(&unknown).await.0, server.get("/api/v1/operations/7").await.0), (404, 400));

    // There is room again, and the last ones are remembered, those that run among them.
    let nothing = json!({ "queue": "none" });
    for _ in 0..MOST_KEPT {
        let response = server.act(Method::POST, "/api/v1/dead/redrive", &nothing).await;
        assert_eq!(response.status(), 202);
        let begun: Value = response.json().await.unwrap();
        ended(&server, begun["id"].as_str().unwrap()).await;
    }
    let list = server.json("/api/v1/operations").await;
    let listed: Vec<_> =
        list["operations"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed.len(), MOST_KEPT);
    assert!(!listed.contains(&ids[0]));

    // The stop ends those that run, and what they had commanded is what is stored.
    server.stop.cancel();
    tokio::time::timeout(PATIENCE, server.operations.stopped()).await.unwrap();
    let all = server.operations.list();
    assert!(all.iter().all(|operation| operation.ended_at.is_some()));
    let stored = server.commands().await.len();
    assert!(stored < 5 * MOST_RUNNING, "{stored} are commanded");
}

/// A command that the broker does not answer ends with the monitor's stop, not only when its own time is over (15 s).
#[tokio::test]
async fn a_stop_does_not_wait_for_a_silent_broker() {
    let server = Served::start().await;
    server.nats.signal(Signal::STOP).await.unwrap();
    let member = Member { queue: "mail".parse().unwrap(), job_id: job_id(1), dead_at: None };
    let commanding = server.operations.command(Verb::Cancel, &member, "a reason", "api");
    // In this order: the command is on its way when the stop comes.
    let both = async { tokio::join!(commanding, async { server.stop.cancel() }).0 };
    let stored = tokio::time::timeout(GRACE * 20, both).await.expect("it outlives the stop");
    assert!(matches!(stored, Err(connect::Error::TimedOut { .. })), "{stored:?}");
    server.nats.signal(Signal::CONT).await.unwrap();
}
