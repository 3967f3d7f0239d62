//! The fleet for users' tests: what its clock moves, what it remembers, and that nothing of it is left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use windlass::{AttemptNumber, Client, Failure, Handlers, Job, JobState, QueueName};
use windlass_core::Outcome;
use windlass_testing::{Error, Fleet, Transition};
use windlass_testkit::PATIENCE;

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Order {
    id: u32,
    /// Attempts that fail and ask for another in an hour.
    failures: u32,
}

impl Job for Order {
    const KIND: &'static str = "order.place";
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Mail {
    order: u32,
}

impl Job for Mail {
    const KIND: &'static str = "mail.send";
}

const HOUR: Duration = Duration::from_secs(3600);

async fn place(order: Order, AttemptNumber(number): AttemptNumber, client: Client) -> Result<u32, Failure> {
    if number <= order.failures {
        return Err(Failure::new("the shop is closed").retry_after(HOUR));
    }
    client.submit(&Mail { order: order.id }).await?;
    Ok(order.id)
}

async fn mail(mail: Mail) -> Result<String, Failure> {
    Ok(format!("order {}", mail.order))
}

fn handlers() -> Result<Handlers> {
    Ok(Handlers::new().register(place)?.register(mail)?)
}

fn order(id: u32) -> Order {
    Order { id, failures: 0 }
}

/// A delay ends by the clock and by nothing else, and counts from its own beginning.
#[tokio::test]
async fn what_is_delayed_runs_when_the_clock_says_so() -> Result<()> {
    let fleet = Fleet::start(handlers()?).await?;
    let submit =
        async |id, delay| Ok::<_, Error>(fleet.client().task(&order(id)).delay(delay).submit().await?.id);
    let (hour, day) = (submit(1, HOUR).await?, submit(2, 24 * HOUR).await?);
    assert_eq!(fleet.drain().await?.len(), 0);
    assert_eq!(fleet.advance(HOUR / 2).await?, []);
    assert_eq!(fleet.drain().await?.len(), 0);

    // Two halves are a whole; of a wait that begins now, neither is a part.
    let later = submit(3, HOUR / 2).await?;
    assert_eq!(fleet.advance(HOUR / 4).await?, []);
    assert_eq!(fleet.advance(HOUR / 4).await?, [hour, later]);
    // The child is not waited for by name: the drain finds it.
    let ended = fleet.drain().await?;
    let mut kinds: Vec<_> = ended.iter().map(|job| job.kind.as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["mail.send", "mail.send", "order.place", "order.place"]);
    assert!(ended.iter().all(|job| job.state == JobState::Succeeded && job.attempts.len() == 1), "{ended:?}");
    assert_eq!(fleet.heard_of(day), [(Transition::Accepted, 0)]);
    assert_eq!(fleet.drain().await?.len(), 0, "an end is returned once");
    assert_eq!(fleet.advance(24 * HOUR).await?, [day]);
    assert_eq!(fleet.drain().await?.len(), 2);
    Ok(())
}

/// A retry in an hour waits while others run, and runs when the clock is moved.
#[tokio::test]
async fn a_retry_waits_for_the_clock() -> Result<()> {
    let fleet = Fleet::start(handlers()?).await?;
    let default = QueueName::default();
    let failing = fleet.client().submit(&Order { id: 1, failures: 2 }).await?.id;
    fleet.heard(failing, Transition::Retried).await?;
    let after = fleet.client().submit(&order(2)).await?.id;
    assert_eq!(fleet.ended(&default, after).await?.state, JobState::Succeeded);
    let so_far = [(Transition::Accepted, 0), (Transition::Started, 1), (Transition::Retried, 1)];
    fleet.heard(failing, Transition::Accepted).await?;
    assert_eq!(fleet.heard_of(failing), so_far);

    for _ in 0..2 {
        fleet.drain().await?;
        assert_eq!(fleet.advance(HOUR).await?, [failing]);
    }
    let ended = fleet.ended(&default, failing).await?;
    assert_eq!((ended.state, &ended.result[..]), (JobState::Succeeded, b"1".as_slice()));
    let outcomes: Vec<_> = ended.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Outcome::Failed, Outcome::Failed, Outcome::Succeeded]);
    Ok(())
}

/// What is past is still told; what never comes is an error that says what was heard instead.
#[tokio::test]
async fn spies_know_the_past() -> Result<()> {
    let fleet = Fleet::start(handlers()?).await?;
    let placed = fleet.client().submit(&order(7)).await?.id;
    assert_eq!(fleet.drain().await?.len(), 2);
    for transition in [Transition::Accepted, Transition::Started, Transition::Succeeded] {
        assert_eq!(fleet.heard(placed, transition).await?.job_id, placed);
    }
    assert_eq!(fleet.ended(&QueueName::default(), placed).await?.state, JobState::Succeeded);

    let fleet = fleet.with_patience(Duration::from_millis(300));
    let error = fleet.heard(placed, Transition::Cancelled).await.err().context("heard what was not said")?;
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("not within 0.3 s: cancelled of job {placed}; heard until then:")),
        "{text}"
    );
    let line = format!("{placed} of default (order.place): accepted started #1 succeeded #1");
    assert!(text.contains(&line), "{text}");
    Ok(())
}

