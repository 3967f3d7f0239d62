//! What arrives malformed is kept with its reason and its bytes, and harms nothing.

use anyhow::{Result, ensure};
use prost::Message as _;
use serde_json::json;
use windlass_core::{Event, JobId, JobState, Transition};
use windlass_proto::v1;
use windlass_testkit::Fleet;

use crate::support::{command, dead_letter, submit};

/// Subject, headers, body; then the field that is refused, and the queue of the letter.
type Case<'a> = (String, Vec<(&'a str, &'a str)>, &'a [u8], &'a str, &'a str);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_task_becomes_a_dead_letter_with_its_reason_and_its_bytes() -> Result<()> {
    let fleet = Fleet::running().await?;
    let client = fleet.broker.client("operator").await?;
    let kind = ("Windlass-Kind", "command.run");
    let long = "q".repeat(65);
    let unknown_enum = v1::Task { kind: "a.b".into(), priority: 99, ..Default::default() }.encode_to_vec();
    let bad_id = v1::Task { kind: "a.b".into(), id: "7".into(), ..Default::default() }.encode_to_vec();
    let large = vec![b'x'; 600_000];
    let cases: Vec<Case<'_>> = vec![
        ("windlass.task.default".into(), vec![], b"\xff\xfe garbage", "body", "default"),
        (
            "windlass.task.default".into(),
            vec![("Windlass-Kind", "no kind")],
            b"1",
            "Windlass-Kind",
            "default",
        ),
        ("windlass.task.default".into(), vec![kind, ("Windlass-Id", "x")], b"2", "Windlass-Id", "default"),
        (
            "windlass.task.default".into(),
            vec![kind, ("Windlass-Delay", "soon")],
            b"3",
            "Windlass-Delay",
            "default",
        ),
        (
            "windlass.task.default".into(),
            vec![kind, ("Windlass-Nonsense", "1")],
            b"4",
            "Windlass-Nonsense",
            "default",
        ),
        (
            "windlass.task.default".into(),
            vec![kind, ("Nats-Schedule-Target", "windlass.job.default.ready.normal.x")],
            b"5",
            "Nats-Schedule-Target",
            "default",
        ),
        ("windlass.task.default".into(), vec![], &unknown_enum, "priority", "default"),
        ("windlass.task.default".into(), vec![], &bad_id, "id", "default"),
        ("windlass.task.default".into(), vec![kind], &large, "payload", "default"),
        (format!("windlass.task.{long}"), vec![kind], b"6", "queue", "invalid"),
        ("windlass.task.-bad".into(), vec![kind], b"7", "queue", "invalid"),
    ];
    for (subject, headers, body, field, queue) in &cases {
        let before = fleet.tap.until("so far", |_| true).await?.len();
        client.publish(subject, None, headers, body).await?;
        let all = fleet
            .tap
            .until(field, |all| {
                all.len() > before && all[before..].iter().any(|e| e.transition == Transition::Rejected)
            })
            .await?;
        let event = all[before..].iter().find(|e| e.transition == Transition::Rejected).expect("just heard");
        assert_eq!(event.queue.as_str(), *queue, "{subject}");
        let letter = dead_letter(&fleet, queue, event.job_id).await?;
        assert_eq!(letter.field, *field, "{letter:?}");
        assert_eq!(letter.original_body, *body, "{field}");
        assert_eq!(letter.original_subject, *subject);
        assert!(!letter.reason.is_empty());
        for (name, value) in headers {
            let kept = letter
                .original_headers
                .iter()
                .any(|h| h.name.eq_ignore_ascii_case(name) && h.value == *value);
            assert!(kept, "{name} is not kept");
        }
    }
    // Nothing loops, nothing crashed: the next task goes through.
    let id = submit(&fleet, command(&["true"])).await?;
    fleet.result(id).await?;
    Ok(())
}

