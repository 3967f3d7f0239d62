//! Subjects that stand in the stream of jobs beside a job's messages: with more tokens than those, so that they are not
//! among them and do not touch the job's token.
//!
//! Where a job's messages have a priority, these have the word `beside`. Each write of a job, and each look, is by a filter
//! with a wildcard in that place, `windlass.job.<queue>.*.*.<job id>`: with ids there the broker would try every one of
//! them for each write (ARCHITECTURE.md, "Where the time goes").

use std::fmt::Display;

use windlass_core::{JobId, PoolName, QueueName};

use super::{Names, Place};

/// Stands where a job's messages have a priority.
const BESIDE: &str = "beside";
const EXPIRED: &str = "expired";
const CHILD: &str = "child";
const TAKEN: &str = "taken";
/// Ends a subject that has nothing more to say.
const MARK: &str = "mark";

/// What the subject of a marker of children says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildSubject {
    /// The queue of the parent, and the parent.
    pub parent: (QueueName, JobId),
    /// The queue of a child, and the child; there may be more than this one.
    pub child: (QueueName, JobId),
}

// === impl Names ===

impl Names {
    /// `windlass.job.<queue>.<word>.beside.<of>.mark`, where `of` is one token; or with wildcards in their places.
    pub(super) fn mark(&self, pool: &PoolName, queue: impl Display, word: &str, of: impl Display) -> String {
        format!("{}.{}.{queue}.{word}.{BESIDE}.{of}.{MARK}", self.namespace, Self::job_token(pool))
    }

