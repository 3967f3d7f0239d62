//! Results: in the record of the end, or in Object Store; and waiting for them.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use windlass::Codec;
use windlass::client::Error;
use windlass_core::{JobId, JobState, QueueName, Transition};
use windlass_testkit::Fleet;
use windlass_testkit::process::Signal;

use super::{Make, worker};

async fn made(fleet: &Fleet, bytes: usize) -> Result<JobId> {
    Ok(fleet.client.submit(&Make { bytes, fail: String::new() }).await?.id)
}

/// To the broker's process.
/// A string of JSON has two quotes.
fn text(bytes: usize) -> Vec<u8> {
    format!("{:?}", "x".repeat(bytes)).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_every_size_are_waited_for() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let _worker = worker(&fleet, Codec::default()).await?;
    let admin = fleet.broker.client("admin").await?;
    for (bytes, objects) in [(64 * 1024 - 2, 0), (64 * 1024 - 1, 1), (1_500_000, 2)] {
        let id = made(&fleet, bytes).await?;
        // Once while it runs, and once when it has long ended.
        for _ in 0..2 {
            let ended = fleet.ended(id).await?;
            assert_eq!(ended.state, JobState::Succeeded, "{:?}", ended.error);
            assert!(ended.result == text(bytes), "{} bytes came of {bytes}", ended.result.len());
            fleet.tap.heard(id, Transition::Succeeded).await?;
        }
        assert_eq!(admin.objects("windlass_results_default").await?.len(), objects);
    }
    let id = made(&fleet, 2_000_000 - 1).await?;
    let ended = fleet.ended(id).await?;
    assert_eq!(ended.state, JobState::Dead);
    let error = ended.error.expect("a dead job has a cause");
    assert!(error.code == "result_too_large" && error.message.contains("2000001"), "{error:?}");
    Ok(())
}

/// Whatever the broker does: silent before the end is known, or while the result is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_with_its_time() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let _worker = worker(&fleet, Codec::default()).await?;
    let id = made(&fleet, 1_500_000).await?;
    fleet.tap.heard(id, Transition::Succeeded).await?;
    let bound = Duration::from_millis(1500);
    let client = fleet.client.clone();
    let queue = QueueName::default();
    let waited = async |wait: Duration| {
        let begun = Instant::now();
        (client.wait(&queue, id, wait).await, begun.elapsed())
    };
    fleet.broker.signal(Signal::STOP).await?;
    let (ended, took) = waited(bound).await;
    fleet.broker.signal(Signal::CONT).await?;
    assert!(matches!(ended, Err(Error::TimedOut { .. })), "{ended:?}");
    assert!(took < bound + Duration::from_secs(1), "{took:?}");
    // A store that is away is not waited for beyond the bound either.
    let admin = fleet.broker.client("admin").await?;
    admin.api("STREAM.DELETE.OBJ_windlass_results_default", &serde_json::json!({})).await?;
    let (ended, took) = waited(Duration::from_secs(5)).await;
    assert!(matches!(ended, Err(Error::ResultGone { state: JobState::Succeeded, .. })), "{ended:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    Ok(())
}
