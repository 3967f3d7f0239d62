//! Subjects that stand in the stream of jobs beside a job's messages: with more or fewer tokens than those, so that they
//! are not among them and do not touch the job's token.

use windlass_core::{JobId, PoolName, QueueName};

use super::Names;

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
    /// `windlass.job.<queue>.expiry.<job id>`: the timer that ends the wait for a job's first attempt. With one token
    /// less than a job's messages it is not among them, and does not touch their token.
    pub fn expiry_subject(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        format!("{}.{}.{queue}.expiry.{job_id}", self.namespace, Self::job_token(pool))
    }

    /// `windlass.job.<queue>.expired.<job id>`: what that timer publishes.
    pub fn expired_subject(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        format!("{}.{}.{queue}.expired.{job_id}", self.namespace, Self::job_token(pool))
    }

    /// All that such timers of a pool publish.
    pub fn expired_filter(&self, pool: &PoolName) -> String {
        format!("{}.{}.*.expired.*", self.namespace, Self::job_token(pool))
    }

    /// The job whose wait has ended.
    pub fn parse_expired_subject(&self, subject: &str) -> Option<(QueueName, JobId)> {
        let mut tokens = subject.strip_prefix(&self.namespace)?.strip_prefix('.')?.split('.').skip(1);
        let (queue, word, job_id) = (tokens.next()?, tokens.next()?, tokens.next()?);
        (word == "expired" && tokens.next().is_none()).then_some(())?;
        Some((queue.parse().ok()?, job_id.parse().ok()?))
    }

    /// `windlass.job.<queue>.look.<job id>`: where a job's last sequences are asked for. Nothing is ever stored there; were
    /// it, it would not be among the job's messages.
    pub fn look_subject(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        let mut subject = String::with_capacity(96);
        for word in [self.namespace.as_str(), &Self::job_token(pool), queue.as_str(), "look"] {
            subject.push_str(word);
            subject.push('.');
        }
        subject.push_str(job_id.encode(&mut JobId::buffer()));
        subject
    }

    /// `windlass.job.<queue>.child.<job id>.<child's queue>.<child's job id>`: marks children of a job, in the stream of
    /// the parent's pool. With more tokens than a job's messages it is not among them.
    pub fn child_subject(&self, pool: &PoolName, child: &ChildSubject) -> String {
        let ChildSubject { parent: (parent_queue, parent_id), child: (queue, job_id) } = child;
        let job = Self::job_token(pool);
        format!("{}.{job}.{parent_queue}.child.{parent_id}.{queue}.{job_id}", self.namespace)
    }

    /// The markers of all children of a job.
    pub fn children_filter(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        format!("{}.{}.{queue}.child.{job_id}.>", self.namespace, Self::job_token(pool))
    }

    /// The markers of all children of a pool's jobs.
    pub fn pool_children_filter(&self, pool: &PoolName) -> String {
        format!("{}.{}.*.child.>", self.namespace, Self::job_token(pool))
    }

    /// Reads the subject of a marker of children.
    pub fn parse_child_subject(&self, subject: &str) -> Option<ChildSubject> {
        let mut tokens = subject.strip_prefix(&self.namespace)?.strip_prefix('.')?.split('.').skip(1);
        let parent_queue = tokens.next()?.parse().ok()?;
        (tokens.next()? == "child").then_some(())?;
        let parsed = ChildSubject {
            parent: (parent_queue, tokens.next()?.parse().ok()?),
            child: (tokens.next()?.parse().ok()?, tokens.next()?.parse().ok()?),
        };
        tokens.next().is_none().then_some(parsed)
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
            for subject in [expired, subject, look] {
                assert_eq!(names.parse_job_subject(&subject), None, "it would be one of the job's messages");
            }
        }
    }
}
