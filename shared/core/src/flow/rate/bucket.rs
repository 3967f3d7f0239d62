//! A bucket that fills evenly.

use super::{Slice, parts};
use crate::flow::Rate;

/// Kept as the instant at which it is full (the theoretical arrival time of the generic cell rate algorithm, ITU-T
/// I.371): a point taken moves it by the time that a point takes to flow in.
///
/// A take is rounded up to the nanosecond, so a bucket is too slow by less than a nanosecond a job.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    limit: i128,
    per: i128,
    burst: u32,
    full_at: i128,
}

// === impl Bucket ===

impl Bucket {
    pub(super) fn new(rate: &Rate, burst: u32) -> Self {
        let (limit, per) = parts(rate);
        Self { limit, per, burst: burst.max(1), full_at: i128::MIN }
    }

    /// The time in which so many points flow in, rounded up.
    fn cost(&self, points: u64) -> i128 {
        let scaled = i128::from(points).saturating_mul(self.per);
        scaled / self.limit + i128::from(scaled % self.limit != 0)
    }

    pub(super) fn earliest(&self, points: u32) -> i128 {
        // What is left in it then, rounded down.
        let left = i128::from(self.burst - points.min(self.burst)).saturating_mul(self.per) / self.limit;
        self.full_at.saturating_sub(left)
    }

    pub(super) fn take(&mut self, points: u32, now: i128) {
        self.add(Slice { first: now, at: now, points: points.min(self.burst).into() }, now);
    }

    /// Takes what a slice has; `now` is not before it.
    pub(super) fn add(&mut self, slice: Slice, now: i128) {
        let full_at = self.full_at.max(slice.at).saturating_add(self.cost(slice.points));
        // Empty at worst: whatever was taken by force or under another rate, the wait has a bound.
        self.full_at = full_at.min(now.saturating_add(self.cost(self.burst.into())));
    }

    pub(super) fn shift(&mut self, back: i128) {
        self.full_at = self.full_at.saturating_sub(back);
    }

    pub(super) fn is_full(&self, now: i128) -> bool {
        self.full_at <= now
    }

    /// As if what is missing had been taken at once, a part of a point ago.
    pub(super) fn slice(&self, now: i128) -> Option<Slice> {
        let missing = self.full_at.saturating_sub(now);
        if missing <= 0 {
            return None;
        }
        let scaled = missing.saturating_mul(self.limit);
        let points = scaled / self.per + i128::from(scaled % self.per != 0);
        let points = u64::try_from(points).unwrap_or(u64::MAX);
        let at = self.full_at.saturating_sub(self.cost(points));
        Some(Slice { first: at, at, points })
    }
}