    /// The queue, the word and the token of such a subject.
    pub(super) fn parse_mark<'a>(&self, subject: &'a str) -> Option<(QueueName, &'a str, &'a str)> {
        let mut tokens = subject.strip_prefix(&self.namespace)?.strip_prefix('.')?.split('.').skip(1);
        let (queue, word) = (tokens.next()?.parse().ok()?, tokens.next()?);
        (tokens.next()? == BESIDE).then_some(())?;
        let of = tokens.next()?;
        (tokens.next()? == MARK && tokens.next().is_none()).then_some((queue, word, of))
    }

    /// `windlass.job.<queue>.<word>.beside.<job id>.<other queue>.<other job id>`: says of a job that it has to do with
    /// another.
    pub(super) fn link(&self, pool: &PoolName, word: &str, of: &Place, other: &Place) -> String {
        let job = Self::job_token(pool);
        format!("{}.{job}.{}.{word}.{BESIDE}.{}.{}.{}", self.namespace, of.0, of.1, other.0, other.1)
    }

    /// All such subjects of a job.
    pub(super) fn links(&self, pool: &PoolName, word: &str, queue: &QueueName, job_id: JobId) -> String {
        format!("{}.{}.{queue}.{word}.{BESIDE}.{job_id}.>", self.namespace, Self::job_token(pool))
    }

    /// All with this word: of a queue, or with `*` of all of the pool's.
    pub(super) fn all_beside(&self, pool: &PoolName, word: &str, queue: impl Display) -> String {
        format!("{}.{}.{queue}.{word}.{BESIDE}.>", self.namespace, Self::job_token(pool))
    }

    /// The word of such a subject, whose it is, and the other.
    pub(super) fn parse_link<'a>(&self, subject: &'a str) -> Option<(&'a str, Place, Place)> {
        let mut tokens = subject.strip_prefix(&self.namespace)?.strip_prefix('.')?.split('.').skip(1);
        let (queue, word) = (tokens.next()?.parse().ok()?, tokens.next()?);
        (tokens.next()? == BESIDE).then_some(())?;
        let of = (queue, tokens.next()?.parse().ok()?);
        let other = (tokens.next()?.parse().ok()?, tokens.next()?.parse().ok()?);
        tokens.next().is_none().then_some((word, of, other))
    }

    /// `windlass.job.<queue>.expiry.beside.<job id>.mark`: the timer that ends the wait for a job's first attempt.
    pub fn expiry_subject(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        self.mark(pool, queue, "expiry", job_id)
    }

    /// `windlass.job.<queue>.expired.beside.<job id>.mark`: what that timer publishes.
    pub fn expired_subject(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        self.mark(pool, queue, EXPIRED, job_id)
    }

    /// All that such timers of a pool publish.
    pub fn expired_filter(&self, pool: &PoolName) -> String {
        self.all_beside(pool, EXPIRED, "*")
    }

    /// The job whose wait has ended.
    pub fn parse_expired_subject(&self, subject: &str) -> Option<(QueueName, JobId)> {
        let (queue, word, job_id) = self.parse_mark(subject)?;
        (word == EXPIRED).then_some(())?;
        Some((queue, job_id.parse().ok()?))
    }

    /// `windlass.job.<queue>.look.beside.<job id>.mark`: where a job's last sequences are asked for. Nothing is ever stored there; were
    /// it, it would not be among the job's messages.
    pub fn look_subject(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        let mut subject = String::with_capacity(112);
        for word in [self.namespace.as_str(), &Self::job_token(pool), queue.as_str(), "look", BESIDE] {
            subject.push_str(word);
            subject.push('.');
        }
        subject.push_str(job_id.encode(&mut JobId::buffer()));
        subject.push('.');
        subject.push_str(MARK);
        subject
    }

    /// `windlass.job.<queue>.taken.beside.<sequence>.mark`: says of a task, by its place in TASKS, that it was admitted
    /// ahead of its delivery.
    pub fn taken_mark(&self, pool: &PoolName, queue: &QueueName, sequence: u64) -> String {
        self.mark(pool, queue, TAKEN, sequence)
    }

    /// All such marks of a pool's queues.
    pub fn taken_filter(&self, pool: &PoolName) -> String {
        self.all_beside(pool, TAKEN, "*")
    }

    /// `windlass.job.<queue>.child.beside.<job id>.<child's queue>.<child's job id>`: marks children of a job, in the
    /// stream of the parent's pool.
    pub fn child_subject(&self, pool: &PoolName, child: &ChildSubject) -> String {
        self.link(pool, CHILD, &child.parent, &child.child)
    }

    /// The markers of all children of a job.
    pub fn children_filter(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        self.links(pool, CHILD, queue, job_id)
    }

    /// The markers of all children of a pool's jobs.
    pub fn pool_children_filter(&self, pool: &PoolName) -> String {
        self.all_beside(pool, CHILD, "*")
    }

    /// Reads the subject of a marker of children.
    pub fn parse_child_subject(&self, subject: &str) -> Option<ChildSubject> {
        let (word, parent, child) = self.parse_link(subject)?;
        (word == CHILD).then_some(ChildSubject { parent, child })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_a_jobs_messages_reads_back() {
        let names = Names::default();
        let job_id: JobId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let queue: QueueName = "mail".parse().unwrap();
        for pool in [PoolName::default(), "b-2".parse().unwrap()] {
            let expired = names.expired_subject(&pool, &queue, job_id);
            assert_eq!(names.parse_expired_subject(&expired), Some((queue.clone(), job_id)));
            assert_eq!(names.parse_expired_subject(&names.expiry_subject(&pool, &queue, job_id)), None);
            let child =
                ChildSubject { parent: (queue.clone(), job_id), child: (QueueName::default(), job_id) };
            let subject = names.child_subject(&pool, &child);
            assert_eq!(names.parse_child_subject(&subject), Some(child));
            let look = names.look_subject(&pool, &queue, job_id);
            assert_eq!(look, expired.replace("expired", "look"));
            let taken = names.taken_mark(&pool, &queue, 7);
            for subject in [expired, subject, look, taken] {
                assert_eq!(names.parse_job_subject(&subject), None, "it would be one of the job's messages");
                assert_eq!(subject.split('.').nth(4), Some(BESIDE), "each write would walk all of {subject}");
            }
        }
    }
}
