//! Tasks that are accepted all or none, and tasks by the thousand.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use windlass::client::{BatchError, MAX_BATCH};
use windlass::{Client, Submission};
use windlass_broker::provision::Layout;
use windlass_core::{JobId, Transition};
use windlass_testkit::Fleet;

use super::{all_succeed, fleet, work};

/// As a program that may publish tasks and nothing else: its account imports the subjects of the stream.
async fn publisher(fleet: &Fleet) -> Result<Client> {
    Ok(Client::new(fleet.broker.connect("publisher").await?))
}

fn accepted(all: &[windlass_core::Event]) -> BTreeSet<JobId> {
    all.iter().filter(|e| e.transition == Transition::Accepted).map(|e| e.job_id).collect()
}

/// How many messages TASKS holds.
async fn tasks(fleet: &Fleet) -> Result<u64> {
    let info = fleet.broker.client("admin").await?.api("STREAM.INFO.TASKS", &json!({})).await?;
    info["state"]["messages"].as_u64().context("no count")
}

/// A thousand, across two queues, each waiting for the one before it in tens; and the same again, as after a time-out.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_accepted_once_however_often_it_is_submitted() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| ()).await?;
    let client = publisher(&fleet).await?;
    let mut batch: Vec<Submission> = Vec::new();
    for n in 0..MAX_BATCH {
        let mut task = client.task(&work(&format!("{n}")));
        if n % 10 > 0 {
            task = task.after(&batch[n - 1]);
        }
        // The last two of each ten are in a queue that nobody serves.
        batch.push(if n % 10 > 7 { task.queue("other") } else { task });
    }
    // Whoever is waited for is stored first, whatever the order.
    batch.reverse();
    let submitted = client.submit_all(batch.clone()).await?;
    assert_eq!(submitted.len(), MAX_BATCH);
    let again = client.submit_all(batch).await?;
    let ids: BTreeSet<_> = submitted.iter().map(|one| one.id).collect();
    assert_eq!(ids, again.iter().map(|one| one.id).collect());
    let served: Vec<_> =
        submitted.iter().filter(|one| one.queue.as_str() == "default").map(|one| one.id).collect();
    all_succeed(&fleet, &served).await?;
    let all = fleet.tap.until("all are accepted", |all| accepted(all).len() == MAX_BATCH).await?;
    assert_eq!(accepted(&all), ids);
    log.with(|seen| assert_eq!(seen.begun.len(), served.len(), "none ran twice"));
    Ok(())
}

/// A stream that has no room for all of them takes none.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_does_not_fit_is_stored_not_at_all() -> Result<()> {
    let layout = Layout { tasks_max_bytes: 1 << 20, ..Layout::default() };
    let fleet = Fleet::start_with(layout).await?;
    let client = publisher(&fleet).await?;
    let large = |bytes: usize| client.raw("a.b", vec![b'x'; bytes].into(), "text/plain");
    let few = client.submit_all((0..5).map(|_| large(10_000))).await?;
    assert_eq!((few.len(), tasks(&fleet).await?), (5, 5));
    let refused = client.submit_all((0..30).map(|_| large(60_000))).await;
    ensure!(matches!(&refused, Err(BatchError::NotAccepted(_))), "{refused:?}");
    assert_eq!(tasks(&fleet).await?, 5, "none of the second batch");
    Ok(())
}

