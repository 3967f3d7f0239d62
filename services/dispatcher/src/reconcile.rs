//! Repairs what no message in flight would repair, under one leader, every third of the horizon.
//!
//! - *Work left under a `done`.* A worker died between the two, and none came since; or a timer fired through the write
//!   that purged it. While the `done` stands, whoever is given the work finds it. Afterwards it would run again. Claims
//!   that are left would make the job look as if it ran.
//! - *Timers that are overdue.* The broker could not store what it fired, and does not try again.
//! - *Jobs that wait for others* which have ended, or are forgotten (`dependencies/tidy.rs`).
//! - *Markers of children* whose parent has ended, and of unique keys whose job has.
//! - *Messages that nobody gets any more*, as they were delivered as often as their consumer allowed: `zombie.rs`.
//! - *Payloads that nobody needs* (`objects.rs`).
//! - *Held jobs that stand in no line* (`flow/astray.rs`), and those whose dependencies have ended (`dependencies.rs`).
//! - *Work whose queue has no consumer*, should no dispatcher know the queue; otherwise each looks after those that it
//!   knows (`queues.rs`).
//! - *Marks of tasks that were admitted ahead of their delivery*, which has come since (`intake.rs`).
//!
//! Who leads this also forgets the ends of queues that keep them for a while only (`forget.rs`).
//!
//! All are looked for by walking the streams at a bounded pace. What is young is not looked at: in a fleet that keeps
//! up, that is all of it but the timers.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use windlass_broker::jobs::{self, Jobs, SeenRecord};
use windlass_broker::leader::Lease;
use windlass_core::RecordKind;
use windlass_core::protocol;
use windlass_proto::RecordBody;

use crate::children;
use crate::dependencies;
use crate::ended;
use crate::flow;
use crate::forget;
use crate::intake::Marks;
use crate::objects;
use crate::order::Carried;
use crate::release;
use crate::shared::Shared;
use crate::unique;
use crate::zombie::{self, Passed, Suspects};

const LEASE_KEY: &str = "leader.reconciler";
const LEASE_TTL: Duration = Duration::from_secs(15);
/// Between two looks for a lease that is free.
const STANDBY_PERIOD: Duration = Duration::from_secs(5);
/// Between two messages that are looked at, so that a long walk is not felt.
const PACE: Duration = Duration::from_millis(1);

/// What was found, and is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    LeftOver,
    Overdue,
    LeftBehind,
}

/// Leads whenever no other dispatcher does, until told to stop.
pub(crate) async fn run(shared: &Shared, instance: &str, stop: &CancellationToken) {
    let control = shared.broker.bucket(shared.broker.names().control_bucket());
    let lease = Lease::new(control, LEASE_KEY, instance, LEASE_TTL);
    while !stop.is_cancelled() {
        match lease.acquire().await {
            Ok(Some(mut term)) => {
                tokio::select! {
                    lost = term.keep(|_| ()) => {
                        tracing::warn!(error = %anyhow::Error::new(lost), "another reconciles from now on");
                    }
                    ((), (), ()) = async { tokio::join!(rounds(shared), marks(shared), forget::keep_up(shared)) } => {}
                    () = stop.cancelled() => {}
                }
                term.release().await;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the reconciler's lease cannot be reached"),
        }
        stop.run_until_cancelled(sleep(STANDBY_PERIOD)).await;
    }
}

/// Round after round. Every repair is conditional, or harmless twice, so a round may be left at any point.
async fn rounds(shared: &Shared) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut suspects = Suspects::default();
    loop {
        let begun = Instant::now();
        for pool in shared.layout.all_pools() {
            if let Err(error) = objects::collect(shared, &pool, &mut pace).await {
                tracing::warn!(%pool, error = format!("{error:#}"), "payloads could not be collected; trying again");
            }
            let jobs = Jobs::new(&shared.broker, pool);
            if let Err(error) = round(shared, &jobs, &mut pace).await {
                tracing::warn!(stream = jobs.stream(), %error, "a stream of jobs could not be reconciled; trying again");
            }
        }
        match zombie::sweep_tasks(shared, &mut suspects, &mut pace).await {
            Ok(0) => {}
            Ok(swept) => count("left_behind", swept),
            Err(error) => tracing::warn!(%error, "tasks that were left behind could not be looked for"),
        }
        metrics::histogram!("windlass_reconciler_round_seconds").record(begun.elapsed().as_secs_f64());
        tokio::time::sleep_until(begun + shared.layout.horizon / 3).await;
    }
}

/// Removes marks of tasks, beside the rounds: those take the longer the more jobs wait, and the marks go in several steps.
async fn marks(shared: &Shared) {
    // Of a lookout that did not live to remove them.
    let mut marks = Marks::default();
    loop {
        if let Err(error) = marks.tidy(shared).await {
            tracing::warn!(%error, "marks of tasks could not be removed; trying again");
        }
        sleep(shared.layout.horizon / 3).await;
    }
}

