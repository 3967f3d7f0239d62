//! Ids of jobs that have ended, submitted again: nothing may come of it.

use std::sync::Arc;

use anyhow::Result;
use tokio::task::JoinSet;
use windlass_testkit::{Servers as _, broker};

use super::ledger::Ledger;
use super::load::again;
use super::seed::Seed;
use super::stage::Stage;

/// Some of them once, and one of them many times.
pub(super) async fn finished(
    stage: &Stage,
    ledger: &Ledger,
    seed: &mut Seed,
    some: usize,
    many: usize,
) -> Result<()> {
    let client = Arc::new(broker::Client::connect(stage.fleet.broker.options("publisher")).await?);
    let mut orders = ledger.some(seed, some);
    if let Some(order) = ledger.some(seed, 1).pop() {
        orders.extend(std::iter::repeat_n(order, many));
    }
    let mut submitting = JoinSet::new();
    for order in orders {
        submitting.spawn(again(order, Arc::clone(&client), ledger.clone()));
    }
    while submitting.join_next().await.is_some() {}
    Ok(())
}
