//! Schedules over HTTP, where no scheduler runs: what is stored and shown, and what is refused.

use reqwest::Method;
use serde_json::{Value, json};
use windlass_core::schedule::{Cause, Cursor, Past, What};
use windlass_core::{JobId, ScheduleId, Transition};
use windlass_monitor::access::Role;
use windlass_proto::v1;

use crate::described;
use crate::fixture::second;
use crate::fixture::served::{Served, token_of};

const ROUTE: &str = "/api/v1/schedules";

async fn post(server: &Served, document: &Value, route: &str, id: &str, status: u16, body: &Value) -> Value {
    let route = format!("{ROUTE}{route}");
    let response = server.act(Method::POST, &route.replace("{id}", id), body).await;
    described(document, "post", &route, status, response).await
}

async fn get(server: &Served, document: &Value, route: &str, id: &str, query: &str, status: u16) -> Value {
    let route = format!("{ROUTE}{route}");
    let path = format!("{}{query}", route.replace("{id}", id));
    let response = server.send(Method::GET, &path, &[], "").await;
    described(document, "get", &route, status, response).await
}

fn schedule(id: &str, every: &str) -> Value {
    json!({ "id": id, "kind": "report.make", "queue": "mail", "every": every })
}

fn results(applied: &Value) -> Vec<String> {
    let all = applied["schedules"].as_array().unwrap().iter();
    all.map(|s| format!("{} {}", s["id"].as_str().unwrap(), s["result"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn many_are_applied_compared_first_and_each_over_the_revision_that_is_meant() {
    let server = Served::start().await;
    let document = server.json("/api/v1/openapi.json").await;
    let apply = async |status: u16, body: Value| post(&server, &document, "/apply", "", status, &body).await;
    let two = json!([schedule("a", "1h"), schedule("b", "1h")]);
    let planned = apply(200, json!({ "schedules": two, "dry_run": true })).await;
    assert_eq!(
        (results(&planned), &planned["dry_run"]),
        (vec!["a created".into(), "b created".into()], &json!(true))
    );
    assert_eq!(get(&server, &document, "", "", "", 200).await["schedules"], json!([]));
    apply(200, json!({ "schedules": two, "reason": "as agreed", "expected_revisions": { "a": 0 } })).await;
    let shown = get(&server, &document, "/{id}", "a", "", 200).await;
    assert_eq!((&shown["every"], &shown["edits"][0]["by"]), (&json!("1h"), &json!("api")));
    assert_eq!(shown["edits"][0]["what"], "created: as agreed");
    assert_eq!(shown["next"].as_array().unwrap().len(), 5);

    // Nothing is changed where anything is wrong.
    let wrong = [
        (json!({ "schedules": [schedule("a", "2h"), schedule("c", "0s")] }), "every"),
        (json!({ "schedules": [{ "id": "a" }] }), "schedules"),
        (json!({ "schedules": [schedule("a", "2h"), schedule("a", "3h")] }), "schedules"),
        (json!({ "schedules": [] }), "schedules"),
        (json!({ "schedules": "a" }), "schedules"),
        (json!({ "schedules": [{ "id": "a", "kind": "k", "at": "2020-01-01T00:00:00Z" }] }), "schedules"),
        (json!({ "schedules": two, "expected_revisions": { "a": "x" } }), "expected_revisions"),
        (
            json!({ "schedules": [{ "id": "a", "kind": "k", "every": "1h", "exclude_calendar": "x.ics" }] }),
            "exclude_calendar",
        ),
    ];
    for (body, field) in wrong {
        let problem = apply(400, body.clone()).await;
        assert_eq!(problem["field"], field, "{body}: {problem}");
    }
    let other = json!([schedule("a", "2h"), schedule("c", "1h")]);
    for expected in [json!({ "a": 0 }), json!({ "a": 99 }), json!({ "c": 1 })] {
        apply(409, json!({ "schedules": other, "expected_revisions": expected })).await;
    }
    assert_eq!(get(&server, &document, "/{id}", "a", "", 200).await["revision"], shown["revision"]);

    let right = json!({ "a": shown["revision"], "c": 0 });
    let done = apply(200, json!({ "schedules": other, "prune": true, "expected_revisions": right })).await;
    assert_eq!(results(&done), ["a updated", "c created", "b deleted"]);
    assert_eq!(done["schedules"][0]["changes"], json!([{ "field": "every", "from": "1h", "to": "2h" }]));
    get(&server, &document, "/{id}", "b", "", 404).await;
}

#[tokio::test]
async fn lists_come_in_parts_and_with_what_became_of_the_instants() {
    let server = Served::start().await;
    let document = server.json("/api/v1/openapi.json").await;
    let all: Vec<_> = (0..7).map(|n| schedule(&format!("s{n}"), "1h")).collect();
    post(&server, &document, "/apply", "", 200, &json!({ "schedules": all })).await;
    post(&server, &document, "/{id}/pause", "s3", 200, &json!({ "reason": "moving" })).await;
    let admin = server.nats.connect("admin").await.unwrap();
    admin.bucket(admin.names().schedules_bucket()).put("bad", "\u{ff}".into(), None).await.unwrap();
    let past = |at, what, count| Past { instant: second(at), at: second(at + 1), what, count };
    let cursor = Cursor {
        fires: 2,
        misfires: 4,
        recent: vec![past(0, What::Missed, 4), past(3600, What::Fired(Cause::Rule), 1)],
        ..Cursor::at(second(3600))
    };
    let value = prost::Message::encode_to_vec(&v1::Cursor::from(&cursor));
    admin.bucket(admin.names().cursors_bucket()).put("s5", value.into(), None).await.unwrap();

    let mut ids = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let part = get(&server, &document, "", "", &query, 200).await;
        ids.extend(part["schedules"].as_array().unwrap().iter().map(|s| s["id"].clone()));
        ids.extend(part["malformed"].as_array().unwrap().iter().map(|s| s["id"].clone()));
        let Some(cursor) = part["next_cursor"].as_str() else { break };
        query = format!("?limit=3&cursor={cursor}");
    }
    // By their last change.
    assert_eq!(ids, ["s0", "s1", "s2", "s4", "s5", "s6", "s3", "bad"]);
    for (query, count) in
        [("?paused=true", 1), ("?paused=false", 6), ("?queue=web", 0), ("?kind=report.make", 7)]
    {
        let found = get(&server, &document, "", "", query, 200).await;
        assert_eq!(found["schedules"].as_array().unwrap().len(), count, "{query}");
    }
    let found = get(&server, &document, "", "", "?paused=false", 200).await;
    let s5 = found["schedules"].as_array().unwrap().iter().find(|s| s["id"] == "s5").unwrap();
    assert_eq!((&s5["fires"], &s5["misfires"]), (&json!(2), &json!(4)));
    let history = get(&server, &document, "/{id}/history", "s5", "", 200).await;
    let job = JobId::of_fire(&"s5".parse().unwrap(), second(3600));
    assert_eq!((&history["history"][0]["count"], &history["history"][1]["job_id"]), (&json!(4), &json!(job)));

    for (route, id, query, status, field) in [
        ("", "", "?limit=0", 400, "limit"),
        ("", "", "?cursor=x", 400, "cursor"),
        ("", "", "?paused=maybe", 400, "paused"),
        ("/{id}", "a.b", "", 400, "id"),
        ("/{id}", "s0", "?zest=1", 400, "zest"),
        ("/{id}/next", "s0", "?count=0", 400, "count"),
        ("/{id}/next", "s0", "?after=noon", 400, "after"),
        ("/{id}/history", "nobody", "", 404, ""),
        ("/{id}/next", "nobody", "", 404, ""),
        ("/{id}", "bad", "", 503, ""),
    ] {
        let problem = get(&server, &document, route, id, query, status).await;
        assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{route} {id} {query}");
    }
    let next = get(&server, &document, "/{id}/next", "s3", "", 200).await;
    assert_eq!((&next["instants"], &next["ends"]), (&json!([]), &json!("paused")));
    assert!(next["note"].as_str().unwrap().contains("moving"), "{next}");
    let next = get(&server, &document, "/{id}/next", "s0", "?count=2&after=2100-01-01T00:00:00Z", 200).await;
    assert_eq!(next["instants"][1]["instant"], "2100-01-01T02:00:00Z");
    // What is malformed can be removed.
    let response = server.act(Method::DELETE, &format!("{ROUTE}/bad"), &json!({})).await;
    described(&document, "delete", &format!("{ROUTE}/{{id}}"), 200, response).await;
}

#[tokio::test]
async fn one_is_paused_resumed_triggered_made_up_for_and_deleted() {
    let mut server = Served::start().await;
    let document = server.json("/api/v1/openapi.json").await;
    let daily = json!({ "id": "daily", "kind": "k", "queue": "mail", "every": "1day", "overlap": "skip" });
    post(&server, &document, "/apply", "", 200, &json!({ "schedules": [daily] })).await;
    let act = async |what: &str, status: u16, body: Value| {
        post(&server, &document, &format!("/{{id}}/{what}"), "daily", status, &body).await
    };
    let revision = get(&server, &document, "/{id}", "daily", "", 200).await["revision"].clone();
    let paused =
        act("pause", 200, json!({ "for": "2h", "reason": "moving", "expected_revision": revision })).await;
    assert!(
        paused["paused_until"].is_string() && paused["revision"].as_u64() > revision.as_u64(),
        "{paused}"
    );
    for body in [
        json!({ "until": "2020-01-01T00:00:00Z" }),
        json!({ "until": "noon" }),
        json!({ "for": "0s" }),
        json!({ "for": "2h", "until": "2100-01-01T00:00:00Z" }),
    ] {
        let field = act("pause", 400, body.clone()).await["field"].clone();
        assert!(body.get(field.as_str().unwrap()).is_some(), "{body}: {field}");
    }
    act("pause", 409, json!({ "expected_revision": revision })).await;
    act("resume", 409, json!({ "expected_revision": revision })).await;
    let resumed = act("resume", 200, json!({ "expected_revision": paused["revision"] })).await;
    assert_eq!((&resumed["paused"], &resumed["pause_note"]), (&json!(false), &Value::Null));

    let asked = act("trigger", 202, json!({ "reason": "to see" })).await;
    let at: jiff::Timestamp = asked["requested_at"].as_str().unwrap().parse().unwrap();
    let id: ScheduleId = "daily".parse().unwrap();
    assert_eq!((&asked["job_id"], &asked["queue"]), (&json!(JobId::of_trigger(&id, at)), &json!("mail")));
    assert_eq!(asked["passes_over_overlap"], "skip");

    // One instant's job is known, and is dead.
    let day = |n: i64| format!("2023-11-{n:02}T00:00:00Z");
    let dead = JobId::of_fire(&id, day(11).parse().unwrap());
    let mut event = crate::fixture::event("mail", 1, Transition::Dead, 1, 9);
    event.job_id = dead;
    server.database.tell(vec![event]).await;
    let range = json!({ "from": day(10), "until": day(12) });
    let with = |more: Value| {
        let mut body = range.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let act = async |what: &str, status: u16, body: Value| {
        post(&server, &document, &format!("/{{id}}/{what}"), "daily", status, &body).await
    };
    for (which, reverse, expected) in [
        ("missing", false, vec![day(10), day(12)]),
        ("failed", false, vec![day(11)]),
        ("all", true, vec![day(12), day(11), day(10)]),
    ] {
        let body = with(json!({ "which": which, "reverse": reverse, "dry_run": true }));
        let planned = act("backfill", 200, body).await;
        assert_eq!((&planned["instants"], &planned["requested_at"]), (&json!(expected), &Value::Null));
    }
    for (body, field) in [
        (json!({}), "from"),
        (with(json!({ "which": "some" })), "which"),
        (with(json!({ "concurrency": 0 })), "concurrency"),
        (json!({ "from": "1900-01-01T00:00:00Z" }), "from"),
    ] {
        assert_eq!(act("backfill", 400, body.clone()).await["field"], field, "{body}");
    }
    let begun = act("backfill", 202, with(json!({ "reason": "as agreed" }))).await;
    assert_eq!((&begun["count"], begun["requested_at"].is_string()), (&json!(2), true));
    // One at a time.
    act("backfill", 409, range.clone()).await;
    let edits = get(&server, &document, "/{id}", "daily", "", 200).await["edits"].clone();
    let what: Vec<_> = edits.as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    assert_eq!(what[0], "created");
    assert!(what[1].starts_with("paused until ") && what[1].ends_with(": moving"), "{what:?}");
    assert_eq!(what[2..], ["resumed", "triggered: to see", "backfill of 2 instants: as agreed"]);

    let delete = async |id: &str, query: &str, status: u16| {
        let response = server.act(Method::DELETE, &format!("{ROUTE}/{id}{query}"), &json!({})).await;
        described(&document, "delete", &format!("{ROUTE}/{{id}}"), status, response).await
    };
    delete("daily", "?expected_revision=1", 409).await;
    let deleted = delete("daily", "", 200).await;
    delete("daily", "", 404).await;
    assert!(deleted["revision"].as_u64() > revision.as_u64());
    for what in ["pause", "resume", "trigger"] {
        act(what, 404, json!({})).await;
    }
    act("backfill", 404, range).await;
}

#[tokio::test]
async fn what_is_done_is_logged_and_stands_in_the_schedule_under_the_name_of_who_did_it() {
    let server = Served::start_with_roles().await;
    let bearer = format!("Bearer {}", token_of(Role::Operator));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let send = async |method: Method, path: &str, body: Value| {
        let path = format!("{ROUTE}{path}");
        server.send(method, &path, &headers, body.to_string()).await.status().as_u16()
    };
    let mut first = schedule("a", "1h");
    first["payload"] = json!({ "card": "a secret of the payload" });
    let both = json!([first, schedule("b", "1h")]);
    for (path, body, status) in [
        ("/apply", json!({ "schedules": both, "dry_run": true }), 200),
        ("/apply", json!({ "schedules": both, "reason": "as agreed" }), 200),
        ("/apply", json!({ "schedules": both }), 200),
        ("/a/pause", json!({ "reason": "moving" }), 200),
        ("/a/resume", json!({ "expected_revision": 1 }), 409),
        ("/a/trigger", json!({}), 202),
    ] {
        assert_eq!(send(Method::POST, path, body).await, status, "{path}");
    }
    assert_eq!(send(Method::DELETE, "/b", Value::Null).await, 200);
    let list = server.until("/api/v1/actions", &bearer, |_| true).await;
    let lines: Vec<_> = list["actions"].as_array().unwrap().iter().rev().collect();
    assert!(lines.iter().all(|line| line["who"] == "olga"), "{list}");
    let done: Vec<_> = lines
        .iter()
        .map(|line| (line["action"].as_str().unwrap(), line["count"].as_u64(), line["result"] == "done"))
        .collect();
    assert_eq!(
        done,
        [
            ("apply schedules", Some(2), true),
            ("apply schedules", Some(0), true),
            ("pause schedule", Some(1), true),
            ("resume schedule", None, false),
            ("trigger schedule", Some(1), true),
            ("delete schedule", Some(1), true),
        ]
    );
    assert_eq!(
        (&lines[0]["target"], &lines[0]["reason"]),
        (&json!({ "schedules": "a, b" }), &json!("as agreed"))
    );
    assert_eq!(lines[5]["target"], json!({ "id": "b" }));
    assert!(!list.to_string().contains("secret"), "{list}");
    let shown = server.until(&format!("{ROUTE}/a"), &bearer, |_| true).await;
    let edits = shown["edits"].as_array().unwrap();
    assert!(edits.len() == 3 && edits.iter().all(|edit| edit["by"] == "olga"), "{shown}");
}
