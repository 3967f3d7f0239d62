//! The forms of handlers, and what they can say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use windlass::handler::{BatchItem, BatchOptions, Call, Next, Returned};
use windlass::worker::Options;
use windlass::{
    AttemptNumber, Cancellation, Deadline, Failure, Handlers, JobId, JobState, Logger, Payload, Progress,
    State, blocking,
};
use windlass_core::{Outcome, Transition};

use super::{Alpha, Beta, fleet, host, host_with};

/// What a handler says decides what follows; only failures use attempts.
#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_obeyed() -> Result<()> {
    async fn handle(job: Alpha, AttemptNumber(number): AttemptNumber) -> Result<u32, Failure> {
        let soon = Duration::from_millis(20);
        match (job.text.as_str(), number) {
            ("snooze", 1..=3) => Err(Failure::snooze(soon)),
            ("retry", 1) => Err(Failure::new("not yet").retry_after(soon)),
            ("cancel", _) => Err(Failure::cancel("nothing to do")),
            ("terminal", _) => Err(Failure::new("never").code("hopeless").terminal()),
            ("panic", _) => panic!("a bad day"),
            _ => Ok(number),
        }
    }
    let fleet = fleet().await?;
    let _worker = host(&fleet, Handlers::new().register(handle)?).await?;
    let submit = async |text: &str, max_attempts| {
        fleet
            .client
            .task(&Alpha::new(text))
            .max_attempts(max_attempts)
            .submit()
            .await
            .map(|submitted| submitted.id)
    };
    // Three snoozes, and one attempt allowed.
    let snoozed = submit("snooze", 1).await?;
    assert_eq!(fleet.result(snoozed).await?, 4);
    fleet.tap.heard(snoozed, Transition::Succeeded).await?;
    let snoozes = fleet.tap.of(snoozed).into_iter().filter(|(t, _)| *t == Transition::Snoozed).count();
    assert_eq!(snoozes, 3, "{:?}", fleet.tap.of(snoozed));
    let retried = submit("retry", 2).await?;
    assert_eq!(fleet.result(retried).await?, 2);
    let dead = submit("retry", 1).await?;
    assert_eq!(fleet.ended(dead).await?.state, JobState::Dead, "a delay of the handler's uses an attempt");

    let cancelled = fleet.ended(submit("cancel", 5).await?).await?;
    assert_eq!(cancelled.state, JobState::Cancelled);
    assert_eq!(cancelled.error.map(|e| e.message).as_deref(), Some("nothing to do"));
    let id = submit("terminal", 5).await?;
    let terminal = fleet.ended(id).await?;
    assert_eq!(
        (terminal.state, terminal.error.map(|e| e.code)),
        (JobState::Dead, Some("hopeless".to_owned()))
    );
    let id = submit("panic", 1).await?;
    let error = fleet.ended(id).await?.error.expect("a panic is a failure");
    assert_eq!((error.code.as_str(), error.message.as_str()), ("panic", "a bad day"));
    let event = fleet.tap.heard(id, Transition::Dead).await?;
    assert_eq!(event.outcome, Some(Outcome::Failed));
    Ok(())
}

/// Every extractor gives what the attempt is; progress and lines reach whoever listens.
#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_told_of_its_attempt() -> Result<()> {
    #[allow(clippy::too_many_arguments)]
    async fn handle(
        _: Alpha,
        id: JobId,
        AttemptNumber(number): AttemptNumber,
        deadline: Deadline,
        cancellation: Cancellation,
        payload: Payload,
        State(word): State<&'static str>,
        progress: Progress,
        logger: Logger,
    ) -> Result<(String, u32, bool, String, String), Failure> {
        cancellation.check()?;
        for n in 0..2000 {
            logger.info(format!("line {n}"));
        }
        progress.set(0.5, "half way");
        let in_time = deadline.left() <= Duration::from_secs(7) && deadline.left() > Duration::from_secs(3);
        let text = String::from_utf8_lossy(&payload.bytes).into_owned();
        Ok((id.to_string(), number, in_time, format!("{} {text}", payload.content_type), word.to_owned()))
    }
    let mut fleet = fleet().await?;
    fleet.service("monitor").await?;
    let _worker = host(&fleet, Handlers::with_state("shared").register(handle)?).await?;
    let submitted =
        fleet.client.task(&Alpha::new("x")).attempt_timeout(Duration::from_secs(7)).submit().await?;
    let result = fleet.result(submitted.id).await?;
    let expected =
        serde_json::json!([submitted.id.to_string(), 1, true, "application/json {\"text\":\"x\"}", "shared"]);
    assert_eq!(result, expected);
    // The monitor knows: the end of what was told comes with the end of the attempt.
    let id = submitted.id.to_string();
    let view = loop {
        let view: serde_json::Value =
            serde_json::from_str(&fleet.cli(&["job", "get", &id, "-o", "json"]).await?)?;
        if view["progress"]["note"] == "half way" && view["logs"].as_array().is_some_and(|l| !l.is_empty()) {
            break view;
        }
    };
    assert_eq!(view["progress"]["fraction"], 0.5);
    let logs = view["logs"].as_array().expect("an array");
    assert!(logs.len() <= 1000, "{}", logs.len());
    assert_eq!(logs.last().map(|line| &line["message"]), Some(&"line 1999".into()), "the oldest are dropped");
    Ok(())
}