/// By the command line: names within the batch, and what is wrong by line and field before anything is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_submitted_all_or_none() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| ()).await?;
    let path = fleet.folder.path().join("order.jsonl");
    let line = |name: &str, after: &[&str]| {
        let payload = json!({ "name": name, "gated": false });
        json!({ "kind": "test.work", "payload": payload, "name": name, "after": after }).to_string()
    };
    let text = [
        line("load", &["name=extract", "name=check;on=ignore"]),
        line("extract", &[]),
        line("check", &["name=extract"]),
    ];
    std::fs::write(&path, text.join("\n"))?;
    let path = path.to_str().context("a path")?;
    let told: Value = serde_json::from_str(&fleet.cli(&["submit", "--batch", path, "-o", "json"]).await?)?;
    assert_eq!(told["submitted"], 3, "{told}");
    let ids = told["jobs"].as_array().context("no jobs")?.iter();
    let ids: Vec<JobId> =
        ids.map(|job| Ok(job["id"].as_str().context("no id")?.parse()?)).collect::<Result<_>>()?;
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| assert_eq!(seen.begun, ["extract", "check", "load"]));
    // The same file again: the same jobs.
    let again: Value = serde_json::from_str(&fleet.cli(&["submit", "--batch", path, "-o", "json"]).await?)?;
    assert_eq!(again["jobs"], told["jobs"]);
    for (bad, expected) in [
        (vec![line("a", &["name=b"]), line("b", &["name=a"])], "the lines 1, 2 wait for each other"),
        (vec![line("a", &[]), line("b", &["name=c"])], "line 2: after: `c` is the name of no line"),
        (vec![line("a", &[]), "{\"kind\":\"a.b\",\"delay\":\"soon\"}".to_owned()], "line 2: delay"),
        (vec![line("a", &[]); 1001], "more than 1000 tasks"),
    ] {
        std::fs::write(path, bad.join("\n"))?;
        let refused = fleet.cli(&["submit", "--batch", path]).await;
        let complaint = format!("{:#}", refused.err().context("it was accepted")?);
        assert!(complaint.contains(expected), "{complaint}");
    }
    log.with(|seen| assert_eq!(seen.begun.len(), 3));
    Ok(())
}

/// Thousands of lines, of which some are no tasks: counted, told by line and field, and submitted again they make no
/// second jobs. Their starts are spread.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_any_length_is_submitted_line_by_line() -> Result<()> {
    let (fleet, _worker, log) = fleet(|_| ()).await?;
    let path = fleet.folder.path().join("many.jsonl");
    let mut lines: Vec<_> = (0..3000)
        .map(|n| {
            json!({ "kind": "test.work", "payload": { "name": format!("{n}"), "gated": false } }).to_string()
        })
        .collect();
    lines[10] = "not JSON".to_owned();
    lines[2000] = json!({ "kind": "test.work", "priority": "urgent" }).to_string();
    lines[2500] = String::new();
    std::fs::write(&path, lines.join("\n"))?;
    let path = path.to_str().context("a path")?;
    let submit = async |more: &[&str]| -> Result<Value> {
        let mut args = vec!["submit", "--from", path, "-o", "json"];
        args.extend(more);
        let output = fleet.command(&args).await?.output().await?;
        ensure!(output.status.code() == Some(1), "two lines are no tasks: {output:?}");
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let told = submit(&["--spread", "2s"]).await?;
    assert_eq!(
        (&told["lines"], &told["submitted"], &told["refused"]),
        (&json!(2999), &json!(2997), &json!(2))
    );
    let errors = [("line", 11), ("priority", 2001)];
    for (error, (field, line)) in told["errors"].as_array().context("no errors")?.iter().zip(errors) {
        assert_eq!((&error["field"], &error["line"]), (&json!(field), &json!(line)));
    }
    let again = submit(&["--spread", "2s", "--start-line", "1501"]).await?;
    assert_eq!((&again["submitted"], &again["duplicates"]), (&json!(1498), &json!(1498)), "{again}");
    log.until("all ran", |seen| seen.begun.len() >= 2997).await?;
    let all = fleet.tap.until("all are accepted", |all| accepted(all).len() == 2997).await?;
    let delays = all.iter().filter(|e| e.transition == Transition::Accepted);
    let late = delays.filter(|e| e.due_at > e.accepted_at).count();
    ensure!(late > 2900, "{late} of 2997 are delayed");
    // Under another name it is another run.
    std::fs::write(path, lines[..5].join("\n"))?;
    let other: Value =
        serde_json::from_str(&fleet.cli(&["submit", "--from", path, "--run", "b", "-o", "json"]).await?)?;
    assert_eq!((&other["submitted"], &other["duplicates"]), (&json!(5), &json!(0)));
    log.until("five more ran", |seen| seen.begun.len() == 3002).await
}
