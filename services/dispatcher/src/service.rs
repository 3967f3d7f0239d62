//! The service: two consumers, read until the drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_broker::events::EventWriter;
use windlass_broker::jobs::Jobs;
use windlass_broker::provision::{Layout, Part};
use windlass_core::{Limits, PoolName, QueueName};
use windlass_service::{Context, Service};

use crate::absence::Watch;
use crate::consume::{Source, consume};
use crate::options::Options;
use crate::queues::Queues;
use crate::{admit, command, reconcile};

/// The dispatcher, as a program of the fleet.
#[derive(Debug, Clone, Copy)]
pub struct Dispatcher;

/// What everything here uses.
pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) layout: Layout,
    pub(crate) events: EventWriter,
    pub(crate) limits: Limits,
    pub(crate) queues: Queues,
    pub(crate) absence: Watch,
}

impl Service for Dispatcher {
    const NAME: &'static str = "dispatcher";
    const ABOUT: &'static str = "Admits tasks and routes them to the workers' queues";
    const HTTP_PORT: u16 = 8302;

    type Options = Options;

    fn parts(_: &Options, layout: &Layout) -> Vec<Part> {
        let mut parts = vec![Part::Tasks, Part::Commands, Part::Events, Part::Dead, Part::Control];
        for pool in layout.all_pools() {
            parts.extend(layout.queues_of(&pool).iter().cloned().map(Part::Queue));
            parts.push(Part::Jobs(pool));
        }
        parts
    }

    /// A create is dropped, from the client's buffer too, once its task has been held for `ack_wait`: another replica may
    /// have the task then, and its job may end and be forgotten before ours arrives.
    fn give_up_after(layout: &Layout) -> Option<Duration> {
        Some(layout.ack_wait / 3)
    }

    async fn run(options: Options, context: Context) -> anyhow::Result<()> {
        let shared = Arc::new(Shared {
            events: EventWriter::new(context.broker.clone(), "dispatcher", PoolName::default()),
            limits: options.limits(),
            queues: Queues::default(),
            absence: Watch::start(&context.broker, &context.stop).await,
            broker: context.broker.clone(),
            layout: context.layout.clone(),
        });
        let names = context.broker.names();
        let tasks = Source {
            condition: "tasks",
            stream: names.tasks_stream(),
            consumer: names.dispatcher_consumer().to_owned(),
            max_in_flight: options.max_in_flight,
        };
        let commands = Source { condition: "commands", stream: names.commands_stream(), ..tasks.clone() };
        let watching =
            tokio::spawn(Arc::clone(&shared).watch(context.instance.clone(), context.stop.clone()));
        let outcome = tokio::try_join!(
            consume(&context, tasks, |delivered, ack_wait| {
                let shared = Arc::clone(&shared);
                async move { admit::admit(&shared, delivered, ack_wait).await }
            }),
            consume(&context, commands, |delivered, _| {
                let shared = Arc::clone(&shared);
                async move { command::carry_out(&shared, delivered).await }
            }),
        );
        watching.abort();
        outcome.map(|_| ()).context("the dispatcher cannot read its streams")
    }
}

// === impl Shared ===

impl Shared {
    /// What goes on beside the consumers.
    async fn watch(self: Arc<Self>, instance: String, stop: CancellationToken) {
        tokio::join!(self.absence.run(&self.broker, &stop), reconcile::run(&self, &instance, &stop));
    }

    /// The stream of this queue's jobs.
    pub(crate) fn jobs(&self, queue: &QueueName) -> Jobs {
        Jobs::new(&self.broker, self.layout.pool_of(queue))
    }
}
