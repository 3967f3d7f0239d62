//! A batch handler that has one outcome for all.

use std::time::Duration;

use windlass::handler::{BatchItem, BatchOptions};
use windlass::{Failure, Handlers, Job};

#[derive(serde::Serialize, serde::Deserialize)]
struct Row {}
impl Job for Row {
    const KIND: &'static str = "row.store";
}

async fn store(_: Vec<BatchItem<Row>>) -> Result<(), Failure> {
    Ok(())
}

fn main() {
    let options = BatchOptions { max_size: 10, max_delay: Duration::from_millis(50) };
    let _ = Handlers::new().register_batch(store, options);
}
