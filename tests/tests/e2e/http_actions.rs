//! What an operator does over HTTP, on a whole fleet.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_core::{JobId, JobState, Transition};
use windlass_testkit::{Fleet, PATIENCE};

use crate::dead_letters::{carried, commands_so_far, die};
use crate::support::command;

const TOKEN: &str = "a-token-of-more-than-32-characters-for-tests";

/// The monitor's API, as who shows this token.
pub(super) struct Api {
    url: String,
    token: &'static str,
}

// === impl Api ===

impl Api {
    /// Starts the monitor; whoever shows [`TOKEN`] may act.
    pub(super) async fn start(fleet: &mut Fleet) -> Result<Self> {
        let file = fleet.folder.path().join("token");
        std::fs::write(&file, format!("{TOKEN}\n"))?;
        fleet.set_env("WINDLASS__MONITOR__OPERATOR_TOKEN_FILE", file);
        fleet.service("monitor").await?;
        Ok(Self { url: fleet.process("monitor")?.http().await?, token: TOKEN })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        Ok(reqwest::get(format!("{}{path}", self.url)).await?.json().await?)
    }

    /// As who shows the token.
    pub(super) async fn get_as_operator(&self, path: &str) -> Result<Value> {
        let request = reqwest::Client::new().get(format!("{}{path}", self.url));
        Ok(request.bearer_auth(self.token).send().await?.json().await?)
    }

    pub(super) async fn page(&self, path: &str) -> Result<String> {
        Ok(reqwest::get(format!("{}{path}", self.url)).await?.error_for_status()?.text().await?)
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url));
        let answer = request.bearer_auth(self.token).json(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Begins an operation; its path.
    async fn begin(&self, path: &str, body: &Value) -> Result<String> {
        let (status, begun) = self.post(path, body).await?;
        ensure!(status == 202, "{begun}");
        Ok(format!("/api/v1/operations/{}", begun["id"].as_str().context("no id")?))
    }

    /// Waits until an operation has ended.
    async fn ended(&self, operation: &str) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.get(operation).await?;
            if seen["state"] != "running" {
                return Ok(seen);
            }
            ensure!(Instant::now() < deadline, "{seen}");
        }
    }

    async fn letters(&self) -> Result<u64> {
        let listed = self.get("/api/v1/dead?limit=500").await?;
        Ok(u64::try_from(listed["letters"].as_array().context("no list")?.len())?)
    }
}

