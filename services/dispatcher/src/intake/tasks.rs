//! The tasks that wait, by queues: whose they are.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use tokio::time::Instant;
use tokio::try_join;
use windlass_broker::ahead::{Page, TaskBacklog};
use windlass_broker::connect::Error;
use windlass_broker::delivery::Delivered;
use windlass_core::flow::Lane;
use windlass_core::lookahead::{At, Lookahead};
use windlass_core::{Priority, QueueName, Task};
use windlass_proto::Incoming;

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
const QUEUES: usize = 8;
/// Between two looks at a queue that has tasks where the consumer is: it grows up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

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

/// What a look at a queue gave.
struct Looked {
    queue: Queue,
    /// None where nothing needs to be known.
    page: Option<Page>,
    /// It is to be read on at once.
    more: bool,
}

// === impl Tasks ===

impl<'a> Tasks<'a> {
    pub(super) fn new(shared: &'a Shared, backlog: &'a TaskBacklog) -> Self {
        Self { shared, backlog, listed_at: None, queues: HashMap::new() }
    }

    /// Reads on, from where the consumer was when it was last looked. Whether there is more to read at once.
    pub(super) async fn look(&mut self, at: At, seen: &mut Lookahead<Of>) -> Result<bool, Error> {
        let now = Instant::now();
        let mut due: Vec<_> = self.queues.iter().filter(|(_, queue)| queue.look_at <= now).collect();
        due.sort_by_key(|(_, queue)| queue.look_at);
        let due: Vec<_> = due.into_iter().take(QUEUES).map(|(name, queue)| (name.clone(), *queue)).collect();
        let again = seen.look_from(at.soon).map(|((name, _), from)| (name.clone(), from));
        // Beside each other: what is looked for is wanted soon.
        let pages = due.into_iter().map(async |(name, queue)| {
            let looked = self.look_at(&name, queue, at, seen).await?;
            Ok((name, looked))
        });
        let more_of_it = async {
            let Some((name, from)) = again else { return Ok(None) };
            let page = self.backlog.page(&name, from, PAGE).await?;
            Ok(Some((name, page)))
        };
        let (listed, pages, more_of_it) = try_join!(self.list(), try_join_all(pages), more_of_it)?;
        // First: what came after it was read may stand in the other page of its queue.
        if let Some((name, page)) = more_of_it {
            self.saw(&name, &page, seen);
        }
        let mut any_more = false;
        for (name, Looked { mut queue, page, more }) in pages {
            any_more |= more;
            queue.look_at = if more { now } else { now + queue.pause };
            if let Some(page) = page {
                queue.next = page.next;
                self.saw(&name, &page, seen);
            }
            self.queues.insert(name, queue);
        }
        if let Some(listed) = listed {
            any_more |= self.are_listed(listed);
        }
        Ok(any_more)
    }

    /// Which queues have tasks that may go ahead; none if that was asked for just now.
    async fn list(&self) -> Result<Option<Vec<QueueName>>, Error> {
        if self.listed_at.is_some_and(|at| at.elapsed() < LIST_EVERY) {
            return Ok(None);
        }
        let mut listed = self.backlog.queues().await?;
        listed.retain(|queue| may_go_ahead(self.shared, queue));
        Ok(Some(listed))
    }

    /// Whether any of them was not known.
    fn are_listed(&mut self, listed: Vec<QueueName>) -> bool {
        let now = Instant::now();
        let new = Queue { next: 0, look_at: now, pause: SHORTEST_PAUSE };
        let mut before = std::mem::take(&mut self.queues);
        let mut any_new = false;
        for queue in listed {
            let known = before.remove(&queue);
            any_new |= known.is_none();
            self.queues.insert(queue, known.unwrap_or(new));
        }
        self.listed_at = Some(now);
        any_new
    }

    async fn look_at(
        &self,
        name: &QueueName,
        mut queue: Queue,
        at: At,
        seen: &Lookahead<Of>,
    ) -> Result<Looked, Error> {
        let settings = self.shared.settings.of(name);
        let from = queue.next.max(at.reached + 1);
        if settings.shares_turns() {
            let page = self.backlog.page(name, from, PAGE).await?;
            return Ok(Looked { queue, more: page.more, page: Some(page) });
        }
        let whole = (name.clone(), flow::lane_of(&settings, Priority::default(), None));
        if !seen.is_empty(&whole, at.reached) {
            return Ok(Looked { queue, page: None, more: false });
        }
        let page = self.backlog.page(name, from, 1).await?;
        // One that has tasks where the consumer is needs no lookout; it is looked at again in case that ends.
        if page.tasks.first().is_some_and(|next| next.sequence <= at.soon) {
            queue.pause = (queue.pause * 2).min(LONGEST_PAUSE);
            return Ok(Looked { queue, page: None, more: false });
        }
        queue.pause = SHORTEST_PAUSE;
        let page = if page.more { self.backlog.page(name, from, FEW).await? } else { page };
        Ok(Looked { queue, page: Some(page), more: false })
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
        let looked_at = |(name, _): &Of| name == queue;
        seen.saw(looked_at, page.from, page.to(), page.tasks.iter().filter_map(of));
    }
}

/// The task, checked by nothing but its form. In a page, headers of the broker's stand with each.
fn read(task: &Delivered) -> Result<Task<Bytes>, windlass_proto::Error> {
    let lines = task.header_lines().into_iter().filter(|(name, _)| !name.starts_with("Nats-"));
    let headers: Vec<_> = lines.collect();
    let derived_id = || task.derived_id();
    windlass_proto::read_task(Incoming { headers: &headers, body: &task.body, derived_id: &derived_id })
}
