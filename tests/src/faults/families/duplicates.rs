//! One id, submitted a hundred times at once.

use std::sync::Arc;

use anyhow::Result;
use tokio::task::JoinSet;
use windlass_core::{JobId, JobState};
use windlass_testkit::{Servers as _, broker};

use super::Scene;
use crate::faults::jobs::Work;
use crate::faults::load::{Order, again};
use crate::faults::stage::QUEUES;

const TIMES: usize = 100;

/// While its first one waits or runs; then the broker and a dispatcher die, and it comes a hundred times again.
pub(super) async fn at_once(scene: &mut Scene<'_>) -> Result<()> {
    let client = Arc::new(broker::Client::connect(scene.stage.fleet.broker.options("publisher")).await?);
    let mut orders = Vec::new();
    for _ in 0..scene.times(4, 2) {
        let id = JobId::from_parts(jiff::Timestamp::now(), scene.seed.bytes());
        let work = Work { milliseconds: 500 + scene.seed.below(1500), ..Work::default() };
        let order = Order::new(QUEUES[0], id, "faults.work", work, Some(JobState::Succeeded));
        scene.ledger.ordered(&order);
        all(scene, &client, &order).await;
        orders.push(order);
        scene.wait(100, 1500).await;
    }
    scene.stage.kill_broker(std::time::Duration::from_millis(300)).await?;
    scene.stage.kill("dispatcher-1").await?;
    for order in &orders {
        all(scene, &client, order).await;
    }
    scene.stage.heal().await
}

async fn all(scene: &Scene<'_>, client: &Arc<broker::Client>, order: &Order) {
    let mut submitting = JoinSet::new();
    for _ in 0..TIMES {
        submitting.spawn(again(order.clone(), Arc::clone(client), scene.ledger.clone()));
    }
    while submitting.join_next().await.is_some() {}
}
