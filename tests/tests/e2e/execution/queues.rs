//! What a worker says of a queue that it does not serve.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use windlass::worker::{Options, Serving};
use windlass::{Client, Failure, Handlers, QueueName, Worker};
use windlass_broker::Broker;
use windlass_testkit::PATIENCE;

use super::{Alpha, fleet};

async fn handle(_: Alpha) -> Result<(), Failure> {
    Ok(())
}

/// A worker of this connection that is about to run; how it stands with its queue, and whether it says that it is ready.
struct Started {
    states: watch::Receiver<BTreeMap<QueueName, Serving>>,
    ready: CancellationToken,
    _running: tokio_util::task::AbortOnDropHandle<Result<(), windlass::worker::Error>>,
}

fn start(broker: Broker, options: Options) -> Result<Started> {
    let worker = Worker::new(&Client::new(broker), Handlers::new().register(handle)?, options)?;
    let (states, ready) = (worker.queues(), CancellationToken::new());
    let running = tokio::spawn(worker.run(CancellationToken::new(), ready.clone()));
    Ok(Started { states, ready, _running: tokio_util::task::AbortOnDropHandle::new(running) })
}

impl Started {
    async fn stands(&mut self, is: impl Fn(&Serving) -> bool) -> Result<Serving> {
        let reached = self.states.wait_for(|states| states.values().all(&is));
        let states = timeout(PATIENCE, reached).await.context("another state")??;
        states.values().next().cloned().context("no queue")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_tells_why_it_does_not_serve_a_queue() -> Result<()> {
    let fleet = fleet().await?;
    let of_queue = |queue: &str| anyhow::Ok(Options { queues: vec![queue.parse()?], ..Options::default() });

    // Nobody has published to it: the worker is as ready as it can be, and serves it with its first task.
    let mut early = start(fleet.broker.connect("worker").await?, of_queue("early")?)?;
    early.stands(|state| *state == Serving::NoConsumer).await?;
    timeout(PATIENCE, early.ready.cancelled()).await?;
    let id = fleet.client.task(&Alpha::new("x")).queue("early").submit().await?.id;
    early.stands(|state| *state == Serving::Served).await?;
    fleet.client.wait(&"early".parse()?, id, PATIENCE).await?;

    // Another pool's stream: it may not even look.
    let options = Options { pool: "billing".parse()?, ..of_queue("invoices")? };
    let mut stranger = start(fleet.broker.connect("worker").await?, options)?;
    let denied = stranger.stands(|state| matches!(state, Serving::Denied(_))).await?;
    assert!(denied.to_string().contains("CONSUMER.INFO.JOBS_billing.worker-invoices"), "{denied}");
    assert!(!stranger.ready.is_cancelled());

    // Who may look and not take: the broker says it beside the request, which is never answered.
    let mut looker = start(fleet.operator.clone(), of_queue("default")?)?;
    let denied = looker.stands(|state| matches!(state, Serving::Denied(_))).await?;
    assert!(denied.to_string().contains("CONSUMER.MSG.NEXT.JOBS.worker-default"), "{denied}");
    Ok(())
}