/// An assertion sees what the test and its handlers submitted, also what never ran, and says what it saw.
#[tokio::test]
async fn what_was_submitted_can_be_asserted() -> Result<()> {
    let fleet = Fleet::start(handlers()?).await?;
    fleet.client().submit(&order(7)).await?;
    fleet.drain().await?;
    fleet.client().task(&order(8)).delay(HOUR).submit().await?;
    fleet.client().raw("nobody.knows", "{}".into(), "application/json").submit().await?;
    // Larger than what a task takes: it is in Object Store.
    let large = format!("{{\"order\": 9, \"more\": \"{}\"}}", "x".repeat(300_000));
    fleet.client().raw("mail.send", large.into(), "application/json").delay(HOUR).submit().await?;
    fleet.assert_submitted::<Mail>(|mail| mail.order == 7).await;
    fleet.assert_submitted::<Mail>(|mail| mail.order == 9).await;
    assert_eq!(fleet.submitted::<Order>().await?, [order(7), order(8)]);

    let failing = tokio::spawn(async move { fleet.assert_submitted::<Order>(|order| order.id == 9).await });
    let panic = failing.await.err().context("an assertion holds that must not")?.into_panic();
    let text = panic.downcast_ref::<String>().context("a panic without a text")?;
    for part in [
        "testing_fleet.rs:",
        "no such task of the kind order.place was submitted, of 2 of that kind",
        r#"{"id":7,"failures":0}"#,
        r#"{"id":8,"failures":0}"#,
        "of other kinds were: mail.send, nobody.knows, mail.send",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    Ok(())
}

/// Two fleets at a time share nothing, and neither leaves anything.
#[tokio::test]
async fn fleets_are_apart_and_leave_nothing() -> Result<()> {
    let (one, two) = tokio::try_join!(Fleet::start(handlers()?), Fleet::start(handlers()?))?;
    ensure!(one.url() != two.url());
    let id = one.client().task(&order(1)).delay(HOUR).submit().await?.id;
    // The same id is another job there, and the clock is another's.
    two.client().task(&order(2)).id(id).delay(HOUR).submit().await?;
    two.advance(HOUR).await?;
    assert_eq!(two.drain().await?.len(), 2);
    assert_eq!(one.drain().await?.len(), 0);
    assert_eq!(one.submitted::<Order>().await?, [order(1)]);

    let left = |fleet: &Fleet| -> Result<(PathBuf, PathBuf)> {
        let pid = fleet.server_pid().context("its server does not run")?;
        Ok((Path::new("/proc").join(pid.to_string()), fleet.folder().to_owned()))
    };
    let (of_one, of_two) = (left(&one)?, left(&two)?);
    assert!(of_one.0.exists() && of_one.1.exists() && of_two.0.exists() && of_two.1.exists());
    drop(one);
    assert!(!of_one.0.exists() && !of_one.1.exists(), "something is left: {of_one:?}");
    // The other goes on.
    two.client().submit(&Mail { order: 3 }).await?;
    assert_eq!(two.drain().await?.len(), 1);
    drop(two);
    assert!(!of_two.0.exists() && !of_two.1.exists(), "something is left: {of_two:?}");
    Ok(())
}

/// Tells the process that the test below starts that it is to die.
const DIES: &str = "WINDLASS_TEST_DIES";

/// What a guard is for: only in the process that the test below starts.
#[tokio::test]
async fn dies_without_a_word() -> Result<()> {
    if std::env::var_os(DIES).is_none() {
        return Ok(());
    }
    let fleet = Fleet::start(handlers()?).await?;
    println!("left: {} {}", fleet.server_pid().context("its server does not run")?, fleet.folder().display());
    std::process::abort()
}

/// A process that dies takes its fleet along.
#[tokio::test]
async fn a_process_that_dies_leaves_nothing() -> Result<()> {
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.args(["--exact", "testing_fleet::dies_without_a_word", "--nocapture"]).env(DIES, "1");
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await??;
    let text = String::from_utf8_lossy(&output.stdout);
    let left =
        text.lines().find_map(|line| line.split_once("left: ")).with_context(|| format!("{output:?}"))?.1;
    let (pid, folder) = left.split_once(' ').context("no folder")?;
    let (process, folder) = (Path::new("/proc").join(pid), Path::new(folder));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // Nothing tells of a stranger's end but looking.
    while process.exists() || folder.exists() {
        ensure!(tokio::time::Instant::now() < deadline, "something is left: {left}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// A wait that is in vain because nobody can handle a job says so.
#[tokio::test]
async fn a_kind_without_a_handler_is_named() -> Result<()> {
    let fleet = Fleet::start(Handlers::new().register(mail)?).await?.with_patience(Duration::from_secs(1));
    let placed = fleet.client().submit(&order(1)).await?;
    let error = fleet.ended(&placed.queue, placed.id).await.expect_err("nobody places it").to_string();
    assert!(
        error.contains("the fleet has no handler for the kind order.place; it has: mail.send"),
        "{error}"
    );
    let error = fleet.drain().await.expect_err("it is there still").to_string();
    assert!(error.contains("no handler for the kind order.place"), "{error}");
    Ok(())
}
