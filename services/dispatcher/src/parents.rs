//! Looks at the parents of children that were just made: one look serves all that were made before it began.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use windlass_broker::jobs::Jobs;
use windlass_core::{JobId, JobState, QueueName};

/// An id is unique within its queue.
type Address = (QueueName, JobId);

/// The parents that are looked at now.
#[derive(Debug, Default)]
pub(crate) struct Parents {
    looked_at: Mutex<HashMap<Address, Arc<Parent>>>,
}

#[derive(Debug, Default)]
struct Parent {
    /// Looks that have begun.
    begun: AtomicU64,
    /// The last one that has ended.
    last: tokio::sync::Mutex<Look>,
}

#[derive(Debug, Default)]
struct Look {
    /// From 1, in the order of their begins.
    number: u64,
    /// Whether the parent was cancelled; none if it could not be read.
    cancelled: Option<bool>,
}

/// One that waits for a look. The last one takes the parent off the list.
struct Visit<'a> {
    parents: &'a Parents,
    address: Address,
    parent: Arc<Parent>,
}

// === impl Parents ===

impl Parents {
    /// Whether this job is cancelled by now; none if it cannot be read.
    pub(crate) async fn is_cancelled(&self, jobs: &Jobs, queue: &QueueName, job_id: JobId) -> Option<bool> {
        self.look((queue.clone(), job_id), async || match jobs.read(queue, job_id).await {
            Ok(seen) => Some(seen.done.is_some_and(|done| done.state == JobState::Cancelled)),
            Err(error) => {
                tracing::warn!(%job_id, %error, "a job's parent could not be read; its task is delivered again");
                None
            }
        })
        .await
    }

    async fn look(&self, address: Address, read: impl AsyncFnOnce() -> Option<bool>) -> Option<bool> {
        let visit = self.visit(address);
        let asked = visit.parent.begun.load(Ordering::Acquire);
        let mut last = visit.parent.last.lock().await;
        if last.number <= asked {
            let number = visit.parent.begun.fetch_add(1, Ordering::AcqRel) + 1;
            let cancelled = read().await;
            *last = Look { number, cancelled };
        }
        last.cancelled
    }

    fn visit(&self, address: Address) -> Visit<'_> {
        let parent = Arc::clone(self.list().entry(address.clone()).or_default());
        Visit { parents: self, address, parent }
    }

    fn list(&self) -> std::sync::MutexGuard<'_, HashMap<Address, Arc<Parent>>> {
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Visit ===

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        // One of the list, and ours: nobody else has it, nor can come by it while the list is held.
        if let Entry::Occupied(listed) = self.parents.list().entry(self.address.clone())
            && Arc::strong_count(listed.get()) == 2
        {
            listed.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    fn parent() -> Address {
        (QueueName::default(), JobId::from_parts(jiff::Timestamp::UNIX_EPOCH, [7; 10]))
    }

    #[tokio::test]
    async fn a_look_serves_all_that_asked_before_it_began_and_nobody_else() {
        let (parents, begun, gate) = (Parents::default(), AtomicUsize::new(0), Semaphore::new(0));
        let read = async || {
            let number = begun.fetch_add(1, Ordering::Relaxed);
            gate.acquire().await.unwrap().forget();
            // It was cancelled while the first look was on its way.
            Some(number > 0)
        };
        let first = parents.look(parent(), read);
        let others = join_all((0..10).map(|_| parents.look(parent(), read)));
        let open = async {
            // The first look is under way, and the others have asked since.
            tokio::task::yield_now().await;
            gate.add_permits(2);
        };
        let (first, others, ()) = tokio::join!(first, others, open);
        assert_eq!(first, Some(false));
        assert_eq!(others, [Some(true); 10], "an old look would have missed the cancellation");
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        assert!(parents.list().is_empty());
    }

    #[tokio::test]
    async fn a_look_that_fails_fails_for_all_that_waited_for_it() {
        let (parents, begun) = (Parents::default(), AtomicUsize::new(0));
        let read = async || {
            begun.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            None
        };
        let looks = join_all((0..10).map(|_| parents.look(parent(), read))).await;
        assert_eq!(looks, [None; 10]);
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        assert!(parents.list().is_empty());
    }
}
