//! Every name on the broker, defined here and nowhere else.
//!
//! A namespace (`windlass` unless configured) is the first token of each subject. The streams of that default
//! namespace have plain names (`TASKS`); those of another carry it in front (`acme_TASKS`), so that several
//! fleets share an account. The jobs of a worker pool have a stream of their own, because whoever may publish into a
//! stream with timers controls all of it.

mod beside;
mod dependency;
mod flow;
mod job;
mod unique;

use windlass_core::{JobId, PoolName, QueueName};

pub use self::beside::ChildSubject;
pub use self::dependency::{EdgeSubject, Place};
pub use self::flow::{ALL, FlowSubject, Line};
pub use self::job::JobSubject;
pub use self::unique::MarkerOf;

/// The namespace of a fleet, and the names that follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    namespace: String,
}

/// The namespace is no word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a namespace: expected 1 to 32 letters, digits, `_` and `-`, a letter or digit first")]
pub struct InvalidNamespace(String);

/// Where a monitor says its API is, as a key of the control bucket.
pub const MONITOR_ENDPOINT_KEY: &str = "endpoint.monitor";
/// First words of keys of the control bucket.
pub(crate) const CANCEL: &str = "cancel";
pub(crate) const RECALL: &str = "recall";
pub(crate) const PRESENCE: &str = "presence";
/// The namespace of a fleet that names none.
pub const DEFAULT_NAMESPACE: &str = "windlass";

// === impl Names ===

