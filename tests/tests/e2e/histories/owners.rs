//! What a queue's owner writes, all or none; and slots, which are given back once.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use windlass_broker::flow::{Commit, Flow, LetThrough, Move, Park, Reading, free};
use windlass_broker::names::Line;
use windlass_core::flow::{FlowKey, Follows, Kept};
use windlass_core::{JobState, PoolName, QueueName, RecordKind};
use windlass_proto::{Job, RecordBody};
use windlass_testkit::PATIENCE;

use super::world::{LONG_LEASE, Step, Subject, World, won};

fn flow(world: &World) -> Flow {
    Flow::new(&world.connection, PoolName::default(), QueueName::default())
}

/// A job that waits for the dispatcher, and its token.
async fn due(world: &World, key: &FlowKey) -> Result<(Subject, Job, u64)> {
    let subject = Subject::new(&world.jobs)?;
    let mut job = subject.job(Vec::new())?;
    job.task.key = Some(key.clone());
    won(subject.write(Step::on(0, RecordKind::Due), &job.nonce, job.encode()).await?)?;
    let token = subject.token().await?;
    Ok((subject, job, token))
}

fn park<'a>(subject: &'a Subject, job: &'a Job, token: u64, line: Line) -> Move<'a> {
    let (takes_key, has_key, new_lane) = (None, None, false);
    let (address, since, trace) = (&subject.address, Timestamp::now(), None);
    let ahead = false;
    Move::Park(Park { address, token, line, ahead, takes_key, has_key, new_lane, job, since, trace })
}

fn let_through<'a>(
    subject: &'a Subject,
    job: &'a Job,
    token: u64,
    leaves: Option<Line>,
    key: &'a FlowKey,
) -> Move<'a> {
    Move::LetThrough(LetThrough {
        address: &subject.address,
        token,
        leaves,
        ahead: false,
        takes_key: Some(key),
        has_key: None,
        kept: Kept::Never,
        takes_turn: true,
        job,
        trace: None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_owner_decides_is_not_stored() -> Result<()> {
    let world = World::start(LONG_LEASE).await?;
    let (flow, key) = (flow(&world), "k".parse()?);
    let (subject, job, token) = due(&world, &key).await?;
    let former = flow.take_over("a").await?.context("nobody else is there")?;
    let owner = flow.take_over("b").await?.context("it is given up")?;
    assert!(owner > former);
    let line = Line::Key(key.token());
    let moved = park(&subject, &job, token, line.clone());
    assert_eq!(flow.commit(former, std::slice::from_ref(&moved)).await?, Commit::Refused);
    assert_eq!(subject.left(&world.client).await?, ["due"]);
    let Commit::Done(held) = flow.commit(owner, &[moved]).await? else {
        anyhow::bail!("the owner is refused")
    };
    let (waiting, more) = flow.line(&line, None, &mut Reading::default(), 10).await?;
    let places: Vec<_> = waiting.iter().map(|one| (one.job_id, one.held)).collect();
    assert_eq!((places, more), (vec![(subject.address.job_id, held)], false));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_given_back_once() -> Result<()> {
    let world = World::start(LONG_LEASE).await?;
    let (flow, key): (_, FlowKey) = (flow(&world), "k".parse()?);
    let (subject, job, token) = due(&world, &key).await?;
    let owner = flow.take_over("a").await?.context("nobody else is there")?;
    let line = Line::Key(key.token());
    let Commit::Done(held) = flow.commit(owner, &[park(&subject, &job, token, line.clone())]).await? else {
        anyhow::bail!("it is not parked")
    };
    let through = let_through(&subject, &job, held, Some(line.clone()), &key);
    let Commit::Done(work) = flow.commit(owner, &[through]).await? else { anyhow::bail!("it is refused") };
    assert_eq!(
        subject.left(&world.client).await?,
        ["due", "ready", "slot", "slot"],
        "its `due` is the consumer's to remove"
    );
    assert_eq!(flow.line(&line, None, &mut Reading::default(), 10).await?, (vec![], false));
    let id = subject.address.job_id;
    let taken = async |flow: &Flow| {
        let (of_key, of_queue) = (flow.slots(Some(&key.token())).await?, flow.slots(None).await?);
        anyhow::Ok((of_key.jobs().collect::<Vec<_>>(), of_queue.jobs().collect::<Vec<_>>()))
    };
    assert_eq!(taken(&flow).await?, (vec![id], vec![id]));
    let slots = async |sequence| {
        let record = flow.jobs().at(sequence).await?.context("it stands there")?;
        let RecordBody::Job(job) = record.body else { anyhow::bail!("not a job") };
        job.slots.context("it holds slots")
    };
    let first = slots(work).await?;
    let queue = &subject.address.queue;
    let free =
        async |slots, work| free(&world.jobs, queue, id, slots, work, Follows::Another, PATIENCE).await;
    free(&first, work).await?;
    assert_eq!(taken(&flow).await?, (vec![], vec![]));
    // It comes again, and takes slots anew: what is freed late was its own of before.
    won(subject.write_job(Step::on(work, RecordKind::Due), Vec::new()).await?)?;
    let token = subject.token().await?;
    let through = let_through(&subject, &job, token, None, &key);
    let Commit::Done(again) = flow.commit(owner, &[through]).await? else { anyhow::bail!("it is refused") };
    free(&first, work).await?;
    assert_eq!(taken(&flow).await?, (vec![id], vec![id]));
    free(&slots(again).await?, again).await?;
    assert_eq!(taken(&flow).await?, (vec![], vec![]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_moved_takes_nothing() -> Result<()> {
    let world = World::start(LONG_LEASE).await?;
    let (flow, key): (_, FlowKey) = (flow(&world), "k".parse()?);
    let (gone, job, token) = due(&world, &key).await?;
    let (other, other_job, other_token) = due(&world, &key).await?;
    let owner = flow.take_over("a").await?.context("nobody else is there")?;
    won(gone.end(Step::on(token, RecordKind::Done), JobState::Cancelled).await?)?;
    let both = [
        let_through(&other, &other_job, other_token, None, &key),
        let_through(&gone, &job, token, None, &key),
    ];
    assert_eq!(flow.commit(owner, &both).await?, Commit::Refused);
    assert!(flow.slots(None).await?.is_empty());
    assert_eq!(other.left(&world.client).await?, ["due"]);
    Ok(())
}