async fn round(shared: &Shared, jobs: &Jobs, pace: &mut Interval) -> Result<(), jobs::Error> {
    let now = jobs.broker_time().await?;
    let old = now.saturating_sub(shared.layout.horizon / 3).unwrap_or(Timestamp::MIN);
    let mut passed = Passed::default();
    for record in RecordKind::ALL.iter().copied().filter(|record| *record != RecordKind::Done) {
        let is_timer = matches!(record, RecordKind::Later | RecordKind::Held);
        let mut from = 0;
        loop {
            pace.tick().await;
            let found = match jobs.next(record, from).await {
                Ok(Some(found)) => found,
                Ok(None) => break,
                // A worker that meets it makes a dead letter of it, or hands it on to one that understands it.
                Err(jobs::Error::Malformed { sequence, .. }) => {
                    from = sequence + 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            from = found.record.sequence + 1;
            // In the order of storing: all that follow are younger. Timers may be due in any order.
            if found.stored_at > old && !is_timer {
                break;
            }
            if found.stored_at <= old
                && let Some(mended) = dependencies::mend(shared, jobs, &found).await?
            {
                if mended {
                    count("unreleased", 1);
                }
                continue;
            }
            if found.stored_at <= old && found.record.kind == protocol::Kind::Held {
                match flow::bring_back(shared, jobs, &found).await {
                    Ok(true) => count("astray", 1),
                    Ok(false) => {}
                    Err(error) => {
                        let error = anyhow::Error::new(error);
                        tracing::warn!(job_id = %found.address.job_id, error = format!("{error:#}"), "a held job could not be looked at; trying again");
                    }
                }
            }
            if let Some(finding) = mend(shared, jobs, &found, now, &mut passed).await? {
                let found = match finding {
                    Finding::LeftOver => "left_over",
                    Finding::Overdue => "overdue",
                    Finding::LeftBehind => "left_behind",
                };
                count(found, 1);
            }
        }
    }
    dependencies::tidy(shared, jobs, pace, old).await?;
    tidy_children(shared, jobs, pace, old).await?;
    unique::tidy(shared, jobs, pace, old).await
}

async fn tidy_children(
    shared: &Shared,
    jobs: &Jobs,
    pace: &mut Interval,
    old: Timestamp,
) -> Result<(), jobs::Error> {
    let mut from = 0;
    while let Some(marker) = jobs.next_child(from).await?.filter(|marker| marker.stored_at <= old) {
        pace.tick().await;
        from = marker.sequence + 1;
        if children::tidy(shared, jobs, &marker).await {
            metrics::counter!("windlass_reconciled_total", "found" => "child_marker").increment(1);
        }
    }
    Ok(())
}

/// Looks at one message, and at its job if the message may be wrong.
async fn mend(
    shared: &Shared,
    jobs: &Jobs,
    found: &SeenRecord,
    now: Timestamp,
    passed: &mut Passed,
) -> Result<Option<Finding>, jobs::Error> {
    let address = &found.address;
    let is_overdue = match (&found.body, found.record.kind) {
        (RecordBody::Job(job), protocol::Kind::Later) => protocol::is_overdue(job.due_at, now),
        _ => false,
    };
    if matches!(found.record.kind, protocol::Kind::Later | protocol::Kind::Held) && !is_overdue {
        return Ok(None);
    }
    if found.record.kind == protocol::Kind::Ready {
        // Its consumer may have been removed while no dispatcher knew the queue.
        if let Err(error) = shared.queues.ensure(&shared.broker, &shared.layout, &address.queue).await {
            tracing::warn!(queue = %address.queue, %error, "a queue's consumer could not be made");
        }
    }
    let seen = jobs.read(&address.queue, address.job_id).await?;
    if protocol::is_left_over(&found.record, &seen.view) {
        tracing::warn!(job_id = %address.job_id, queue = %address.queue, record = %found.record.kind.record_kind(),
            "work was left of a job that has ended; removing it");
        let cleared = ended::clear_up(shared, jobs, &address.queue, address.job_id, &seen).await;
        return Ok(cleared.then_some(Finding::LeftOver));
    }
    if is_overdue && seen.view.last == Some(found.record) {
        tracing::warn!(job_id = %address.job_id, queue = %address.queue, "a timer is overdue; firing it");
        let released = release::let_run(shared, jobs, &seen, "its timer was overdue").await;
        return Ok((released == Carried::Out).then_some(Finding::Overdue));
    }
    if found.record.kind == protocol::Kind::Ready && passed.has(shared, jobs, found).await {
        let ended = zombie::end(shared, jobs, found, &seen).await?;
        return Ok(ended.then_some(Finding::LeftBehind));
    }
    Ok(None)
}

fn count(found: &'static str, number: u64) {
    metrics::counter!("windlass_reconciled_total", "found" => found).increment(number);
}