/// The job that a note says was made.
async fn redriven(fleet: &Fleet, id: JobId) -> Result<(JobId, String)> {
    let note = fleet.tap.heard(id, Transition::Redriven).await?.note;
    Ok((note.split(' ').nth(1).context("no id")?.parse()?, note))
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_jobs_are_started_again_over_http_by_who_shows_the_token() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let api = Api::start(&mut fleet).await?;
    let (ids, marks) = die(&fleet, 5).await?;
    let one = format!("/api/v1/dead/{}/redrive", ids[0]);
    let print = api.get(&format!("/api/v1/dead/{}", ids[0])).await?["fingerprint"].clone();
    let many = json!({ "fingerprint": print, "queue": "default", "reason": "it is mended" });

    let stranger = Api { url: api.url.clone(), token: "a-token-of-more-than-32-characters-of-nobody" };
    for (path, body) in [(one.as_str(), &json!({})), ("/api/v1/dead/redrive", &many)] {
        assert_eq!(stranger.post(path, body).await?.0, 401);
    }
    assert_eq!((api.letters().await?, commands_so_far(&mut fleet, "redrive", "out").await?), (5, 0.0));

    let (status, answer) = api.post(&one, &json!({ "reason": "try one" })).await?;
    assert_eq!(status, 202, "{answer}");
    let new: JobId = answer["redriven_id"].as_str().context("no id")?.parse()?;
    assert_eq!(fleet.ended(new).await?.state, JobState::Succeeded);
    let (made, note) = redriven(&fleet, ids[0]).await?;
    assert!(made == new && note.contains("by api: try one"), "{note}");
    carried(&mut fleet, "redrive", "out", 1.0).await?;

    let operation = api.begin("/api/v1/dead/redrive", &many).await?;
    let seen = api.ended(&operation).await?;
    assert_eq!(
        (&seen["state"], &seen["matched"], &seen["commanded"]),
        (&json!("done"), &json!(4), &json!(4))
    );
    for id in &ids[1..] {
        let (new, note) = redriven(&fleet, *id).await?;
        assert!(note.contains("by api: it is mended"), "{note}");
        assert_eq!(fleet.ended(new).await?.state, JobState::Succeeded);
    }
    carried(&mut fleet, "redrive", "out", 5.0).await?;
    assert_eq!(api.letters().await?, 0);
    assert_eq!(std::fs::read_to_string(marks)?.lines().count(), 5, "each ran once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_aborted_or_stopped_leaves_the_rest() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("monitor").await?;
    let (ids, _) = die(&fleet, 8).await?;
    let slow = json!({ "kind": "command.run", "rate": 1 });
    let off = Api { url: fleet.process("monitor")?.http().await?, token: TOKEN };
    let (status, problem) = off.post("/api/v1/dead/redrive", &slow).await?;
    assert!(status == 403 && problem.to_string().contains("monitor.operator_token_file"), "{problem}");
    fleet.take("monitor")?.stop().await?;

    let api = Api::start(&mut fleet).await?;
    let operation = api.begin("/api/v1/dead/redrive", &slow).await?;
    fleet.tap.until("one", |all| all.iter().any(|e| e.transition == Transition::Redriven)).await?;
    let request = reqwest::Client::new().delete(format!("{}{operation}", api.url));
    let aborted: Value = request.bearer_auth(TOKEN).send().await?.json().await?;
    let commanded = aborted["commanded"].as_u64().context("no count")?;
    assert!(aborted["state"] == "aborted" && (1..8).contains(&commanded), "{aborted}");
    carried(&mut fleet, "redrive", "out", f64::from(u32::try_from(commanded)?)).await?;
    assert_eq!(api.letters().await?, 8 - commanded);

    // The monitor's stop does the same, and one that starts again does not go on by itself.
    api.begin("/api/v1/dead/redrive", &slow).await?;
    let exit = fleet.take("monitor")?.stop().await?;
    ensure!(exit.success(), "{exit}");
    fleet.service("monitor").await?;
    let api = Api { url: fleet.process("monitor")?.http().await?, token: TOKEN };
    assert_eq!(api.get("/api/v1/operations").await?, json!({ "operations": [] }));
    assert!(api.letters().await? > 0, "not all were commanded");

    // Asked for again, all are done.
    let operation = api.begin("/api/v1/dead/redrive", &json!({ "all": true, "rate": 1000 })).await?;
    assert_eq!(api.ended(&operation).await?["failed"], 0);
    for id in &ids {
        let (new, _) = redriven(&fleet, *id).await?;
        fleet.tap.heard(new, Transition::Succeeded).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_cancelled_over_http() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let api = Api::start(&mut fleet).await?;
    let hour = std::time::Duration::from_secs(3600);
    let mut ids = Vec::new();
    for queue in ["default", "other", "other", "kept"] {
        let job = command(&["true"]).into_submission(&fleet).queue(queue).delay(hour).submit().await?.id;
        fleet.tap.heard(job, Transition::Accepted).await?;
        ids.push(job);
    }
    let deadline = Instant::now() + PATIENCE;
    while api.get("/api/v1/jobs").await?["jobs"].as_array().is_none_or(|jobs| jobs.len() < ids.len()) {
        ensure!(Instant::now() < deadline, "the monitor does not know the jobs");
    }
    let one = format!("/api/v1/jobs/{}/cancel", ids[0]);
    assert_eq!(api.post(&one, &json!({ "reason": "wrong region" })).await?.0, 202);
    let note = fleet.tap.heard(ids[0], Transition::Cancelled).await?.note;
    assert!(note.contains("by api: wrong region"), "{note}");
    while api.get(&format!("/api/v1/jobs/{}", ids[0])).await?["state"] != "cancelled" {
        ensure!(Instant::now() < deadline, "the monitor does not know the end");
    }
    let (status, problem) = api.post(&one, &json!({})).await?;
    assert!(
        status == 409 && problem["detail"].as_str().is_some_and(|d| d.contains("cancelled")),
        "{problem}"
    );

    let others = json!({ "queue": "other", "state": "scheduled", "reason": "by filter" });
    let operation = api.begin("/api/v1/jobs/cancel", &others).await?;
    assert_eq!(api.ended(&operation).await?["commanded"], 2);
    for id in &ids[1..3] {
        let note = fleet.tap.heard(*id, Transition::Cancelled).await?.note;
        assert!(note.contains("by api: by filter"), "{note}");
    }
    assert_eq!(fleet.tap.of(ids[3]), [(Transition::Accepted, 0)]);
    Ok(())
}

/// Limits and pauses over HTTP, who set them, and why jobs wait.
#[tokio::test(flavor = "multi_thread")]
async fn queues_are_limited_paused_and_explained_over_http() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let api = Api::start(&mut fleet).await?;
    let stranger = Api { url: api.url.clone(), token: "a-token-of-more-than-32-characters-of-nobody" };
    let limit = json!({ "settings": { "concurrency": 3 }, "reason": "as agreed" });
    assert_eq!(stranger.post("/api/v1/queues/default/settings", &limit).await?.0, 401);
    let (status, made) = api.post("/api/v1/queues/default/settings", &limit).await?;
    assert_eq!((status, &made["changed"][0]["after"]), (200, &json!(3)), "{made}");
    for (path, body, field) in [
        ("settings", json!({ "settings": { "concurrency": 0 } }), "concurrency"),
        ("settings", json!({ "settings": { "limit": 1 } }), "limit"),
        ("settings", json!({ "settings": { "paused": null } }), "paused"),
        ("settings", json!({}), "settings"),
        ("pause", json!({ "kind": "a b" }), "kind"),
        ("pause", json!({ "until": "soon" }), "until"),
        ("resume", json!({ "colour": "red" }), "colour"),
    ] {
        let (status, problem) = api.post(&format!("/api/v1/queues/default/{path}"), &body).await?;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{problem}");
    }
    let stale = json!({ "settings": { "concurrency": 4 }, "expected_revision": 1_000_000 });
    assert_eq!(api.post("/api/v1/queues/default/settings", &stale).await?.0, 409);

    let (status, made) = api.post("/api/v1/queues/default/pause", &json!({ "reason": "a test" })).await?;
    assert_eq!((status, &made["by"]), (200, &json!("api")), "{made}");
    let id = crate::support::submit(&fleet, command(&["true"])).await?;
    fleet.tap.heard(id, Transition::Held).await?;
    let why = api.get(&format!("/api/v1/jobs/{id}/why")).await?;
    assert_eq!((&why["cause"], &why["detail"]["by"]), (&json!("queue_paused"), &json!("api")), "{why}");
    let why = api.get("/api/v1/queues/default/why").await?;
    assert_eq!((&why["backlog"], &why["causes"][0]["cause"]), (&json!(1), &json!("queue_paused")), "{why}");
    let shown = api.get("/api/v1/queues/default").await?;
    assert_eq!((&shown["set"]["by"], &shown["set"]["settings"]["concurrency"]), (&json!("api"), &json!(3)));
    assert_eq!(api.get("/api/v1/queues/nobody/why").await?["status"], 404);
    api.post("/api/v1/queues/default/resume", &json!({})).await?;
    assert_eq!(fleet.ended(id).await?.state, JobState::Succeeded);
    assert_eq!(api.get(&format!("/api/v1/jobs/{id}/why")).await?["cause"], "ended");
    Ok(())
}
