//! Every form of handler.

use std::time::Duration;

use windlass::handler::{BatchItem, BatchOptions, Call, Next, Returned};
use windlass::{
    AttemptNumber, Cancellation, Checkpoint, Client, Context, Deadline, Failure, Handlers, Job, JobId, Logger,
    Payload, Progress, State, blocking,
};

#[derive(serde::Serialize, serde::Deserialize)]
struct Mail {}
impl Job for Mail {
    const KIND: &'static str = "mail.send";
}
#[derive(serde::Serialize, serde::Deserialize)]
struct Sum {}
impl Job for Sum {
    const KIND: &'static str = "sum";
}
#[derive(serde::Serialize, serde::Deserialize)]
struct Row {}
impl Job for Row {
    const KIND: &'static str = "row.store";
}

#[derive(Clone)]
struct Database;

async fn mail(
    _: Mail,
    _: State<Database>,
    _: AttemptNumber,
    _: Deadline,
    _: Cancellation,
    _: Progress,
    _: Logger,
    _: Checkpoint<u64>,
    _: Client,
) -> Result<String, Failure> {
    let number: u32 = "7".parse()?;
    Err(Failure::snooze(Duration::from_secs(number.into())))
}

fn sum(_: Sum, _: Context, _: Payload, _: JobId) -> Result<u64, Failure> {
    Ok(7)
}

async fn store(rows: Vec<BatchItem<Row>>, _: State<Database>) -> Result<Vec<Result<(), Failure>>, Failure> {
    Ok(rows.iter().map(|_| Ok(())).collect())
}

async fn timed(call: Call, next: Next) -> Returned {
    next.run(call).await
}

fn main() {
    let options = BatchOptions { max_size: 10, max_delay: Duration::from_millis(50) };
    let handlers = Handlers::with_state(Database)
        .layer(timed)
        .register(mail)
        .and_then(|handlers| handlers.register(blocking(sum)))
        .and_then(|handlers| handlers.register_batch(store, options));
    assert_eq!(handlers.map(|handlers| handlers.kinds().len()).ok(), Some(3));
}
