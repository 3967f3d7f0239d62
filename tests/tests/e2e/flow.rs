//! The way of a job, from a publisher to its end.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use serde_json::json;
use windlass_core::{JobId, JobState, Outcome, Transition};
use windlass_testkit::Fleet;

use crate::support::{command, submit};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_becomes_a_job_that_succeeds() -> Result<()> {
    let fleet = Fleet::running().await?;
    let id = submit(&fleet, command(&["sh", "-c", "echo out; echo err >&2; exit 3"])).await?;
    let result = fleet.result(id).await?;
    assert_eq!((&result["exit_code"], &result["stdout"]), (&json!(3), &json!("out\n")));
    assert_eq!(result["stderr"], "err\n");
    fleet.tap.heard(id, Transition::Accepted).await?;
    let end = fleet.tap.heard(id, Transition::Succeeded).await?;
    assert_eq!((end.attempt, end.outcome), (1, Some(Outcome::Succeeded)));
    assert_eq!(
        fleet.tap.of(id),
        [(Transition::Accepted, 0), (Transition::Started, 1), (Transition::Succeeded, 1)],
        "events of an attempt come in their order when nothing fails"
    );
    Ok(())
}

/// What `nats pub` can do is enough: headers and any body.
#[tokio::test(flavor = "multi_thread")]
async fn plain_headers_are_a_complete_client() -> Result<()> {
    let fleet = Fleet::running().await?;
    let path = fleet.folder.path().join("hello.txt");
    std::fs::write(&path, "hello\n")?;
    let client = fleet.broker.client("publisher").await?;
    let body = json!({ "path": path }).to_string();
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let headers = [
        ("Windlass-Kind", "file.digest"),
        ("Windlass-Id", id),
        ("Windlass-Priority", "high"),
        ("Content-Type", "application/json"),
    ];
    client.publish("windlass.task.default", None, &headers, body.as_bytes()).await?;
    let result = fleet.result(id.parse()?).await?;
    assert_eq!(
        result,
        json!({ "sha256": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", "bytes": 6 })
    );
    // Without an id the message's place in the stream names the job.
    client.publish("windlass.task.default", None, &headers[..1], body.as_bytes()).await?;
    let all = fleet.tap.until("a second job", |all| {
        all.iter().any(|e| e.transition == Transition::Succeeded && e.job_id.to_string() != id)
    });
    assert!(all.await?.iter().all(|e| !e.traceparent.is_empty()), "every job belongs to a trace");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_task_waits_and_then_runs() -> Result<()> {
    let fleet = Fleet::running().await?;
    let delay = Duration::from_millis(1500);
    let submission = command(&["true"]);
    let id = submission.into_submission(&fleet).delay(delay).submit().await?.id;
    let accepted = fleet.tap.heard(id, Transition::Accepted).await?;
    let started = fleet.tap.heard(id, Transition::Started).await?;
    let waited = started.at.duration_since(accepted.at);
    assert!(waited.unsigned_abs() >= delay, "{waited:?}");
    fleet.result(id).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_retried_and_then_dead_with_their_cause() -> Result<()> {
    let fleet = Fleet::running().await?;
    let policy = windlass_core::retry::Parts {
        max_attempts: 3,
        initial_delay_seconds: 0.05,
        max_delay_seconds: 0.05,
        ..Default::default()
    };
    let job = command(&["sh", "-c", "echo no luck >&2; exit 7"]).failing();
    let id = job.into_submission(&fleet).retry(policy.try_into()?).submit().await?.id;
    let ended = fleet.ended(id).await?;
    assert_eq!(ended.state, JobState::Dead);
    let error = ended.error.expect("a dead job has a cause");
    assert!(error.message.contains("no luck"), "{error:?}");
    fleet.tap.heard(id, Transition::Accepted).await?;
    fleet.tap.heard(id, Transition::Dead).await?;
    assert_eq!(
        fleet.tap.of(id),
        [
            (Transition::Accepted, 0),
            (Transition::Started, 1),
            (Transition::Retried, 1),
            (Transition::Started, 2),
            (Transition::Retried, 2),
            (Transition::Started, 3),
            (Transition::Dead, 3)
        ]
    );
    let letter = crate::support::dead_letter(&fleet, "default", id).await?;
    assert_eq!(letter.attempts.len(), 3);
    assert!(letter.reason.contains("no luck"), "{letter:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_in_every_state() -> Result<()> {
    let fleet = Fleet::running().await?;
    let (gate, running) = crate::support::gated(&fleet, "gate")?;
    let running = submit(&fleet, running).await?;
    fleet.tap.heard(running, Transition::Started).await?;
    let scheduled =
        command(&["true"]).into_submission(&fleet).delay(Duration::from_secs(3600)).submit().await?.id;
    fleet.tap.heard(scheduled, Transition::Accepted).await?;
    // Nobody serves this queue.
    let queued = command(&["true"]).into_submission(&fleet).queue("unserved").submit().await?.id;
    fleet.tap.heard(queued, Transition::Accepted).await?;
    for (queue, id) in [("default", running), ("default", scheduled), ("unserved", queued)] {
        crate::support::order(&fleet, queue, "cancel", id).await?;
        let event = fleet.tap.heard(id, Transition::Cancelled).await?;
        assert!(event.note.contains("test"), "{event:?}");
    }
    let ended = fleet.ended(running).await?;
    assert_eq!(ended.state, JobState::Cancelled);
    // The handler was stopped, not left behind: its process group is gone, so nobody reads the gate.
    crate::support::nobody_reads(&gate).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_job_can_be_released() -> Result<()> {
    let fleet = Fleet::running().await?;
    let id = command(&["true"]).into_submission(&fleet).delay(Duration::from_secs(3600)).submit().await?.id;
    fleet.tap.heard(id, Transition::Accepted).await?;
    crate::support::order(&fleet, "default", "release", id).await?;
    fleet.result(id).await?;
    fleet.tap.heard(id, Transition::Released).await?;
    fleet.tap.heard(id, Transition::Succeeded).await?;
    assert_eq!(fleet.tap.of(id).iter().filter(|(t, _)| *t == Transition::Started).count(), 1);
    Ok(())
}

/// The same id a hundred times at once is one job.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_one_job_however_often_it_is_submitted() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("dispatcher-2").await?;
    let id: JobId = "01890a5d-ac96-774b-bcce-b302099a8058".parse()?;
    let marks = fleet.folder.path().join("marks");
    let script = format!("echo x >> {}", marks.display());
    let body: Bytes = command(&["sh", "-c", &script]).json().into();
    let headers = [("Windlass-Kind", "command.run"), ("Windlass-Id", "01890a5d-ac96-774b-bcce-b302099a8058")];
    let client = fleet.broker.client("publisher").await?;
    for _ in 0..100 {
        client.publish("windlass.task.default", None, &headers, &body).await?;
    }
    fleet.result(id).await?;
    fleet.broker.restart().await?;
    let client = fleet.broker.client("publisher").await?;
    for _ in 0..10 {
        client.publish("windlass.task.default", None, &headers, &body).await?;
    }
    // A later task of the same queue is through: so are those before it.
    let after = submit(&fleet, command(&["true"])).await?;
    fleet.result(after).await?;
    assert_eq!(std::fs::read_to_string(marks)?, "x\n");
    Ok(())
}
