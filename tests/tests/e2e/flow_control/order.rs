//! Strict order by key.

use anyhow::Result;
use windlass_core::flow::Order;

use super::{all_succeed, fleet, work};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_one_key_run_in_the_order_of_their_acceptance() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.order = Order::Fifo).await?;
    let mut ids = Vec::new();
    for n in 0..30 {
        // One after the other, so that their order is known.
        ids.push(fleet.client.task(&work(&format!("{n:02}"))).key("k").submit().await?.id);
    }
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| {
        assert!(seen.begun.is_sorted(), "{:?}", seen.begun);
        assert_eq!((seen.begun.len(), seen.most_of_all), (30, 1));
    });
    Ok(())
}
