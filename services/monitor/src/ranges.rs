//! Which sequences of a stream were processed.
//!
//! Messages are processed out of order after a restart: the broker first delivers what comes next, and what was not
//! acknowledged only when its time is up. So "the highest sequence seen" says nothing about what lies below it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A set of sequences, as ranges that do not touch each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    // First to last.
    ranges: BTreeMap<u64, u64>,
}

// === impl Ranges ===

impl Ranges {
    /// Adds a range.
    pub fn insert(&mut self, range: RangeInclusive<u64>) {
        let (mut first, mut last) = range.into_inner();
        if first > last {
            return;
        }
        // All that overlap or touch it become one with it.
        let touched: Vec<u64> = self
            .ranges
            .range(..=last.saturating_add(1))
            .rev()
            .take_while(|(_, end)| end.saturating_add(1) >= first)
            .map(|(start, _)| *start)
            .collect();
        for start in touched {
            let end = self.ranges.remove(&start).unwrap_or(start);
            first = first.min(start);
            last = last.max(end);
        }
        self.ranges.insert(first, last);
    }

    /// Removes all above `last`.
    pub fn truncate(&mut self, last: u64) {
        self.ranges.retain(|first, _| *first <= last);
        if let Some(mut end) = self.ranges.last_entry() {
            *end.get_mut() = last.min(*end.get());
        }
    }

    /// What is missing from 1 up to, but not including, `end`.
    pub fn missing_before(&self, end: u64) -> Vec<RangeInclusive<u64>> {
        let mut missing = Vec::new();
        let mut next = 1;
        for (first, last) in self.ranges.range(..end) {
            if *first > next {
                missing.push(next..=first - 1);
            }
            next = last.saturating_add(1);
        }
        if next < end {
            missing.push(next..=end - 1);
        }
        missing
    }

    /// How many sequences it holds.
    pub fn count(&self) -> u64 {
        self.iter().map(|range| range.end() - range.start() + 1).sum()
    }

    /// The highest sequence; 0 if it is empty.
    pub fn last(&self) -> u64 {
        self.ranges.last_key_value().map_or(0, |(_, last)| *last)
    }

    /// Every range, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.ranges.iter().map(|(first, last)| *first..=*last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(inserted: &[RangeInclusive<u64>], expected: &[RangeInclusive<u64>]) {
        let mut ranges = Ranges::default();
        for range in inserted {
            ranges.insert(range.clone());
        }
        assert_eq!(ranges.iter().collect::<Vec<_>>(), expected, "{inserted:?}");
    }

    #[test]
    fn ranges_that_touch_become_one() {
        check(&[1..=1, 2..=2, 3..=3], &[1..=3]);
        check(&[3..=3, 1..=1], &[1..=1, 3..=3]);
        check(&[3..=3, 1..=1, 2..=2], &[1..=3]);
        check(&[1..=9, 3..=4], &[1..=9]);
        check(&[3..=4, 6..=7, 10..=12, 1..=20], &[1..=20]);
        check(&[3..=4, 6..=7, 10..=12, 5..=9], &[3..=12]);
        check(&[5..=u64::MAX, 1..=2], &[1..=2, 5..=u64::MAX]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.missing_before(1), []);
        assert_eq!(ranges.missing_before(4), [1..=3]);
        ranges.insert(3..=5);
        ranges.insert(8..=8);
        assert_eq!(ranges.missing_before(4), [1..=2]);
        assert_eq!(ranges.missing_before(12), [1..=2, 6..=7, 9..=11]);
        assert_eq!((ranges.count(), ranges.last()), (4, 8));
        ranges.truncate(4);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [3..=4]);
        ranges.truncate(9);
        assert_eq!((ranges.count(), ranges.last()), (2, 4));
    }
}