impl Names {
    /// Checks the namespace.
    pub fn new(namespace: &str) -> Result<Self, InvalidNamespace> {
        // A namespace has the form of a pool's name.
        if namespace.parse::<PoolName>().is_err() {
            return Err(InvalidNamespace(namespace.chars().take(64).collect()));
        }
        Ok(Self { namespace: namespace.to_owned() })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    fn stream(&self, name: &str) -> String {
        if self.namespace == DEFAULT_NAMESPACE {
            name.to_owned()
        } else {
            format!("{}_{name}", self.namespace)
        }
    }

    fn bucket(&self, name: &str) -> String {
        format!("{}_{name}", self.namespace)
    }

    /// The stream of tasks that no dispatcher has admitted yet.
    pub fn tasks_stream(&self) -> String {
        self.stream("TASKS")
    }

    /// The stream of a pool's jobs.
    pub fn jobs_stream(&self, pool: &PoolName) -> String {
        if *pool == PoolName::default() { self.stream("JOBS") } else { self.stream(&format!("JOBS_{pool}")) }
    }

    /// Whether a stream of this name is one of a pool's jobs.
    pub fn is_stream_of_jobs(&self, stream: &str) -> bool {
        let of_pool = stream.strip_prefix(&self.stream("JOBS"));
        of_pool.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    }

    /// Whether a stream of this name is one of the fleet's that is not behind a bucket.
    pub fn is_stream_of_messages(&self, stream: &str) -> bool {
        let others = [self.tasks_stream(), self.events_stream(), self.commands_stream(), self.dead_stream()];
        self.is_stream_of_jobs(stream) || others.iter().any(|other| other == stream)
    }

    /// The stream of history.
    pub fn events_stream(&self) -> String {
        self.stream("EVENTS")
    }

    /// The stream of operators' commands.
    pub fn commands_stream(&self) -> String {
        self.stream("COMMANDS")
    }

    /// The stream of dead letters.
    pub fn dead_stream(&self) -> String {
        self.stream("DEAD")
    }

    /// The bucket of schedules, by id.
    pub fn schedules_bucket(&self) -> String {
        self.bucket("schedules")
    }

    /// The bucket of queues' settings, by queue.
    pub fn queues_bucket(&self) -> String {
        self.bucket("queues")
    }

    /// The bucket of how far each schedule has come, by id.
    pub fn cursors_bucket(&self) -> String {
        self.bucket("cursors")
    }

    /// The bucket of live workers, by id; entries expire.
    pub fn workers_bucket(&self) -> String {
        self.bucket("workers")
    }

    /// The bucket of leases, cancellations and addresses; entries expire.
    pub fn control_bucket(&self) -> String {
        self.bucket("control")
    }

    /// The bucket of payloads that are too large for a message, one a pool: whoever reads it reads all of it.
    pub fn payloads_bucket(&self, pool: &PoolName) -> String {
        self.bucket(&format!("payloads_{pool}"))
    }

    /// The bucket of results that are too large for the record of an end, one a pool.
    pub fn results_bucket(&self, pool: &PoolName) -> String {
        self.bucket(&format!("results_{pool}"))
    }

    /// `windlass.task.<queue>`.
    pub fn task_subject(&self, queue: &QueueName) -> String {
        format!("{}.task.{queue}", self.namespace)
    }

    /// All that is published as a task, valid or not.
    pub fn task_wildcard(&self) -> String {
        format!("{}.task.>", self.namespace)
    }

    /// The queue's text in a task's subject, unchecked; none if it is no task's subject.
    pub fn queue_of_task<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.namespace)?.strip_prefix(".task.")
    }

    /// `windlass.event.<queue>.<service>.<pool>`: who says it is part of the subject, so that rights can name it.
    pub fn event_subject(&self, queue: &QueueName, service: &str, pool: &PoolName) -> String {
        format!("{}.event.{queue}.{service}.{pool}", self.namespace)
    }

    /// All events.
    pub fn event_wildcard(&self) -> String {
        format!("{}.event.>", self.namespace)
    }

    /// The queue in an event's subject.
    pub fn queue_of_event(&self, subject: &str) -> Option<QueueName> {
        subject.strip_prefix(&self.namespace)?.strip_prefix(".event.")?.split('.').next()?.parse().ok()
    }

    /// `windlass.command.<queue>.<verb>`.
    pub fn command_subject(&self, queue: &QueueName, verb: &str) -> String {
        format!("{}.command.{queue}.{verb}", self.namespace)
    }

    /// All commands.
    pub fn command_wildcard(&self) -> String {
        format!("{}.command.>", self.namespace)
    }

    /// The queue and the verb in a command's subject, unchecked.
    pub fn parse_command_subject<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        subject.strip_prefix(&self.namespace)?.strip_prefix(".command.")?.split_once('.')
    }

    /// `windlass.dead.<queue>.<job id>`.
    pub fn dead_subject(&self, queue: &QueueName, job_id: JobId) -> String {
        format!("{}.dead.{queue}.{job_id}", self.namespace)
    }

    /// The dead letters of a queue, or of all.
    pub fn dead_filter(&self, queue: Option<&QueueName>) -> String {
        match queue {
            Some(queue) => format!("{}.dead.{queue}.*", self.namespace),
            None => self.dead_wildcard(),
        }
    }

    /// The dead letters of this id, whatever their queue.
    pub fn dead_filter_any_queue(&self, job_id: JobId) -> String {
        format!("{}.dead.*.{job_id}", self.namespace)
    }

    /// The queue and the job in a dead letter's subject.
    pub fn parse_dead_subject(&self, subject: &str) -> Option<(QueueName, JobId)> {
        let (queue, job_id) =
            subject.strip_prefix(&self.namespace)?.strip_prefix(".dead.")?.split_once('.')?;
        Some((queue.parse().ok()?, job_id.parse().ok()?))
    }

    /// All dead letters.
    pub fn dead_wildcard(&self) -> String {
        format!("{}.dead.>", self.namespace)
    }

    /// The dispatchers' durable consumer on TASKS and on COMMANDS.
    pub fn dispatcher_consumer(&self) -> &'static str {
        "dispatcher"
    }

    /// The dispatchers' durable consumer on what the timers of expiry publish into a stream of jobs.
    pub fn expiry_consumer(&self) -> &'static str {
        "dispatcher-expiry"
    }

    /// The monitors' durable consumer on EVENTS.
    pub fn monitor_consumer(&self) -> &'static str {
        "monitor"
    }

    /// The durable consumer on a queue's `ready`.
    pub fn worker_consumer(&self, queue: &QueueName) -> String {
        format!("worker-{queue}")
    }

    /// Where a worker looks for cancellations of a queue's jobs, as a key of the control bucket.
    pub fn cancel_key(&self, queue: &QueueName, job_id: JobId) -> String {
        format!("{CANCEL}.{queue}.{job_id}")
    }

    /// The same of a job that is to be handed back.
    pub fn recall_key(&self, queue: &QueueName, job_id: JobId) -> String {
        format!("{RECALL}.{queue}.{job_id}")
    }

    /// Where another service announces itself, as a key of the control bucket.
    pub fn presence_key(&self, service: &str, instance: &str) -> String {
        format!("{PRESENCE}.{service}.{instance}")
    }

    /// Where a worker announces itself, as a key of the bucket of workers: a pool's rights reach its own workers only.
    pub fn worker_key(&self, pool: &PoolName, worker: &str) -> String {
        format!("{pool}.{worker}")
    }

    /// Where the broker tells that a replicated consumer has a new leader.
    pub fn elections_subject(stream: &str, consumer: &str) -> String {
        format!("$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.{stream}.{consumer}")
    }

    /// Where the first delivery of a message is acknowledged: its stream lets it go, whoever has it, or nobody.
    pub fn acknowledgement_subject(stream: &str, consumer: &str, sequence: u64) -> String {
        format!("$JS.ACK.{stream}.{consumer}.1.{sequence}.1.0.0")
    }

    /// The stream behind a bucket of objects.
    pub fn object_stream(bucket: &str) -> String {
        format!("OBJ_{bucket}")
    }

    /// A part of a bucket of objects: `C` has chunks, `M` says of each object what it is, `*` is both. What follows is
    /// the object's.
    pub fn object_subject(bucket: &str, part: &str, rest: &str) -> String {
        format!("$O.{bucket}.{part}.{rest}")
    }

    /// The subject behind a key of a bucket.
    pub fn key_subject(bucket: &str, key: &str) -> String {
        format!("$KV.{bucket}.{key}")
    }
}

impl Default for Names {
    fn default() -> Self {
        Self { namespace: DEFAULT_NAMESPACE.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_subject_reads_back() {
        let (names, queue) = (Names::default(), "mail".parse().unwrap());
        let job_id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let subject = names.dead_subject(&queue, job_id);
        assert_eq!(names.parse_dead_subject(&subject), Some((queue, job_id)));
        assert_eq!(names.parse_dead_subject("windlass.dead.mail.x"), None);
        assert_eq!(names.parse_dead_subject("windlass.task.mail"), None);
    }

    #[test]
    fn another_namespace_has_other_streams() {
        let names = Names::new("acme").unwrap();
        assert_eq!(names.jobs_stream(&PoolName::default()), "acme_JOBS");
        for (stream, is) in
            [("acme_JOBS", true), ("acme_JOBS_billing", true), ("JOBS", false), ("acme_TASKS", false)]
        {
            assert_eq!(names.is_stream_of_jobs(stream), is, "{stream}");
        }
        assert_eq!(names.task_subject(&QueueName::default()), "acme.task.default");
        assert!(Names::new("a.b").is_err());
    }
}
