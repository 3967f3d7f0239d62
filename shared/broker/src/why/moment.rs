//! What of a queue stands where, at one moment if that can be had.
//!
//! Who stands in a line is known by subjects alone, and these are listed in one answer, so no job is counted in two
//! lines, whatever moves. What is read beside that (timers, what is due, what is ready) comes in other answers: each
//! tells the moment of its stream, and if all moments are the same, the whole is exact.

use std::collections::HashSet;

use windlass_core::RecordKind;

use super::Error;
use crate::flow::{Delivered, Flow, Listed};

/// What was read of the stream.
pub(super) struct Read {
    pub(super) later: Listed,
    pub(super) held: Listed,
    pub(super) due: Listed,
    pub(super) ready: Listed,
    pub(super) places: Listed,
    pub(super) slots: Listed,
    pub(super) delivered: Option<Delivered>,
}

// === impl Read ===

impl Read {
    pub(super) async fn all(flow: &Flow) -> Result<Self, Error> {
        let names = flow.broker().names();
        let records = |kind| names.records_filter(flow.pool(), flow.queue(), kind);
        let (later, held) = (records(RecordKind::Later), records(RecordKind::Held));
        let (due, ready) = (records(RecordKind::Due), records(RecordKind::Ready));
        let lines = names.all_lines_filter(flow.pool(), flow.queue());
        let slots = names.key_slots_filter(flow.pool(), flow.queue());
        let (later, held, due, places, slots, delivered) = tokio::try_join!(
            flow.list(&later, false),
            flow.list(&held, false),
            flow.list(&due, true),
            flow.list(&lines, true),
            flow.list(&slots, true),
            flow.delivered(),
        )?;
        // Whom the owner has let go stays due until that is acknowledged.
        let ready = flow.list(&ready, due.total > 0).await?;
        let mut read = Self { later, held, due, ready, places, slots, delivered };
        read.due.total = read.count_due();
        Ok(read)
    }

    /// How many are due and stand nowhere else.
    fn count_due(&self) -> u64 {
        let id = |subject: &String| subject.rsplit('.').next().map(str::to_owned);
        let elsewhere: HashSet<String> =
            self.places.subjects.iter().chain(&self.ready.subjects).filter_map(id).collect();
        let moved = self.due.subjects.iter().filter_map(id).filter(|id| elsewhere.contains(id)).count();
        self.due.total.saturating_sub(moved as u64)
    }

    /// Whether all of it stood there at one moment.
    pub(super) fn is_exact(&self) -> bool {
        let all = [&self.later, &self.held, &self.due, &self.ready, &self.places, &self.slots];
        let same = all.iter().all(|listed| listed.moment == self.later.moment);
        let whole = |listed: &Listed| listed.subjects.len() as u64 == listed.total;
        same && whole(&self.places) && whole(&self.slots)
    }
}
