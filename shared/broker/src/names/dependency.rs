//! Subjects of who waits for whom, in the stream of jobs beside the jobs' messages.

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
    /// `windlass.job.<queue>.awaited.beside.<job id>.<queue who waits>.<job id who waits>`: for whoever looks who waits for a
    /// job.
    pub fn awaited_subject(&self, pool: &PoolName, edge: &EdgeSubject) -> String {
        self.link(pool, AWAITED, &edge.on, &edge.waiting)
    }

    /// `windlass.job.<queue>.awaits.beside.<job id>.<queue>.<job id>`: for whoever looks what a job waits for.
    pub fn awaits_subject(&self, pool: &PoolName, edge: &EdgeSubject) -> String {
        self.link(pool, AWAITS, &edge.waiting, &edge.on)
    }

    /// Everybody who waits for this job.
    pub fn awaited_filter(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        self.links(pool, AWAITED, queue, job_id)
    }

    /// Everybody who waits for a job of this queue.
    pub fn queue_awaited_filter(&self, pool: &PoolName, queue: &QueueName) -> String {
        self.all_beside(pool, AWAITED, queue)
    }

    /// Everybody who waits for a job of this pool.
    pub fn pool_awaited_filter(&self, pool: &PoolName) -> String {
        self.all_beside(pool, AWAITED, "*")
    }

    /// All that this job waits for.
    pub fn awaits_filter(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        self.links(pool, AWAITS, queue, job_id)
    }

    /// All that jobs of this queue wait for.
    pub fn queue_awaits_filter(&self, pool: &PoolName, queue: &QueueName) -> String {
        self.all_beside(pool, AWAITS, queue)
    }

    /// Reads the subject of either mark.
    pub fn parse_edge_subject(&self, subject: &str) -> Option<EdgeSubject> {
        let (word, of, other) = self.parse_link(subject)?;
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
