//! Jobs that wait for others, while those who see to it die or are not there.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use windlass::OnFailure;
use windlass_broker::jobs::Jobs;
use windlass_broker::provision::Layout;
use windlass_core::{JobState, PoolName, Transition};
use windlass_testkit::Fleet;

use super::no_edges;
use crate::flow_control::all_succeed;
use crate::support::{command, dead_letter, gated, open, open_until_ended};

/// A dispatcher dies after this step; the next one goes on.
async fn survives(point: &str) -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("worker").await?;
    fleet.set_env("WINDLASS_FAILPOINTS", point);
    fleet.service("dispatcher").await?;
    let (gate, holds) = gated(&fleet, "gate")?;
    let holds = holds.into_submission(&fleet).submit().await?;
    let dies =
        command(&["false"]).failing().into_submission(&fleet).max_attempts(1).after(&holds).submit().await?;
    let waits = command(&["true"]).into_submission(&fleet).after(&holds).submit().await?;
    let dead = command(&["true"]).into_submission(&fleet).after(&dies).after(&holds).submit().await?;
    let cleans = command(&["true"])
        .into_submission(&fleet)
        .after(&dead)
        .on_failure(OnFailure::Ignore)
        .submit()
        .await?;
    let mut first = fleet.take("dispatcher")?;
    let opening = async {
        for held in [&dies, &waits, &dead, &cleans] {
            fleet.tap.heard(held.id, Transition::Held).await?;
        }
        open(&gate, "open\n").await
    };
    // Some steps come before the gate is opened, others after.
    tokio::select! {
        died = first.ended() => { died?; }
        opened = async { opening.await?; std::future::pending::<Result<()>>().await } => opened?,
    }
    fleet.set_env("WINDLASS_FAILPOINTS", "");
    fleet.service("dispatcher").await?;
    let ended = tokio::select! {
        ended = fleet.ended(cleans.id) => ended?,
        opened = async { open_until_ended(&fleet, &gate, holds.id).await?; std::future::pending::<Result<()>>().await } => {
            opened?;
            unreachable!("it is pending")
        }
    };
    ensure!(ended.state == JobState::Succeeded, "{ended:?}");
    all_succeed(&fleet, &[holds.id, waits.id]).await?;
    for id in [dies.id, dead.id] {
        assert_eq!(fleet.ended(id).await?.state, JobState::Dead);
        let heard = fleet.tap.heard(id, Transition::Dead).await?;
        let code = heard.error.context("no error")?.code;
        assert_eq!(dead_letter(&fleet, "default", id).await?.code, code);
    }
    no_edges(&fleet).await
}

macro_rules! steps {
    ($($name:ident => $point:literal),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() -> Result<()> {
                survives($point).await
            }
        )+
    };
}

steps! {
    a_dispatcher_dies_once_edges_are_marked => "dispatcher.edges.marked=kill@1",
    a_dispatcher_dies_once_the_job_is_made => "dispatcher.job.created=kill@3",
    a_dispatcher_dies_before_it_looks_again => "dispatcher.accepted.said=kill@3",
    a_dispatcher_dies_once_an_edge_is_closed => "dispatcher.edge.closed=kill@1",
    a_dispatcher_dies_once_a_job_is_released => "dispatcher.edge.released=kill@1",
    a_dispatcher_dies_once_a_job_is_dead => "dispatcher.edge.died=kill@1",
}

/// The worker that runs what is waited for is killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_delays_and_no_more() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let (gate, holds) = gated(&fleet, "gate")?;
    let holds = holds.into_submission(&fleet).submit().await?;
    let waits = command(&["true"]).into_submission(&fleet).after(&holds).submit().await?;
    fleet.tap.heard(waits.id, Transition::Held).await?;
    fleet.tap.heard(holds.id, Transition::Started).await?;
    fleet.kill9("worker").await?;
    fleet.service("worker").await?;
    open_until_ended(&fleet, &gate, holds.id).await?;
    all_succeed(&fleet, &[holds.id, waits.id]).await?;
    no_edges(&fleet).await
}

/// No dispatcher is there when the dependency ends, and what would hear of it is gone: the reconciler finds the end. And a
/// job whose marks are all gone is found by itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_reconciler_finds_what_nobody_heard_of() -> Result<()> {
    let layout =
        Layout { ack_wait: Duration::from_secs(2), horizon: Duration::from_secs(20), ..Layout::default() };
    let mut fleet = Fleet::start_with(layout).await?;
    fleet.service("dispatcher").await?;
    fleet.service("worker").await?;
    let (gate, holds) = gated(&fleet, "gate")?;
    let holds = holds.into_submission(&fleet).submit().await?;
    let (other_gate, other) = gated(&fleet, "other")?;
    let other = other.into_submission(&fleet).submit().await?;
    let waits = command(&["true"]).into_submission(&fleet).after(&holds).submit().await?;
    let unmarked = command(&["true"]).into_submission(&fleet).after(&other).submit().await?;
    for held in [&waits, &unmarked] {
        fleet.tap.heard(held.id, Transition::Held).await?;
    }
    fleet.take("dispatcher")?.stop().await?;
    let admin = fleet.broker.connect("admin").await?;
    let jobs = Jobs::new(&admin, PoolName::default());
    let edge = jobs.next_open_edge((&unmarked.queue, unmarked.id)).await?.context("no edge")?;
    jobs.close_edge(&edge).await?;
    jobs.forget_edge(&edge).await?;
    let deleting = fleet.broker.client("admin").await?;
    let deleted =
        deleting.api("CONSUMER.DELETE.EVENTS.dispatcher-ends-default", &serde_json::json!({})).await?;
    ensure!(deleted["success"] == true, "{deleted}");
    open(&gate, "open\n").await?;
    open(&other_gate, "open\n").await?;
    all_succeed(&fleet, &[holds.id, other.id]).await?;
    fleet.service("dispatcher").await?;
    all_succeed(&fleet, &[waits.id, unmarked.id]).await?;
    no_edges(&fleet).await
}
