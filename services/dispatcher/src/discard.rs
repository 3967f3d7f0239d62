//! Removing a dead letter: said in the job's history first, with who and why, so that nothing goes uncounted.

use windlass_broker::dead::Letters;
use windlass_core::Transition;

use crate::order::{Carried, Order};
use crate::redrive::{meant, remark, removed};
use crate::shared::Shared;

pub(crate) async fn discard(shared: &Shared, order: &Order) -> Carried {
    let letters = Letters::new(&shared.broker);
    let Some(letter) = meant(&letters, order).await else { return Carried::Open };
    let Some(letter) = letter else {
        tracing::info!(job_id = %order.job_id, queue = %order.queue, "no such dead letter, or none any more");
        return Carried::Out;
    };
    tracing::info!(job_id = %order.job_id, queue = %order.queue, code = letter.code, by = order.requested_by,
        reason = order.reason, "a dead letter is discarded");
    if shared
        .events
        .record(remark(shared, order, &letter, Transition::Discarded, order.words()))
        .await
        .is_err()
    {
        return Carried::Open;
    }
    removed(shared, &letters, &letter).await
}
