//! The tasks that wait, by queues: whose they are.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use windlass_broker::ahead::{Page, Progress, TaskBacklog};
use windlass_broker::connect::Error;
use windlass_broker::delivery::Delivered;
use windlass_core::flow::Lane;
use windlass_core::lookahead::Lookahead;
use windlass_core::{Priority, QueueName, Task};
use windlass_proto::Incoming;

use super::lookout::soon;
use super::marks::may_go_ahead;
use crate::flow;
use crate::shared::Shared;

/// Between two looks at which queues have tasks.
const LIST_EVERY: Duration = Duration::from_millis(50);
/// Of a queue in which turns are shared out, read at once.
const PAGE: usize = 3000;
/// Of another.
const FEW: usize = 64;
/// Queues that are looked at in one go.
const QUEUES: usize = 16;
/// Between two looks at a queue that has tasks where the consumer is: it grows up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// Whose turn a task has: of a queue, its tenant's and its priority's where those count.
pub(super) type Of = (QueueName, Lane);

/// The tasks that wait.
pub(super) struct Tasks<'a> {
    shared: &'a Shared,
    backlog: &'a TaskBacklog,
    listed_at: Option<Instant>,
    queues: HashMap<QueueName, Queue>,
}

/// How far a queue was looked at.
#[derive(Debug, Clone, Copy)]
struct Queue {
    next: u64,
    look_at: Instant,
    pause: Duration,
}

// === impl Tasks ===

impl<'a> Tasks<'a> {
    pub(super) fn new(shared: &'a Shared, backlog: &'a TaskBacklog) -> Self {
        Self { shared, backlog, listed_at: None, queues: HashMap::new() }
    }

    /// Reads on. Whether there is more to read at once.
    pub(super) async fn look(
        &mut self,
        progress: &Progress,
        seen: &mut Lookahead<Of>,
    ) -> Result<bool, Error> {
        self.list().await?;
        let now = Instant::now();
        let mut due: Vec<_> = self.queues.iter().filter(|(_, queue)| queue.look_at <= now).collect();
        due.sort_by_key(|(_, queue)| queue.look_at);
        let due: Vec<_> = due.into_iter().take(QUEUES).map(|(name, queue)| (name.clone(), *queue)).collect();
        let mut any_more = false;
        for (name, mut queue) in due {
            let more = self.look_at(&name, &mut queue, progress, seen).await?;
            any_more |= more;
            queue.look_at = if more { now } else { now + queue.pause };
            self.queues.insert(name, queue);
        }
        if let Some(((name, _), from)) = seen.look_from(soon(self.shared, progress)) {
            let name = name.clone();
            let page = self.backlog.page(&name, from, PAGE).await?;
            self.saw(&name, &page, seen);
        }
        Ok(any_more)
    }

    /// Which queues have tasks that may go ahead.
    async fn list(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.listed_at.is_some_and(|at| now.duration_since(at) < LIST_EVERY) {
            return Ok(());
        }
        let listed = self.backlog.queues().await?;
        let new = Queue { next: 0, look_at: now, pause: SHORTEST_PAUSE };
        let mut before = std::mem::take(&mut self.queues);
        for queue in listed.into_iter().filter(|queue| may_go_ahead(self.shared, queue)) {
            let known = before.remove(&queue).unwrap_or(new);
            self.queues.insert(queue, known);
        }
        self.listed_at = Some(now);
        Ok(())
    }

    async fn look_at(
        &self,
        name: &QueueName,
        queue: &mut Queue,
        progress: &Progress,
        seen: &mut Lookahead<Of>,
    ) -> Result<bool, Error> {
        let settings = self.shared.settings.of(name);
        let from = queue.next.max(progress.reached + 1);
        if settings.shares_turns() {
            let page = self.backlog.page(name, from, PAGE).await?;
            queue.next = page.next;
            self.saw(name, &page, seen);
            return Ok(page.more);
        }
        let whole = (name.clone(), flow::lane_of(&settings, Priority::default(), None));
        if !seen.is_empty(&whole, progress.reached) {
            return Ok(false);
        }
        // One that has tasks where the consumer is needs no lookout; it is looked at again in case that ends.
        let next = self.backlog.page(name, from, 1).await?.tasks.pop();
        if next.is_some_and(|next| next.sequence <= soon(self.shared, progress)) {
            queue.pause = (queue.pause * 2).min(LONGEST_PAUSE);
        } else {
            queue.pause = SHORTEST_PAUSE;
            let page = self.backlog.page(name, from, FEW).await?;
            queue.next = page.next;
            self.saw(name, &page, seen);
        }
        Ok(false)
    }

    /// Whose these tasks are. One that cannot be read waits for its delivery.
    fn saw(&self, queue: &QueueName, page: &Page, seen: &mut Lookahead<Of>) {
        let settings = self.shared.settings.of(queue);
        let of = |task: &Delivered| {
            let lane = if settings.shares_turns() {
                let read = read(task).ok()?;
                flow::lane_of(&settings, read.priority, read.tenant.as_ref())
            } else {
                flow::lane_of(&settings, Priority::default(), None)
            };
            Some(((queue.clone(), lane), task.sequence))
        };
        seen.saw(page.from, page.to(), page.tasks.iter().filter_map(of));
    }
}

/// The task, checked by nothing but its form. In a page, headers of the broker's stand with each.
fn read(task: &Delivered) -> Result<Task<Bytes>, windlass_proto::Error> {
    let lines = task.header_lines().into_iter().filter(|(name, _)| !name.starts_with("Nats-"));
    let headers: Vec<_> = lines.collect();
    let derived_id = || task.derived_id();
    windlass_proto::read_task(Incoming { headers: &headers, body: &task.body, derived_id: &derived_id })
}
