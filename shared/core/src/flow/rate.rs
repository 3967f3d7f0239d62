//! How fast jobs may start: a meter for each rate, of a queue or of one of its keys.
//!
//! Two forms stand behind one type. A bucket that fills evenly never lets more than `burst + limit * t / per` points go
//! in any interval of length `t`; a sliding window never more than `limit` in any interval of length `per` (its end
//! excluded). Neither depends on when a meter is asked, only on what was taken.
//!
//! Wherever something is rounded, jobs go later, never sooner. The same holds where the clock goes back: time stands
//! still until it has caught up, so that two clocks that differ a little give nothing away. A clock that was set back by
//! more than a minute is believed, once [`Meter::sync`] sees it, and what was taken keeps its age.

mod bucket;
mod window;

use bucket::Bucket;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use window::Window;

use super::Rate;

/// What was let go under a rate, and from when on more may be.
#[derive(Debug, Clone)]
pub struct Meter {
    form: Form,
    /// The latest instant that it was told.
    last: i128,
    held_until: Option<Timestamp>,
}

/// A meter to be kept: at most 64 numbers of points with their instants.
///
/// It says what was taken, not how it was measured, so that it can be read under another rate or another form of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterState {
    last: Timestamp,
    /// When the slice began, when it ended, both in milliseconds since 1970, and its points; the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taken: Vec<(i64, i64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_until: Option<Timestamp>,
}

/// A job costs more than its rate ever lets go at once: it could never start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("costs {points} points: expected at most {max}, as many as its rate lets go at once")]
pub struct TooManyPoints {
    points: u32,
    max: u32,
}

#[derive(Debug, Clone)]
enum Form {
    Bucket(Bucket),
    Window(Window),
}

/// Points that count as taken at the end of a time: instants in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slice {
    first: i128,
    at: i128,
    points: u64,
}

/// A clock that is behind by more was set back; by less, it differs or is slewed.
const MAX_SKEW_NANOS: i128 = 60 * 1_000_000_000;
const MILLI_NANOS: i128 = 1_000_000;
/// More than any calendar has, and far from where sums overflow.
const LONGEST_NANOS: i128 = 1 << 80;

// === impl Rate ===

impl Rate {
    /// Whether a job that costs so many points can ever start.
    pub fn check_points(&self, points: u32) -> Result<(), TooManyPoints> {
        let max = self.max_points();
        if points <= max { Ok(()) } else { Err(TooManyPoints { points, max }) }
    }
}

// === impl Meter ===

impl Meter {
    /// Nothing was taken yet.
    pub fn new(rate: &Rate, now: Timestamp) -> Self {
        Self { form: Form::new(rate), last: now.as_nanosecond(), held_until: None }
    }

    /// As much was taken just now as can be: the safe beginning where nobody knows what was.
    pub fn spent(rate: &Rate, now: Timestamp) -> Self {
        let mut meter = Self::new(rate, now);
        meter.take(rate.max_points(), now);
        meter
    }

    /// None if so many points may go now; else the earliest instant at which they may, unless others go first.
    ///
    /// More points than may ever go at once wait for as many as may, and count as these: a job that was accepted under
    /// another rate does not wait for ever. [`Rate::check_points`] refuses them where they enter.
    pub fn at(&self, points: u32, now: Timestamp) -> Option<Timestamp> {
        let now = self.last.max(now.as_nanosecond());
        let earliest = self.form.earliest(points, now);
        let free = (earliest > now).then(|| instant(earliest));
        let held = self.held_until.filter(|until| until.as_nanosecond() > now);
        free.max(held)
    }

    /// So many points went now, whether they might or not.
    pub fn take(&mut self, points: u32, now: Timestamp) {
        self.sync(now);
        self.form.take(points, self.last);
    }

    /// Nothing goes before this instant: somebody who was called said so. The latest one counts.
    pub fn hold_until(&mut self, at: Timestamp) {
        self.held_until = self.held_until.max(Some(at));
    }

