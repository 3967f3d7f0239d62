//! The fleet: what its processes say of themselves, over the API and on its page.

use serde_json::{Value, json};
use windlass_monitor::access::Role;

use crate::fixture::served::{Served, token_of};
use crate::pages::Browser;
use crate::populated::populate;

#[tokio::test]
async fn who_lives_is_told_and_who_is_missing() {
    let mut server = Served::start_with_roles().await;
    let bearer = format!("Bearer {}", token_of(Role::Viewer));
    let document = server.until("/api/v1/openapi.json", &bearer, |_| true).await;
    let operation = &document["paths"]["/api/v1/fleet"]["get"];
    let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
    let nobody = server.until("/api/v1/fleet", &bearer, |_| true).await;
    crate::conform(&document, schema, &nobody, "answer");
    assert_eq!(nobody["missing"], json!(["dispatcher", "scheduler", "worker", "monitor"]));
    populate(&mut server).await;
    let found = server.until("/api/v1/fleet", &bearer, |_| true).await;
    crate::conform(&document, schema, &found, "answer");
    assert_eq!(found["missing"], json!([]));
    let of = |name: &str| -> Vec<Value> {
        found["instances"].as_array().unwrap().iter().map(|instance| instance[name].clone()).collect()
    };
    let services = ["dispatcher", "scheduler", "scheduler", "worker", "worker", "monitor"];
    assert_eq!(of("service"), services.map(Value::from));
    assert_eq!(of("ready"), [true, true, false, true, false, true].map(Value::from));
    let worker = &found["instances"][3];
    assert_eq!(
        (&worker["running"], &worker["slots"], &worker["cpu_cores"]),
        (&json!(7), &json!(8), &json!(0.34))
    );
    let streams: Vec<_> =
        found["streams"].as_array().unwrap().iter().map(|stream| stream["name"].as_str().unwrap()).collect();
    assert_eq!(streams, ["COMMANDS", "DEAD", "EVENTS", "JOBS", "TASKS"]);
    assert_eq!(found["figures"]["minutes"], 5);

    let browser = Browser::sign_in(&server, Role::Viewer).await;
    let page = browser.get("/fleet").await;
    for part in [
        "2 not ready",
        "scheduler-host-b-311-5e6f7a8b",
        "the connection is lost",
        "42 MB",
        "34.0%",
        "leads",
        "7 of 8 slots",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}
