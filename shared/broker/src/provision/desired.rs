//! What every stream, bucket and consumer must be, as data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_core::{PoolName, QueueName, RecordKind};

use super::{Layout, Part};
use crate::names::Names;

/// Settings by the names they have in the server's API. A setting that is not named is left as it is found, so that
/// placement, compression and metadata are the operator's.
pub type Settings = BTreeMap<&'static str, Value>;

/// A stream and its durable consumers.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSpec {
    /// Which part of the layout it is.
    pub part: Part,
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// Its consumers.
    pub consumers: Vec<ConsumerSpec>,
}

/// A durable consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerSpec {
    /// Which part of the layout it is.
    pub part: Part,
    /// Its name.
    pub name: String,
    /// The subjects that it delivers.
    pub filter: String,
    /// Its settings.
    pub settings: Settings,
}

/// What the broker must have.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Every stream.
    pub streams: Vec<StreamSpec>,
}

/// Consumers on a stream of jobs beside the queues': the dispatchers'.
const SPARE_CONSUMERS: usize = 8;

/// What a queue's owner was given is given to the next one after this, should it die.
const FLOW_ACK_WAIT: Duration = Duration::from_secs(4);
/// Dispatchers bound what they work on themselves; a task that names a job which is not known yet waits within this.
const TASKS_MAX_ACK_PENDING: i64 = 10_000;
/// What a queue's owner looks at together.
const FLOW_MAX_ACK_PENDING: i64 = 1000;
/// Of all commands that are not obeyed yet; beyond it operators get an error.
const COMMANDS_MAX_BYTES: i64 = 64 << 20;
/// How long the broker remembers a message's id.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// A result is stored before the record of its job's end, by as long as that may take, and must outlast it: the record
/// is kept for up to a minute longer than the horizon (`windlass_core::admission::kept_for`).
const RESULT_SLACK: Duration = Duration::from_mins(5);

/// How long a bucket shows that an entry has expired, so that a watcher which lost its connection sees it.
const EXPIRY_MARKER: Duration = Duration::from_mins(1);

// === impl Desired ===

impl Desired {
    /// Leaves what belongs to these parts: a stream with the consumers asked for, or only named as their home.
    #[must_use]
    pub fn only(mut self, parts: &[Part]) -> Self {
        for stream in &mut self.streams {
            stream.consumers.retain(|c| parts.contains(&c.part));
        }
        self.streams.retain(|s| parts.contains(&s.part) || !s.consumers.is_empty());
        self
    }
}

/// What the broker must have for this layout.
pub fn desired(names: &Names, layout: &Layout) -> Desired {
    let mut streams = vec![tasks(names, layout)];
    streams.extend(layout.all_pools().iter().map(|pool| jobs(names, layout, pool)));
    streams.extend([events(names, layout), commands(names, layout), dead(names, layout)]);
    for pool in layout.all_pools() {
        streams.push(payloads(names, layout, &pool));
        streams.push(results(names, layout, &pool));
    }
    for (part, bucket, history) in [
        (Part::Settings, names.queues_bucket(), 10),
        (Part::Schedules, names.schedules_bucket(), 10),
        (Part::Cursors, names.cursors_bucket(), 1),
        (Part::Workers, names.workers_bucket(), 1),
        (Part::Control, names.control_bucket(), 1),
    ] {
        streams.push(bucket_stream(part, &bucket, layout, history));
    }
    Desired { streams }
}

/// The workers' consumer of a queue.
pub(super) fn queue_consumer(
    names: &Names,
    layout: &Layout,
    pool: &PoolName,
    queue: &QueueName,
) -> ConsumerSpec {
    consumer(
        Part::Queue(queue.clone()),
        names.worker_consumer(queue),
        names.queue_filter(pool, queue, RecordKind::Ready),
        layout,
    )
}

/// The dispatchers' consumer of what is for a queue's owner.
pub(super) fn flow_consumer(
    names: &Names,
    layout: &Layout,
    pool: &PoolName,
    queue: &QueueName,
) -> ConsumerSpec {
    let part = Part::Queue(queue.clone());
    let spec = consumer(part, names.flow_consumer(queue), names.due_filter(pool, queue), layout);
    let settings = with(
        spec.settings,
        [("ack_wait", nanos(FLOW_ACK_WAIT)), ("max_ack_pending", json!(FLOW_MAX_ACK_PENDING))],
    );
    ConsumerSpec { settings, ..spec }
}

