//! Subjects of uniqueness and aggregation, in the stream of jobs beside the jobs' messages: with one token less than
//! those.

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
    /// `windlass.job.<queue>.unique.<token>`: which job holds a key; and `….group.<token>`: which collects a group.
    pub fn marker_subject(&self, pool: &PoolName, queue: &QueueName, of: &MarkerOf) -> String {
        let (word, token) = match of {
            MarkerOf::Unique(token) => ("unique", token),
            MarkerOf::Group(token) => ("group", token),
        };
        format!("{}.{}.{queue}.{word}.{token}", self.namespace, Self::job_token(pool))
    }

    /// All markers of a pool: of keys, and of groups.
    pub fn marker_filters(&self, pool: &PoolName) -> [String; 2] {
        ["unique", "group"].map(|word| format!("{}.{}.*.{word}.*", self.namespace, Self::job_token(pool)))
    }

    /// Reads the subject of a marker.
    pub fn parse_marker_subject(&self, subject: &str) -> Option<(QueueName, MarkerOf)> {
        let mut tokens = subject.strip_prefix(&self.namespace)?.strip_prefix('.')?.split('.').skip(1);
        let queue = tokens.next()?.parse().ok()?;
        let (word, token) = (tokens.next()?, tokens.next()?.to_owned());
        let of = match word {
            "unique" => MarkerOf::Unique(token),
            "group" => MarkerOf::Group(token),
            _ => return None,
        };
        tokens.next().is_none().then_some((queue, of))
    }

    /// `windlass.job.<queue>.replaced.<job id>`: which job was ended in favour of this one.
    pub fn replaced_subject(&self, pool: &PoolName, queue: &QueueName, job_id: JobId) -> String {
        format!("{}.{}.{queue}.replaced.{job_id}", self.namespace, Self::job_token(pool))
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
                assert_eq!(subject.split('.').count(), 5, "{subject} might be one of the job's messages");
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
