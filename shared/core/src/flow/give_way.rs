//! When a burst waits for others: while some of them do, but for no more than half of the time.
//!
//! What is done for a burst takes from the broker what others then wait for. While it is held back they are served as if
//! it were not there. Then it goes on for as long, whoever waits: whoever asks late, after the end, is not held back anew.

use std::time::{Duration, Instant};

/// So long after something was done for somebody else who waits.
const EACH: Duration = Duration::from_millis(50);
/// So long after nobody else waits any more: somebody may be about to come.
const ABOUT_TO_COME: Duration = Duration::from_millis(15);
/// A burst is held back so long at once, at most.
const MOST: Duration = Duration::from_millis(250);
/// And goes on for so long at least before it is held back again.
const LEAST: Duration = Duration::from_millis(10);

/// Whether a burst is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveWay {
    /// When it was held back last.
    from: Instant,
    /// Until when.
    until: Instant,
}

// === impl GiveWay ===

impl GiveWay {
    /// Of a burst that was not held back yet.
    pub fn new(now: Instant) -> Self {
        Self { from: now, until: now }
    }

    /// Something was done for somebody else who waits.
    pub fn for_another(&mut self, now: Instant) {
        if now >= self.until {
            let held = self.until - self.from;
            if !held.is_zero() && now < self.until + held.max(LEAST) {
                return;
            }
            self.from = now;
        }
        self.until = (now + EACH).min(self.from + MOST);
    }

    /// Nobody else waits any more.
    pub fn for_nobody(&mut self, now: Instant) {
        self.until = self.until.min(now.max(self.from) + ABOUT_TO_COME);
    }

    /// Until when the burst is to wait, if nothing more is said; none if it goes on.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        Some(self.until).filter(|until| *until > now)
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
        burst.for_another(begin + 200 * MS);
        burst.for_nobody(begin + 210 * MS);
        assert_eq!(burst.until(begin + 210 * MS), Some(begin + 210 * MS + ABOUT_TO_COME));
    }

    #[test]
    fn it_waits_for_no_longer_at_once_than_it_goes_on_for_then() {
        let begin = Instant::now();
        let mut burst = GiveWay::new(begin);
        let held = |ms| {
            burst.for_another(begin + ms * MS);
            burst.until(begin + ms * MS).is_some()
        };
        let held: Vec<_> = (0..1000).map(held).collect();
        assert_eq!(held.chunk_by(|a, b| a == b).map(<[_]>::len).collect::<Vec<_>>(), [250, 250, 250, 250]);
    }

    /// Who sleeps until the end, and wakes late, goes on, though others come all the time.
    #[test]
    fn who_looks_late_is_not_held_back_anew() {
        for late in 0..200 {
            let begin = Instant::now();
            let mut burst = GiveWay::new(begin);
            let (mut now, mut looks) = (begin, 0);
            burst.for_another(now);
            while let Some(until) = burst.until(now) {
                let wakes = until + late * MS;
                while now < wakes {
                    now += MS;
                    burst.for_another(now);
                }
                looks += 1;
                assert!(looks < 10, "{late} ms late, it is held back for ever");
            }
        }
    }

    proptest! {
        /// Whatever is said, and whenever it is looked: it is held back for no more than half of the time, and once more.
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
