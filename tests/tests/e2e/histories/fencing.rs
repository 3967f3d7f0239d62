//! One token, one holder, one end.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tokio::time::{Instant, timeout};
use windlass_broker::jobs::{Jobs, Verdict};
use windlass_broker::provision::Layout;
use windlass_broker::pull::Puller;
use windlass_core::attempt::push_bounded;
use windlass_core::protocol::{self, Opening, Stale, Standing};
use windlass_core::settle::{AfterFailure, Failed, after_failure};
use windlass_core::{Attempt, JobState, Outcome, PoolName, QueueName, RecordKind, RetryPolicy};
use windlass_proto::v1::ClaimReason;
use windlass_testkit::{Cluster, PATIENCE, TestBroker};

use super::world::{SHORT_LEASE, Step, Subject, World, acknowledge, one_winner, won};

/// History `condition`, and more writers than it has.
#[tokio::test(flavor = "multi_thread")]
async fn of_all_ends_on_one_token_one_is_stored() -> Result<()> {
    let mut world = World::start(SHORT_LEASE).await?;
    let (subject, first) = world.held().await?;
    let second = world.deliver().await?;
    assert_eq!(subject.open(&second).await?, Standing::Mine { token: first.sequence });
    let end = || subject.done(first.sequence);
    one_winner(tokio::try_join!(end(), end(), end(), end())?);
    let late = subject.claim(&second, first.sequence, ClaimReason::Redelivered).await?;
    assert_eq!(late, Verdict::Lost);
    assert_eq!(protocol::refused(second.sequence, &subject.seen().await?.view), Stale::Acknowledge);
    assert_eq!(subject.left(&world.client).await?, ["done", "ready"]);

    let stored = world.client.store(&subject.on(RecordKind::Done), &[], "").await?;
    assert!(stored.get("error").is_none(), "without a condition the broker takes any: {stored}");
    Ok(())
}

/// Histories `claim`, `claim_over_claim`, `abandon`, `acknowledge_stale`, `drop_overdue_claim`, `record_crash`.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_fences_the_first_holder_who_leaves_the_message_alone() -> Result<()> {
    let mut world = World::start(SHORT_LEASE).await?;
    let (subject, first) = world.held().await?;
    let second = world.deliver().await?;
    assert_eq!((second.sequence, second.count), (first.sequence, 2));
    assert_eq!(subject.lost_attempt(&second).await?, Some(Outcome::Crashed));
    let token = subject.take(&second).await?;
    assert_eq!(subject.done(first.sequence).await?, Verdict::Lost);
    assert_eq!(protocol::refused(first.sequence, &subject.seen().await?.view), Stale::Abandon);
    // The second crashes too: only because the first did not acknowledge does the message come again.
    let third = world.deliver().await?;
    assert_eq!((third.sequence, third.count), (first.sequence, 3));
    assert!(!first.is_fresh(SHORT_LEASE), "its lease ended two deliveries ago: it may not claim");
    let last = subject.take(&third).await?;
    assert_eq!(subject.done(token).await?, Verdict::Lost);
    won(subject.done(last).await?)?;
    let done = subject.seen().await?.done.context("no end")?;
    let outcomes: Vec<_> = done.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Outcome::Crashed; 2], "each claim recorded the crash that led to it");
    // The third crashes before it acknowledges.
    let fourth = world.deliver().await?;
    assert_eq!(subject.open(&fourth).await?, Standing::NotMine(Stale::Acknowledge));
    acknowledge(&fourth).await?;
    subject.jobs.delete(token).await?;
    subject.jobs.delete(last).await?;
    assert_eq!(subject.left(&world.client).await?, ["done"]);

    // What `abandon` is for: to the broker alone, one delivery's acknowledgement is as good as another's.
    let (subject, first) = world.held().await?;
    let second = world.deliver().await?;
    subject.take(&second).await?;
    acknowledge(&first).await?;
    assert_eq!(subject.left(&world.client).await?, ["claim"], "the second holder's message is gone");
    Ok(())
}

/// History `only_failures_count`: a crash, and then a failure, under a policy of two attempts.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_uses_no_attempt_of_the_policy() -> Result<()> {
    let mut world = World::start(SHORT_LEASE).await?;
    let policy = RetryPolicy::default().with_max_attempts(2)?;
    let (subject, _first) = world.held().await?;
    let second = world.deliver().await?;
    let token = subject.take(&second).await?;
    let mut attempts = subject.attempts().await?;
    assert_eq!(attempts.len(), 1, "the crash");
    let failed = Attempt { number: 2, outcome: Outcome::Failed, ..attempts[0].clone() };
    push_bounded(&mut attempts, failed);
    let AfterFailure::Retry(_) = after_failure(&policy, &of(&subject, &attempts)) else {
        bail!("the crash was counted")
    };
    won(subject.write_job(Step::timer(token, RecordKind::Later), attempts).await?)?;
    acknowledge(&second).await?;
    let third = world.deliver().await?;
    let Standing::Mine { token } = subject.open(&third).await? else { bail!("it is not last") };
    let mut attempts = subject.attempts().await?;
    let failed = Attempt { number: 3, outcome: Outcome::Failed, ..attempts[0].clone() };
    push_bounded(&mut attempts, failed);
    assert!(matches!(after_failure(&policy, &of(&subject, &attempts)), AfterFailure::Dead(_)));
    won(subject.end(Step::on(token, RecordKind::Done), JobState::Dead).await?)?;
    Ok(())
}

