//! SIGKILL after each step of the protocol, one after the other, of one process of each service.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use windlass::Client;
use windlass_broker::Broker;
use windlass_broker::failpoint::Point;
use windlass_core::{JobId, JobState};
use windlass_testkit::Servers as _;
use windlass_testkit::process::Signal;

use super::Scene;
use super::schedules::Ticking;
use crate::faults::jobs::Work;
use crate::faults::load::{Order, accepted, policy};
use crate::faults::stage::QUEUES;

/// One process, and the steps that it is still to die after.
struct Victim {
    label: &'static str,
    points: Vec<Point>,
    current: Option<(Point, Instant)>,
    /// What leads to the step, where the load alone does not, was done.
    is_led_there: bool,
}

/// For one step to be reached.
const PATIENCE: Duration = Duration::from_secs(15);
/// Before a worker is led to a step, so that it has something to do.
const AT_WORK: Duration = Duration::from_millis(2000);
/// For jobs to be with their workers.
const TAKEN: Duration = Duration::from_millis(500);
/// Beside the worker that is to die.
const NEIGHBOUR: &str = "worker-2";
/// Beside the dispatcher that is to die.
const RIVAL: &str = "dispatcher-2";
/// Longer than a worker that stops lets its attempts go on.
const LONG_MILLIS: u64 = 5000;
/// Longer than it takes until all of them wait.
const CHAIN_MILLIS: u64 = 1500;
const POLL: Duration = Duration::from_millis(30);

/// All of them; in the short set those where most can go wrong.
pub(super) async fn each(scene: &mut Scene<'_>) -> Result<()> {
    let ticking = Ticking::start(scene.stage).await?;
    let points = |service: &str, short: bool| {
        let named = Point::ALL.iter().copied().filter(|point| point.as_str().starts_with(service));
        named.filter(|point| !short || TELLING.contains(point)).collect::<Vec<_>>()
    };
    let mut victims: Vec<_> = ["dispatcher-1", "worker-1", "scheduler-1", "monitor-1"]
        .into_iter()
        .map(|label| {
            let service = label.trim_end_matches("-1");
            let mut points = points(service, scene.options.short);
            // In another order each time: what a step leaves behind meets the next.
            for last in (1..points.len()).rev() {
                let other = scene.seed.below(u64::try_from(last + 1).unwrap_or(1));
                points.swap(last, usize::try_from(other).unwrap_or(0));
            }
            Victim { label, points, current: None, is_led_there: false }
        })
        .collect();
    // Whoever runs already makes room for one that is to die.
    for victim in &victims {
        scene.stage.drain(victim.label).await?;
    }
    loop {
        let mut open = 0;
        for victim in &mut victims {
            open += usize::from(advance(scene, victim).await?);
        }
        if open == 0 {
            break;
        }
        sleep(POLL).await;
    }
    ticking.stop(scene.stage, scene.ledger).await
}

/// The steps between two writes that belong together.
const TELLING: &[Point] = &[
    Point::JobCreated,
    Point::AcceptedSaid,
    Point::CancelWritten,
    Point::FlowCommitted,
    Point::WorkerClaimed,
    Point::WorkerDoneWritten,
    Point::WorkerSlotsFreed,
    Point::WorkerLaterWritten,
    Point::WorkerEventSaid,
    Point::TaskPublished,
    Point::BatchStored,
];

/// Starts the next, if the last one is dead; false if there is none.
async fn advance(scene: &mut Scene<'_>, victim: &mut Victim) -> Result<bool> {
    if let Some((point, since)) = victim.current {
        if scene.stage.runs(victim.label)? {
            if !victim.is_led_there && since.elapsed() > AT_WORK {
                victim.is_led_there = true;
                lead(scene, victim.label, point).await?;
            }
            if since.elapsed() < PATIENCE {
                return Ok(true);
            }
            // Never reached: the total says so.
            scene.stage.kill(victim.label).await?;
        }
        victim.current = None;
    }
    let Some(point) = victim.points.pop() else {
        // The others' steps need it.
        if !scene.stage.runs(victim.label)? {
            scene.stage.spawn(victim.label, &[]).await?;
        }
        return Ok(false);
    };
    let frequent = !matches!(
        point,
        Point::CancelMarked
            | Point::CancelWritten
            | Point::CancelSaid
            | Point::CancelDeleted
            | Point::FlowOwned
            | Point::WorkerHandBackWritten
            | Point::WorkerClaimed
    ) && !is_of_edges(point);
    let nth = if frequent { 1 + scene.seed.below(3) } else { 1 };
    let plan = format!("{}=kill@{nth}", point.as_str());
    let env = [("WINDLASS_FAILPOINTS".to_owned(), OsString::from(plan))];
    scene.stage.spawn(victim.label, &env).await?;
    (victim.current, victim.is_led_there) = (Some((point, Instant::now())), false);
    Ok(true)
}

