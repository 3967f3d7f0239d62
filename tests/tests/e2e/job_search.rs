//! What the monitor finds jobs by beside what it decides: their labels, and the text of their payloads.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use windlass_core::JobId;
use windlass_testkit::Fleet;

use super::dead_letters::die;
use super::http_actions::Api;
use super::schedule_api::until;
use super::support::{command, gated, open};

const HOUR: Duration = Duration::from_secs(3600);

/// Submits a command that waits for an hour.
async fn far(fleet: &Fleet, argv: &[&str]) -> Result<JobId> {
    Ok(command(argv).into_submission(fleet).delay(HOUR).submit().await?.id)
}

async fn known(api: &Api, id: JobId, state: &str) -> Result<()> {
    until(api, &format!("/api/v1/jobs/{id}"), "it is known", |job| job["state"] == state).await.map(drop)
}

/// Everything that a search finds, part by part.
async fn found(api: &Api, query: &str) -> Result<Vec<Value>> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let part = api.get(&format!("/api/v1/jobs?{query}{cursor}")).await?;
        let jobs = part["jobs"].as_array().with_context(|| part.to_string())?;
        ids.extend(jobs.iter().map(|job| job["id"].clone()));
        match part["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(ids),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_found_by_their_labels() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let api = Api::start(&mut fleet).await?;
    let labelled = command(&["true"]).into_submission(&fleet).label("env", "prod").label("region", "eu west");
    let first = labelled.delay(HOUR).submit().await?.id;
    // As plain headers say it, and as the command line does.
    let publisher = fleet.broker.client("publisher").await?;
    let second: JobId = "01890a5d-ac96-774b-bcce-0000000001ab".parse()?;
    let id = second.to_string();
    let headers = [
        ("Windlass-Kind", "command.run"),
        ("Windlass-Id", id.as_str()),
        ("Windlass-Delay", "1h"),
        ("Windlass-Labels", "env=prod, team=a"),
    ];
    publisher.publish("windlass.task.default", None, &headers, command(&["true"]).json()).await?;
    let argv = command(&["true"]).json();
    let args = ["submit", "command.run", &argv, "--label", "env=test", "--delay", "1h", "-o", "json"];
    let told: Value = serde_json::from_str(&fleet.cli(&args).await?)?;
    let third: JobId = told["id"].as_str().context("no id")?.parse()?;
    for id in [first, second, third] {
        known(&api, id, "scheduled").await?;
    }
    assert_eq!(found(&api, "label=env%3Dprod").await?, [json!(second), json!(first)]);
    assert_eq!(found(&api, "q=label%3A%22region%3Deu+west%22").await?, [json!(first)]);
    assert_eq!(found(&api, "label=env%3Dtest").await?, [json!(third)]);
    let job = api.get(&format!("/api/v1/jobs/{first}")).await?;
    assert_eq!(job["labels"], json!({ "env": "prod", "region": "eu west" }));
    let page = api.page(&format!("/jobs/{first}")).await?;
    assert!(page.contains("/jobs?q=label%3A%22region%3Deu%20west%22"), "{page}");
    let shown = fleet.cli(&["job", "list", "--label", "team=a"]).await?;
    assert!(shown.contains(&id) && !shown.contains(&first.to_string()), "{shown}");
    // What is cancelled by a label is what is found by it.
    let body = json!({ "label": "env=prod", "reason": "a test" });
    let (status, begun) = api.post("/api/v1/jobs/cancel", &body).await?;
    assert_eq!(status, 202, "{begun}");
    for id in [first, second] {
        known(&api, id, "cancelled").await?;
    }
    known(&api, third, "scheduled").await
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_of_live_and_dead_jobs_are_shown_and_searched() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let api = Api::start(&mut fleet).await?;
    let waits = far(&fleet, &["echo", "for Acme <Nord>"]).await?;
    let other = far(&fleet, &["echo", "for nobody"]).await?;
    let second = far(&fleet, &["echo", "ACME <NORD> again"]).await?;
    let (gate, long) = gated(&fleet, "acme-gate")?;
    let runs = long.into_submission(&fleet).submit().await?.id;
    let dead = die(&fleet, 1).await?.0[0];
    for (id, state) in
        [(waits, "scheduled"), (other, "scheduled"), (second, "scheduled"), (runs, "running"), (dead, "dead")]
    {
        known(&api, id, state).await?;
    }

    let payload = api.get(&format!("/api/v1/jobs/{waits}/payload")).await?;
    let argv = json!({ "argv": ["echo", "for Acme <Nord>"] });
    assert_eq!(payload, json!({ "payload": argv, "content_type": "application/json" }));
    let of_dead = api.get(&format!("/api/v1/jobs/{dead}/payload")).await?;
    assert_eq!(of_dead["payload"], api.get(&format!("/api/v1/dead/{dead}")).await?["payload"]);
    let page = api.page(&format!("/jobs/{waits}")).await?;
    assert!(page.contains("<details id=\"payload\"><summary>Payload (application/json)"), "{page}");
    assert!(page.contains("for Acme &#60;Nord&#62;") && !page.contains("<Nord>"), "{page}");

    // In whatever case, the newest first; part by part, also where a part has none.
    assert_eq!(found(&api, "text=acme%20%3Cnord").await?, [json!(second), json!(waits)]);
    assert_eq!(found(&api, "text=acme%20%3Cnord&limit=1").await?, [json!(second), json!(waits)]);
    assert_eq!(found(&api, "text=acme%20%3Cnord&state=running").await?, Vec::<Value>::new());
    assert_eq!(found(&api, "q=text%3Aacme-gate").await?, [json!(runs)]);
    let of_dead = found(&api, "text=argv&state=dead").await?;
    assert_eq!(of_dead, [json!(dead)]);
    let page = api.page("/jobs?q=text%3A%22for+nobody%22").await?;
    assert!(page.contains(&other.to_string()) && !page.contains(&waits.to_string()), "{page}");

    // With its end a payload goes.
    open(&gate, "done\n").await?;
    fleet.ended(runs).await?;
    known(&api, runs, "succeeded").await?;
    let gone = api.get(&format!("/api/v1/jobs/{runs}/payload")).await?;
    assert_eq!(
        (&gone["status"], gone["detail"].to_string().contains("ended")),
        (&json!(404), true),
        "{gone}"
    );
    assert_eq!(found(&api, "q=text%3Aacme-gate").await?, Vec::<Value>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_shown_to_the_roles_that_may_see_them() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.set_env("WINDLASS__MONITOR__ACCESS__PAYLOADS", "operator");
    let api = Api::start(&mut fleet).await?;
    let (waits, dead) = (far(&fleet, &["echo", "secret"]).await?, die(&fleet, 1).await?.0[0]);
    known(&api, waits, "scheduled").await?;
    known(&api, dead, "dead").await?;
    let payload = format!("/api/v1/jobs/{waits}/payload");
    for path in [payload.as_str(), "/api/v1/jobs?text=secret"] {
        let refused = api.get(path).await?;
        assert_eq!(refused["status"], 403, "{refused}");
        assert!(refused["detail"].to_string().contains("needs the role operator"), "{refused}");
    }
    let letter = api.get(&format!("/api/v1/dead/{dead}")).await?;
    assert_eq!(letter["payload"], json!({ "hidden": "shown to operators" }));
    let page = api.page(&format!("/jobs/{waits}")).await?;
    assert!(!page.contains("secret") && !page.contains("id=\"payload\""), "{page}");
    let shown = api.get_as_operator(&payload).await?;
    assert_eq!(shown["payload"], json!({ "argv": ["echo", "secret"] }));
    let listed = api.get_as_operator("/api/v1/jobs?text=secret").await?;
    assert_eq!(listed["jobs"][0]["id"], json!(waits));
    Ok(())
}
