//! Schedules over HTTP, on a whole fleet: what is asked for is done by the scheduler that leads.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;
use windlass_core::{JobId, JobState, ScheduleId};
use windlass_testkit::{Fleet, PATIENCE};

use super::http_actions::Api;

/// Looks at an answer until it is so.
pub(crate) async fn until(
    api: &Api,
    path: &str,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let looking = async {
        loop {
            let seen = api.get(path).await?;
            if holds(&seen) {
                return anyhow::Ok(seen);
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, looking).await.with_context(|| format!("{path}: {what}"))?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_made_fired_paused_triggered_and_made_up_for_over_http() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("scheduler").await?;
    let api = Api::start(&mut fleet).await?;
    let schedule = json!({"id": "http", "kind": "command.run", "payload": {"argv": ["true"]}, "every": "1s"});
    let daily = json!({"id": "daily", "kind": "command.run", "payload": {"argv": ["true"]}, "every": "1day"});
    let body = json!({ "schedules": [schedule, daily], "reason": "as agreed" });
    let (status, applied) = api.post("/api/v1/schedules/apply", &body).await?;
    assert_eq!((status, &applied["schedules"][0]["result"]), (200, &json!("created")), "{applied}");

    let one = "/api/v1/schedules/http";
    let shown = until(&api, one, "it fires", |shown| shown["fires"].as_u64() >= Some(2)).await?;
    let edit = &shown["edits"][0];
    assert_eq!((&edit["by"], &edit["what"]), (&json!("api"), &json!("created: as agreed")), "{shown}");
    let history = api.get(&format!("{one}/history")).await?;
    let job: JobId = history["history"][0]["job_id"].as_str().context("no job")?.parse()?;
    assert_eq!(fleet.ended(job).await?.state, JobState::Succeeded);

    let (status, paused) =
        api.post(&format!("{one}/pause"), &json!({ "reason": "moving", "for": "1h" })).await?;
    assert_eq!((status, &paused["paused"], &paused["pause_note"]), (200, &json!(true), &json!("moving")));
    let next = api.get(&format!("{one}/next?count=1")).await?;
    let first: Timestamp = next["instants"][0]["instant"].as_str().context("no instant")?.parse()?;
    assert!(first > Timestamp::now() + std::time::Duration::from_secs(3500), "{next}");
    // Paused or not.
    let (status, asked) = api.post(&format!("{one}/trigger"), &json!({ "reason": "to see" })).await?;
    assert_eq!(status, 202, "{asked}");
    let job: JobId = asked["job_id"].as_str().context("no job")?.parse()?;
    assert_eq!(fleet.ended(job).await?.state, JobState::Succeeded);

    // What the monitor knows of an instant's job decides.
    let range = json!({ "from": "2024-01-01T00:00:00Z", "until": "2024-01-03T00:00:00Z", "concurrency": 2 });
    let path = "/api/v1/schedules/daily/backfill";
    let (status, begun) = api.post(path, &range).await?;
    assert_eq!((status, &begun["count"]), (202, &json!(3)), "{begun}");
    let id: ScheduleId = "daily".parse()?;
    for day in 1..=3 {
        let instant: Timestamp = format!("2024-01-0{day}T00:00:00Z").parse()?;
        assert_eq!(fleet.ended(JobId::of_fire(&id, instant)).await?.state, JobState::Succeeded);
    }
    let dry = {
        let mut dry = range.clone();
        dry["dry_run"] = true.into();
        dry
    };
    let none_is_missing = async {
        loop {
            let (status, planned) = api.post(path, &dry).await?;
            anyhow::ensure!(status == 200, "{planned}");
            if planned["count"] == 0 {
                return anyhow::Ok(());
            }
        }
    };
    timeout(PATIENCE, none_is_missing).await.context("the monitor does not know the jobs")??;
    Ok(())
}
