//! A worker says that it lives, and what it does.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use windlass_broker::presence::{Meter, host};
use windlass_proto::v1;

use super::shared::Shared;

/// How often.
const EVERY: Duration = Duration::from_secs(5);
/// How long it is believed: three missed times.
const TTL: Duration = Duration::from_secs(15);

/// Until told to stop; then once more, as draining.
pub(super) async fn announce(shared: Arc<Shared>, stop: CancellationToken) {
    let broker = &shared.broker;
    let bucket = broker.bucket(broker.names().workers_bucket());
    let options = &shared.options;
    let key = broker.names().worker_key(&options.pool, &options.id);
    let started_at = windlass_proto::instant(Timestamp::now());
    let host = host();
    let mut meter = Meter::default();
    loop {
        let draining = stop.is_cancelled();
        let info = v1::WorkerInfo {
            id: options.id.clone(),
            pool: options.pool.to_string(),
            queues: options.queues.iter().map(ToString::to_string).collect(),
            kinds: shared.handlers.keys().map(ToString::to_string).collect(),
            slots: u32::try_from(options.slots * options.queues.len()).unwrap_or(u32::MAX),
            running: u32::try_from(shared.running.count()).unwrap_or(u32::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host.clone(),
            started_at: Some(started_at),
            draining,
            stuck: shared.stuck.load(std::sync::atomic::Ordering::Relaxed),
            usage: meter.read().map(Into::into),
        };
        if let Err(error) = bucket.put(&key, info.encode_to_vec().into(), Some(TTL)).await {
            tracing::warn!(%error, "the worker could not announce itself");
        }
        if draining {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}
