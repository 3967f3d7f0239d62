//! Subjects of uniqueness and aggregation, in the stream of jobs beside the jobs' messages.

use windlass_core::{JobId, PoolName, QueueName};

use super::Names;

/// What a marker stands for, by a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MarkerOf {
    /// A unique key.
    Unique(String),
    /// A group whose tasks become one job.
    Group(String),
}

// === impl Names ===

impl Names {
    /// `windlass.job.<queue>.unique.beside.<token>.mark`: which job holds a key; and `….group.…`: which collects a group.
    pub fn marker_subject(&self, pool: &PoolName, queue: &QueueName, of: &MarkerOf) -> String {
        let (word, token) = match of {
            MarkerOf::Unique(token) => ("unique", token),
            MarkerOf::Group(token) => ("group", token),
        };
        self.mark(pool, queue, word, token)
    }

    /// All markers of a pool: of keys, and of groups.
    pub fn marker_filters(&self, pool: &PoolName) -> [String; 2] {
        ["unique", "group"].map(|word| self.all_beside(pool, word, "*"))
    }

    /// Reads the subject of a marker.
    pub fn parse_marker_subject(&self, subject: &str) -> Option<(QueueName, MarkerOf)> {
        let (queue, word, token) = self.parse_mark(subject)?;
        match word {
            "unique" => Some((queue, MarkerOf::Unique(token.to_owned()))),
            "group" => Some((queue, MarkerOf::Group(token.to_owned()))),
            _ => None,
        }
    }

    /// `windlass.job.<queue>.replaced.beside.<job id>.mark`: which job was ended in favour of this one.
    pub fn replaced_subject(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        self.mark(pool, queue, "replaced", job_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back_and_is_none_of_a_jobs_messages() {
        let (names, queue) = (Names::default(), "mail".parse::<QueueName>().unwrap());
        for pool in [PoolName::default(), "b-2".parse().unwrap()] {
            for of in [MarkerOf::Unique("0a".to_owned()), MarkerOf::Group("0b".to_owned())] {
                let subject = names.marker_subject(&pool, &queue, &of);
                assert_eq!(names.parse_marker_subject(&subject), Some((queue.clone(), of)), "{subject}");
                assert_eq!(
                    names.parse_job_subject(&subject),
                    None,
                    "{subject} might be one of the job's messages"
                );
                assert!(
                    names.parse_job_subject(&subject).is_none()
                        && names.parse_flow_subject(&subject).is_none()
                        && names.parse_child_subject(&subject).is_none()
                        && names.parse_expired_subject(&subject).is_none()
                );
            }
            let replaced = names.replaced_subject(&pool, &queue, JobId::nil());
            assert_eq!(names.parse_marker_subject(&replaced), None);
        }
    }
}
