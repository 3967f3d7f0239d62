//! Asking a stream's leader for the last sequence under a filter, without the message: a publish on a condition that
//! never holds. It is refused before anything is stored or proposed, and the refusal names the sequence that is last.
//!
//! `STREAM.MSG.GET` tells the same, from the same store, but as a request of the API: each is decoded, audited by an
//! advisory, and answered with the message in base64. That took the broker 60 us; a refusal takes it a fraction of that.
//! (`tests/tests/e2e/histories/{timers,reads}.rs` pin what the broker says, on one node and on three.)

use async_nats::HeaderMap;
use bytes::Bytes;
use windlass_core::protocol;
use windlass_core::{JobId, QueueName, RecordKind};

use super::{CALL_TIMEOUT, Jobs};
use crate::connect;
use crate::publish::{self, WRONG_LAST_SEQUENCE, header};

/// No stream comes that far, so a condition on it never holds.
const NEVER: &str = "9223372036854775807";
/// Before the sequence that is last; 0 where there is no message.
const REFUSAL: &str = "wrong last sequence: ";

// === impl Jobs ===

impl Jobs {
    /// Whether this message is its job's last and the job has no end, as the stream's leader says: what a timer fired
    /// may run then. False also where that is not known; [`Jobs::read`] tells more.
    ///
    /// Both are asked for at once. An end that is stored between the two is later than the message, which was delivered
    /// before, and so the message is not last any more. The end is asked for first: a store that is just being closed
    /// answers that nothing is there, and then it does not say afterwards that the message is.
    pub async fn is_in_force(&self, work: u64, queue: &QueueName, job_id: JobId) -> bool {
        self.both(queue, job_id).await.is_some_and(|(last, done)| protocol::is_in_force(work, last, done))
    }

    /// Whether a job is there and has no end, as the stream's leader says. False also where that is not known, and where
    /// there is more to say; [`Jobs::read`] tells it. What the job is has not to be read for this, however long it is.
    pub async fn is_live(&self, queue: &QueueName, job_id: JobId) -> bool {
        self.both(queue, job_id).await.is_some_and(|(last, done)| last > 0 && done == 0)
    }

    /// The sequences of a job's last message and of its end, each 0 if there is none; the end is asked for first. None
    /// if the broker does not say one of them.
    async fn both(&self, queue: &QueueName, job_id: JobId) -> Option<(u64, u64)> {
        let names = self.broker.names();
        let all = names.job_filter(&self.pool, queue, job_id);
        let ends = names.record_filter(&self.pool, queue, RecordKind::Done, job_id);
        let (done, last) = tokio::join!(self.latest(ends, queue, job_id), self.latest(all, queue, job_id));
        Some((last?, done?))
    }

    /// The last sequence under this filter, 0 if there is none; none if the broker does not say.
    async fn latest(&self, filter: String, queue: &QueueName, job_id: JobId) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECTED_SEQUENCE, NEVER);
        headers.insert(header::EXPECTED_SUBJECT, filter);
        let subject = self.broker.names().look_subject(&self.pool, queue, job_id);
        let answer = publish::publish(&self.broker, subject, headers, Bytes::new(), CALL_TIMEOUT).await;
        match &answer {
            Err(connect::Error::Refused { code: WRONG_LAST_SEQUENCE, description }) => sequence(description),
            // Undecided: a write of this job is in flight. Or the broker is away: the reads after this one say so.
            _ => None,
        }
    }
}

fn sequence(refusal: &str) -> Option<u64> {
    refusal.strip_prefix(REFUSAL)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_is_last() {
        assert_eq!(sequence("wrong last sequence: 0"), Some(0));
        assert_eq!(sequence("wrong last sequence: 18446744073709551615"), Some(u64::MAX));
        // What says nothing is no zero.
        for other in ["wrong last sequence", "wrong last sequence: ", "wrong last sequence: x", "7", ""] {
            assert_eq!(sequence(other), None, "{other}");
        }
    }
}
