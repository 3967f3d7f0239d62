//! When a burst waits for others: while some of them do, but for no more than half of the time.
//!
//! What is done for a burst takes from the broker what others then wait for. While it is held back they are served as if
//! it were not there; it goes on when nobody waits, or has made it wait for long enough.

use std::time::{Duration, Instant};

/// So long after something was done for somebody else who waits, unless nobody does any more.
const EACH: Duration = Duration::from_millis(50);
/// A burst is held back so long at once, at most, and then only after it went on for as long.
const MOST: Duration = Duration::from_millis(250);

/// Whether a burst is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveWay {
    /// It is held back up to here, as far as it is for so long.
    until: Instant,
    /// How long it may be held back, at `at`.
    left: Duration,
    at: Instant,
}

// === impl GiveWay ===

impl GiveWay {
    /// Of a burst that was not held back lately.
    pub fn new(now: Instant) -> Self {
        Self { until: now, left: MOST, at: now }
    }

    /// Somebody else waits now.
    pub fn for_another(&mut self, now: Instant) {
        self.pass(now);
        self.until = now + EACH;
    }

    /// Nobody else waits any more.
    pub fn for_nobody(&mut self, now: Instant) {
        self.pass(now);
        self.until = now;
    }

    /// Until when the burst is to wait, if nothing more is said; none if it goes on.
    pub fn until(&mut self, now: Instant) -> Option<Instant> {
        self.pass(now);
        Some(self.held_until()).filter(|until| *until > now)
    }

    fn held_until(&self) -> Instant {
        self.until.min(self.at + self.left).max(self.at)
    }

    fn pass(&mut self, now: Instant) {
        let now = now.max(self.at);
        let end = self.held_until().min(now);
        self.left = (self.left.saturating_sub(end - self.at) + (now - end)).min(MOST);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_burst_waits_while_somebody_else_does() {
        let begin = Instant::now();
        let mut burst = GiveWay::new(begin);
        assert_eq!(burst.until(begin), None);
        burst.for_another(begin);
        assert_eq!(burst.until(begin + MS), Some(begin + EACH));
        burst.for_another(begin + 20 * MS);
        assert_eq!(burst.until(begin + 30 * MS), Some(begin + 20 * MS + EACH));
        assert_eq!(burst.until(begin + 20 * MS + EACH), None);
        burst.for_another(begin + 100 * MS);
        burst.for_nobody(begin + 110 * MS);
        assert_eq!(burst.until(begin + 110 * MS), None);
    }

    #[test]
    fn it_waits_for_no_longer_at_once_than_it_went_on_for() {
        let begin = Instant::now();
        let mut burst = GiveWay::new(begin);
        let mut held = Vec::new();
        for ms in 0..1000 {
            let now = begin + ms * MS;
            burst.for_another(now);
            held.push(burst.until(now).is_some());
        }
        let first = held.iter().position(|held| !held).expect("it is held back for ever");
        assert_eq!(first, 250);
        let of_rest = held[first..].iter().filter(|held| **held).count();
        assert!((350..=400).contains(&of_rest), "{of_rest} of 750");
    }

    proptest! {
        /// Whatever is asked for, and however late it is looked: in no stretch of time is it held back for longer than
        /// half of it, and once as long as it may be at most.
        #[test]
        fn it_goes_on_for_half_of_the_time(steps in prop::collection::vec((0_u64..100, any::<Option<bool>>()), 1..300)) {
            let mut now = Instant::now();
            let (mut burst, begin) = (GiveWay::new(now), now);
            let mut held = Duration::ZERO;
            for (ms, other) in steps {
                let next = now + Duration::from_millis(ms);
                held += burst.until(now).map_or(Duration::ZERO, |until| until.min(next) - now);
                now = next;
                match other {
                    Some(true) => burst.for_another(now),
                    Some(false) => burst.for_nobody(now),
                    None => {}
                }
                prop_assert!(held <= MOST + (now - begin) / 2, "{held:?} of {:?}", now - begin);
            }
        }
    }
}
