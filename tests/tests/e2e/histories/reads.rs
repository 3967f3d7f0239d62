//! What is read, from whom, and in which order.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use windlass_broker::jobs::{Jobs, Verdict};
use windlass_broker::provision::Layout;
use windlass_core::protocol::{self, Removal, View};
use windlass_core::{JobState, PoolName, QueueName, RecordKind};
use windlass_testkit::Cluster;

use super::world::{LONG_LEASE, Step, Subject, World, acknowledge, won};

/// History `read_order`: a canceller reads while a worker ends the job and its timer fires once more.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_written_between_two_reads_is_seen() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    let (subject, first) = world.held().await?;
    let before = subject.seen().await?.view;
    assert!(!before.done);
    won(subject.done(first.sequence).await?)?;
    acknowledge(&first).await?;
    world.fire_again(&subject, RecordKind::Ready).await?;
    let fired = world.deliver().await?;
    let now = subject.seen().await?.view;

    // The last message first: whatever is read for the `done` afterwards, no second end is stored.
    for done in [before.done, now.done] {
        let verdict = match protocol::cancel(&View { last: before.last, done }) {
            Removal::Write { token, .. } => {
                subject.end(Step::on(token, RecordKind::Done), JobState::Cancelled).await?
            }
            Removal::Ended | Removal::Nothing => Verdict::Lost,
        };
        assert_eq!(verdict, Verdict::Lost);
    }

    // So does the product.
    let mut asked = world.client.subscribe("$JS.API.STREAM.MSG.GET.JOBS").await?;
    // The broker works on a connection's wishes in their order: with this answer it listens.
    world.client.api("STREAM.INFO.JOBS", &json!({})).await?;
    subject.seen().await?;
    let mut filters = Vec::new();
    for _ in 0..2 {
        let question: Value = serde_json::from_slice(&world.client.next(&mut asked).await?.payload)?;
        filters.push(question["last_by_subj"].as_str().context("no filter")?.to_owned());
    }
    assert!(filters[0].contains(".*.*.") && filters[1].contains(".done.*."), "{filters:?}");

    // The other way round there are two ends.
    let Removal::Write { token, .. } = protocol::cancel(&View { last: now.last, done: before.done }) else {
        anyhow::bail!("the canceller does not see the fired message")
    };
    assert_eq!(token, fired.sequence);
    won(subject.end(Step::on(token, RecordKind::Done), JobState::Cancelled).await?)?;
    Ok(())
}

/// History `leader_reads`: three nodes; a reader at each of them sees what was acknowledged just before, and asks nobody
/// but the leader. (Lists of flow control are read from any replica, so one could answer.)
#[tokio::test(flavor = "multi_thread")]
async fn a_read_sees_what_was_written_before() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let layout = Layout { replicas: 3, ..Layout::default() };
    let broker = cluster.provision(&layout).await?;
    let client = cluster.client().await?;
    let mut readers = Vec::new();
    for node in 0..cluster.len() {
        let options = windlass_broker::Options::new(cluster.node(node).client_url());
        readers.push(Jobs::new(&windlass_broker::Broker::connect(options).await?, PoolName::default()));
    }
    let jobs = Jobs::new(&broker, PoolName::default());
    let mut direct = client.subscribe("$JS.API.DIRECT.GET.JOBS.>").await?;
    let mut directly = client.subscribe("$JS.API.DIRECT.GET.JOBS").await?;
    // The broker works on a connection's wishes in their order: with this answer it listens.
    client.api("STREAM.INFO.JOBS", &json!({})).await?;
    for _ in 0..100 {
        let subject = Subject::new(&jobs)?;
        won(subject.wait(Step::on(0, RecordKind::Ready)).await?)?;
        let token = subject.token().await?;
        // Read without a message: as the leader of the moment sees it as well.
        for reader in &readers {
            assert!(reader.is_in_force(token, &QueueName::default(), subject.address.job_id).await);
        }
        won(subject.done(token).await?)?;
        for reader in &readers {
            assert!(!reader.is_in_force(token, &QueueName::default(), subject.address.job_id).await);
            let view = reader.read(&QueueName::default(), subject.address.job_id).await?.view;
            assert!(view.done && view.last.is_some_and(|last| last.sequence > token), "{view:?}");
        }
    }
    // Whoever asks a replica is heard: these are the first who did.
    for (subject, heard) in
        [("$JS.API.DIRECT.GET.JOBS.mark", &mut direct), ("$JS.API.DIRECT.GET.JOBS", &mut directly)]
    {
        client.nats().publish(subject, "the test".into()).await?;
        let first = client.next(heard).await?;
        assert_eq!(first.payload, "the test", "a reader asked any replica: {}", first.subject);
    }
    Ok(())
}
