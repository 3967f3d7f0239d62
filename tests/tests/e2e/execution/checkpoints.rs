//! What a handler saves is there for the next attempt, whatever ended the one before.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use windlass::worker::Options;
use windlass::worker::context::NotSaved;
use windlass::{AttemptNumber, Checkpoint, Codec, Failure, Handlers, Keyring, State};
use windlass_core::{JobState, QueueName, Transition};
use windlass_testkit::PATIENCE;

use super::{Alpha, fleet, host, host_with};

/// Counts to ten, a step an attempt: through failures, snoozes, and the end of its worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_survives_failure_snooze_drain_and_crash() -> Result<()> {
    async fn count(
        job: Alpha,
        mut checkpoint: Checkpoint<u32>,
        AttemptNumber(number): AttemptNumber,
        State(gate): State<Arc<Semaphore>>,
    ) -> Result<(u32, u32), Failure> {
        let done = checkpoint.take().unwrap_or_default();
        if done == 10 {
            return Ok((done, number));
        }
        // Several in one attempt: the last one stands.
        checkpoint.save(&7777).await?;
        checkpoint.save(&(done + 1)).await?;
        match (done, job.text.as_str()) {
            (2, _) => Err(Failure::snooze(Duration::from_millis(5))),
            (5, "wait") => {
                // Until its worker has gone.
                let _permit = gate.acquire().await;
                Err(Failure::new("went on"))
            }
            _ => Err(Failure::new("one step done").retry_after(Duration::from_millis(5))),
        }
    }
    let fleet = fleet().await?;
    let gate = Arc::new(Semaphore::new(0));
    let handlers = || Handlers::with_state(Arc::clone(&gate)).register(count);
    let drained = Options {
        drain_timeout: Duration::from_millis(10),
        cancel_grace: Duration::from_millis(10),
        ..Options::default()
    };
    let worker = host_with(&fleet, handlers()?, drained).await?;
    let id = fleet.client.task(&Alpha::new("wait")).max_attempts(50).submit().await?.id;
    fleet
        .tap
        .until("the sixth attempt", |all| {
            all.iter().any(|e| e.job_id == id && e.transition == Transition::Started && e.attempt == 6)
        })
        .await?;
    worker.drain().await?;
    fleet.tap.heard(id, Transition::HandedBack).await?;
    let _worker = host(&fleet, handlers()?).await?;
    assert_eq!(fleet.result(id).await?, serde_json::json!([10, 11]));
    Ok(())
}

/// After a crash (a worker that sleeps through its lease), the next attempt goes on; the former holder can save no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_holder_saves_nothing() -> Result<()> {
    async fn save(
        _: Alpha,
        checkpoint: Checkpoint<String>,
        AttemptNumber(number): AttemptNumber,
        State(told): State<tokio::sync::mpsc::UnboundedSender<String>>,
    ) -> Result<String, Failure> {
        if number == 1 {
            checkpoint.save(&"of the first".to_owned()).await?;
            let _ = told.send("saved".to_owned());
            std::future::pending::<()>().await;
        }
        let found = checkpoint.saved().cloned().unwrap_or_default();
        let _ = told.send(found.clone());
        Ok(found)
    }
    let fleet = fleet().await?;
    let (told, mut found) = tokio::sync::mpsc::unbounded_channel();
    let handlers = Handlers::with_state(told.clone()).register(save)?;
    // On threads of its own, which can be gone from one moment to the next.
    let threads = tokio::runtime::Runtime::new()?;
    let client = windlass_testkit::Servers::options(&fleet.broker, "worker");
    threads.spawn(async move {
        let client = windlass::Client::connect_with(client).await?;
        let worker = windlass::Worker::new(&client, handlers, Options::default())?;
        worker.run(CancellationToken::new(), CancellationToken::new()).await?;
        Ok::<_, anyhow::Error>(())
    });
    let id = fleet.client.submit(&Alpha::new("x")).await?.id;
    assert_eq!(found.recv().await.as_deref(), Some("saved"));
    // Its worker is gone without a word.
    threads.shutdown_background();
    let _worker = host(&fleet, Handlers::with_state(told).register(save)?).await?;
    assert_eq!(fleet.result(id).await?, "of the first");
    assert_eq!(found.recv().await.as_deref(), Some("of the first"));
    let crash = fleet.tap.heard(id, Transition::Crashed).await?;
    assert!(!crash.worker.is_empty(), "the claim of a checkpoint names its holder");
    Ok(())
}

/// A checkpoint has a bound; what is too large is refused and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_bounded() -> Result<()> {
    async fn save(_: Alpha, checkpoint: Checkpoint<String>) -> Result<bool, Failure> {
        let refused = checkpoint.save(&"x".repeat(64 * 1024)).await;
        // With its quotes it has as much as it may.
        checkpoint.save(&"x".repeat(64 * 1024 - 2)).await?;
        Ok(matches!(refused, Err(NotSaved::TooLarge(bytes)) if bytes == 64 * 1024 + 2))
    }
    let fleet = fleet().await?;
    // What the handler gave counts, whether it is sealed or not.
    let keys = fleet.cli(&["keys", "generate", "--id", "known"]).await?;
    for codec in [Codec::default(), Codec::default().with_keys(keys.parse::<Keyring>()?)] {
        let options = Options { codec: codec.clone(), ..Options::default() };
        let worker = host_with(&fleet, Handlers::new().register(save)?, options).await?;
        let client = fleet.client.clone().with_codec(codec);
        let id = client.submit(&Alpha::new("x")).await?.id;
        let ended = client.wait(&QueueName::default(), id, PATIENCE).await?;
        assert_eq!((ended.state, &ended.result[..]), (JobState::Succeeded, &b"true"[..]), "{ended:?}");
        worker.drain().await?;
    }
    Ok(())
}
