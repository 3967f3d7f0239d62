//! Every name on the broker, defined here and nowhere else.
//!
//! A namespace (`windlass` unless configured) is the first token of each subject. The streams of that default
//! namespace have plain names (`TASKS`); those of another carry it in front (`acme_TASKS`), so that several
//! fleets share an account. The jobs of a worker pool have a stream of their own, because whoever may publish into a
//! stream with timers controls all of it.

mod beside;

use windlass_core::{JobId, PoolName, Priority, QueueName, RecordKind};

pub use self::beside::ChildSubject;

/// The namespace of a fleet, and the names that follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    namespace: String,
}

/// The namespace is no word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a namespace: expected 1 to 32 letters, digits, `_` and `-`, a letter or digit first")]
pub struct InvalidNamespace(String);

/// What a subject of JOBS says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSubject {
    /// The pool whose stream it is.
    pub pool: PoolName,
    /// The job's queue.
    pub queue: QueueName,
    /// What the message is.
    pub record: RecordKind,
    /// The job's priority.
    pub priority: Priority,
    /// The job.
    pub job_id: JobId,
}

/// Where a monitor says its API is, as a key of the control bucket.
pub const MONITOR_ENDPOINT_KEY: &str = "endpoint.monitor";
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

    /// The second token of a pool's job subjects: `job`, or `job-<pool>`.
    fn job_token(pool: &PoolName) -> String {
        if pool.is_default() { "job".to_owned() } else { format!("job-{pool}") }
    }

    /// The three words before a job's id, and the id. Every write has two such subjects: they are put together without
    /// the machinery of formatting.
    fn of_job(&self, pool: &PoolName, words: [&str; 3], job_id: JobId) -> String {
        let mut subject = String::with_capacity(128);
        subject.push_str(&self.namespace);
        subject.push_str(".job");
        if !pool.is_default() {
            subject.push('-');
            subject.push_str(pool.as_str());
        }
        for word in words {
            subject.push('.');
            subject.push_str(word);
        }
        subject.push('.');
        subject.push_str(job_id.encode(&mut JobId::buffer()));
        subject
    }

    /// `windlass.job.<queue>.<record>.<priority>.<job id>`; another pool than the default has `job-<pool>` in the
    /// second place.
    pub fn job_subject(
        &self,
        pool: &PoolName,
        queue: &QueueName,
        record: RecordKind,
        priority: Priority,
        job_id: JobId,
    ) -> String {
        self.of_job(pool, [queue.as_str(), record.as_str(), priority.as_str()], job_id)
    }

    /// All messages of one job: what a conditional publish names.
    pub fn job_filter(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        self.of_job(pool, [queue.as_str(), "*", "*"], job_id)
    }

    /// All messages of one job, whatever its queue.
    pub fn job_filter_any_queue(&self, pool: &PoolName, job_id: JobId) -> String {
        self.of_job(pool, ["*"; 3], job_id)
    }

    /// One sort of one job's messages.
    pub fn record_filter(
        &self,
        pool: &PoolName,
        queue: &QueueName,
        record: RecordKind,
        job_id: JobId,
    ) -> String {
        self.of_job(pool, [queue.as_str(), record.as_str(), "*"], job_id)
    }

    /// One sort of all messages of a queue: what a durable consumer filters.
    pub fn queue_filter(&self, pool: &PoolName, queue: &QueueName, record: RecordKind) -> String {
        format!("{}.{}.{queue}.{record}.>", self.namespace, Self::job_token(pool))
    }

    /// One sort of all messages of a pool.
    pub fn pool_filter(&self, pool: &PoolName, record: RecordKind) -> String {
        format!("{}.{}.*.{record}.>", self.namespace, Self::job_token(pool))
    }

    /// All messages of a pool.
    pub fn jobs_wildcard(&self, pool: &PoolName) -> String {
        format!("{}.{}.>", self.namespace, Self::job_token(pool))
    }

    /// Reads a subject of JOBS.
    pub fn parse_job_subject(&self, subject: &str) -> Option<JobSubject> {
        let mut tokens = subject.strip_prefix(&self.namespace)?.strip_prefix('.')?.split('.');
        let pool = match tokens.next()? {
            "job" => PoolName::default(),
            token => token.strip_prefix("job-")?.parse().ok()?,
        };
        let parsed = JobSubject {
            pool,
            queue: tokens.next()?.parse().ok()?,
            record: tokens.next()?.parse().ok()?,
            priority: tokens.next()?.parse().ok()?,
            job_id: tokens.next()?.parse().ok()?,
        };
        tokens.next().is_none().then_some(parsed)
    }

    /// Whether this is the subject of a job's message but for a word that this version does not know: a record or a
    /// priority of a newer one.
    pub fn is_job_of_newer(&self, subject: &str) -> bool {
        let words: Vec<_> = subject.strip_prefix(&self.namespace).unwrap_or_default().split('.').collect();
        let has_form = matches!(words[..], ["", job, _, _, _, id]
            if (job == "job" || job.starts_with("job-")) && id.parse::<JobId>().is_ok());
        has_form && self.parse_job_subject(subject).is_none()
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
        format!("cancel.{queue}.{job_id}")
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
    fn a_job_subject_reads_back() {
        let names = Names::default();
        let job_id: JobId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let queue: QueueName = "mail".parse().unwrap();
        for (pool, expected) in [
            (PoolName::default(), "windlass.job.mail.ready.high.01890a5d-ac96-774b-bcce-b302099a8057"),
            ("b-2".parse().unwrap(), "windlass.job-b-2.mail.ready.high.01890a5d-ac96-774b-bcce-b302099a8057"),
        ] {
            let subject = names.job_subject(&pool, &queue, RecordKind::Ready, Priority::High, job_id);
            assert_eq!(subject, expected);
            let parsed = names.parse_job_subject(&subject).unwrap();
            assert_eq!((parsed.pool, parsed.job_id), (pool, job_id));
        }
        assert_eq!(names.parse_job_subject("windlass.job.mail.ready.high"), None);
        assert!(names.is_job_of_newer(&format!("windlass.job-b-2.mail.parked.high.{job_id}")));
        for old in ["ready.high.x", "ready.high", &format!("ready.high.{job_id}")] {
            assert!(!names.is_job_of_newer(&format!("windlass.job.mail.{old}")), "{old}");
        }
    }

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
        assert_eq!(names.task_subject(&QueueName::default()), "acme.task.default");
        assert!(Names::new("a.b").is_err());
    }
}