fn tasks(names: &Names, layout: &Layout) -> StreamSpec {
    let settings = with(
        base(&names.task_wildcard(), "workqueue", layout),
        [
            // A publisher gets an error when the stream is full; discarding the oldest would lose accepted tasks.
            ("discard", json!("new")),
            ("max_bytes", json!(layout.tasks_max_bytes)),
            ("max_msg_size", json!(layout.max_message_bytes)),
            // A task leaves by being admitted or dead-lettered, and in no other way.
            ("deny_delete", json!(true)),
            // Of batches of tasks that are accepted all or none.
            ("allow_atomic", json!(true)),
            ("allow_batched", json!(true)),
            // What waits behind a burst is looked for, in batches, which only direct reads are.
            ("allow_direct", json!(true)),
            ("duplicate_window", nanos(DUPLICATE_WINDOW)),
        ],
    );
    let name = names.dispatcher_consumer().to_owned();
    let spec = consumer(Part::Tasks, name, names.task_wildcard(), layout);
    let most = json!(layout.max_ack_pending.max(TASKS_MAX_ACK_PENDING));
    let consumer_settings = with(spec.settings, [("max_ack_pending", most)]);
    let consumers = vec![ConsumerSpec { settings: consumer_settings, ..spec }];
    StreamSpec { part: Part::Tasks, name: names.tasks_stream(), settings, consumers }
}

fn jobs(names: &Names, layout: &Layout, pool: &PoolName) -> StreamSpec {
    let settings = with(
        base(&names.jobs_wildcard(pool), "workqueue", layout),
        [
            // Schedules exclude `discard: new`; without any limit nothing is discarded.
            ("discard", json!("old")),
            ("allow_msg_schedules", json!(true)),
            // The server turns it on with schedules: their `purge` is a roll-up. It also forbids `deny_purge`.
            ("allow_rollup_hdrs", json!(true)),
            ("allow_msg_ttl", json!(true)),
            ("allow_atomic", json!(true)),
            ("allow_batched", json!(true)),
            // Lines of held jobs are read in batches, which only direct reads are.
            ("allow_direct", json!(true)),
            // Holds the bound on queues even when several dispatchers meet it at once.
            ("max_consumers", json!(layout.max_queues + SPARE_CONSUMERS)),
        ],
    );
    let queues = layout.queues_of(pool);
    let queues = queues.iter().map(|queue| queue_consumer(names, layout, pool, queue));
    let name = names.expiry_consumer().to_owned();
    let expiry = consumer(Part::Expiry(pool.clone()), name, names.expired_filter(pool), layout);
    let consumers = queues.chain([expiry]).collect();
    StreamSpec { part: Part::Jobs(pool.clone()), name: names.jobs_stream(pool), settings, consumers }
}

fn events(names: &Names, layout: &Layout) -> StreamSpec {
    let settings = with(
        base(&names.event_wildcard(), "limits", layout),
        [
            ("discard", json!("old")),
            ("max_age", nanos(layout.events.max_age)),
            ("max_bytes", json!(layout.events.max_bytes)),
            // History is not rewritten.
            ("deny_delete", json!(true)),
            ("deny_purge", json!(true)),
            ("allow_batched", json!(true)),
        ],
    );
    let name = names.monitor_consumer().to_owned();
    let consumers = vec![consumer(Part::EventReader, name, names.event_wildcard(), layout)];
    StreamSpec { part: Part::Events, name: names.events_stream(), settings, consumers }
}

fn commands(names: &Names, layout: &Layout) -> StreamSpec {
    let settings = with(
        base(&names.command_wildcard(), "workqueue", layout),
        [
            ("discard", json!("new")),
            ("max_bytes", json!(COMMANDS_MAX_BYTES)),
            ("deny_delete", json!(true)),
            ("duplicate_window", nanos(DUPLICATE_WINDOW)),
        ],
    );
    let name = names.dispatcher_consumer().to_owned();
    let consumers = vec![consumer(Part::Commands, name, names.command_wildcard(), layout)];
    StreamSpec { part: Part::Commands, name: names.commands_stream(), settings, consumers }
}

fn dead(names: &Names, layout: &Layout) -> StreamSpec {
    let settings = with(
        base(&names.dead_wildcard(), "limits", layout),
        [
            ("discard", json!("old")),
            ("max_age", nanos(layout.dead.max_age)),
            ("max_bytes", json!(layout.dead.max_bytes)),
            // One letter a job, however often it is written.
            ("max_msgs_per_subject", json!(1)),
            // Lists are read in batches, which only direct reads are.
            ("allow_direct", json!(true)),
        ],
    );
    StreamSpec { part: Part::Dead, name: names.dead_stream(), settings, consumers: Vec::new() }
}

fn payloads(names: &Names, layout: &Layout, pool: &PoolName) -> StreamSpec {
    let spec = object_stream(Part::Payloads(pool.clone()), &names.payloads_bucket(pool), layout);
    let settings = with(
        spec.settings,
        // No age: a payload is needed for as long as its job lives, or its dead letter.
        [("discard", json!("new")), ("max_bytes", json!(layout.payloads_max_bytes))],
    );
    StreamSpec { settings, ..spec }
}

fn results(names: &Names, layout: &Layout, pool: &PoolName) -> StreamSpec {
    let spec = object_stream(Part::Results(pool.clone()), &names.results_bucket(pool), layout);
    let settings = with(
        spec.settings,
        [
            // A job that has done its work must be able to say so.
            ("discard", json!("old")),
            ("max_bytes", json!(layout.results_max_bytes)),
            ("max_age", nanos(layout.horizon + RESULT_SLACK)),
        ],
    );
    StreamSpec { settings, ..spec }
}

