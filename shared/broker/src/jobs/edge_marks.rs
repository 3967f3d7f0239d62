//! Storing the marks of who waits for whom: those of many tasks together.
//!
//! Both marks of an edge are one write (`Edge`), all or none. The broker stages each such write in a file and takes few
//! of them at a time, so one for each task would be the slowest step of its admission.

use std::fmt::Display;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;
use windlass_core::protocol::Answer;
use windlass_core::{JobId, PoolName, QueueName};

use super::CALL_TIMEOUT;
use crate::connect::Broker;
use crate::grouped::{Bounds, Grouped};
use crate::names::{EdgeSubject, Place};
use crate::publish::{self, Outgoing};
use crate::retry::Waits;

/// For storing some.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// Each edge is two messages.
const BOUNDS: Bounds =
    Bounds { buffer: 4096, items: publish::MOST_AT_ONCE / 2, bytes: 512 * 1024, in_flight: 2 };

/// What stores the marks of edges.
#[derive(Debug)]
pub struct EdgeMarks {
    broker: Broker,
    grouped: Grouped<PoolName>,
}

// === impl EdgeMarks ===

impl EdgeMarks {
    /// Starts to write. Ends when this is dropped and all is written.
    pub fn new(broker: &Broker) -> Self {
        let writer = broker.clone();
        Self {
            broker: broker.clone(),
            grouped: Grouped::start(BOUNDS, move |pool, body| {
                let broker = writer.clone();
                async move { store(&broker, &pool, &body).await }
            }),
        }
    }

    /// Marks that a job waits for others of its pool; true once all of that is stored. It may be stored twice, which
    /// does no harm.
    pub async fn mark(&self, pool: &PoolName, waiting: (&QueueName, JobId), on: &[Place]) -> bool {
        let names = self.broker.names();
        let marking = on.iter().map(|on| {
            let edge = EdgeSubject { waiting: (waiting.0.clone(), waiting.1), on: on.clone() };
            let (awaited, awaits) = (names.awaited_subject(pool, &edge), names.awaits_subject(pool, &edge));
            async move {
                let lines = Bytes::from(format!("{awaited}\n{awaits}\n"));
                match self.grouped.put(pool.clone(), lines).await {
                    Some(stored) => stored.await.unwrap_or(false),
                    None => false,
                }
            }
        });
        join_all(marking).await.into_iter().all(|stored| stored)
    }
}

/// `lines` is a subject each.
async fn store(broker: &Broker, pool: &PoolName, lines: &[u8]) -> bool {
    let Ok(lines) = std::str::from_utf8(lines) else { return false };
    let mut waits = Waits::until(Instant::now() + WRITE_TIMEOUT);
    loop {
        let message = |subject: &str| Outgoing {
            subject: subject.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let messages = lines.lines().map(message).collect();
        match publish::publish_all_if(broker, messages, waits.left().min(CALL_TIMEOUT)).await {
            Ok(Answer::Stored(_)) => return true,
            Ok(Answer::Refused | Answer::Undecided | Answer::Silent) => {}
            Err(error) => return failed(pool, error),
        }
        if !waits.wait().await {
            return failed(pool, "not stored in time");
        }
    }
}

fn failed(pool: &PoolName, error: impl Display) -> bool {
    tracing::warn!(%pool, %error, "what jobs wait for could not be marked; their tasks are delivered again");
    false
}
