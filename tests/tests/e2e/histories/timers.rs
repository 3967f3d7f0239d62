//! Timers that fire too often or too late, and what removes them.

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use windlass_core::protocol::{self, Opening, Removal, Stale, Standing};
use windlass_core::{JobState, RecordKind};

use super::world::{LONG_LEASE, Step, Subject, World, acknowledge, one_winner, won, won_token};

/// Histories `fired_check`, `done_check`.
#[tokio::test(flavor = "multi_thread")]
async fn what_fires_after_the_end_does_not_run() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    let (subject, first) = world.held().await?;
    won(subject.wait(Step::timer(first.sequence, RecordKind::Later)).await?)?;
    acknowledge(&first).await?;
    let second = world.deliver().await?;
    assert_eq!((second.count, protocol::opening(second.delivery())), (1, Opening::Check));
    assert_eq!(subject.open(&second).await?, Standing::Mine { token: second.sequence });
    let before = world.stored().await?;
    assert!(subject.is_in_force(&second).await, "the last message of a job without an end");
    assert!(!subject.is_in_force(&first).await, "not the last");
    assert_eq!(world.stored().await?, before, "to ask stored something");
    won(subject.done(second.sequence).await?)?;
    assert!(!subject.is_in_force(&second).await, "under an end");
    acknowledge(&second).await?;
    world.fire_again(&subject, RecordKind::Ready).await?;
    let third = world.deliver().await?;
    assert_eq!((third.count, protocol::opening(third.delivery())), (1, Opening::Check));
    let last = subject.seen().await?.view.last.context("nothing")?;
    assert_eq!(last.sequence, third.sequence, "the end is not last: only the check of a `done` finds it");
    assert!(!subject.is_in_force(&third).await, "the last, after an end");
    assert_eq!(subject.open(&third).await?, Standing::NotMine(Stale::Acknowledge));
    acknowledge(&third).await?;
    assert_eq!(subject.left(&world.client).await?, ["done"]);
    Ok(())
}

/// History `fired_check_of_due`: the same for what a dispatcher lets through, whose write is conditional by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_fires_as_due_after_the_end_is_not_let_through() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    let mut due = world.dispatcher().await?;
    let subject = Subject::new(&world.jobs)?;
    won(subject.wait(Step::on(0, RecordKind::Due)).await?)?;
    let first = World::deliver_to(&mut due).await?;
    won(subject.wait(Step::on(first.sequence, RecordKind::Ready)).await?)?;
    let second = world.deliver().await?;
    acknowledge(&first).await?;
    won(subject.wait(Step::timer(second.sequence, RecordKind::Later).into_due()).await?)?;
    acknowledge(&second).await?;
    let third = World::deliver_to(&mut due).await?;
    assert_eq!(protocol::opening(third.delivery()), Opening::Check);
    assert_eq!(subject.open(&third).await?, Standing::Mine { token: third.sequence });
    won(subject.wait(Step::on(third.sequence, RecordKind::Ready)).await?)?;
    acknowledge(&third).await?;
    let fourth = world.deliver().await?;
    won(subject.done(fourth.sequence).await?)?;
    acknowledge(&fourth).await?;
    world.fire_again(&subject, RecordKind::Due).await?;
    let fifth = World::deliver_to(&mut due).await?;
    assert_eq!(subject.open(&fifth).await?, Standing::NotMine(Stale::Acknowledge));
    let through = subject.wait(Step::on(fifth.sequence, RecordKind::Ready)).await?;
    won(through).context("the condition alone does not hold it back")?;
    Ok(())
}

/// Histories `purge_in_release`, `purge_in_cancel`, `purge_in_cancel_of_held`.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_or_cancel_removes_the_timer_in_its_one_write() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    for (record, cancel) in
        [RecordKind::Later, RecordKind::Held].into_iter().flat_map(|r| [(r, false), (r, true)])
    {
        let subject = Subject::new(&world.jobs)?;
        won(subject.wait(Step::timer(0, record)).await?)?;
        let view = subject.seen().await?.view;
        let removal = if cancel { protocol::cancel(&view) } else { protocol::release(&view) };
        let Removal::Write { token, purge_timer: true, then_delete: None } = removal else {
            bail!("{removal:?}")
        };
        let to = if cancel { RecordKind::Done } else { RecordKind::Ready };
        let step = Step { purge: Some(record), ..Step::on(token, to) };
        if cancel {
            let end = || subject.end(step, JobState::Cancelled);
            one_winner(tokio::try_join!(end(), end())?);
        } else {
            one_winner(tokio::try_join!(subject.wait(step), subject.wait(step))?);
            assert_eq!(subject.left(&world.client).await?, ["ready"]);
            let delivered = world.deliver().await?;
            won(subject.done(delivered.sequence).await?)?;
            acknowledge(&delivered).await?;
        }
        world.timers_fired().await?;
        assert_eq!(subject.left(&world.client).await?, ["done"], "{record}, cancel: {cancel}");
    }
    // The same write without the purge: the timer fires after the end.
    let subject = Subject::new(&world.jobs)?;
    let token = won_token(subject.wait(Step::timer(0, RecordKind::Later)).await?)?;
    won(subject.end(Step::on(token, RecordKind::Done), JobState::Cancelled).await?)?;
    let fired = world.deliver().await?;
    assert!(fired.sequence > token && subject.seen().await?.view.done, "it fired before the end");
    Ok(())
}

/// History `delete_in_cancel`.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_that_was_ready_is_not_delivered() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    let subject = world.ready().await?;
    let removal = protocol::cancel(&subject.seen().await?.view);
    let Removal::Write { token, purge_timer: false, then_delete: Some(work) } = removal else {
        bail!("{removal:?}")
    };
    won(subject.end(Step::on(token, RecordKind::Done), JobState::Cancelled).await?)?;
    subject.jobs.delete(work).await?;
    world.timers_fired().await?;
    assert_eq!(subject.left(&world.client).await?, ["done"]);

    let undeleted = world.ready().await?;
    let Removal::Write { token, .. } = protocol::cancel(&undeleted.seen().await?.view) else { bail!("none") };
    won(undeleted.end(Step::on(token, RecordKind::Done), JobState::Cancelled).await?)?;
    let delivered = world.deliver().await?;
    assert_eq!(delivered.sequence, token, "what was not deleted starts at once: it is a first delivery");
    let at_once = protocol::opening(delivered.delivery());
    assert_eq!(at_once, Opening::Run);
    assert!(Timestamp::now() > delivered.published_at);
    Ok(())
}