/// The stream behind a bucket of objects, as every NATS client expects it; but without roll-ups, by which any publisher
/// could remove what others put there.
fn object_stream(part: Part, bucket: &str, layout: &Layout) -> StreamSpec {
    let subjects = ["C", "M"].map(|part| Names::object_subject(bucket, part, ">"));
    let settings = with(
        base("", "limits", layout),
        [
            ("subjects", json!(subjects)),
            ("deny_delete", json!(true)),
            ("allow_direct", json!(true)),
            ("duplicate_window", nanos(DUPLICATE_WINDOW)),
        ],
    );
    StreamSpec { part, name: Names::object_stream(bucket), settings, consumers: Vec::new() }
}

/// The stream behind a key-value bucket, as every NATS client expects it.
fn bucket_stream(part: Part, bucket: &str, layout: &Layout, history: i64) -> StreamSpec {
    let mut settings = with(
        base(&Names::key_subject(bucket, ">"), "limits", layout),
        [
            ("discard", json!("new")),
            ("max_msgs_per_subject", json!(history)),
            ("deny_delete", json!(true)),
            ("allow_direct", json!(true)),
            ("allow_rollup_hdrs", json!(part != Part::Workers)),
            ("allow_msg_ttl", json!(matches!(part, Part::Workers | Part::Control))),
        ],
    );
    // The server allows markers only with roll-ups, by which each pool's workers could remove those of another. So
    // the expiry of a worker is seen by listing, not by watching.
    if part == Part::Control {
        settings = with(settings, [("subject_delete_marker_ttl", nanos(EXPIRY_MARKER))]);
    }
    StreamSpec { part, name: format!("KV_{bucket}"), settings, consumers: Vec::new() }
}

/// What all streams have. What a stream does not need is off by name: each of these lets a publisher's header remove
/// or forge what others published.
fn base(subject: &str, retention: &str, layout: &Layout) -> Settings {
    Settings::from([
        ("subjects", json!([subject])),
        ("retention", json!(retention)),
        ("storage", json!("file")),
        ("num_replicas", json!(layout.replicas)),
        ("max_msgs", json!(-1)),
        ("max_bytes", json!(-1)),
        ("max_msgs_per_subject", json!(-1)),
        ("max_age", json!(0)),
        ("no_ack", json!(false)),
        ("sealed", json!(false)),
        ("discard_new_per_subject", json!(false)),
        ("allow_rollup_hdrs", json!(false)),
        ("allow_msg_ttl", json!(false)),
        ("allow_msg_schedules", json!(false)),
        ("allow_msg_counter", json!(false)),
        ("allow_atomic", json!(false)),
        ("allow_batched", json!(false)),
    ])
}

fn consumer(part: Part, name: String, filter: String, layout: &Layout) -> ConsumerSpec {
    let settings = Settings::from([
        ("durable_name", json!(name)),
        ("filter_subject", json!(filter)),
        ("ack_policy", json!("explicit")),
        ("deliver_policy", json!("all")),
        ("ack_wait", nanos(layout.ack_wait)),
        ("max_ack_pending", json!(layout.max_ack_pending)),
        // No limit: beyond one, a message of a work queue would stay for ever and be seen by nobody. What crashes
        // its workers is counted by its claims and dead-lettered with its cause; what is handed back by a draining
        // worker is delivered again and must not count.
        ("max_deliver", json!(-1)),
    ]);
    ConsumerSpec { part, name, filter, settings }
}

fn with<const N: usize>(mut settings: Settings, more: [(&'static str, Value); N]) -> Settings {
    settings.extend(more);
    settings
}

fn nanos(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_streams_of_jobs_obey_headers_that_control_them() {
        for stream in desired(&Names::default(), &Layout::default()).streams {
            let on = |setting| stream.settings[setting] == json!(true);
            let jobs = matches!(stream.part, Part::Jobs(_));
            assert_eq!(on("allow_msg_schedules"), jobs, "{}", stream.name);
            assert_eq!(on("allow_atomic"), jobs || stream.part == Part::Tasks, "{}", stream.name);
            let trusted_bucket = stream.name.starts_with("KV_") && stream.part != Part::Workers;
            assert_eq!(on("allow_rollup_hdrs"), jobs || trusted_bucket, "{}", stream.name);
        }
    }

    #[test]
    fn a_part_brings_its_home() {
        let mut layout = Layout::default();
        layout.pools.insert("billing".parse().unwrap(), vec!["invoices".parse().unwrap()]);
        let all = desired(&Names::default(), &layout);
        let named = |parts: &[Part]| {
            let streams = all.clone().only(parts).streams;
            streams.iter().map(|s| (s.name.clone(), s.consumers.len())).collect::<Vec<_>>()
        };
        assert_eq!(named(&[Part::Queue("invoices".parse().unwrap())]), [("JOBS_billing".to_owned(), 1)]);
        assert_eq!(named(&[Part::Jobs(PoolName::default())]), [("JOBS".to_owned(), 0)]);
        assert_eq!(named(&[Part::Events]), [("EVENTS".to_owned(), 0)]);
        assert_eq!(named(&[Part::Tasks]), [("TASKS".to_owned(), 1)]);
    }
}