/// Whoever looks for the id that a rejected message bears is told of the rejection; a job of that id is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_message_is_found_by_the_id_that_it_bears() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("monitor").await?;
    let client = fleet.broker.client("operator").await?;
    let subject = "windlass.task.default";
    let ends = |id: JobId, delay: &'static str| {
        let (fleet, client) = (&fleet, &client);
        async move {
            let id_text = id.to_string();
            let headers =
                [("Windlass-Kind", "command.run"), ("Windlass-Id", &*id_text), ("Windlass-Delay", delay)];
            client.publish(subject, None, &headers, br#"{"argv": ["true"]}"#).await?;
            let bears = |e: &&Event| e.claimed_id == Some(id);
            let all = fleet.tap.until("its rejection", |all| all.iter().any(|e| bears(&e))).await?;
            Ok::<_, anyhow::Error>(all.iter().find(bears).cloned().expect("just heard"))
        }
    };
    // The header itself is wrong; the task is read and breaks a limit.
    for (n, delay) in ["nonsense", "400days"].into_iter().enumerate() {
        let id: JobId = format!("01890a5d-ac96-774b-bcce-00000000000{n}").parse()?;
        let rejected = ends(id, delay).await?;
        assert_ne!(rejected.job_id, id);
        let (id, under) = (id.to_string(), rejected.job_id.to_string());
        let complaint = loop {
            // Once the monitor has read it; until then nothing is known.
            let complaint = fleet.cli(&["job", "get", &id]).await.expect_err("it is no job").to_string();
            if complaint.contains("rejected") {
                break complaint;
            }
            ensure!(complaint.contains("no job"), "{complaint}");
        };
        assert!(complaint.contains(&under) && complaint.to_lowercase().contains("delay"), "{complaint}");
        assert!(fleet.cli(&["job", "get", &under]).await?.contains(&id));
        let listed = fleet.cli(&["dead", "list", "--contains", &id, "-o", "json"]).await?;
        let listed: serde_json::Value = serde_json::from_str(&listed)?;
        assert_eq!(
            (&listed["letters"][0]["id"], &listed["letters"][0]["claimed_id"]),
            (&json!(under), &json!(id))
        );
    }
    // A duplicate that is no valid task leaves the job, its history and its letter alone.
    let policy = windlass_core::RetryPolicy::default().with_max_attempts(1)?;
    let dead = command(&["false"]).failing().into_submission(&fleet).retry(policy).submit().await?.id;
    fleet.tap.heard(dead, Transition::Dead).await?;
    let letter = dead_letter(&fleet, "default", dead).await?;
    ends(dead, "nonsense").await?;
    assert_eq!(dead_letter(&fleet, "default", dead).await?, letter);
    assert!(fleet.tap.of(dead).iter().all(|(transition, _)| *transition != Transition::Rejected));
    assert!(!fleet.cli(&["job", "get", &dead.to_string()]).await?.contains("rejected"));
    // An id that was borne in vain is free.
    let free: JobId = "01890a5d-ac96-774b-bcce-000000000000".parse()?;
    let headers = [("Windlass-Kind", "command.run"), ("Windlass-Id", &*free.to_string())];
    client.publish(subject, None, &headers, br#"{"argv": ["true"]}"#).await?;
    assert_eq!(fleet.ended(free).await?.state, JobState::Succeeded);
    fleet.tap.heard(free, Transition::Succeeded).await?;
    loop {
        if let Ok(shown) = fleet.cli(&["job", "get", &free.to_string()]).await {
            ensure!(!shown.contains("rejected"), "{shown}");
            return Ok(());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_refuses_before_it_sends() -> Result<()> {
    let fleet = Fleet::start().await?;
    let raw = |kind: &str| fleet.client.raw(kind, "{}".into(), "application/json");
    let field_of = |error: windlass::client::Error| match error {
        windlass::client::Error::Invalid(invalid) => invalid.field,
        other => panic!("not refused for its form: {other:?}"),
    };
    assert_eq!(field_of(raw("no kind").submit().await.unwrap_err()), "kind");
    assert_eq!(field_of(raw("a").queue("").submit().await.unwrap_err()), "queue");
    assert_eq!(field_of(raw("a").queue(&"q".repeat(65)).submit().await.unwrap_err()), "queue");
    assert_eq!(field_of(raw("a").queue("a.b").submit().await.unwrap_err()), "queue");
    assert_eq!(field_of(raw("a").max_attempts(0).submit().await.unwrap_err()), "max_attempts");
    let payloads = windlass::client::Payloads { max_bytes: 1000, ..Default::default() };
    let large = fleet.client.clone().with_payloads(payloads).raw("a", vec![0; 1001].into(), "");
    assert_eq!(field_of(large.submit().await.unwrap_err()), "payload");
    Ok(())
}

/// A job whose payload its handler cannot read is dead at once, and says which field.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_the_handler_cannot_read_is_a_terminal_error() -> Result<()> {
    let fleet = Fleet::running().await?;
    let id = fleet.client.raw("command.run", r#"{"arg": []}"#.into(), "application/json").submit().await?.id;
    let dead = fleet.tap.heard(id, Transition::Dead).await?;
    assert_eq!(dead.attempt, 1);
    let error = dead.error.expect("a dead job has a cause");
    assert!(error.message.contains("arg") && error.terminal, "{error:?}");
    Ok(())
}
