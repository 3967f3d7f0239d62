//! Work that a newer version wrote: handed on, until a worker has it that understands it. Never a dead letter.

use std::time::Duration;

use tokio::time::Instant;
use windlass_broker::delivery::Delivered;
use windlass_broker::jobs::{Address, Change, Seen, Verdict, nonce};
use windlass_core::RecordKind;
use windlass_proto::{Error, HandBack};

use super::claim::HAND_BACK_TTL;
use super::held::WRITE_TIMEOUT;
use super::shared::Shared;

/// How long it stays away.
const DELAY: Duration = Duration::from_secs(5);

/// Hands a message on whose body, or whose subject (then there is no address), has a value that is not known here.
pub(super) async fn hand_on(
    shared: &Shared,
    delivered: &Delivered,
    address: Option<&Address>,
    error: &Error,
    ack_wait: Duration,
) {
    shared.broker.not_understood("jobs", error);
    // Once, on the message itself: its next holder would count a crash. Where it was delivered before, others have had
    // it, and what they left says what became of them.
    if let (1, Some(address)) = (delivered.count, address)
        && !mark(shared, delivered, address, ack_wait).await
    {
        return;
    }
    // A stale nak would take the message from whoever has it now.
    if delivered.is_fresh(ack_wait) {
        let _ = delivered.handle().nak(Some(DELAY)).await;
    }
}

/// Writes that it was handed back; false where the message is to be left alone.
async fn mark(shared: &Shared, delivered: &Delivered, address: &Address, ack_wait: Duration) -> bool {
    let nonce = nonce();
    let hand_back = HandBack {
        work: &delivered.body,
        work_sequence: delivered.sequence,
        worker: &shared.options.id,
        at: shared.broker.now(),
        nonce: &nonce,
        delivery_count: delivered.count,
    };
    let Ok(body) = hand_back.encode() else { return true };
    let change = Change {
        address,
        token: delivered.sequence,
        record: RecordKind::Claim,
        body,
        nonce: &nonce,
        trace: delivered.trace(),
        ttl: Some(HAND_BACK_TTL),
        timer: None,
        purge: None,
    };
    let deadline = (delivered.received_at + ack_wait).min(Instant::now() + WRITE_TIMEOUT);
    match shared.jobs.write(change, deadline).await {
        Ok(Verdict::Won(_)) => true,
        // It has moved on, or nobody knows: its lease decides.
        Ok(Verdict::Lost | Verdict::Undecided) => false,
        Err(error) => {
            tracing::warn!(job_id = %address.job_id, %error, "a hand-back was not written");
            false
        }
    }
}

/// Reads the job of a message that is to be claimed or checked; none if it cannot be, or is not understood.
pub(super) async fn read(
    shared: &Shared,
    delivered: &Delivered,
    address: &Address,
    ack_wait: Duration,
) -> Option<Seen> {
    match shared.jobs.read(&address.queue, address.job_id).await {
        Ok(seen) => Some(seen),
        Err(error) if error.is_not_understood() => {
            if delivered.is_fresh(ack_wait) {
                let _ = delivered.handle().nak(Some(DELAY)).await;
            }
            None
        }
        Err(error) => {
            // Unacknowledged: it is delivered again.
            tracing::warn!(job_id = %address.job_id, %error, "a job could not be read");
            None
        }
    }
}
