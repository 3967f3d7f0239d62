//! Subjects of who waits for whom, in the stream of jobs beside the jobs' messages: with another number of tokens than
//! those.

use windlass_core::{JobId, PoolName, QueueName};

use super::Names;

/// A job, by what names it within a pool.
pub type Place = (QueueName, JobId);

/// One job that waits for another, as the subject of either of its two marks says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeSubject {
    /// Who waits.
    pub waiting: Place,
    /// For whom.
    pub on: Place,
}

/// Stands under who is waited for.
const AWAITED: &str = "awaited";
/// Stands under who waits.
const AWAITS: &str = "awaits";

// === impl Names ===

impl Names {
    fn edge(
        &self,
        pool: &PoolName,
        word: &str,
        of: (&QueueName, JobId),
        other: (&QueueName, JobId),
    ) -> String {
        let job = Self::job_token(pool);
        format!("{}.{job}.{}.{word}.{}.{}.{}", self.namespace, of.0, of.1, other.0, other.1)
    }

    /// `windlass.job.<queue>.awaited.<job id>.<queue who waits>.<job id who waits>`: for whoever looks who waits for a job.
    pub fn awaited_subject(&self, pool: &PoolName, edge: &EdgeSubject) -> String {
        self.edge(pool, AWAITED, (&edge.on.0, edge.on.1), (&edge.waiting.0, edge.waiting.1))
    }

    /// `windlass.job.<queue>.awaits.<job id>.<queue>.<job id>`: for whoever looks what a job waits for.
    pub fn awaits_subject(&self, pool: &PoolName, edge: &EdgeSubject) -> String {
        self.edge(pool, AWAITS, (&edge.waiting.0, edge.waiting.1), (&edge.on.0, edge.on.1))
    }

    /// Everybody who waits for this job.
    pub fn awaited_filter(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        format!("{}.{}.{queue}.{AWAITED}.{job_id}.>", self.namespace, Self::job_token(pool))
    }

    /// Everybody who waits for a job of this queue.
    pub fn queue_awaited_filter(&self, pool: &PoolName, queue: &QueueName) -> String {
        format!("{}.{}.{queue}.{AWAITED}.>", self.namespace, Self::job_token(pool))
    }

    /// Everybody who waits for a job of this pool.
    pub fn pool_awaited_filter(&self, pool: &PoolName) -> String {
        format!("{}.{}.*.{AWAITED}.>", self.namespace, Self::job_token(pool))
    }

    /// All that this job waits for.
    pub fn awaits_filter(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        format!("{}.{}.{queue}.{AWAITS}.{job_id}.>", self.namespace, Self::job_token(pool))
    }

    /// All that jobs of this queue wait for.
    pub fn queue_awaits_filter(&self, pool: &PoolName, queue: &QueueName) -> String {
        format!("{}.{}.{queue}.{AWAITS}.>", self.namespace, Self::job_token(pool))
    }

    /// Reads the subject of either mark.
    pub fn parse_edge_subject(&self, subject: &str) -> Option<EdgeSubject> {
        let mut tokens = subject.strip_prefix(&self.namespace)?.strip_prefix('.')?.split('.').skip(1);
        let queue = tokens.next()?.parse().ok()?;
        let word = tokens.next()?;
        let of = (queue, tokens.next()?.parse().ok()?);
        let other = (tokens.next()?.parse().ok()?, tokens.next()?.parse().ok()?);
        tokens.next().is_none().then_some(())?;
        match word {
            AWAITED => Some(EdgeSubject { waiting: other, on: of }),
            AWAITS => Some(EdgeSubject { waiting: of, on: other }),
            _ => None,
        }
    }

    /// The dispatchers' consumer of the events of a queue of which a job is waited for.
    pub fn ends_consumer(&self, queue: &QueueName) -> String {
        format!("{ENDS}{queue}")
    }

    /// The queue of such a consumer; none if it is another.
    pub fn queue_of_ends_consumer(&self, consumer: &str) -> Option<QueueName> {
        consumer.strip_prefix(ENDS)?.parse().ok()
    }

    /// The events of a queue.
    pub fn event_filter(&self, queue: &QueueName) -> String {
        format!("{}.event.{queue}.>", self.namespace)
    }
}

const ENDS: &str = "dispatcher-ends-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_back_and_are_none_of_a_jobs_messages() {
        let names = Names::default();
        let job: JobId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let other: JobId = "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap();
        let mail: QueueName = "mail".parse().unwrap();
        let edge = EdgeSubject { waiting: (mail.clone(), job), on: (QueueName::default(), other) };
        for pool in [PoolName::default(), "b-2".parse().unwrap()] {
            for subject in [names.awaited_subject(&pool, &edge), names.awaits_subject(&pool, &edge)] {
                assert_eq!(names.parse_edge_subject(&subject).as_ref(), Some(&edge), "{subject}");
                assert_eq!(names.parse_job_subject(&subject), None);
                assert_eq!(names.parse_flow_subject(&subject), None);
                assert_eq!(names.parse_child_subject(&subject), None);
            }
        }
        let consumer = names.ends_consumer(&mail);
        assert_eq!(names.queue_of_ends_consumer(&consumer), Some(mail));
        assert_eq!(names.queue_of_ends_consumer(names.monitor_consumer()), None);
    }
}
