//! The service: two consumers, read until the drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use windlass_broker::events::EventWriter;
use windlass_broker::jobs::{ChildMarks, EdgeMarks};
use windlass_broker::provision::{Layout, Part};
use windlass_core::PoolName;
use windlass_service::{Context, Service};

use crate::absence::Watch;
use crate::consume::{Source, consume};
use crate::dependencies::{self, Listening, Patience};
use crate::flow::{Bursts, Settings};
use crate::intake::Backlog;
use crate::options::Options;
use crate::parents::Parents;
use crate::queues::Queues;
use crate::shared::Shared;
use crate::unique::Lines;
use crate::{admit, command, expire, flow, intake, reconcile};

/// The dispatcher, as a program of the fleet.
#[derive(Debug, Clone, Copy)]
pub struct Dispatcher;

impl Service for Dispatcher {
    const NAME: &'static str = "dispatcher";
    const ABOUT: &'static str = "Admits tasks and routes them to the workers' queues";
    const HTTP_PORT: u16 = 8302;
    const TELLS: Option<&'static [&'static str]> =
        Some(&["windlass_tasks_admitted_total", "windlass_tasks_rejected_total", "windlass_commands_total"]);

    type Options = Options;

    fn parts(_: &Options, layout: &Layout) -> Vec<Part> {
        let mut parts =
            vec![Part::Tasks, Part::Commands, Part::Events, Part::Dead, Part::Settings, Part::Control];
        for pool in layout.all_pools() {
            parts.extend(layout.queues_of(&pool).iter().cloned().map(Part::Queue));
            parts.push(Part::Expiry(pool.clone()));
            parts.push(Part::Payloads(pool.clone()));
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
            child_marks: ChildMarks::new(&context.broker),
            edge_marks: EdgeMarks::new(&context.broker),
            parents: Parents::default(),
            listening: Listening::default(),
            patience: Patience::default(),
            limits: options.limits(),
            queues: Queues::default(),
            // Before the first task: one that is admitted past a limit cannot be called back.
            settings: Settings::read(&context.broker)
                .await
                .context("the settings of queues cannot be read")?,
            bursts: Bursts::default(),
            absence: Watch::start(&context.broker, &context.stop).await,
            copies: tokio::sync::Semaphore::new(1),
            lines: Lines::default(),
            in_flight: options.max_in_flight,
            backlog: Backlog::default(),
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
        let expiries = context.layout.all_pools().into_iter().map(|pool| Source {
            condition: "expiries",
            stream: names.jobs_stream(&pool),
            consumer: names.expiry_consumer().to_owned(),
            ..tasks.clone()
        });
        let expiries = futures::future::try_join_all(expiries.map(|source| {
            consume(&context, source, |delivered, _| {
                let shared = Arc::clone(&shared);
                async move { expire::look(&shared, delivered).await }
            })
        }));
        let beside =
            tokio::spawn(beside(Arc::clone(&shared), context.instance.clone(), context.stop.clone()));
        let outcome = tokio::try_join!(
            consume(&context, tasks, |delivered, ack_wait| {
                shared.backlog.heard(&delivered);
                let shared = Arc::clone(&shared);
                async move { admit::admit(&shared, delivered, ack_wait).await }
            }),
            consume(&context, commands, |delivered, _| {
                let shared = Arc::clone(&shared);
                async move { command::carry_out(&shared, delivered).await }
            }),
            expiries,
        );
        beside.abort();
        outcome.map(|_| ()).context("the dispatcher cannot read its streams")
    }
}

/// What goes on beside the consumers.
async fn beside(shared: Arc<Shared>, instance: String, stop: CancellationToken) {
    tokio::join!(
        shared.absence.run(&shared.broker, &stop),
        reconcile::run(&shared, &instance, &stop),
        stop.run_until_cancelled(shared.queues.look_after(&shared)),
        stop.run_until_cancelled(shared.broker.keep_time()),
        shared.settings.follow(&shared.broker, &stop),
        flow::run(&shared, &instance, &stop),
        intake::run(&shared, &instance, &stop),
        stop.run_until_cancelled(dependencies::listen(Arc::clone(&shared))),
    );
}
