//! Work that is handed back unread, because a newer version wrote it.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;

use crate::{Error, time, v1};

/// A claim by which a worker hands work back that it does not understand. What the work says of earlier attempts goes
/// into it as it stands, so that whoever understands it goes on from there and counts no crash.
#[derive(Debug, Clone, Copy)]
pub struct HandBack<'a> {
    /// The body of the work message.
    pub work: &'a Bytes,
    /// Its place.
    pub work_sequence: u64,
    /// Who hands it back.
    pub worker: &'a str,
    /// When.
    pub at: Timestamp,
    /// Of this write.
    pub nonce: &'a Bytes,
    /// The broker's count of the delivery.
    pub delivery_count: u64,
}

impl HandBack<'_> {
    /// As bytes of a `windlass.v1.Claim`.
    pub fn encode(self) -> Result<Bytes, Error> {
        let work = v1::Job::decode(self.work.clone())?;
        let task = work.task.ok_or_else(|| Error::missing("task"))?;
        let claim = v1::Claim {
            work_sequence: self.work_sequence,
            worker: self.worker.to_owned(),
            reason: v1::ClaimReason::HandBack.into(),
            claimed_at: Some(time::to_wire(self.at)),
            attempts: work.attempts,
            kind: task.kind,
            accepted_at: work.accepted_at,
            nonce: self.nonce.clone(),
            delivery_count: self.delivery_count,
            checkpoint: work.checkpoint,
            alone: false,
            kind_unknown_since: None,
        };
        Ok(claim.encode_to_vec().into())
    }
}