    /// Tells what time it is. Needed now and then, or a clock that was set back far is noticed with the next
    /// [`Meter::take`] only, which may have to wait for that clock.
    pub fn sync(&mut self, now: Timestamp) {
        let now = now.as_nanosecond();
        let back = self.last - now;
        if back > MAX_SKEW_NANOS {
            self.form.shift(back);
            self.last = now;
        }
        self.last = self.last.max(now);
    }

    /// Whether it says no more than a new one would: it need not be kept.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        // By the clock as it is, which a new one would begin with.
        let now = now.as_nanosecond();
        self.form.is_idle(now) && self.held_until.is_none_or(|until| until.as_nanosecond() <= now)
    }

    /// What to keep, so that [`Meter::restore`] goes on from here.
    pub fn state(&self) -> MeterState {
        let taken = self.form.slices(self.last).map(|s| (millis(s.first), millis(s.at), s.points)).collect();
        MeterState { last: instant(self.last), taken, held_until: self.held_until }
    }

    /// Goes on from a state: it never lets anything go sooner than the meter that gave the state would have, nor more
    /// than a millisecond later.
    ///
    /// Also the way to change a rate. What was taken under the former one counts, as far as it was still known.
    pub fn restore(rate: &Rate, state: &MeterState, now: Timestamp) -> Self {
        let last = state.last.as_nanosecond();
        let mut slices: Vec<_> = state
            .taken
            .iter()
            .map(|(first, at, points)| {
                let at = nanos(*at).min(last);
                Slice { first: nanos(*first).min(at), at, points: *points }
            })
            .collect();
        slices.sort_by_key(|slice| slice.at);
        let mut meter = Self { form: Form::new(rate), last, held_until: state.held_until };
        for slice in slices {
            meter.form.add(slice, last);
        }
        meter.sync(now);
        meter
    }
}

// === impl Form ===

impl Form {
    fn new(rate: &Rate) -> Self {
        rate.burst
            .map_or_else(|| Self::Window(Window::new(rate)), |burst| Self::Bucket(Bucket::new(rate, burst)))
    }

    fn earliest(&self, points: u32, now: i128) -> i128 {
        match self {
            Self::Bucket(bucket) => bucket.earliest(points),
            Self::Window(window) => window.earliest(points, now),
        }
    }

    fn take(&mut self, points: u32, now: i128) {
        match self {
            Self::Bucket(bucket) => bucket.take(points, now),
            Self::Window(window) => window.take(points, now),
        }
    }

    fn add(&mut self, slice: Slice, now: i128) {
        match self {
            Self::Bucket(bucket) => bucket.add(slice, now),
            Self::Window(window) => window.add(slice, now),
        }
    }

    /// The clock was set back by so much: what was taken keeps its age.
    fn shift(&mut self, back: i128) {
        match self {
            Self::Bucket(bucket) => bucket.shift(back),
            Self::Window(window) => window.shift(back),
        }
    }

    fn is_idle(&self, now: i128) -> bool {
        match self {
            Self::Bucket(bucket) => bucket.is_full(now),
            Self::Window(window) => window.is_empty(now),
        }
    }

    fn slices(&self, now: i128) -> impl Iterator<Item = Slice> {
        let (one, many) = match self {
            Self::Bucket(bucket) => (bucket.slice(now), None),
            Self::Window(window) => (None, Some(window.slices(now))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

fn instant(nanos: i128) -> Timestamp {
    Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MAX)
}

/// Rounded up: later.
fn millis(nanos: i128) -> i64 {
    i64::try_from(-(-nanos).div_euclid(MILLI_NANOS)).unwrap_or(i64::MAX)
}

fn nanos(millis: i64) -> i128 {
    i128::from(millis) * MILLI_NANOS
}

/// Of a rate, as numbers that can be divided by, whatever was set.
fn parts(rate: &Rate) -> (i128, i128) {
    let per = i128::try_from(rate.per.as_nanos()).unwrap_or(LONGEST_NANOS).clamp(1, LONGEST_NANOS);
    (i128::from(rate.limit.max(1)), per)
}

#[cfg(test)]
mod tests;
