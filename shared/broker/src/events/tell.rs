//! What running handlers tell: sent beside the events, tried once, and never waited for.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::HeaderMap;
use prost::Message as _;
use tokio::sync::mpsc;
use windlass_core::told::{LogLine, Progress};
use windlass_core::{PoolName, QueueName};
use windlass_proto::v1;

use crate::connect::Broker;
use crate::publish;

/// How much may wait to be sent: what attempts told between two looks.
const BUFFER: usize = 256;
/// About the most bytes of one message.
const BATCH_BYTES: usize = 256 * 1024;
/// For one message. Whoever looks on does not want old news.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Clones share one buffer.
#[derive(Debug, Clone)]
pub(super) struct TellWriter {
    buffer: mpsc::Sender<Told>,
}

#[derive(Debug)]
struct Told {
    progress: Option<Progress>,
    lines: Vec<LogLine>,
}

// === impl TellWriter ===

impl TellWriter {
    pub(super) fn new(broker: Broker, service: &'static str, pool: PoolName) -> Self {
        let (buffer, waiting) = mpsc::channel(BUFFER);
        tokio::spawn(send(broker, service, pool, waiting));
        Self { buffer }
    }

    pub(super) fn tell(&self, progress: Option<Progress>, lines: Vec<LogLine>) {
        if progress.is_none() && lines.is_empty() {
            return;
        }
        if let Err(error) = self.buffer.try_send(Told { progress, lines }) {
            dropped(error.into_inner().lines.len());
        }
    }
}

fn dropped(lines: usize) {
    metrics::counter!("windlass_log_lines_dropped_total").increment(u64::try_from(lines).unwrap_or(u64::MAX));
}

async fn send(broker: Broker, service: &'static str, pool: PoolName, mut waiting: mpsc::Receiver<Told>) {
    let mut received = Vec::new();
    while waiting.recv_many(&mut received, BUFFER).await > 0 {
        let mut by_queue: HashMap<QueueName, Vec<v1::EventBatch>> = HashMap::new();
        for told in received.drain(..) {
            if let Some(progress) = told.progress {
                let batches = by_queue.entry(progress.queue.clone()).or_default();
                room(batches, progress.note.len()).progress.push(progress.into());
            }
            for line in told.lines {
                let batches = by_queue.entry(line.queue.clone()).or_default();
                room(batches, line.message.len()).logs.push(line.into());
            }
        }
        for (queue, batches) in by_queue {
            let subject = broker.names().event_subject(&queue, service, &pool);
            for batch in batches {
                let (lines, body) = (batch.logs.len(), batch.encode_to_vec().into());
                if let Err(error) =
                    publish::publish(&broker, subject.clone(), HeaderMap::new(), body, TIMEOUT).await
                {
                    tracing::debug!(%error, "what running handlers told was not stored");
                    dropped(lines);
                }
            }
        }
    }
}

/// The batch that takes another entry of about so many bytes.
fn room(batches: &mut Vec<v1::EventBatch>, bytes: usize) -> &mut v1::EventBatch {
    if batches.last().is_none_or(|batch| batch.encoded_len() + bytes > BATCH_BYTES) {
        batches.push(v1::EventBatch::default());
    }
    let last = batches.len() - 1;
    &mut batches[last]
}
