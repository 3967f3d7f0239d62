//! Flow control as the stream of jobs holds it: who decides for a queue, who stands in line, which slots are taken.
//!
//! The subjects are those of [`crate::names::FlowSubject`]. One dispatcher at a time decides for a queue. It writes its
//! decisions all or none, on the condition that it still owns the queue and that each job stands where it found it; so
//! a former owner, and one that read something stale, change nothing. What a job holds is given back by whoever ends
//! its attempt, by removing the message that stands for the slot.

mod applied;
mod delivered;
mod free;
mod look;
mod moves;
mod notices;
mod read;
mod recall;

use windlass_core::{PoolName, QueueName};

pub use self::delivered::Delivered;
pub use self::free::{free, hold};
pub(crate) use self::look::Listed;
pub use self::moves::{Commit, Keep, LetThrough, Move, Park, Promote, Return};
pub use self::notices::Notice;
pub use self::read::{InLine, Taken};
pub use self::recall::Listed as ListedJob;
pub use crate::batch::Reading;
use crate::connect::{Broker, Error};
use crate::jobs::Jobs;
use crate::publish::{self, header};

/// The flow control of one queue.
#[derive(Debug, Clone)]
pub struct Flow {
    jobs: Jobs,
    queue: QueueName,
}

// === impl Flow ===

impl Flow {
    /// Of a queue of this pool.
    pub fn new(broker: &Broker, pool: PoolName, queue: QueueName) -> Self {
        Self { jobs: Jobs::new(broker, pool), queue }
    }

    /// The jobs of its pool.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Which.
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.jobs.broker()
    }

    pub(crate) fn pool(&self) -> &PoolName {
        self.jobs.pool()
    }

    /// Makes the dispatcher of this name the queue's owner, and every earlier owner powerless. What is returned is its
    /// epoch; none if another took over at the same moment.
    pub async fn take_over(&self, dispatcher: &str) -> Result<Option<u64>, Error> {
        let subject = self.broker().names().flow_owner(self.pool(), &self.queue);
        let before = self.last(&subject).await?.map(|last| last.seq);
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(header::EXPECTED_SEQUENCE, before.unwrap_or(0).to_string());
        let body = windlass_proto::flow_owner(dispatcher);
        match publish::publish(self.broker(), subject, headers, body, TIMEOUT).await {
            Ok(stored) => {
                if let Some(before) = before {
                    // One that stays is not the last, and decides nothing.
                    let _ = self.jobs.delete(before).await;
                }
                Ok(Some(stored.sequence))
            }
            Err(Error::Refused { code: 10071 | 10164, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// For one call.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