/// What the load alone leads to by chance only.
async fn lead(scene: &mut Scene<'_>, label: &str, point: Point) -> Result<()> {
    if matches!(point, Point::FlowOwned | Point::FlowCommitted | Point::FlowSaid) {
        return make_owner(scene, label).await;
    }
    if is_of_edges(point) {
        return submit_chains(scene).await;
    }
    if !matches!(point, Point::WorkerHandBackWritten | Point::WorkerClaimed) {
        return Ok(());
    }
    submit_long(scene).await?;
    sleep(TAKEN).await;
    if point == Point::WorkerHandBackWritten {
        // Kills it in the drain.
        return scene.stage.fleet.process(label)?.signal(Signal::TERM).await;
    }
    // It leaves jobs to be claimed.
    scene.stage.kill(NEIGHBOUR).await?;
    scene.stage.spawn(NEIGHBOUR, &[]).await
}

/// Nobody else is there to own the limited queue, until the victim has died of it.
async fn make_owner(scene: &mut Scene<'_>, label: &str) -> Result<()> {
    if !scene.stage.runs(RIVAL)? {
        // The short set has no other.
        return Ok(());
    }
    scene.stage.drain(RIVAL).await?;
    let until = Instant::now() + PATIENCE / 2;
    while scene.stage.runs(label)? && Instant::now() < until {
        sleep(POLL).await;
    }
    scene.stage.spawn(RIVAL, &[]).await
}

/// Of jobs that wait for others.
fn is_of_edges(point: Point) -> bool {
    matches!(point, Point::EdgesMarked | Point::EdgeClosed | Point::EdgeReleased | Point::EdgeDied)
}

/// Jobs that wait for others: of those some end well, and the others die. Many, as any dispatcher may get them.
async fn submit_chains(scene: &mut Scene<'_>) -> Result<()> {
    let client = Client::new(Broker::connect(scene.stage.fleet.broker.options("publisher")).await?);
    for number in 0..24 {
        let dies = number % 2 == 0;
        let work =
            Work { milliseconds: CHAIN_MILLIS, failures: if dies { u32::MAX } else { 0 }, ..Work::default() };
        let state = if dies { JobState::Dead } else { JobState::Succeeded };
        let mut id = || JobId::from_parts(jiff::Timestamp::now(), scene.seed.bytes());
        let first = Order::new(QUEUES[0], id(), "faults.work", work, Some(state)).with(None, policy(1));
        let mut second = Order::new(QUEUES[0], id(), "faults.work", Work::default(), Some(state));
        second.after = Some(first.job.clone());
        for order in [first, second] {
            scene.ledger.ordered(&order);
            accepted(order, client.clone(), scene.ledger.clone(), CancellationToken::new()).await;
        }
    }
    Ok(())
}

/// Jobs that are still running when a worker stops.
async fn submit_long(scene: &mut Scene<'_>) -> Result<()> {
    let client = Client::new(Broker::connect(scene.stage.fleet.broker.options("publisher")).await?);
    for _ in 0..24 {
        let id = JobId::from_parts(jiff::Timestamp::now(), scene.seed.bytes());
        let work = Work { milliseconds: LONG_MILLIS, ..Work::default() };
        let order = Order::new(QUEUES[0], id, "faults.work", work, Some(JobState::Succeeded));
        scene.ledger.ordered(&order);
        accepted(order, client.clone(), scene.ledger.clone(), CancellationToken::new()).await;
    }
    Ok(())
}
