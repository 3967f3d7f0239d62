//! Accepted = live + ended: what is deleted behind the fleet's back is found, and named.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use windlass_core::{JobId, Transition};
use windlass_testkit::Fleet;

use crate::support::command;

/// A loss is named within a minute.
const PROMISED: Duration = Duration::from_mins(1);
/// Enough for the streams' lists to be compared with, not each job asked for.
const OTHERS: u64 = 220;

struct Audit {
    url: String,
}

// === impl Audit ===

impl Audit {
    async fn start(fleet: &mut Fleet) -> Result<Self> {
        fleet.set_env("WINDLASS__MONITOR__AUDIT_EVERY", "1s");
        fleet.service("monitor").await?;
        Ok(Self { url: fleet.process("monitor")?.http().await? })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        Ok(reqwest::get(format!("{}{path}", self.url)).await?.json().await?)
    }

    /// Waits until the report is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + PROMISED;
        loop {
            let report = self.get("/api/v1/audit").await?;
            if wanted(&report) {
                return Ok(report);
            }
            ensure!(Instant::now() < deadline, "{what}: {report}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Takes what is posted to it.
async fn hook() -> Result<(String, mpsc::UnboundedReceiver<Value>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            // The body is one JSON object: it has come once it can be read.
            let body = loop {
                let count = stream.read(&mut buffer).await.unwrap_or_default();
                request.extend_from_slice(&buffer[..count]);
                let text = String::from_utf8_lossy(&request);
                let body = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
                if body.is_some() || count == 0 {
                    break body;
                }
            };
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            if stream.write_all(answer).await.is_err() || body.is_some_and(|body| sender.send(body).is_err())
            {
                break;
            }
        }
    });
    Ok((url, receiver))
}

/// Deletes the last message of a job, as a person with all rights would.
async fn delete(fleet: &Fleet, id: JobId) -> Result<()> {
    let admin = fleet.broker.client("admin").await?;
    let last = json!({ "last_by_subj": format!("windlass.job.default.*.*.{id}") });
    let found = admin.api("STREAM.MSG.GET.JOBS", &last).await?;
    let sequence = found["message"]["seq"].as_u64().with_context(|| found.to_string())?;
    let deleted = admin.api("STREAM.MSG.DELETE.JOBS", &json!({ "seq": sequence })).await?;
    ensure!(deleted["success"] == true, "{deleted}");
    Ok(())
}

fn named(report: &Value) -> Vec<String> {
    let lost = report["lost"].as_array().into_iter().flatten();
    lost.filter(|job| job["resolved_at"].is_null())
        .filter_map(|job| Some(job["id"].as_str()?.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_deleted_behind_the_fleets_back_is_named_within_a_minute() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let (url, mut told) = hook().await?;
    fleet.set_env("WINDLASS__MONITOR__ALERTS__WEBHOOK", url);
    fleet.set_env("WINDLASS__MONITOR__ALERTS__EVALUATE_EVERY", "1s");
    let audit = Audit::start(&mut fleet).await?;
    let later = async |fleet: &Fleet| -> Result<JobId> {
        let submission = command(&["true"]).into_submission(fleet).delay(Duration::from_hours(1));
        Ok(submission.submit().await?.id)
    };
    for _ in 0..OTHERS {
        later(&fleet).await?;
    }
    let (lost, kept) = (later(&fleet).await?, later(&fleet).await?);
    fleet.tap.heard(kept, Transition::Accepted).await?;
    fleet.tap.heard(lost, Transition::Accepted).await?;
    let ran = command(&["true"]).into_submission(&fleet).submit().await?.id;
    fleet.ended(ran).await?;
    let queue = |report: &Value, what: &str| report["queues"][0][what].as_u64();
    let sound = audit.until("all are known", |report| queue(report, "accepted") == Some(OTHERS + 3)).await?;
    ensure!(sound["holds"] == true, "{sound}");

    delete(&fleet, lost).await?;
    let report = audit.until("the loss is named", |report| report["holds"] == false).await?;
    ensure!(named(&report) == [lost.to_string()], "{report}");
    ensure!(report["queues"][0]["lost"] == 1 && report["queues"][0]["standing"] == OTHERS + 1, "{report}");
    let metrics = reqwest::get(format!("{}/metrics", audit.url)).await?.text().await?;
    ensure!(metrics.contains("windlass_monitor_lost_jobs{queue=\"default\"} 1"), "{metrics}");

    // Whoever is to be told is told.
    let alert = tokio::time::timeout(PROMISED, told.recv()).await?.context("nobody is told")?;
    let of = |part: &str| alert["alert"][part].as_str().unwrap_or_default().to_owned();
    ensure!(
        alert["state"] == "firing" && of("rule") == "conservation" && of("subject") == "default",
        "{alert}"
    );

    // Whoever takes over reads of it.
    let report = fleet.cli(&["report", "handoff"]).await?;
    ensure!(report.contains("## Known issues") && report.contains(&lost.to_string()), "{report}");
    let report = fleet.cli(&["report", "weekly", "--format", "html"]).await?;
    ensure!(report.contains("<h1>Weekly report</h1>") && report.contains("command.run"), "{report}");

    // An operator's end of it settles the matter; the other job is as it was.
    let (_, ended) = (fleet.cli(&["job", "cancel", &kept.to_string()]).await?, fleet.ended(kept).await?);
    ensure!(ended.state.as_str() == "cancelled", "{ended:?}");
    let report =
        audit.until("the other has ended", |report| queue(report, "live") == Some(OTHERS + 1)).await?;
    ensure!(named(&report) == [lost.to_string()], "{report}");
    Ok(())
}
