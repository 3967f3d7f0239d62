//! The subjects of a job's messages, and filters over them.

use std::borrow::Cow;

use windlass_core::{JobId, PoolName, Priority, QueueName, RecordKind};

use super::Names;

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

// === impl Names ===

impl Names {
    /// The second token of a pool's job subjects: `job`, or `job-<pool>`.
    pub(super) fn job_token(pool: &PoolName) -> Cow<'static, str> {
        if pool.is_default() { "job".into() } else { format!("job-{pool}").into() }
    }

    /// The three words before a job's id, and the id. Every write has two such subjects: they are put together without
    /// the machinery of formatting.
    fn of_job(&self, pool: &PoolName, words: [&str; 3], job_id: JobId) -> String {
        let mut subject = String::with_capacity(128);
        subject.push_str(&self.namespace);
        subject.push('.');
        subject.push_str(&Self::job_token(pool));
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
}
