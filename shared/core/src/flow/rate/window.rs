//! A window that slides.

use std::collections::VecDeque;

use super::{Slice, parts};
use crate::flow::Rate;

/// The log of what was taken in the last `per`, in at most [`MAX_SLICES`] slices whose points all count as taken at
/// their end.
///
/// Up to so many jobs in a window, it is exact. Beyond, the two neighbours that make the shortest slice become one. No
/// slice then spans more than a 31st of `per`: the 64 pairs of neighbours among 65 slices together span at most twice
/// the time from the first's beginning to the last's end, which is `per` and what the first one spans. So a point
/// leaves the window no sooner than `per` after it was taken, and no more than a 31st of `per` later.
#[derive(Debug, Clone)]
pub(super) struct Window {
    limit: u32,
    per: i128,
    slices: VecDeque<Slice>,
}

/// What is kept of one window.
pub(super) const MAX_SLICES: usize = 64;

// === impl Window ===

impl Window {
    pub(super) fn new(rate: &Rate) -> Self {
        Self { limit: rate.limit.max(1), per: parts(rate).1, slices: VecDeque::new() }
    }

    /// Those that count at this instant, the oldest first.
    pub(super) fn slices(&self, now: i128) -> impl Iterator<Item = Slice> {
        self.slices.iter().copied().filter(move |slice| slice.at.saturating_add(self.per) > now)
    }

    pub(super) fn earliest(&self, points: u32, now: i128) -> i128 {
        let room = u64::from(self.limit - points.min(self.limit));
        let mut taken = self.slices(now).fold(0, |sum: u64, slice| sum.saturating_add(slice.points));
        let mut earliest = now;
        for slice in self.slices(now) {
            if taken <= room {
                break;
            }
            taken = taken.saturating_sub(slice.points);
            earliest = slice.at.saturating_add(self.per);
        }
        earliest
    }

    pub(super) fn take(&mut self, points: u32, now: i128) {
        let points = points.min(self.limit).into();
        self.add(Slice { first: now, at: now, points }, now);
    }

    /// Adds a slice that is not older than those it has.
    pub(super) fn add(&mut self, slice: Slice, now: i128) {
        while self.slices.front().is_some_and(|oldest| oldest.at.saturating_add(self.per) <= now) {
            self.slices.pop_front();
        }
        if slice.points == 0 {
            return;
        }
        match self.slices.back_mut() {
            Some(newest) if newest.at == slice.at => {
                newest.points = newest.points.saturating_add(slice.points);
            }
            _ => self.slices.push_back(slice),
        }
        if self.slices.len() > MAX_SLICES {
            self.merge();
        }
    }

    pub(super) fn shift(&mut self, back: i128) {
        for slice in &mut self.slices {
            slice.first -= back;
            slice.at -= back;
        }
    }

    pub(super) fn is_empty(&self, now: i128) -> bool {
        self.slices(now).next().is_none()
    }

    /// Makes one slice of the two neighbours that span the shortest time.
    fn merge(&mut self) {
        let spans = self.slices.iter().zip(self.slices.iter().skip(1)).map(|(a, b)| b.at - a.first);
        let Some((index, _)) = spans.enumerate().min_by_key(|(_, span)| *span) else { return };
        if let Some(older) = self.slices.remove(index)
            && let Some(newer) = self.slices.get_mut(index)
        {
            newer.first = older.first;
            newer.points = newer.points.saturating_add(older.points);
        }
    }
}
