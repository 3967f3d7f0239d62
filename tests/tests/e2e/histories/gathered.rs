//! Conditional writes that go together: each is decided on its own, as if it had been published alone.

use anyhow::Result;
use futures::StreamExt as _;
use futures::future::try_join_all;
use serde_json::json;
use windlass_broker::jobs::{Jobs, Verdict};
use windlass_core::{PoolName, RecordKind};

use super::world::{LONG_LEASE, Step, Subject, World, one_winner, won};

/// Enough that nearly all of them wait while the first are on their way.
const JOBS: usize = 400;

fn subjects(jobs: &Jobs) -> Result<Vec<Subject>> {
    (0..JOBS).map(|_| Subject::new(jobs)).collect()
}

/// Writes of two connections, for the same jobs, at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn rivals_that_write_many_at_once_have_one_winner_each() -> Result<()> {
    let world = World::start(LONG_LEASE).await?;
    let rival = world.broker.connect("rival").await?;
    let rival = Jobs::new(&rival, PoolName::default());
    let subjects = subjects(&world.jobs)?;
    let mut answers = world.client.nats().subscribe("_INBOX.>").await?;
    world.client.nats().flush().await?;
    let both = subjects.iter().map(async |subject| {
        let other = Subject { jobs: rival.clone(), address: subject.address.clone() };
        let create = Step::on(0, RecordKind::Ready);
        let (a, b) = tokio::try_join!(subject.wait(create), other.wait(create))?;
        one_winner([a, b]);
        let token = subject.token().await?;
        let (a, b) = tokio::try_join!(subject.done(token), other.done(token))?;
        one_winner([a, b]);
        anyhow::Ok(())
    });
    try_join_all(both).await?;
    for subject in &subjects {
        assert_eq!(subject.left(&world.client).await?, ["done", "ready"]);
    }
    answers.unsubscribe().await?;
    // Half of the writes are refused, and each refusal is an answer; the others share theirs.
    let mut shared = 0;
    while let Some(answer) = answers.next().await {
        shared += usize::from(answer.payload.windows(8).any(|bytes| bytes == br#""batch":"#));
    }
    assert!(shared > 0, "nothing went together");
    assert!(shared < JOBS / 2, "{shared} batches for {} writes", 4 * JOBS);
    Ok(())
}

/// A stream that was made before batches were asked for, or by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_takes_no_batches_is_written_one_by_one() -> Result<()> {
    let world = World::start(LONG_LEASE).await?;
    let mut config = world.client.api("STREAM.INFO.JOBS", &json!({})).await?["config"].take();
    config["allow_batched"] = json!(false);
    let updated = world.client.api("STREAM.UPDATE.JOBS", &config).await?;
    anyhow::ensure!(updated.get("error").is_none(), "{updated}");
    let subjects = subjects(&world.jobs)?;
    let created = subjects.iter().map(|subject| subject.wait(Step::on(0, RecordKind::Ready)));
    for verdict in try_join_all(created).await? {
        won(verdict)?;
    }
    let again = subjects.iter().map(|subject| subject.wait(Step::on(0, RecordKind::Ready)));
    assert!(try_join_all(again).await?.iter().all(|verdict| *verdict == Verdict::Lost));
    Ok(())
}
