//! What a job has to do with others, on a whole fleet: the monitor knows who made it, whom it made, and who waits for whom.

use anyhow::{Context as _, Result};
use prost::Message as _;
use serde_json::{Value, json};
use windlass_core::{JobId, JobState};
use windlass_proto::v1;
use windlass_testkit::Fleet;

use super::http_actions::Api;
use super::schedule_api::until;
use super::support::{command, gated, open};

async fn related(api: &Api, id: JobId, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
    until(api, &format!("/api/v1/jobs/{id}/related"), what, |found| {
        found["children"].is_object() && holds(found)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_leads_to_all_that_it_has_to_do_with() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("scheduler").await?;
    let api = Api::start(&mut fleet).await?;
    let far = json!({"id": "far", "kind": "command.run", "payload": {"argv": ["true"]}, "at": "2099-01-01T00:00:00Z"});
    let (status, applied) = api.post("/api/v1/schedules/apply", &json!({ "schedules": [far] })).await?;
    assert_eq!(status, 200, "{applied}");
    let (_, asked) = api.post("/api/v1/schedules/far/trigger", &json!({})).await?;
    let made: JobId = asked["job_id"].as_str().context("no job")?.parse()?;
    let found = related(&api, made, "it is known", |_| true).await?;
    assert_eq!(found["schedule_id"], "far");
    let listed = api.get("/api/v1/jobs?schedule_id=far").await?;
    assert_eq!(listed["jobs"][0]["id"], json!(made));

    let (gate, long) = gated(&fleet, "gate")?;
    let parent = long.into_submission(&fleet).submit().await?;
    let child: JobId = "01890a5d-ac96-774b-bcce-00000000c41d".parse()?;
    let task = v1::Task {
        id: child.to_string(),
        kind: "command.run".to_owned(),
        payload: command(&["true"]).json().into(),
        content_type: "application/json".to_owned(),
        parent: Some(v1::Parent {
            queue: "default".to_owned(),
            job_id: parent.id.to_string(),
            detached: false,
        }),
        ..v1::Task::default()
    };
    let publisher = fleet.broker.client("publisher").await?;
    publisher.publish("windlass.task.default", None, &[], task.encode_to_vec()).await?;
    let waiting = command(&["true"]).into_submission(&fleet).after(&parent).submit().await?;
    let found = related(&api, parent.id, "both are known", |found| {
        found["children"]["count"] == 1 && found["awaited_by"][0]["state"] == "held"
    })
    .await?;
    assert_eq!(found["children"]["latest"][0]["id"], json!(child));
    assert_eq!(found["awaited_by"], json!([{ "queue": "default", "id": waiting.id, "state": "held" }]));
    let found = related(&api, child, "it is known", |_| true).await?;
    assert_eq!(found["parent"]["id"], json!(parent.id));
    let page = api.page(&format!("/jobs/{child}")).await?;
    assert!(page.contains(&format!("/jobs/{}?queue=default", parent.id)), "{page}");

    open(&gate, "done\n").await?;
    for id in [parent.id, child, waiting.id] {
        assert_eq!(fleet.ended(id).await?.state, JobState::Succeeded);
    }
    let found = related(&api, waiting.id, "its dependency has ended", |found| {
        found["after"][0]["state"] == "succeeded"
    })
    .await?;
    assert_eq!((&found["after"][0]["id"], &found["after_count"]), (&json!(parent.id), &json!(1)));
    let found =
        related(&api, parent.id, "nobody waits any more", |found| found["awaited_by"] == json!([])).await?;
    assert_eq!(found["children"]["states"].as_object().map(serde_json::Map::len), Some(1), "{found}");
    Ok(())
}