fn of<'a>(subject: &Subject, attempts: &'a [Attempt]) -> Failed<'a> {
    let job_id = subject.address.job_id;
    Failed { job_id, attempts, terminal: false, retry_after: None, elapsed: Duration::ZERO }
}

/// History `suspect`. Whether a broker that is killed forgets is a matter of milliseconds; it is killed until it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_delivery_by_a_broker_that_forgot_is_claimed() -> Result<()> {
    let mut world = World::start(SHORT_LEASE).await?;
    for _ in 0..20 {
        let (subject, first) = world.held().await?;
        world.broker.restart().await?;
        let second = world.deliver().await?;
        assert!(second.suspect && !first.is_fresh(Duration::MAX), "the connection was lost");
        assert_eq!(second.sequence, first.sequence);
        assert_eq!(protocol::opening(second.delivery()), Opening::Claim);
        let forgot = second.count == 1;
        assert_eq!(subject.lost_attempt(&second).await?, (!forgot).then_some(Outcome::Crashed));
        let token = subject.take(&second).await?;
        assert_eq!(subject.done(first.sequence).await?, Verdict::Lost);
        won(subject.done(token).await?)?;
        acknowledge(&second).await?;
        if forgot {
            return Ok(());
        }
    }
    bail!("the broker never forgot a delivery")
}

/// What was stored after the worker connected was delivered to nobody before: it is not claimed, however few deliveries
/// there were.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_after_a_connection_is_not_suspect() -> Result<()> {
    let broker = TestBroker::start().await?;
    let layout = Layout::default();
    let connection = broker.provision(&layout).await?;
    let jobs = Jobs::new(&connection, PoolName::default());
    let standing = layout.max_ack_pending / 2;
    for _ in 0..standing {
        Subject::new(&jobs)?.make_ready().await?;
    }
    let consumer = connection.names().worker_consumer(&QueueName::default());
    let mut puller = Puller::open(&connection, jobs.stream().to_owned(), consumer).await?;
    for number in 0..standing {
        assert!(is_suspect(&mut puller).await?, "{number} stood before");
    }
    Subject::new(&jobs)?.make_ready().await?;
    assert!(!is_suspect(&mut puller).await?);
    Ok(())
}

/// History `suspect` on three nodes: the consumer has a new leader while the worker asks for nothing, so that only the
/// broker's word of the election can tell it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_leader_of_the_consumer_delivers_first_is_suspect() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let layout = Layout { replicas: 3, max_ack_pending: 1, ..Layout::default() };
    let connection = cluster.provision(&layout).await?;
    let client = cluster.client().await?;
    let jobs = Jobs::new(&connection, PoolName::default());
    let consumer = connection.names().worker_consumer(&QueueName::default());
    // They stand before there is a sign of anything.
    for _ in 0..200 {
        Subject::new(&jobs)?.make_ready().await?;
    }
    let mut puller = Puller::open(&connection, jobs.stream().to_owned(), consumer.clone()).await?;
    for suspect in [true, false] {
        assert_eq!(is_suspect(&mut puller).await?, suspect);
    }
    let call = format!("CONSUMER.LEADER.STEPDOWN.{}.{consumer}", jobs.stream());
    let info = format!("CONSUMER.INFO.{}.{consumer}", jobs.stream());
    let deadline = Instant::now() + PATIENCE;
    let before = client.api(&info, &json!({})).await?["cluster"]["leader"].clone();
    let answer = client.api(&call, &json!({})).await?;
    ensure!(answer["success"] == true, "{answer}");
    // Not before it leads: a question that nobody answers would be a sign too.
    loop {
        // Without a leader nobody answers.
        let now = timeout(Duration::from_secs(1), client.api(&info, &json!({}))).await;
        if let Ok(Ok(now)) = now
            && now["cluster"]["leader"].is_string()
            && now["cluster"]["leader"] != before
        {
            break;
        }
        ensure!(Instant::now() < deadline, "the consumer has no new leader");
    }
    // The broker's word may come a moment after the first deliveries.
    while !is_suspect(&mut puller).await? {
        ensure!(Instant::now() < deadline, "the election was not heard of");
    }
    assert!(!is_suspect(&mut puller).await?, "no more than can have been forgotten");
    Ok(())
}

/// Whether the next delivery is.
async fn is_suspect(puller: &mut Puller) -> Result<bool> {
    let delivered = World::deliver_to(puller).await?;
    acknowledge(&delivered).await?;
    Ok(delivered.suspect)
}
