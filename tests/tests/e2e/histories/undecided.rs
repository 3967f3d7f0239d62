//! Writes whose outcome is not known.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use tokio::time::timeout;
use windlass_broker::jobs::{Jobs, Verdict};
use windlass_broker::provision::Layout;
use windlass_core::{PoolName, RecordKind};
use windlass_testkit::process::Signal;
use windlass_testkit::{Cluster, PATIENCE};

use super::world::{LONG_LEASE, Step, Subject, World, one_winner, won};

/// Histories `compare`, `unacknowledged_at_deadline`: the server is silent, and stores what it was sent afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn after_silence_a_refusal_is_compared_and_no_outcome_is_guessed() -> Result<()> {
    let world = World::start(LONG_LEASE).await?;
    let (subject, rivals) = (Subject::new(&world.jobs)?, Subject::new(&world.jobs)?);
    let create = Step::on(0, RecordKind::Ready);
    world.broker.signal(Signal::STOP).await?;
    // The signal takes effect a moment after it was sent.
    let given_up = loop {
        let subject = Subject::new(&world.jobs)?;
        if subject.wait(Step { within: Duration::from_secs(1), ..create }).await? == Verdict::Undecided {
            break subject;
        }
    };
    let writes = async { tokio::try_join!(subject.wait(create), rivals.wait(create), rivals.wait(create)) };
    tokio::pin!(writes);
    // One try takes three seconds.
    assert!(timeout(Duration::from_secs(4), &mut writes).await.is_err(), "a stopped server answers nothing");
    world.broker.signal(Signal::CONT).await?;
    let (alone, one, other) = writes.await?;
    // Its second try was refused by its first, and compared.
    assert_eq!(won(alone)?, Some(subject.token().await?));
    one_winner([one, other]);
    for written in [&subject, &rivals, &given_up] {
        assert_eq!(written.left(&world.client).await?, ["ready"]);
    }
    Ok(())
}

/// History `undecided_again`: three nodes; the leader dies between a write that no follower has and its next try.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_may_vanish_with_its_leader_is_tried_until_it_is_decided() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    let broker = cluster.provision(&Layout { replicas: 3, ..Layout::default() }).await?;
    let client = cluster.client().await?;
    let jobs = Jobs::new(&broker, PoolName::default());
    let (subject, create) = (Subject::new(&jobs)?, Step::on(0, RecordKind::Ready));
    let leader = cluster.leader(&client, jobs.stream()).await?;
    let followers: Vec<_> = (0..cluster.len()).filter(|node| *node != leader).collect();
    for node in &followers {
        cluster.kill9(*node).await?;
    }
    let writes = async { tokio::try_join!(subject.wait(create), subject.wait(create)) };
    tokio::pin!(writes);
    assert!(timeout(Duration::from_secs(4), &mut writes).await.is_err(), "no majority, no verdict");
    cluster.kill9(leader).await?;
    for node in followers.into_iter().chain([leader]) {
        cluster.restart(node).await?;
    }
    one_winner(writes.await?);
    assert_eq!(subject.left(&client).await?, ["ready"]);
    Ok(())
}

/// History `condition` on three nodes: rivals create and end jobs while the leader is killed. One of them wins each
/// time, and what was acknowledged is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_one_winner_though_the_leader_dies() -> Result<()> {
    let mut cluster = Cluster::start(3).await?;
    cluster.provision(&Layout { replicas: 3, ..Layout::default() }).await?;
    let client = cluster.client().await?;
    let one = Jobs::new(&cluster.connect("one").await?, PoolName::default());
    let other = Jobs::new(&cluster.connect("other").await?, PoolName::default());
    let subjects = (0..60).map(|_| Subject::new(&one)).collect::<Result<Vec<_>>>()?;
    let rivals = subjects.iter().map(|subject| async {
        let rival = Subject { jobs: other.clone(), address: subject.address.clone() };
        let create = Step::on(0, RecordKind::Ready);
        let (a, b) = tokio::try_join!(subject.wait(create), rival.wait(create))?;
        one_winner([a, b]);
        let token = subject.token().await?;
        let (a, b) = tokio::try_join!(subject.done(token), rival.done(token))?;
        one_winner([a, b]);
        anyhow::Ok(())
    });
    let leader = cluster.leader(&client, one.stream()).await?;
    let killing = async {
        cluster.kill9(leader).await?;
        cluster.restart(leader).await
    };
    tokio::try_join!(try_join_all(rivals), killing)?;
    for subject in &subjects {
        assert_eq!(subject.left(&client).await?, ["done", "ready"]);
    }
    Ok(())
}

/// History `drop_overdue_create`: the broker is away while a job is created, and back when nobody waits for it any
/// more.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_was_given_up_is_not_sent_when_the_broker_is_back() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    let (ours, bare) = (Subject::new(&world.jobs)?, Subject::new(&world.jobs)?);
    let mut status = world.connection.status();
    world.broker.kill9().await?;
    timeout(PATIENCE, status.wait_for(|s| !s.connected)).await.context("the loss is not noticed")??;
    let create = Step { within: Duration::from_secs(1), ..Step::on(0, RecordKind::Ready) };
    assert_eq!(ours.wait(create).await?, Verdict::Undecided);
    // What the client library does with it otherwise.
    let nats = world.client.nats().clone();
    while nats.connection_state().to_string() == "connected" {
        tokio::task::yield_now().await;
    }
    nats.publish(bare.on(RecordKind::Ready), "late".into()).await?;
    world.broker.restart().await?;
    timeout(PATIENCE, status.wait_for(|s| s.connected)).await.context("it does not connect again")??;
    nats.flush().await?;
    // A write of our connection that comes after all that it may have kept.
    let probe = Subject::new(&world.jobs)?;
    won(probe.wait(Step::on(0, RecordKind::Ready)).await?)?;
    assert_eq!(ours.left(&world.client).await?, [""; 0]);
    ensure!(bare.left(&world.client).await? == ["ready"], "the client's buffer is not what it was");
    Ok(())
}
