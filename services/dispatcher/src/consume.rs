//! Reading a durable consumer with a bound on what is worked on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use windlass_broker::connect;
use windlass_broker::delivery::Delivered;
use windlass_broker::pull::{Arrival, Puller};
use windlass_service::Context;

/// Before a consumer that is missing is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What is read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// What is not ready while it cannot be read.
    pub(crate) condition: &'static str,
    pub(crate) stream: String,
    pub(crate) consumer: String,
    pub(crate) max_in_flight: usize,
}

/// Works on each message, until told to stop; then ends what is under way. What was not begun is given back at once.
pub(crate) async fn consume<W>(
    context: &Context,
    source: Source,
    work: impl Fn(Delivered, Duration) -> W,
) -> Result<(), connect::Error>
where
    W: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(source.max_in_flight));
    let under_way = TaskTracker::new();
    while !context.stop.is_cancelled() {
        let mut puller =
            match Puller::open(&context.broker, source.stream.clone(), source.consumer.clone()).await {
                Ok(puller) => puller,
                Err(connect::Error::Closed) => return Err(connect::Error::Closed),
                Err(error) => {
                    context.health.not_ready(source.condition, error.to_string());
                    context.stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await;
                    continue;
                }
            };
        context.health.ready(source.condition);
        context.ready();
        let ended = read(context, &mut puller, &room, &under_way, &source, &work).await;
        for delivered in puller.rest().await {
            // Not begun: another replica takes it at once. Nothing is counted against it.
            let _ = delivered.handle().nak(None).await;
        }
        ended?;
    }
    under_way.close();
    under_way.wait().await;
    Ok(())
}

async fn read<W>(
    context: &Context,
    puller: &mut Puller,
    room: &Arc<Semaphore>,
    under_way: &TaskTracker,
    source: &Source,
    work: &impl Fn(Delivered, Duration) -> W,
) -> Result<(), connect::Error>
where
    W: Future<Output = ()> + Send + 'static,
{
    loop {
        let free = room.available_permits().saturating_sub(puller.outstanding());
        // In large portions, so that a request is not paid for each message.
        if free > 0 && (puller.outstanding() == 0 || free * 2 >= source.max_in_flight) {
            puller.request(free).await?;
        }
        let arrival = tokio::select! {
            biased;
            () = context.stop.cancelled() => return Ok(()),
            arrival = puller.next() => arrival?,
            permit = room.acquire(), if puller.outstanding() == 0 => {
                drop(permit);
                continue;
            }
        };
        match arrival {
            Arrival::Message(delivered) => {
                let Ok(permit) = Arc::clone(room).acquire_owned().await else { return Ok(()) };
                // Boxed at once: it is large, and would be copied with each step to its task.
                let working = Box::pin(work(*delivered, puller.ack_wait()));
                under_way.spawn(async move {
                    working.await;
                    drop(permit);
                });
            }
            Arrival::Renew => {}
            Arrival::Missing => {
                tracing::warn!(stream = source.stream, "the consumer went missing");
                context.stop.run_until_cancelled(tokio::time::sleep(LOOK_AGAIN)).await;
                return Ok(());
            }
        }
    }
}
