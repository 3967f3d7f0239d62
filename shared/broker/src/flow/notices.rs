//! What tells a queue's owner to look, read before it is delivered.

use jiff::Timestamp;
use windlass_core::JobId;

use super::Flow;
use crate::connect::Error;
use crate::names::FlowSubject;

/// That a slot was given back, or that nothing is to start for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Of this key, by its token; none: of the queue.
    pub key: Option<String>,
    /// By this job.
    pub job_id: JobId,
    /// In the stream.
    pub sequence: u64,
    /// Nothing is to start before this.
    pub held_until: Option<Timestamp>,
}

// === impl Flow ===

impl Flow {
    /// The notices from this sequence on, at most so many; and where those begin that were not read. Any replica may
    /// answer, and one that lags has the later ones the next time. What cannot be understood is left to its delivery.
    pub async fn notices(&self, from: u64, most: usize) -> Result<(Vec<Notice>, u64), Error> {
        let names = self.broker().names();
        let filter = names.notices_filter(self.pool(), self.queue());
        let (found, _) = self.raw(&filter, from, most).await?;
        let next = found.last().map_or(from, |last| last.sequence + 1);
        let notice = |raw: crate::batch::Raw| {
            let Some(FlowSubject::Notice(key, job_id)) = names.parse_flow_subject(&raw.subject) else {
                return None;
            };
            let held_until = windlass_proto::held_until(raw.body).ok()?;
            Some(Notice { key, job_id, sequence: raw.sequence, held_until })
        };
        Ok((found.into_iter().filter_map(notice).collect(), next))
    }
}