/// Middleware stands around the handler, the first that was added outermost; it sees and changes what is returned.
#[tokio::test(flavor = "multi_thread")]
async fn middleware_stands_around_every_handler() -> Result<()> {
    async fn mark(call: Call, next: Next) -> Returned {
        let returned = next.run(call).await?;
        Ok(format!("[{}]", String::from_utf8_lossy(&returned)).into())
    }
    async fn guard(call: Call, next: Next) -> Returned {
        if call.context.attempt() == 1 {
            return Err(Failure::new("not at first").retry_after(Duration::from_millis(5)));
        }
        next.run(call).await
    }
    async fn handle(_: Alpha) -> Result<u8, Failure> {
        Ok(7)
    }
    let fleet = fleet().await?;
    let _worker = host(&fleet, Handlers::new().layer(mark).layer(guard).register(handle)?).await?;
    let id = fleet.client.submit(&Alpha::new("x")).await?.id;
    assert_eq!(fleet.result(id).await?, serde_json::json!([7]));
    assert_eq!(fleet.tap.heard(id, Transition::Succeeded).await?.attempt, 2);
    Ok(())
}

/// A batch has an outcome for each of its jobs, and never more of them than it may.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_an_outcome_for_each_job() -> Result<()> {
    async fn handle(
        items: Vec<BatchItem<Beta>>,
        State(largest): State<Arc<AtomicUsize>>,
    ) -> Result<Vec<Result<usize, Failure>>, Failure> {
        largest.fetch_max(items.len(), Ordering::Relaxed);
        if items.iter().any(|item| item.job.text == "all" && item.context.attempt() == 1) {
            return Err(Failure::snooze(Duration::from_millis(10)));
        }
        let outcome = |item: &BatchItem<Beta>| match item.job.text.as_str() {
            "bad" => Err(Failure::new("bad").terminal()),
            text => Ok(text.len()),
        };
        Ok(items.iter().map(outcome).collect())
    }
    let fleet = fleet().await?;
    let largest = Arc::new(AtomicUsize::new(0));
    let options = BatchOptions { max_size: 4, max_delay: Duration::from_millis(300) };
    let handlers = Handlers::with_state(Arc::clone(&largest)).register_batch(handle, options)?;
    let _worker = host(&fleet, handlers).await?;
    let mut jobs = Vec::new();
    for text in ["a", "bad", "ccc", "dddd", "eeeee", "bad", "ggggggg"] {
        jobs.push((text, fleet.client.submit(&Beta::new(text)).await?.id));
    }
    for (text, id) in jobs {
        let ended = fleet.ended(id).await?;
        let expected = if text == "bad" { JobState::Dead } else { JobState::Succeeded };
        assert_eq!(ended.state, expected, "{text}");
        if text != "bad" {
            assert_eq!(fleet.result(id).await?, text.len());
        }
    }
    // A failure of all keeps its meaning for each: a snooze uses no attempt.
    let id = fleet.client.task(&Beta::new("all")).max_attempts(1).submit().await?.id;
    assert_eq!(fleet.result(id).await?, 3);
    assert_eq!(fleet.tap.heard(id, Transition::Snoozed).await?.attempt, 1);
    assert!((2..=4).contains(&largest.load(Ordering::Relaxed)), "{largest:?}");
    Ok(())
}

/// A blocking handler that is cancelled stops when it asks; its panic is a failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_handler_is_cancelled_by_asking() -> Result<()> {
    #[allow(clippy::needless_pass_by_value, reason = "as handlers are called")]
    fn handle(job: Alpha, cancellation: Cancellation) -> Result<(), Failure> {
        assert_ne!(job.text, "panic", "a bad day");
        loop {
            cancellation.check()?;
            std::thread::yield_now();
        }
    }
    let fleet = fleet().await?;
    let _worker = host(&fleet, Handlers::new().register(blocking(handle))?).await?;
    let id = fleet.client.submit(&Alpha::new("loop")).await?.id;
    fleet.tap.heard(id, Transition::Started).await?;
    crate::support::order(&fleet, "default", "cancel", id).await?;
    assert_eq!(fleet.ended(id).await?.state, JobState::Cancelled);
    let id = fleet.client.task(&Alpha::new("panic")).max_attempts(1).submit().await?.id;
    let error = fleet.ended(id).await?.error.expect("a panic is a failure");
    assert!(error.code == "panic" && error.message.contains("a bad day"), "{error:?}");
    Ok(())
}

/// A job of a kind that nobody knows is handed on for as long as it is said, and not a moment less.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_has_all_of_its_patience() -> Result<()> {
    async fn handle(_: Beta) -> Result<(), Failure> {
        Ok(())
    }
    let patience = Duration::from_secs(1);
    let fleet = fleet().await?;
    let options = Options { unknown_kind_patience: patience, ..Options::default() };
    let _worker = host_with(&fleet, Handlers::new().register(handle)?, options).await?;
    let id = fleet.client.submit(&Alpha::new("x")).await?.id;
    assert_eq!(fleet.ended(id).await?.error.map(|e| e.code).as_deref(), Some("unknown_kind"));
    let accepted = fleet.tap.heard(id, Transition::Accepted).await?;
    let dead = fleet.tap.heard(id, Transition::Dead).await?;
    let waited = dead.at.duration_since(accepted.at);
    assert!(!waited.is_negative() && waited.unsigned_abs() >= patience, "{waited:?}");
    Ok(())
}
